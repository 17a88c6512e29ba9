"""What lists are like beside hitting their targets: popular, new to people, diverse, true to the user's taste.

Each is a mean over lists that is a ratio of two sums of whole numbers, so that neither the order of users nor the
number of ranks changes a digit; real numbers are counted in 2**-20.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from seqrec.evaluation.exact import Floats, Ints, whole
from seqrec.ranking import ItemLists, Labels, Similarity

UNIT = 2**20
_UNTRUE = 0.01  # Steck's alpha: how much of the history's distribution is mixed into the list's, so that KL is finite


class ListMeasure(Protocol):
    """One measure.

    Attributes:
        name: as `novelty`; the metric is ``novelty@k``.
        unit: what the first part's numbers are counted in: parts of one.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - said above

    @property
    def unit(self) -> int: ...  # noqa: D102 - said above

    def count(self, lists: Ints, histories: ItemLists) -> tuple[Ints, Ints]:
        """The two parts of each user.

        Args:
            lists: int64 (U, k), 1..N, best first, 0 for no item.
            histories: of the same users, on the CPU.
        Returns:
            int64 (U,) each, none negative, for the ratio of their sums.
        """
        ...


@dataclass(frozen=True)
class ItemMean:
    """Mean over all recommendations of a weight of the item.

    Attributes:
        name: of the measure.
        weights: int64 (N,), >= 0, row r for item r + 1.
        unit: parts of one that weights are counted in.
    """

    name: str
    weights: Ints
    unit: int = 1

    def count(self, lists: Ints, histories: ItemLists) -> tuple[Ints, Ints]:
        """As `ListMeasure` says."""
        held = lists > 0
        return np.where(held, self.weights[lists - 1], 0).sum(axis=1), held.sum(axis=1).astype(np.int64)


def popularity_measure(training_counts: Ints) -> ItemMean:
    """Mean training events of a recommended item; ``training_counts`` int64 (N,)."""
    return ItemMean("popularity", training_counts)


def novelty_measure(training_counts: Ints) -> ItemMean:
    """Mean self-information of a recommended item, -log2 of its share of the training events, in bits.

    Each item is given one event more than it has: without, that of a cold item would be infinite.

    Args:
        training_counts: int64 (N,).
    Source: Zhou et al. 2010, "Solving the apparent diversity-accuracy dilemma of recommender systems".
    """
    share = (training_counts + 1) / (training_counts.sum() + len(training_counts))
    return ItemMean("novelty", whole(-np.log2(share), UNIT), UNIT)


@dataclass(frozen=True)
class IntraListDiversity:
    """Mean over the pairs of a list of 1 - similarity, of all lists together (Ziegler et al. 2005).

    Pairs that have no similarity, as of an item without category, do not count.

    Attributes:
        name: of the measure.
        similarity: of two items.
    """

    name: str
    similarity: Similarity
    unit: int = UNIT

    def count(self, lists: Ints, histories: ItemLists) -> tuple[Ints, Ints]:
        """As `ListMeasure` says."""
        items = torch.from_numpy(lists)
        known = (items > 0) & self.similarity.known(items)
        upper = torch.ones(lists.shape[1], lists.shape[1], dtype=torch.bool).triu(1)
        pairs = known[:, :, None] & known[:, None, :] & upper
        apart = (1 - self.similarity.between(items, items).double()).clamp(min=0)
        return whole((apart * pairs).sum(dim=(1, 2)).numpy(), UNIT), pairs.sum(dim=(1, 2)).numpy()


@dataclass(frozen=True)
class Miscalibration:
    """Mean KL divergence, in nats, of the categories of a user's list from those of the history; 0 is calibrated.

    A history's distribution is that of its events, each shared out evenly over its item's categories; a list's is that
    of its items. Users with a history or a list without any category do not count.

    Attributes:
        labels: categories of the items.

    Source: Steck 2018, "Calibrated recommendations", equations 2, 3 and 4, with its alpha of 0.01 and equal weights.
    """

    labels: Labels
    name: str = "miscalibration"
    unit: int = UNIT

    def count(self, lists: Ints, histories: ItemLists) -> tuple[Ints, Ints]:
        """As `ListMeasure` says."""
        held = lists > 0
        users = np.repeat(np.arange(len(lists)), held.sum(axis=1))
        history_keys, taste = self._distribution(histories.rows().numpy(), histories.items.numpy(), len(lists))
        list_keys, shown = self._distribution(users, lists[held], len(lists))
        place = np.searchsorted(list_keys, history_keys)
        there = place < len(list_keys)
        there[there] = list_keys[place[there]] == history_keys[there]
        offered = np.zeros_like(taste)
        offered[there] = shown[place[there]]
        terms = taste * np.log(taste / ((1 - _UNTRUE) * offered + _UNTRUE * taste))
        n_labels = self.labels.n_labels + 1
        owner = history_keys // n_labels
        divergence = np.bincount(owner, weights=terms, minlength=len(lists))
        both = np.isin(np.arange(len(lists)), owner) & np.isin(np.arange(len(lists)), list_keys // n_labels)
        return whole(np.where(both, divergence.clip(min=0), 0.0), UNIT), both.astype(np.int64)

    def _distribution(self, users: Ints, items: Ints, n_users: int) -> tuple[Ints, Floats]:
        """Keys user * (labels + 1) + label, ascending, and each one's share of its user's items, float64."""
        codes = self.labels.codes.numpy()[items - 1]  # (events, L), 0 beyond an item's labels
        number = np.count_nonzero(codes, axis=1)
        event, column = np.nonzero(codes)
        keys = users[event] * (self.labels.n_labels + 1) + codes[event, column]
        found, inverse = np.unique(keys, return_inverse=True)
        weight = np.bincount(inverse, weights=1 / number[event], minlength=len(found))
        owner = found // (self.labels.n_labels + 1)
        total = np.bincount(users[number > 0], minlength=n_users)
        return found, weight / total[owner]
