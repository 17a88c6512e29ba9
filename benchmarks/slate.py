"""Slates beside ranking by one vector: the same backbone, loss and data, decoders and decodings compared.

    SEQREC_DATA=… python benchmarks/slate.py

Trains recipes/amazon-beauty-slate.yaml with each decoder and with the head `next_item`, each seed in turn (or goes on
with it), chooses the checkpoint on validation as the recipe says, and writes benchmarks/results/slate.json: metrics of
the single test target; recall and NDCG of whole lists of ten against the two events that each user gave up; how far
apart the items of a list are; and what a list costs. Decodings are compared on the first seed of the recipe's own
decoder.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from harness import RECIPES, write_result
from quality import measure as quality_of
from scipy.sparse import csr_matrix

from seqrec.evaluation import following_metrics, lists_and_what_followed
from seqrec.models import BeamSettings, DecodingSettings, GreedySettings, SlateModel, TopPSettings
from seqrec.recipe import Recipe, Run, fit, load_recipe
from seqrec.store import SequenceStore

RECIPE = RECIPES / "amazon-beauty-slate.yaml"
HEADS = {
    "next_item": ["model.head={kind: next_item}"],
    **{kind: [f"model.head.decoder={kind}"] for kind in ("gru", "lstm", "transformer")},
}
DECODINGS: dict[str, DecodingSettings] = {
    "greedy": GreedySettings(),
    "beam of 4": BeamSettings(kind="beam", beams=4),
    "top_p of 0.5": TopPSettings(kind="top_p", share=0.5),
    "top_p of 0.9": TopPSettings(kind="top_p", share=0.9),
}
K = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them, for all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    common = load_recipe(RECIPE, arguments.overrides)
    heads: dict[str, list[dict[str, Any]]] = {name: [] for name in HEADS}
    decodings: dict[str, dict[str, Any]] = {}
    for seed in arguments.seeds:
        for name, changes in HEADS.items():
            named = [f"seed={seed}", f"name=slate-{name}-seed{seed}"]
            run = fit(load_recipe(RECIPE, [*changes, *arguments.overrides, *named]), runs=arguments.runs)
            heads[name].append({"seed": seed} | of_head(run))
            print(name, heads[name][-1]["lists"], flush=True)
            if name == "gru" and not decodings:
                decodings = {kind: measure(run, decoding) for kind, decoding in DECODINGS.items()}
            written = write(heads, decodings, common)
    print(decodings, written)


def write(heads: dict[str, list[dict[str, Any]]], decodings: dict[str, dict[str, Any]], recipe: Recipe) -> Path:
    """What is known so far."""
    settings = recipe.model_dump(mode="json", exclude={"seed", "name"})
    return write_result("slate", {"k": K, "heads": heads, "decodings": decodings, "settings": settings})


def of_head(run: Run) -> dict[str, Any]:
    """What a trained head finds, as it decodes by itself, and what training took."""
    return quality_of(run) | {"hr@1": first_hits(run), "lists": measure(run)}


def measure(run: Run, decoding: DecodingSettings | None = None) -> dict[str, Any]:
    """Whole lists after what was trained on, of every user."""
    model = run.model
    if decoding is not None:
        assert isinstance(model, SlateModel)
        model.decoding = decoding
    started = time.perf_counter()
    lists = lists_and_what_followed(model, run.data, part="validation", k=K)
    seconds = time.perf_counter() - started
    metrics = {name: [m.value, m.low, m.high] for name, m in following_metrics(lists).items()}
    distinct = len(np.unique(lists.items)) / model.n_items
    ms = 1000 * seconds / len(lists.items)
    return metrics | {"distance": distance(run.data.store, lists.items), "coverage": distinct, "ms_a_list": ms}


def first_hits(run: Run) -> float:
    """Share of users whose list begins with the test target."""
    lists = lists_and_what_followed(run.model, run.data, part="test", k=K)
    return float((lists.items[:, 0] == lists.followed[:, 0]).mean())


def distance(store: SequenceStore, lists: np.ndarray) -> float:
    """Mean over lists of the mean over pairs of 1 - cosine of the items' sets of attributes; known ones only."""
    texts = store.catalogue.table.column("category").to_pylist()
    sets = [set(filter(None, (text or "").split("|"))) for text in texts]
    names = {name: column for column, name in enumerate(sorted(set().union(*sets)))}
    rows = np.repeat(np.arange(len(sets)), [len(one) for one in sets])
    columns = np.array([names[name] for one in sets for name in one])
    weights = 1 / np.sqrt([len(sets[row]) for row in rows])
    unit = csr_matrix((weights, (rows, columns)), shape=(len(sets), len(names)))
    known = np.array([bool(one) for one in sets])
    found = []
    for items in lists:
        mine = items[items > 0] - 1
        mine = mine[known[mine]]
        if len(mine) > 1:
            alike = (unit[mine] @ unit[mine].T).toarray()
            found.append(1 - (alike.sum() - len(mine)) / (len(mine) * (len(mine) - 1)))
    return float(np.mean(found))


if __name__ == "__main__":
    main()
