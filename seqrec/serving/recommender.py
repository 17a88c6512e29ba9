"""Top-k recommendations for histories of item ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seqrec.event_columns import EventColumns
from seqrec.export import Bundle, Encoded, Encoder, History, evaluating
from seqrec.models import PAD, ListRequest, RankingModel
from seqrec.ranking import Diversifier, ItemLists
from seqrec.store import Catalogue

Int64 = npt.NDArray[np.int64]
_BATCH_EVENTS = 4_096  # padding counted; activations then stay within a processor's cache
_BATCH_USERS = 1_024


class Recommendation(NamedTuple):
    """One recommended item.

    Attributes:
        item_id: the item.
        score: the model's score, or training events where ``fallback`` says so.
        fallback: `popular` where there was no history and the most popular items of training stand in.
    """

    item_id: str
    score: float
    fallback: Literal["popular"] | None = None


class Recommender:
    """Recommends the items that a model ranks highest.

    A user without a history gets the most popular items of training. The same histories in the same call get the same
    slates; another batch may change the last bits of a score.

    Args:
        model: trained, on any device; its mode is put back after each call.
        item_ids: N ids; item i is ``item_ids[i - 1]``.
        seen: `filter` never recommends an item of the history, `allow` may.
        max_length: positions that an input takes; of longer histories the model sees the latest events that fit.
        popular: int64 (N,), training events of each item.
        diversifier: re-ranks lists, or None.
        actions: names of the store's action types, in the order of their codes; for a model that reads actions.
    Raises:
        ValueError: model, ids and counts are of different catalogues.
    """

    def __init__(
        self,
        model: RankingModel,
        item_ids: Sequence[str],
        *,
        seen: Literal["filter", "allow"],
        max_length: int,
        popular: Int64,
        diversifier: Diversifier | None = None,
        actions: Sequence[str] = (),
    ):
        n_items = model.n_items
        if not n_items == len(item_ids) == len(popular):
            raise ValueError(f"{n_items} items, {len(item_ids)} item ids and {len(popular)} training counts")
        self.model = model
        self.catalogue = Catalogue.of_ids(item_ids)
        self._encode = Encoder(self.catalogue, actions, model.columns, model.user_values)
        self.seen = seen
        self.max_length = max_length
        self.popular = popular
        self.diversifier = diversifier

    @classmethod
    def from_bundle(cls, bundle: Bundle, *, diversifier: Diversifier | None = None) -> Recommender:
        """The recommender that was exported."""
        manifest = bundle.manifest
        return cls(
            bundle.model,
            bundle.item_ids,
            seen=manifest.seen,
            max_length=manifest.max_length,
            popular=bundle.training_counts,
            diversifier=diversifier,
            actions=manifest.actions,
        )

    def recommend(self, histories: Sequence[Sequence[str] | History], k: int) -> list[list[Recommendation]]:
        """A slate for each history.

        Args:
            histories: item ids, oldest first, or a `History` where the model reads more of an event; an empty one for
                a new user.
            k: items a slate, >= 1. A slate is shorter where fewer items are left.
        Returns:
            For each history its items, best first; of equal scores the earlier in the catalogue comes first. Re-ranked
            lists keep the model's scores, which then need not fall.
        Raises:
            UnknownIdError: a history has an id that is not in the catalogue, or an action that was not in training.
            UnsupportedError: the model's slates are shorter than k, or a history lacks what it reads of events.
            MetricError: a score is NaN.
        """
        if k < 1:
            raise ValueError(f"k is {k}, a slate has at least one item")
        self.model.check_list(k)
        encoded = self._encode(histories)
        slates = [self._popular_slate(k) if not len(items) else [] for items, _ in encoded]
        with evaluating(self.model):
            for users in self._batches([len(items) for items, _ in encoded]):
                for user, slate in zip(users, self._slates([encoded[u] for u in users], k), strict=True):
                    slates[user] = slate
        return slates

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Users with a history, those of like input length together."""
        most = self.model.max_history(self.max_length)
        users = sorted((u for u, length in enumerate(lengths) if length), key=lambda u: min(lengths[u], most))
        batch: list[int] = []
        for user in users:
            events = (len(batch) + 1) * min(lengths[user], most)  # the newcomer is the longest, rows are padded to it
            if batch and (events > _BATCH_EVENTS or len(batch) == _BATCH_USERS):
                yield batch
                batch = []
            batch.append(user)
        if batch:
            yield batch

    def _slates(self, histories: list[Encoded], k: int) -> list[list[Recommendation]]:
        """Slates of one batch of non-empty histories."""
        device, most = self.model.device, self.model.max_history(self.max_length)
        lengths = torch.tensor([min(len(items), most) for items, _ in histories], device=device)

        def padded(columns: Iterable[Tensor]) -> Tensor:
            return pad_sequence([column[-most:] for column in columns], batch_first=True).to(device)

        items = [items for items, _ in histories]
        events = EventColumns(
            **{name: padded(getattr(events, name) for _, events in histories) for name in self.model.columns}
        )
        users = [columns.users for _, columns in histories if columns.users is not None]
        if users:
            events = events._replace(users=torch.stack(users).to(device))
        seen = _item_lists(items, device) if self.seen == "filter" else None
        limit = self.model.list_limit
        candidates = k if self.diversifier is None else self.diversifier.candidates(k, limit)
        ranked = self.model.rank(ListRequest(padded(items), lengths, events=events, k=candidates, seen=seen))
        if self.diversifier is not None:
            ranked = self.diversifier(ranked, k)
        return [
            [Recommendation(self.catalogue.item_ids[i - 1], s) for i, s in zip(top, scores, strict=True) if i != PAD]
            for top, scores in zip(ranked.top_items.tolist(), ranked.top_scores.tolist(), strict=True)
        ]

    def _popular_slate(self, k: int) -> list[Recommendation]:
        top = np.argsort(-self.popular, kind="stable")[:k]
        return [Recommendation(self.catalogue.item_ids[i], float(self.popular[i]), "popular") for i in top.tolist()]


def _item_lists(histories: list[Tensor], device: torch.device) -> ItemLists:
    lengths = torch.tensor([0, *(len(items) for items in histories)])
    return ItemLists(lengths.cumsum(0).to(device), torch.cat(histories).to(device))
