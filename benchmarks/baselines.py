"""The baselines' hyper-parameters, searched on validation, and the chosen ones on test.

    SEQREC_DATA=… python benchmarks/baselines.py recipes/amazon-beauty-causal.yaml recipes/ml-1m-causal.yaml

Takes store and split protocol of each recipe, measures every setting of the grids below on the validation targets, then
the one of the best NDCG@10 of each kind on the test targets, once, and writes benchmarks/results/baselines.json.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import write_result

from seqrec.evaluation import MatrixFactorisation, Popular, Tally, popular_recent
from seqrec.evaluation.baselines import Baseline, ItemKNN
from seqrec.ranking import ItemLists, rank
from seqrec.recipe import build_data, ensure_store, load_recipe
from seqrec.stream import SequenceDataModule

K = 20
GRIDS: dict[str, dict[str, list[Any]]] = {
    "popular": {},
    "popular_recent": {"share": [0.01, 0.03, 0.1, 0.3]},
    "item_knn": {"neighbours": [50, 200], "shrinkage": [0.0, 20.0]},
    "als": {"factors": [64, 128], "alpha": [1.0, 10.0, 40.0], "regularization": [0.1, 1.0]},
    "bpr": {"factors": [64, 128], "learning_rate": [0.02, 0.05], "regularization": [0.01, 0.05]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", type=Path, nargs="+")
    parser.add_argument("--only", choices=list(GRIDS), nargs="+", default=list(GRIDS))
    arguments = parser.parse_args()
    searched: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for path in arguments.recipes:
        recipe = load_recipe(path)
        ensure_store(recipe)
        data = build_data(recipe)
        for name in arguments.only:
            found = []
            for setting in settings_of(GRIDS[name]):
                started = time.perf_counter()
                fitted = fit(name, data, setting)
                seconds = time.perf_counter() - started
                value = metrics(fitted, data, "validation")["ndcg@10"]["value"]
                found.append((value, setting, fitted, seconds))
                searched.append({"data": path.stem, "baseline": name, **setting, "validation_ndcg@10": value})
                print(searched[-1], flush=True)
            _, setting, fitted, seconds = max(found, key=lambda one: one[0])
            test = metrics(fitted, data, "test")
            rows.append({"data": path.stem, "baseline": name, "setting": setting, "test": test,
                         "fit_seconds": round(seconds, 1)})  # fmt: skip
            print(rows[-1], write_result("baselines", {"rows": rows, "searched": searched}), flush=True)


def settings_of(grid: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination."""
    for values in product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def fit(name: str, data: SequenceDataModule, setting: dict[str, Any]) -> Baseline:
    """A baseline with a setting."""
    counts = data.store.manifest.counts
    makers: dict[str, Callable[[], Baseline]] = {
        "popular": lambda: Popular.fit(data.training_sequences(), counts.items),
        "popular_recent": lambda: popular_recent(data.training_sequences, counts.items, **setting),
        "item_knn": lambda: ItemKNN.fit(data.training_sequences(), counts.items, **setting),
    }
    if name in makers:
        return makers[name]()
    method = "als" if name == "als" else "bpr"
    return MatrixFactorisation.fit(data.training_sequences(), counts.users, counts.items, method=method, **setting)


def metrics(baseline: Baseline, data: SequenceDataModule, part: Any) -> dict[str, dict[str, float | None]]:
    """HR@10 and NDCG@10 with intervals."""
    stream = data.evaluation(part)
    tally = Tally(data.split.train_counts[1:])
    for number in range(len(stream)):
        users = stream.users(number)
        histories = ItemLists(torch.from_numpy(users.offsets), torch.from_numpy(users.items))
        seen = histories if data.split.settings.seen == "filter" else None
        ranked = rank(baseline.scorer(histories, users.rows), k=K, targets=torch.from_numpy(users.targets), seen=seen)
        assert ranked.target_rank is not None
        tally.add(users.rows, ranked.target_rank.numpy().astype(np.int64), ranked.top_items.numpy())
    found = tally.metrics()
    return {
        name: {"value": round(found[name].value, 5), "low": found[name].low, "high": found[name].high}
        for name in ("hr@10", "ndcg@10")
    }


if __name__ == "__main__":
    main()
