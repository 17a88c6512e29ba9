"""Users a second of full ranking: test users of Beauty and ML-1M, and a catalogue of a million items.

    python benchmarks/ranking.py [--repeats 3]

Needs SEQREC_DATA. Models have random weights: what ranking costs does not depend on them. Other systems beside it:
benchmarks/inference.py. Writes benchmarks/results/ranking.json:

- `evaluate`: forward pass, then the rank of each test target among all items and the best 20, seen items left out.
- `top10`: forward pass, then the best 10 unseen items after each user's whole sequence.
- `rank`: from user vectors to the best 10, without a forward pass; beside the bare matrix product of the same tiles.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

import torch
from harness import write_result
from systems import DATA

from seqrec.evaluation import rank_users
from seqrec.ranking import DotScorer, ItemLists, rank
from seqrec.ranking.scorers import TILE
from seqrec.ranking.whole_catalogue import USERS
from seqrec.recipe import build_data, build_recipe_model, ensure_store, load_recipe
from seqrec.stream import EvaluationBatch

WIDTH = 64
SIZES = {"12,101 items": (4096, 12_101), "3,416 items": (4096, 3_416), "1,000,000 items": (256, 1_000_000)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3, help="Runs of each; the median counts.")
    repeats = parser.parse_args().repeats
    rows = [row for dataset in DATA for row in whole(dataset, repeats)]
    rows += [kernel(size, *shape, repeats) for size, shape in SIZES.items()]
    for row in rows:
        floor = f"{row['of_matmul']:.2f} of the bare product's rate" if "of_matmul" in row else ""
        print(f"{row['dataset']:<16} {row['task']:<9} {row['users_per_s']:>9,.0f} users/s  {floor}")
    print(write_result("ranking", {"width": WIDTH, "weights": "random", "repeats": repeats, "rows": rows}))


def whole(dataset: str, repeats: int) -> list[dict[str, Any]]:
    """From batches to ranks and lists, reading and collation included."""
    sizes = [f"model.items.width={WIDTH}", f"model.backbone.width={WIDTH}"]
    recipe = load_recipe(DATA[dataset].recipes["full"], sizes)
    ensure_store(recipe)
    data = build_data(recipe)
    model = build_recipe_model(recipe, data.store, total_steps=1).eval()
    rows = []
    for task, part, k in (("evaluate", "test", 20), ("top10", None, 10)):
        stream = data.evaluation(part)  # type: ignore[arg-type]

        def run(batches: Iterable[EvaluationBatch] = stream.loader(0, 1), k: int = k) -> None:
            with torch.inference_mode():
                for batch in batches:
                    rank_users(model, batch, k=k)

        [seconds] = medians([run], repeats)
        rows.append(row(dataset, task, stream.counts.users, seconds))
    return rows


def kernel(size: str, n_users: int, n_items: int, repeats: int) -> dict[str, Any]:
    """Ranking alone, in turn with the bare matrix product."""
    generator = torch.Generator().manual_seed(0)
    users, items = (torch.randn(n, WIDTH, generator=generator) for n in (n_users, n_items))
    seen = torch.randint(1, n_items + 1, (n_users, 9), generator=generator)
    lists = ItemLists(torch.arange(n_users + 1) * seen.shape[1], seen.flatten())

    def product() -> None:
        for some in users.split(USERS):
            for tile in items.split(TILE):
                tile @ some.T

    bare, seconds = medians([product, lambda: rank(DotScorer(users, items), k=10, seen=lists)], repeats)
    return row(size, "rank", n_users, seconds) | {"of_matmul": bare / seconds}


def row(dataset: str, task: str, users: int, seconds: float) -> dict[str, Any]:
    """One figure."""
    return {"system": "seqrec", "dataset": dataset, "task": task, "users": users, "users_per_s": users / seconds}


def medians(runs: list[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of each, run in turn after one run that does not count."""
    taken: list[list[float]] = [[] for _ in runs]
    for repeat in range(repeats + 1):
        for run, seconds in zip(runs, taken, strict=True):
            start = time.perf_counter()
            run()
            if repeat:
                seconds.append(time.perf_counter() - start)
    return [statistics.median(seconds) for seconds in taken]


if __name__ == "__main__":
    main()
