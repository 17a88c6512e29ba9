"""The baselines by name, fitted to a store's training events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, get_args

from seqrec.errors import RecipeError, nearest
from seqrec.evaluation.baselines.item_knn import ItemKNN
from seqrec.evaluation.baselines.matrix_factorisation import MatrixFactorisation, implicit_models
from seqrec.evaluation.baselines.popular import Popular, popular_recent
from seqrec.evaluation.exact import Ints
from seqrec.ranking import ItemLists, Scorer
from seqrec.stream import SequenceDataModule

BaselineName = Literal["popular", "popular_recent", "item_knn", "als", "bpr"]
BASELINES: tuple[BaselineName, ...] = get_args(BaselineName)
DEFAULT_BASELINES: tuple[BaselineName, ...] = ("popular", "popular_recent", "item_knn")


class Baseline(Protocol):
    """A fitted recommender."""

    def scorer(self, histories: ItemLists, rows: Ints) -> Scorer:
        """Scores for some users.

        Args:
            histories: of the users, on the CPU; one may be empty.
            rows: int64 (B,), their store rows.
        """
        ...


def check_baselines(names: Iterable[str]) -> None:
    """Raises RecipeError for an unknown name, and MissingExtraError where a package is missing."""
    for name in names:
        if name not in BASELINES:
            near = nearest(name, BASELINES)
            raise RecipeError(
                f"no baseline {name!r}" + (f" (did you mean {near!r}?)" if near else ""),
                where="--baselines",
                known=", ".join(BASELINES),
                do="name some of these, separated by commas",
            )
    if {"als", "bpr"} & set(names):
        implicit_models()


def fit_baselines(names: Iterable[BaselineName], data: SequenceDataModule) -> dict[str, Baseline]:
    """Each of the named baselines, fitted to the events that the split trains on.

    Raises:
        RecipeError: a name is unknown.
        MissingExtraError: one needs a package that is not installed.
    """
    names = list(names)
    check_baselines(names)
    return {name: _fit(name, data) for name in names}


def _fit(name: BaselineName, data: SequenceDataModule) -> Baseline:
    counts = data.store.manifest.counts
    match name:
        case "popular":
            return Popular.fit(data.training_sequences(), counts.items)
        case "popular_recent":
            return popular_recent(data.training_sequences, counts.items)
        case "item_knn":
            return ItemKNN.fit(data.training_sequences(), counts.items)
        case "als" | "bpr":
            return MatrixFactorisation.fit(data.training_sequences(), counts.users, counts.items, method=name)
