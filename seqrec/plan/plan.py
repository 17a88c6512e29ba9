"""From a recipe to what it needs on a machine, before anything is built or loaded."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from seqrec.errors import RecipeError, UnsupportedError
from seqrec.models import ParameterCounts, build_model
from seqrec.plan.constants import HEADROOM
from seqrec.plan.cost import StepCost, step_cost
from seqrec.plan.devices import Device, find_device
from seqrec.plan.strategies import FLOAT, HELD, Rank, RankMemory, Sizes, rank_memory
from seqrec.plan.trace import StepTrace, trace_step
from seqrec.plan.workload import Workload, workload_of_budget, workload_of_store
from seqrec.recipe import Recipe, check_recipe
from seqrec.store import SequenceStore

_SOME_STEPS = 10_000  # of a training whose store is not there to count them: only adapters' schedules ask
_TIE = 1.05  # a time is not known better than this, and the simpler strategy is first
_ROW_COPIES = 6  # of a touched row: its gradient, twice as it is merged, and weight and averages while they are updated


class Row(NamedTuple):
    """One strategy, with activation checkpointing or without.

    Attributes:
        memory: of the rank that needs most.
        cost: of a step.
        fits: into the device's memory, with some headroom.
    """

    strategy: str
    checkpointing: bool
    memory: RankMemory
    cost: StepCost
    fits: bool


class Plan(NamedTuple):
    """What a recipe needs.

    Attributes:
        world_size: ranks W.
        parameters: of the model.
        workload: of the rank that has most.
        rows: strategies that the recipe can be trained under.
        refused: the others, with the reason.
        recommended: the first of those that fit and are about as fast as the fastest; None where none fits.
    """

    device: str
    nodes: int
    world_size: int
    device_memory: int
    parameters: ParameterCounts
    workload: Workload
    rows: list[Row]
    refused: dict[str, str]
    recommended: Row | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; bytes, FLOP and seconds."""
        rows = [_row_to_dict(row) for row in self.rows]
        return self._asdict() | {
            "parameters": self.parameters._asdict(),
            "workload": self.workload._asdict(),
            "rows": rows,
            "recommended": None if self.recommended is None else rows[self.rows.index(self.recommended)],
        }


def plan_recipe(recipe: Recipe, *, device: str, nodes: int = 1, devices: int = 1, n_items: int | None = None) -> Plan:
    """Plans a recipe's training.

    Args:
        recipe: what is trained. Its `trainer.strategy`, `devices` and `num_nodes` are not read.
        device: a name of `DEVICES`, or `cpu`.
        nodes: machines.
        devices: of each machine.
        n_items: catalogue size, for a store that is not there yet; its batches then follow from the token budget.
    Raises:
        RecipeError: no such device, or neither a store nor ``n_items``.
        RecipeError, UnsupportedError, BackboneError, AdapterError: the model cannot be built.
    """
    found = find_device(device)
    world_size = nodes * devices
    strategies, refused = _strategies(recipe, world_size, on_cpu=device == "cpu")
    workload = _workload(recipe, world_size, n_items)
    rows: list[Row] = []
    for checkpointing in (False, True):
        trace, sizes, parameters = _trace(recipe, workload, checkpointing, on_cpu=device == "cpu")
        half = "16" in str(recipe.trainer.get("precision", ""))
        rank = Rank(trace, sizes, world_size, device == "cpu", half, workload.micro_batches)
        rows += [_row(strategy, checkpointing, rank, found, nodes, devices) for strategy in strategies]
    return Plan(
        device=device,
        nodes=nodes,
        world_size=world_size,
        device_memory=found.memory,
        parameters=parameters,
        workload=workload,
        rows=rows,
        refused=refused,
        recommended=_recommended([row for row in rows if row.fits]),
    )


