"""Seconds an epoch beside peers."""

from __future__ import annotations

from typing import Any

from sections.peers import DATA, LOSSES, OWN, groups, label, settings

FILES = "training.json"
TITLE = "Training speed"
ABOUT = """SASRec of width 64 with 2 heads and feed-forward layers of the same width (Beauty: 1 block, length 50;
ML-1M: 2 blocks, length 200), float32, the same threads for all, epochs in turn, each peer in its own environment with
the settings that its documentation recommends. Median seconds of an epoch, the first left out where there are more;
validation and checkpoints are not in them.

The systems do not do the same work. RecTools draws the negatives anew for every position; the others share them in a
step. RecBole makes a row of every prefix of a history, so that its epoch has many times the rows, and has no loss over
sampled negatives but BPR with one; where only some of its steps were timed, an epoch is computed from them. Batches and
dropout are each system's own, below; seconds an epoch say nothing of how many epochs are needed, which the next section
does.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a system, the peers' multiples of seqrec's time; then what was chosen for each."""
    lines = ["| data | loss | system | s an epoch | × seqrec | epochs timed |", "|---|---|---|---|---|---|"]
    for (data, loss), systems in groups(figures["rows"]).items():
        for system, row in systems.items():
            seconds = row["seconds_an_epoch"]
            ratio = seconds / systems[OWN]["seconds_an_epoch"] if OWN in systems else float("nan")
            timed = len(row["seconds"][1:] or row["seconds"])
            part = "" if row["share"] == 1 else f" of {row['share']:.1%} of the steps"
            shown = f"**{label(row)}** | **{seconds:.2f}**" if system == OWN else f"{label(row)} | {seconds:.2f}"
            lines.append(f"| {DATA[data]} | {LOSSES[loss]} | {shown} | {ratio:.1f} | {timed}{part} |")
    return [*lines, "", *settings(figures["rows"])]
