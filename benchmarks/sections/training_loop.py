"""Lightning's loop beside a bare one."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "training-loop.json"
TITLE = "Lightning's loop"
ABOUT = """`Trainer.fit` beside a bare loop over the same stream, model and optimiser: CPU time of the process, one
thread, whole epochs of Amazon Beauty in turn, the best of them; one block of width 64, 256 negatives. The bare loop
writes no logs and no checkpoints and does nothing for other ranks. Both end with the same weights.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """One row."""
    per_step = figures["cpu_ms_per_step"]
    row = {
        "steps": figures["steps"],
        "Lightning, ms a step": per_step["lightning"],
        "bare, ms a step": per_step["bare"],
        "Lightning's share": f"{figures['lightning_share']:.1%}",
    }
    return table([row])