def _workload(recipe: Recipe, world_size: int, n_items: int | None) -> Workload:
    if n_items is not None:
        return workload_of_budget(recipe, world_size, n_items)
    if not SequenceStore.exists(recipe.data.store):
        raise RecipeError(
            "no store there, so that the catalogue's size is not known",
            where=f"data.store: {recipe.data.store}",
            do="prepare it with `seqrec prepare RECIPE`, or give the number of items with `--items`",
        )
    return workload_of_store(recipe, world_size)


def _strategies(recipe: Recipe, world_size: int, *, on_cpu: bool) -> tuple[list[str], dict[str, str]]:
    """Those that make a difference here, simplest first, and those that the recipe cannot be trained under."""
    whole = "auto" if world_size == 1 else "ddp"
    check_recipe(_under(recipe, whole))  # what is refused there is refused everywhere
    tried, refused = [], {}
    for strategy in [whole, *(name for name in HELD if name not in ("auto", "ddp"))]:
        offloads = strategy.endswith("_offload")
        if (on_cpu and offloads) or (world_size == 1 and not offloads and strategy != whole):
            continue
        try:
            check_recipe(_under(recipe, strategy))
        except UnsupportedError as error:
            refused[strategy] = str(error).splitlines()[0]
        else:
            tried.append(strategy)
    return tried, refused


def _under(recipe: Recipe, strategy: str) -> Recipe:
    return recipe.model_copy(update={"trainer": recipe.trainer | {"strategy": strategy}})


def _trace(
    recipe: Recipe, workload: Workload, checkpointing: bool, *, on_cpu: bool
) -> tuple[StepTrace, Sizes, ParameterCounts]:
    backbone = recipe.model.backbone.model_copy(update={"activation_checkpointing": checkpointing, "compile": False})
    settings = recipe.model.model_copy(update={"backbone": backbone})
    total_steps = _total_steps(recipe, workload)
    with torch.device("meta"):
        model = build_model(
            settings, n_items=workload.n_items, max_length=recipe.data.max_length, total_steps=total_steps
        )
    parameters = model.parameter_counts()
    precision = str(recipe.trainer.get("precision", "32-true"))
    average = Sizes.of(model, averaged=recipe.optimizer.ema is not None).average  # of the table too, whoever updates it
    trace = trace_step(model, recipe.optimizer, workload, precision=precision, on_cpu=on_cpu)
    sizes = Sizes.of(model, averaged=False)._replace(average=average)
    if recipe.optimizer.table_updates == "rows":
        rows = (workload.rows * workload.length + workload.targets) * recipe.model.items.width * FLOAT
        sizes = sizes._replace(buffers=sizes.buffers + _ROW_COPIES * rows)
    return trace, sizes, parameters


def _total_steps(recipe: Recipe, workload: Workload) -> int:
    epochs, steps = recipe.trainer.get("max_epochs") or 0, recipe.trainer.get("max_steps") or 0
    if steps > 0:
        return int(steps)
    return int(epochs * workload.steps_per_epoch) if workload.steps_per_epoch and epochs > 0 else _SOME_STEPS


def _row(strategy: str, checkpointing: bool, rank: Rank, device: Device, nodes: int, devices: int) -> Row:
    memory = rank_memory(strategy, rank)
    sharing = devices if rank.on_cpu else 1  # processes of a machine share its memory
    fits = memory.total * sharing <= device.memory * (1 - HEADROOM)
    return Row(strategy, checkpointing, memory, step_cost(strategy, rank, device, nodes=nodes), fits)


def _recommended(fitting: list[Row]) -> Row | None:
    fastest = min((row.cost.seconds for row in fitting), default=0.0)
    return next((row for row in fitting if row.cost.seconds <= _TIE * fastest), None)


def _row_to_dict(row: Row) -> dict[str, Any]:
    return row._asdict() | {
        "memory": row.memory._asdict() | {"total": row.memory.total},
        "cost": row.cost._asdict() | {"seconds": row.cost.seconds},
    }
