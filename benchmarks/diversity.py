"""What re-ranking for diversity costs: NDCG lost against diversity gained, over the whole range of weights.

    SEQREC_DATA=… python benchmarks/diversity.py recipes/amazon-beauty-sampled.yaml

Trains the recipe (or takes its finished run), ranks the test targets once, re-ranks the candidates by MMR and by the
DPP with each weight of relevance, by item vectors and by categories, and writes benchmarks/results/diversity.json and
the plot docs/diversity.svg. No weight is chosen from it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from harness import write_result
from torch import Tensor

from seqrec.evaluation import Tally, categories, rank_users
from seqrec.evaluation.list_measures import IntraListDiversity
from seqrec.ranking import Diversifier, Diversity, Similarity, VectorSimilarity
from seqrec.ranking.diversify import CANDIDATES, By, Method
from seqrec.recipe import Run, fit, load_recipe

K = 10
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
METHODS: tuple[Method, ...] = ("mmr", "dpp")
KINDS: tuple[By, ...] = ("vectors", "category")
PLOT = Path(__file__).parent.parent / "docs" / "diversity.svg"
LABELS = {"vectors": "item vectors", "category": "categories"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="as `seqrec fit` takes them")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    arguments = parser.parse_args()
    run = fit(load_recipe(arguments.recipe, arguments.overrides), runs=arguments.runs)
    rows = measure(run)
    settings = {"recipe": arguments.recipe.stem, "k": K, "candidates": CANDIDATES, "users": rows[0]["users"]}
    print(write_result("diversity", settings | {"rows": rows}), draw(rows))


@dataclass
class Remembered:
    """A similarity that keeps its last answer: every weight asks for the same candidates."""

    similarity: Similarity
    items: Tensor | None = None
    found: Tensor | None = None

    def between(self, a: Tensor, b: Tensor) -> Tensor:
        if self.items is None or self.items.shape != a.shape or not torch.equal(self.items, a):
            self.items, self.found = a, self.similarity.between(a, b)
        assert self.found is not None
        return self.found

    def known(self, items: Tensor) -> Tensor:
        return self.similarity.known(items)

    def to(self, device: torch.device) -> Remembered:
        return self


@torch.inference_mode()
def measure(run: Run) -> list[dict[str, Any]]:
    """A row a method, kind of similarity and weight."""
    model, data, labels = run.model, run.data, categories(run.data)
    assert labels is not None
    similarities = {"vectors": VectorSimilarity.of(model.item_vectors()), "category": labels}
    measures = [IntraListDiversity(f"{by}_diversity", similarity) for by, similarity in similarities.items()]
    remembered = {by: Remembered(similarity) for by, similarity in similarities.items()}
    wanted = [Diversity(*choice) for choice in product(METHODS, WEIGHTS, KINDS)]
    tallies = {str(one): Tally(data.split.train_counts[1:], [K], measures=measures) for one in wanted}
    stream = data.evaluation("test")
    for batch in stream.loader(0, 1):
        ranked = rank_users(model, batch, k=CANDIDATES)
        for by in KINDS:
            remembered[by].between(ranked.top_items, ranked.top_items)
        for one in wanted:
            found = Diversifier(one, remembered[one.by])(ranked, K, targets=batch.targets)
            assert found.target_rank is not None
            tallies[str(one)].add(batch.rows.numpy(), found.target_rank.numpy(), found.top_items.numpy())
    rows = []
    for one in wanted:
        metrics = tallies[str(one)].metrics()
        ndcg = metrics[f"ndcg@{K}"]
        rows.append(
            {
                "method": one.method,
                "by": one.by,
                "weight": one.weight,
                **{name: round(value.value, 5) for name, value in metrics.items()},
                "interval": [round(bound, 5) for bound in (ndcg.low, ndcg.high) if bound is not None],
                "users": stream.counts.users,
            }
        )
    return rows


def draw(rows: list[dict[str, Any]]) -> Path:
    """NDCG over diversity, a panel for each kind of similarity."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "diversity", "font.size": 10}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        for axes, by in zip(figure.subplots(1, 2, sharey=True), KINDS, strict=True):
            for method, colour in zip(METHODS, ("#3257d6", "#b4690e"), strict=True):
                own = [row for row in rows if (row["method"], row["by"]) == (method, by)]
                x, y = [row[f"{by}_diversity@{K}"] for row in own], [row[f"ndcg@{K}"] for row in own]
                axes.plot(x, y, color=colour, marker="o", markersize=3.5, label=method.upper())
                for row in own:
                    if row["weight"] in (0.0, 0.5, 0.9):
                        place = (row[f"{by}_diversity@{K}"], row[f"ndcg@{K}"])
                        axes.annotate(f"{row['weight']:g}", place, (4, 4), textcoords="offset points", color=colour)
            axes.set_xlabel(f"intra-list diversity@{K} by {LABELS[by]}")
            axes.grid(linewidth=0.5)
            axes.set_ylim(bottom=0)
        figure.axes[0].set_ylabel(f"NDCG@{K}")
        figure.axes[0].legend(title="weight of relevance beside points")
        figure.savefig(PLOT, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return PLOT


if __name__ == "__main__":
    main()
