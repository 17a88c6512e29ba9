"""A sequence model whose lists are generated, item by item."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.models.backbones import Backbone
from seqrec.models.events import EventEmbedding
from seqrec.models.fused_items import FusedItems
from seqrec.models.heads import Slate
from seqrec.models.items import PAD, ItemTable
from seqrec.models.list_request import ListRequest
from seqrec.models.losses import Loss, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.model import SequenceModel
from seqrec.models.slate.decoders import SlateDecoder
from seqrec.models.slate.search import SlateSearch
from seqrec.models.slate_settings import BeamSettings, DecodingSettings, SlateSettings, TopPSettings
from seqrec.models.windows import windows, without_repeats
from seqrec.random import row_keys
from seqrec.ranking import ItemLists, Ranked, products

SCORE_BYTES = 64 * 2**20  # scores of a place that are held at once
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that every item of a history counts


class SlateModel(SequenceModel):
    """Generates an ordered list of items: each after the user's history and the items before it in the list.

    Further letters in shapes: K places of a slate, T positions with a target.

    Args:
        items, backbone, loss, events: as of `SequenceModel`.
        head: makes the pairs.
        settings: of the head.

    Attributes:
        decoding: how slates are chosen; may be changed at any time, as training does not depend on it.

    Source: an autoregressive decoder over a list, after Bello et al. 2018, "Seq2Slate", arXiv:1810.02019, here over the
    whole catalogue and from what users did next instead of from clicks on shown lists.
    """

    def __init__(
        self,
        items: ItemTable | FusedItems,
        backbone: Backbone,
        head: Slate,
        loss: Loss,
        events: EventEmbedding,
        settings: SlateSettings,
    ):
        super().__init__(items, backbone, head, loss, events)
        self.decoder = SlateDecoder(settings.decoder, items.width, settings.size)
        self.list_limit = settings.size
        self._size = settings.size
        self._later_weight = settings.later_weight
        self.decoding: DecodingSettings = settings.decoding

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """As `RankingModel` says; every position teaches a slate, and its loss is the sum over the slate's items."""
        self.backbone.dropout_keys.rows = batch.dropout_keys
        hidden = self.forward(batch.inputs, batch.lengths, batch.events)
        places = batch.found_places()
        if not len(places):  # as of a rank without rows: networks may refuse to read nothing
            places = places.new_zeros(1)
        users = hidden.flatten(0, 1).index_select(0, places)
        following = windows(batch.targets, self._size).flatten(0, 1).index_select(0, places)  # (T, K)
        scoring = self.decoder(users, self.items(following[:, :-1]))
        wanted = without_repeats(following)
        if self._later_weight == 1:
            return self._loss(batch, scoring.flatten(0, 1), wanted.flatten(), negatives)
        first = self._loss(batch, scoring[:, 0], wanted[:, 0], negatives)
        later = self._loss(batch, scoring[:, 1:].flatten(0, 1), wanted[:, 1:].flatten(), negatives)
        return first + self._later_weight * later

    def _loss(self, batch: MicroBatch, scoring: Tensor, wanted: Tensor, negatives: Negatives | None) -> Tensor:
        """Of ``scoring`` (n, D) and ``wanted`` (n,), summed; PAD is wanted where nothing is."""
        if batch.places is None:
            (real,) = torch.where(wanted != PAD)
            scoring, wanted = scoring.index_select(0, real), wanted.index_select(0, real)
        return self.items.loss(self.loss, scoring, wanted, negatives, self._scored)

    @torch.no_grad()
    def _lists(self, users: Tensor, request: ListRequest) -> Ranked:
        """Slates, with the log-probability of the slate up to each item as its score.

        A target's rank is its place in the slate, where it stands behind what scores alike.
        """
        targets, keys = request.targets, self._keys(request.items[: request.users])
        beams = self.decoding.beams if isinstance(self.decoding, BeamSettings) else 1
        step = max(1, SCORE_BYTES // (4 * beams * self.n_items))
        found = []
        for start in range(0, max(1, len(users)), step):
            some = slice(start, min(start + step, len(users)))
            search = SlateSearch(
                self.decoding,
                _Scores(self, users[some]),
                _hidden(request.seen, targets, some, self.n_items, users.device),
                None if keys is None else keys[some],
                None if targets is None else targets[some],
            )
            found.append(search.run(request.k))
        items, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        if targets is None:
            return Ranked(None, items, scores)
        hit = items == targets.unsqueeze(1)
        return Ranked(hit.int().argmax(1).where(hit.any(1), request.k), items, scores)

    def _keys(self, histories: Tensor) -> npt.NDArray[np.uint64] | None:
        """Of each history, whatever padding it has: a polynomial in its items, modulo 2**64."""
        if not isinstance(self.decoding, TopPSettings):
            return None
        items = histories.cpu().numpy().astype(np.uint64)
        powers = np.cumprod(np.full(items.shape[1], _FACTOR, dtype=np.uint64))
        rows = (items * powers).sum(axis=1, dtype=np.uint64) >> np.uint64(1)
        return row_keys(self.decoding.seed, 0, rows.astype(np.int64), "slates")


class _Scores:
    """Scores of what stands at the next place of some users' slates, as `SlateSearch` asks for them."""

    def __init__(self, model: SlateModel, users: Tensor):
        self._model = model
        self._users = users

    def __call__(self, user: Tensor, chosen: Tensor) -> Tensor:
        vectors: Tensor = self._model.decoder(self._users[user], self._model.items(chosen))[:, -1]
        return products(vectors, self._model.item_vectors().T)


def _hidden(seen: ItemLists | None, targets: Tensor | None, users: slice, n_items: int, device: torch.device) -> Tensor:
    """bool (users, N), what some users may not be given: what they have seen, targets excepted."""
    hidden = torch.zeros(users.stop - users.start, n_items, dtype=torch.bool, device=device)
    if seen is None or not len(hidden):
        return hidden
    lists = seen.of_users(users.start, users.stop)
    hidden[lists.rows(), lists.items - 1] = True
    if targets is not None:
        hidden.scatter_(1, (targets[users] - 1).unsqueeze(1), False)
    return hidden
