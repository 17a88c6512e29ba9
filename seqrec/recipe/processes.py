"""The processes of a run: who started them, how many there are, and whether the recipe agrees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.utilities import rank_zero_only

from seqrec.errors import LaunchError


class Launched(NamedTuple):
    """Processes that torchrun or Slurm's srun has started, equally many on each node."""

    by: Literal["torchrun", "srun"]
    nodes: int
    processes: int  # on each node


def launched(environment: Mapping[str, str] = os.environ) -> Launched | None:
    """Who started this process beside others; None where it is alone, or starts the others itself.

    torchrun comes first, as srun may have started it.

    Raises:
        LaunchError: nodes have unequal numbers of processes.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        nodes, total = int(environment["GROUP_WORLD_SIZE"]), int(environment["WORLD_SIZE"])
        return _even("torchrun", nodes, total, "start it with the same --nproc-per-node everywhere")
    # without SLURM_STEP_ID this is the batch script itself; a single task may start processes of its own
    if "SLURM_STEP_ID" in environment and (total := int(environment["SLURM_STEP_NUM_TASKS"])) > 1:
        nodes = int(environment["SLURM_STEP_NUM_NODES"])
        return _even("srun", nodes, total, "ask for --nodes and --ntasks-per-node rather than --ntasks")
    return None


def is_restart(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether torchrun or Slurm has started the same command again, so that `--fresh` is not for this start.

    Raises:
        LaunchError: torchrun on several nodes, where it counts restarts only on the node that had a failure.
    """
    found = launched(environment)
    if found is not None and found.by == "torchrun" and found.nodes > 1:
        raise LaunchError(
            f"on {found.nodes} nodes torchrun does not tell a restart from a start, and each would start over",
            where="--fresh",
            do="delete the run folder, or give the run another `name`",
        )
    counts = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
    return any(environment.get(name, "0") != "0" for name in counts)


def is_first_process() -> bool:
    """Whether this is rank 0, which alone writes the run folder."""
    return int(getattr(rank_zero_only, "rank", 0)) == 0


def place(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """The Trainer's arguments that follow from who started the process.

    Args:
        trainer: the recipe's arguments. Where they say nothing about nodes and devices, what was started decides.
    Returns:
        `num_nodes` and `devices`; nothing where Lightning starts the processes.
    Raises:
        LaunchError: the recipe says other numbers, or the node has fewer GPUs than processes.
    """
    found = launched()
    if found is None:
        return {}
    for name, number, option in (
        ("num_nodes", found.nodes, "--nodes"),
        ("devices", found.processes, "--nproc-per-node" if found.by == "torchrun" else "--ntasks-per-node"),
    ):
        said = trainer.get(name)
        wanted = len(said) if isinstance(said, list) else said
        if isinstance(wanted, int) and wanted not in (number, -1):
            raise LaunchError(
                f"{found.by} has started {found.nodes} × {found.processes} processes (nodes × processes a node), "
                f"and the recipe says {said}",
                where=f"trainer.{name}",
                do=f"start it with {option}={wanted}, or leave `trainer.{name}` out: it follows from what is started",
            )
    _check_gpus(found, trainer.get("accelerator", "auto"))
    chosen = trainer.get("devices")
    return {"num_nodes": found.nodes, "devices": chosen if isinstance(chosen, list) else found.processes}


def cluster_environment() -> list[ClusterEnvironment]:
    """Lightning's plugin for who started the process; empty where Lightning finds it itself.

    Inside a Slurm job it would take every process for one of srun's, and save and requeue in a signal handler.
    """
    found = launched()
    if found is not None:
        return [TorchElasticEnvironment() if found.by == "torchrun" else SLURMEnvironment(auto_requeue=False)]
    return [LightningEnvironment()] if "SLURM_JOB_ID" in os.environ else []


def _even(by: Literal["torchrun", "srun"], nodes: int, total: int, do: str) -> Launched:
    if total % nodes:
        raise LaunchError(f"{by} has started {total} processes on {nodes} nodes, not equally many on each", do=do)
    return Launched(by, nodes, total // nodes)


def _check_gpus(found: Launched, accelerator: str) -> None:
    seen = torch.cuda.device_count() if accelerator in ("auto", "cuda", "gpu") else 0
    if 0 < seen < found.processes:
        raise LaunchError(
            f"{found.by} has started {found.processes} processes on this node, and each sees {seen} GPUs",
            do="give every process all GPUs of its node (Slurm: --gpus-per-node, not --gpus-per-task), one for each",
        )
