"""Faults in a row."""

from __future__ import annotations

from typing import Any

from sections.common import table

FILES = "faults.json"
TITLE = "Faults in a row"
ABOUT = """One training on two processes that is broken again and again ([what happens then](faults.md)): `kill-N`
kills rank N; `torn`, `unnamed` and `named` kill rank 0 within a save, before the checkpoint has its name and after;
`full` is a disk without room; `corrupt` changes a byte of the newest checkpoint.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A sentence, and a row a fault."""
    same = "the same bit for bit" if figures["weights_equal_bit_for_bit"] else "NOT the same"
    said = (
        f"{len(figures['faults'])} faults in {figures['steps']} steps, saved every {figures['save_every_steps']}: "
        f"{figures['steps_done_again']} steps were done again, {figures['rows_lost_or_repeated']} rows lost or "
        f"repeated, and the final weights are {same} as those of the run that nothing happened to.\n"
    )
    names = {"kind": "fault", "at_step": "from step", "steps_lost": "steps done again"}
    return [said, *table([{title: fault[name] for name, title in names.items()} for fault in figures["faults"]])]
