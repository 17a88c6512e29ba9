"""A plan for people."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from seqrec.plan.plan import Plan

_GIB = 2**30


def plan_table(plan: Plan) -> Group:
    """Parameters, a line a strategy, and what to take."""
    counts, work = plan.parameters, plan.workload
    parameters = Table("parameters", "trained", "frozen", "item table", title=None)
    parameters.add_row("", *(f"{n:,}" for n in counts))
    title = (
        f"GiB a rank, of {plan.device_memory / _GIB:.1f} on {plan.device} × {plan.world_size}; micro-batches of "
        f"{work.rows} × {work.length}, {work.micro_batches} a step"
    )
    columns = ["strategy", "recompute", "weights", "gradients", "optimizer", "activations", "loss", "buffers", "base"]
    rows = Table(*columns, "total", "fits", "ms a step", "MiB sent", title=title)
    for column in rows.columns[2:]:
        column.justify = "right"
    for row in plan.rows:
        figures = [f"{size / _GIB:.2f}" for size in (*row.memory, row.memory.total)]
        cost = f"{1000 * row.cost.seconds:,.1f}", f"{row.cost.traffic / 2**20:,.0f}"
        style = "bold" if row == plan.recommended else None
        yes = "yes" if row.fits else "no"
        rows.add_row(row.strategy, "yes" if row.checkpointing else "no", *figures, yes, *cost, style=style)
    return Group(parameters, rows, *(f"not possible: {reason}" for reason in plan.refused.values()), _advice(plan))


def _advice(plan: Plan) -> str:
    if plan.recommended is None:
        return "Nothing fits: take more devices, a lower `data.step_tokens` or more `data.partitions`."
    recompute = "true" if plan.recommended.checkpointing else "false"
    return (
        f"Recommended: trainer.strategy={plan.recommended.strategy} "
        f"model.backbone.activation_checkpointing={recompute} trainer.devices={plan.world_size // plan.nodes} "
        f"trainer.num_nodes={plan.nodes}"
    )
