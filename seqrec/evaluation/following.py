"""Whole lists against what users did next: several events each, where `evaluate` asks for one."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from seqrec.errors import MetricError
from seqrec.evaluation.bootstrap import LEVELS, REPLICATES
from seqrec.evaluation.exact import Floats, Ints
from seqrec.evaluation.results import MetricValue
from seqrec.models import ListRequest, RankingModel
from seqrec.models.windows import without_repeats
from seqrec.ranking import ItemLists
from seqrec.store import Sequences
from seqrec.store.split import Part
from seqrec.stream import SequenceDataModule
from seqrec.stream.collate import flatten, pad, with_slack
from seqrec.stream.columns import Users, flat_columns, pad_columns, users_of

_USERS = 512  # whose lists are made at once


class FollowedLists(NamedTuple):
    """Lists of users, with the items that followed.

    Attributes:
        items: int64 (U, k), 1..N, best first, 0 for no item.
        followed: int64 (U, k), the different items among the next k events, oldest first, then 0; at least one.
    """

    items: Ints
    followed: Ints


def lists_and_what_followed(model: RankingModel, data: SequenceDataModule, *, part: Part, k: int) -> FollowedLists:
    """The list of each user whose history something follows, in one process.

    A history is that of the part's target. What follows it is all that the protocol keeps out of training: with
    leave-one-out two events for validation and one for test, with temporal cuts all after the cut.

    Args:
        model: what makes lists, in evaluation mode.
        data: store and split protocol; items of the history do not count where it filters them.
        part: whose histories.
        k: items of a list, and events that are looked at.
    Raises:
        UnsupportedError: the model's lists are shorter than k.
        MetricError: nothing follows any history, or a score is NaN.
    """
    model.check_list(k)
    most, filters = model.max_history(data.settings.max_length), data.split.settings.seen == "filter"
    found = []
    of_users = () if data.user_values is None else data.user_values.columns
    for read in data.store.scan(tuple(dict.fromkeys((*data.split.columns, *model.columns, *of_users)))):
        sequences = replace(read, items=with_slack([read.items], max(most, k)))
        targets = data.split.targets(sequences, part)
        users = np.flatnonzero(targets.position >= 0)
        known = users_of(sequences, data.user_values)[users]
        histories = _Histories(sequences, sequences.offsets[users], targets.history_end[users], known)
        followed = histories.followed(sequences.offsets[users + 1], k, new=filters)
        some = np.flatnonzero(followed.any(axis=1))
        for at in range(0, len(some), _USERS):
            chosen = some[at : at + _USERS]
            items = _recommended(model, histories.of(chosen), k, most=most, filters=filters)
            found.append(FollowedLists(items, followed[chosen]))
    if not found:
        raise MetricError("no event follows any history", do="take a split that leaves events after its histories")
    return FollowedLists(*(np.concatenate(column) for column in zip(*found, strict=True)))


def following_metrics(lists: FollowedLists, *, seed: int = 0) -> dict[str, MetricValue]:
    """Recall and NDCG of whole lists, means over users with percentile bootstrap intervals.

    `recall@k` is the share of what followed that is in the list. `ndcg@k` discounts a hit at place r (from 0) by
    log2(r + 2), over that of a list that begins with all that followed.

    Args:
        lists: of `lists_and_what_followed`.
        seed: of the resampling.
    """
    k = lists.items.shape[1]
    hits = (lists.items[:, :, None] == lists.followed[:, None, :]).any(axis=2) & (lists.items > 0)
    n_followed = np.count_nonzero(lists.followed, axis=1)
    discounts = 1 / np.log2(np.arange(k) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discounts)])[n_followed]
    values = {f"recall@{k}": hits.sum(axis=1) / n_followed, f"ndcg@{k}": hits @ discounts / ideal}
    return {name: _with_interval(of_users, seed) for name, of_users in values.items()}


class _Histories(NamedTuple):
    """Histories as slices of flat events; starts and lengths are int64 (U,), what is known of users int32 (U, F)."""

    sequences: Sequences
    starts: Ints
    lengths: Ints
    users: Users

    def of(self, users: Ints) -> _Histories:
        return _Histories(self.sequences, self.starts[users], self.lengths[users], self.users[users])

    def followed(self, sequence_ends: Ints, k: int, *, new: bool) -> Ints:
        """int64 (U, k), the different items of the next k events; without the history's if only new ones count."""
        ends = self.starts + self.lengths
        items = pad(self.sequences.items, ends, np.minimum(sequence_ends - ends, k))
        items = without_repeats(F.pad(items, (0, k - items.shape[1])))
        if new:
            seen, n = self.lists(), int(self.sequences.items.max(initial=0)) + 1
            keys = torch.arange(len(items)).unsqueeze(1) * n + items
            items = items.masked_fill(torch.isin(keys, seen.rows() * n + seen.items), 0)
        return items.numpy()

    def lists(self) -> ItemLists:
        """Their items."""
        return ItemLists(*map(torch.from_numpy, flatten(self.sequences.items, self.starts, self.lengths)))


@torch.inference_mode()
def _recommended(model: RankingModel, histories: _Histories, k: int, *, most: int, filters: bool) -> Ints:
    lengths = np.minimum(histories.lengths, most)
    ends = histories.starts + histories.lengths
    items = pad(histories.sequences.items, ends - lengths, lengths)
    flat = flat_columns(histories.sequences, model.columns)
    columns = pad_columns(flat, ends - lengths, lengths, histories.users)
    seen = ItemLists(*(column.to(model.device) for column in histories.lists())) if filters else None
    events = columns.every(lambda column: column.to(model.device))
    lengths_there = torch.from_numpy(lengths).to(model.device)
    request = ListRequest(items.to(model.device), lengths_there, events=events, k=k, seen=seen)
    return model.rank(request).top_items.cpu().numpy()


def _with_interval(of_users: Floats, seed: int) -> MetricValue:
    rng = np.random.default_rng([seed, 0])
    means = [of_users[rng.integers(len(of_users), size=len(of_users))].mean() for _ in range(REPLICATES)]
    low, high = np.quantile(means, LEVELS)
    return MetricValue(float(of_users.mean()), float(low), float(high))
