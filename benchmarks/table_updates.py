"""Time of a training step by catalogue size: all rows of the item table updated, or only those that the step touches.

    python benchmarks/table_updates.py

One process and one thread, forward, backward and optimizer; 64 sequences of 32 events, width 64, one GPT-2 block, 256
uniform negatives. Both ways alternate, and the best of several counts.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from harness import write_result

from seqrec.models import MicroBatch, ModelSettings, NegativeSampler, SequenceModel, build_model
from seqrec.random import draw_items
from seqrec.training import OptimizerSettings
from seqrec.training.optimizer import build_optimizer

WAYS = ("all", "rows")
SEQUENCES, EVENTS, WIDTH, NEGATIVES = 64, 32, 64, 256


class Steps:
    """Trains a model on random sequences, a step a call."""

    def __init__(self, n_items: int, table_updates: str):
        loss = {"kind": "sampled_softmax", "negatives": {"uniform": NEGATIVES}}
        backbone = {"kind": "gpt2", "layers": 1, "heads": 2, "width": WIDTH}
        settings = ModelSettings.model_validate({"items": {"width": WIDTH}, "backbone": backbone, "loss": loss})
        self.model: SequenceModel = build_model(settings, n_items=n_items, max_length=EVENTS, total_steps=1)
        if table_updates == "rows":
            self.model.use_row_gradients()
        optimizer = OptimizerSettings.model_validate({"table_updates": table_updates})
        self.optimizer = build_optimizer(optimizer, self.model.parameters())
        self.sampler = NegativeSampler(self.model.loss.negatives, n_items, seed=0)
        self.n_items = n_items
        self.step = 0

    def __call__(self) -> float:
        """Seconds of the next step."""
        items = torch.from_numpy(draw_items(SEQUENCES * (EVENTS + 1), self.n_items, "events", self.step))
        items = items.view(SEQUENCES, EVENTS + 1)
        started = time.perf_counter()
        lengths = torch.full((SEQUENCES,), EVENTS)
        negatives = self.sampler.draw(0, self.step)
        batch = MicroBatch(items[:, :-1], lengths, items[:, 1:])
        loss = self.model.training_loss(batch, negatives) / batch.targets.numel()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return time.perf_counter() - started


def measure(n_items: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a step, by way."""
    steps = {way: Steps(n_items, way) for way in WAYS}
    for each in steps.values():
        each()
    taken = [[steps[way]() for way in WAYS] for _ in range(rounds)]
    return {way: round(1000 * float(best), 2) for way, best in zip(WAYS, np.min(taken, axis=0), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, nargs="+", default=[12_101, 100_000, 1_000_000], help="catalogue sizes")
    parser.add_argument("--rounds", type=int, default=20, help="steps of each way")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures = {}
    for n_items in arguments.items:
        best = measure(n_items, arguments.rounds)
        figures[str(n_items)] = best | {"all_over_rows": round(best["all"] / best["rows"], 2)}
        print(f"{n_items:>10,} items: {best['all']:8.1f} ms all, {best['rows']:8.1f} ms rows")
    shape = {
        "sequences": SEQUENCES,
        "events": EVENTS,
        "width": WIDTH,
        "negatives": NEGATIVES,
        "rounds": arguments.rounds,
    }
    write_result("table-updates", {"shape": shape, "rounds": arguments.rounds, "milliseconds": figures})


if __name__ == "__main__":
    main()
