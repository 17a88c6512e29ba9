"""How many nodes and processes: what was asked for, and what the recipe says."""

from __future__ import annotations

from typing import NamedTuple

from seqrec.errors import LaunchError
from seqrec.recipe import Recipe


class Shape(NamedTuple):
    """Nodes, and processes on each, one a GPU where the recipe trains on GPUs.

    Attributes:
        nodes: a number; for torchrun also MIN:MAX, between which it may vary.
        devices: processes a node.
        gpus: whether each takes a GPU: unless the recipe says `trainer.accelerator: cpu`.
    """

    nodes: str
    devices: int
    gpus: bool

    @classmethod
    def of(cls, recipe: Recipe, *, nodes: str | None, devices: int | None) -> Shape:
        """What was asked for, else what the recipe says, else one node.

        Raises:
            LaunchError: the two differ, or nothing says how many processes a node has.
        """
        said_nodes, said_devices = recipe.trainer.get("num_nodes"), recipe.trainer.get("devices")
        if isinstance(said_devices, list):
            said_devices = len(said_devices)
        if not isinstance(said_devices, int) or said_devices < 1:
            said_devices = None  # "auto" and -1 are for who sees the devices
        for option, asked, name, said in (
            ("--nodes", nodes, "num_nodes", said_nodes),
            ("--devices", devices, "devices", said_devices),
        ):
            if None not in (asked, said) and str(asked) != str(said):
                raise LaunchError(
                    f"{option} is {asked}, and the recipe says {said}",
                    where=f"trainer.{name}",
                    do=f"give {option} {said}, or leave `trainer.{name}` out: it follows from what is started",
                )
        chosen = devices or said_devices
        if chosen is None:
            raise LaunchError(
                "nothing says how many processes a node has",
                where="trainer.devices",
                do="give --devices, one process for each GPU of a node",
            )
        return cls(nodes or str(said_nodes or 1), chosen, gpus=recipe.trainer.get("accelerator") != "cpu")

    def fixed_nodes(self, scheduler: str) -> int:
        """The number of nodes, for a scheduler that cannot vary it.

        Raises:
            LaunchError: it is a range, or no number.
        """
        if not self.nodes.isdecimal() or int(self.nodes) < 1:
            raise LaunchError(f"--nodes {self.nodes} is not a number of nodes for {scheduler}", do="give one number")
        return int(self.nodes)
