"""Twenty faults in a row over one long run on two processes, beside a run that nothing happened to.

    python benchmarks/faults.py [--faults 20]

A rank killed, rank 0 killed at three places of a save, a disk without room for a checkpoint, a byte of the newest
checkpoint changed, by turns and at steps drawn from a seed. In the end the weights must equal those of the other run
bit for bit, and each row must have been trained on once an epoch. Writes benchmarks/results/faults.json.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # what the tests of the same promise use

from harness import write_result

from seqrec.logs import LogSettings, prepare
from seqrec.simulate import ShopSettings, simulate_shop, write_shop
from tests.integration.workplace import Workplace, check_equal

KINDS = ("kill-0", "torn", "corrupt", "full", "kill-1", "unnamed", "named")
RANKS, EPOCHS, SAVE_EVERY = 2, 60, 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--faults", type=int, default=20)
    n_faults = parser.parse_args().faults
    with tempfile.TemporaryDirectory() as name:
        place = make_place(Path(name))
        place.fit("whole", RANKS)
        began = time.monotonic()
        faults = break_again_and_again(place, n_faults)
        place.fit("broken", RANKS)
        seconds = time.monotonic() - began
        place.check_each_row_once("broken")
        check_equal(place.weights("whole"), place.weights("broken"))
    figures = {
        "processes": RANKS,
        "steps": place.n_steps,
        "save_every_steps": SAVE_EVERY,
        "faults": faults,
        "steps_done_again": sum(fault["steps_lost"] for fault in faults),
        "weights_equal_bit_for_bit": True,  # else this line is not reached
        "rows_lost_or_repeated": 0,
        "seconds_with_all_starts": round(seconds, 1),
    }
    print(write_result("faults", figures))


def make_place(folder: Path) -> Workplace:
    write_shop(simulate_shop(ShopSettings(users=120, items=60, categories=4, days=30, seed=3)), folder / "log")
    columns = {"user": "user", "item": "item", "time": "time"}
    logs = {"root": str(folder / "log"), "sources": ["events.csv"], "columns": columns}
    prepare(LogSettings.model_validate(logs), folder / "store")
    recipe: dict[str, Any] = {
        "name": "faults",
        "data": {"store": str(folder / "store"), "max_length": 20, "step_tokens": 150, "partitions": 1},
        "model": {
            "items": {"kind": "ids", "width": 16},
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.2},
        },
        "selection": {"patience": None, "save_every_steps": SAVE_EVERY},
        "trainer": {"max_epochs": EPOCHS, "accelerator": "cpu", "check_val_every_n_epoch": 10},
        "loggers": [],
    }
    return Workplace(folder, recipe)


def break_again_and_again(place: Workplace, n_faults: int) -> list[dict[str, Any]]:
    """Starts the run as often as it takes; each start but the last ends in a fault, between some a file is changed."""
    draw = random.Random(0)
    faults: list[dict[str, Any]] = []
    stride = place.n_steps // (n_faults + 1)
    stands = 0
    while len(faults) < n_faults:
        kind = KINDS[len(faults) % len(KINDS)]
        if kind == "corrupt":
            at = place.corrupt_newest("broken")
            stands = place.run("broken").last.step
            faults.append({"kind": kind, "at_step": at, "steps_lost": at - stands})
            continue
        at = stands + draw.randint(2, 2 * stride)
        killed = re.fullmatch(r"kill-(\d)", kind)
        if killed:
            place.fit("broken", RANKS, kill=f"{killed[1]}:{at}:0")
        else:
            place.fit("broken", RANKS, fault=f"{kind}:{at}")
        reached = max(line["step"] for line in place.starts("broken")[-1]) + 1
        stands = place.run("broken").last.step
        faults.append({"kind": kind, "at_step": at, "steps_lost": reached - stands})
        print(faults[-1], flush=True)
    return faults


if __name__ == "__main__":
    main()
