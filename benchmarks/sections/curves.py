"""Time to a validation quality beside peers."""

from __future__ import annotations

import json
from typing import Any

from harness import RESULTS

from sections.peers import DATA, LOSSES, OWN, groups, label

FILES = "curves.json"
TITLE = "Time to the same quality"
ABOUT = """Validation NDCG@10 of the lists that each system makes after each epoch, seen items filtered, judged by one
evaluator. The target is the most that seqrec and the peer both reached, so it differs from peer to peer; the time to it
is the epochs until then × the seconds an epoch above. What listing and judging take is not in it.

One seed each, on the validation targets: small differences between best values mean nothing. Settings are each system's
own, as above; the learning rate of seqrec falls over the epochs of its recipe, the peers' are constant. A curve ends
with the recipe, when it has not risen for some epochs (15 where not said otherwise), or with the time that it was
given, and might have risen further. Where the peer's best is higher, it went on to what this recipe of seqrec does not
reach; [others](quality.md) do. Slow peers had eight to ten minutes, which is two to eight epochs, so that the targets
beside them are low. RecBole is missing on MovieLens, where an epoch takes two hours.
"""


def body(figures: dict[str, Any]) -> list[str]:
    """A row a peer: the common target, and both times to it."""
    training = RESULTS / "training.json"
    speeds = groups(json.loads(training.read_text())["rows"]) if training.is_file() else {}
    lines = [
        "| data | loss | peer | its best (epochs trained) | seqrec's best (epochs) | target "
        "| epochs to it, peer / seqrec | time to it, peer / seqrec | × seqrec |",
        "|---" * 9 + "|",
    ]
    for key, systems in groups(figures["rows"]).items():
        for system, row in systems.items():
            if system != OWN and OWN in systems:
                speed = {s: r["seconds_an_epoch"] for s, r in speeds.get(key, {}).items()}
                lines.append(f"| {DATA[key[0]]} | {LOSSES[key[1]]} | {compared(row, systems[OWN], speed)} |")
    return lines


def compared(peer: dict[str, Any], own: dict[str, Any], speed: dict[str, float]) -> str:
    """Cells of one peer beside seqrec."""
    theirs, ours = peer["ndcg@10"], own["ndcg@10"]
    target = min(max(theirs), max(ours))
    epochs = [next(i for i, value in enumerate(curve, 1) if value >= target) for curve in (theirs, ours)]
    cells = [label(peer), f"{max(theirs):.4f} ({len(theirs)})", f"{max(ours):.4f} ({len(ours)})", f"{target:.4f}"]
    cells.append(" / ".join(map(str, epochs)))
    if {peer["system"], OWN} <= speed.keys():
        seconds = [n * speed[system] for n, system in zip(epochs, (peer["system"], OWN), strict=True)]
        cells += [f"{seconds[0]:,.0f} s / {seconds[1]:,.0f} s", f"{seconds[0] / seconds[1]:.1f}"]
    else:
        cells += ["–", "–"]
    return " | ".join(cells)
