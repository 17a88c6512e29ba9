"""A causal backbone that reads and generates semantic ids, code by code."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import DynamicCache

from seqrec.errors import MetricError
from seqrec.models.backbones import Backbone
from seqrec.models.heads import SemanticIdSettings
from seqrec.models.items import PAD
from seqrec.models.list_request import ListRequest
from seqrec.models.losses import FullSoftmax, Loss, Negatives
from seqrec.models.micro_batch import MicroBatch
from seqrec.models.ranking_model import RankingModel
from seqrec.models.semantic.search import Beams, BeamSearch
from seqrec.models.semantic.table import CodeTable
from seqrec.ranking import ItemLists, Ranked, products

USERS = 256  # searched at once
CPU_TOKENS = 4096  # of their histories on the CPU, so that activations stay within the cache


class SemanticIdModel(RankingModel):
    """Generates the id of the next item: each code after those of the history, and those before it in the id.

    Further letters in shapes: m codes an id, C codes of a level, W beams, D width.

    Args:
        items: code vectors, also the output tables.
        backbone: causal, over ``tokens(max_length, m)`` positions.
        settings: of the head.
        loss: says that no negatives are drawn; the cross-entropy is over the codes that go on to an item.

    Source: TIGER, Rajput et al. 2023, arXiv:2305.05065, with one causal decoder in place of encoder and decoder.
    """

    items: CodeTable

    def __init__(self, items: CodeTable, backbone: Backbone, settings: SemanticIdSettings, loss: FullSoftmax):
        super().__init__()
        self.items = items
        self.backbone = backbone
        self.loss: Loss = loss
        self.list_limit = settings.beams
        self._label_smoothing = settings.label_smoothing
        same = items.width == backbone.width
        self.project_in = nn.Identity() if same else nn.Linear(items.width, backbone.width)
        self.project_out = nn.Identity() if same else nn.Linear(backbone.width, items.width)

    def training_loss(self, batch: MicroBatch, negatives: Negatives | None = None) -> Tensor:
        """As `RankingModel` says, where targets are the next inputs; the loss of an item is the sum over its codes."""
        self.backbone.dropout_keys.rows = batch.dropout_keys
        inputs, lengths, targets = batch.inputs, batch.lengths, batch.targets
        last = lengths.unsqueeze(1)
        items = F.pad(inputs, (0, 1), value=PAD).scatter(1, last, targets.gather(1, last - 1))
        vectors = self.items(items)[:, :-1]  # nothing follows the last code
        hidden = self.project_out(self.backbone(self.project_in(vectors), tokens(lengths, self.items.levels)))
        # from the last code of item i on, positions predict the codes of item i + 1
        hidden = hidden[:, self.items.levels - 1 :].unflatten(1, (-1, self.items.levels)).flatten(0, 1)
        places = batch.found_places()
        hidden, wanted = hidden.index_select(0, places), targets.flatten().index_select(0, places)
        path = [self.items.trie.nodes(wanted.clamp(min=1), depth) for depth in range(self.items.levels + 1)]
        losses = [
            self._code_losses(hidden[:, level] @ self.items.level(level).T, path, level)
            for level in range(self.items.levels)
        ]
        return torch.stack(losses).sum(0).masked_fill(wanted == PAD, 0).sum()

    def _code_losses(self, logits: Tensor, path: list[Tensor], level: int) -> Tensor:
        """float32 (T,), of the codes of a level, among those that could stand there instead.

        Args:
            logits: float (T, C), of the level's codes.
            path: int64 (T,) each, the nodes of every depth above T items.
            level: of the codes.
        """
        children, log_probs = self.items.trie.log_probs(logits, path[level], level)
        found = log_probs.gather(1, path[level + 1].unsqueeze(1) - children[:, :1]).squeeze(1)
        if not self._label_smoothing:
            return -found
        there = log_probs > -torch.inf
        mean = log_probs.masked_fill(~there, 0).sum(1) / there.sum(1)
        return -torch.lerp(found, mean, self._label_smoothing)

    @torch.no_grad()
    def rank(self, request: ListRequest) -> Ranked:
        """Lists by beam search, as `RankingModel` says; scores are log-probabilities of ids.

        A target is ranked where it stands in its list; ties count against it.
        """
        items, lengths, targets, seen = request.items, request.lengths, request.targets, request.seen
        users = len(items) if request.users is None else request.users
        most = min(USERS, max(1, CPU_TOKENS // items.shape[1])) if items.device.type == "cpu" else USERS
        step = most if request.in_parts else max(1, len(items))
        found = []
        for start in range(0, len(items), step):
            stop = min(start + step, len(items))
            own = slice(start, min(stop, users))
            hidden = None if seen is None else _hidden(seen, own, None if targets is None else targets[own], stop)
            rows = items[start:stop]
            if request.in_parts:
                rows = rows[:, : int(lengths[start:stop].max())]
            found.append(self._search(rows, lengths[start:stop], hidden))
        widest = max(list_items.shape[1] for list_items, _ in found)
        top_items = torch.cat([F.pad(one, (0, widest - one.shape[1])) for one, _ in found])[:users]
        scores = [F.pad(one, (0, widest - one.shape[1]), value=-torch.inf) for _, one in found]
        return _ranked(top_items, torch.cat(scores)[:users], targets, request.k)

    def _search(self, items: Tensor, lengths: Tensor, hidden: ItemLists | None) -> tuple[Tensor, Tensor]:
        assert self.list_limit is not None
        decoder = Decoder(self, items, lengths)
        found, scores = BeamSearch(self.items.trie, beams=self.list_limit, hidden=hidden).run(
            len(items), decoder.logits
        )
        if scores.isnan().any():
            raise MetricError.of_nan(
                int(scores.isnan().sum()),
                scores.numel(),
                "scores",
                where=f"lists of {len(items)} users",
            )
        return found, scores

    def max_history(self, max_length: int) -> int:
        """All positions: those of the target's codes are beside them."""
        return max_length


_Length = TypeVar("_Length", int, Tensor)


def tokens(length: _Length, levels: int) -> _Length:
    """Positions that a backbone takes for histories of some lengths, and a target whose last code is not read."""
    return (length + 1) * levels - 1


class Decoder:
    """Logits of codes, level by level.

    A history is read once and all beams of a user look at it: they lie behind it in one row, each position seeing the
    history and the beam's own codes. So keys and values are neither copied for a beam nor put into another order.
    """

    def __init__(self, model: SemanticIdModel, items: Tensor, lengths: Tensor):
        self._model = model
        self._items = items
        self._lengths = lengths * model.items.levels
        self._cache = DynamicCache(config=model.backbone.config)

    def logits(self, level: int, beams: Beams) -> Tensor:
        """float (B, W, C) after the beams of the level before."""
        model = self._model
        if level == 0:
            vectors = model.items(self._items)
            hidden = model.backbone(model.project_in(vectors), self._lengths, cache=self._cache)
            row = torch.arange(len(hidden), device=hidden.device)
            hidden = hidden[row, self._lengths - 1].unsqueeze(1)
            place = torch.arange(vectors.shape[1], device=hidden.device)
            self._history = place < self._lengths.unsqueeze(1)  # (B, L * m)
            self._own = self._history.new_zeros(len(hidden), 1, 0)  # (B, W, beams of all levels before)
        else:
            n_beams = beams.codes.shape[1]
            own = self._own.gather(1, beams.parents.unsqueeze(2).expand(-1, -1, self._own.shape[2]))
            itself = torch.eye(n_beams, dtype=torch.bool, device=own.device).expand(len(own), -1, -1)
            self._own = torch.cat([own, itself], dim=2)
            mask = torch.cat([self._history.unsqueeze(1).expand(-1, n_beams, -1), self._own], dim=2)
            positions = (self._lengths + level - 1).unsqueeze(1).expand(-1, n_beams)
            vectors = model.project_in(model.items.vectors(beams.codes, level - 1))
            hidden = model.backbone.step(vectors, positions, mask, self._cache)
        return products(model.project_out(hidden), model.items.level(level).T)


def _hidden(seen: ItemLists, users: slice, targets: Tensor | None, stop: int) -> ItemLists:
    """What the users of a part may not be given: what they have seen, targets excepted; none for rows that fill up."""
    lists = seen.of_users(users.start, max(users.start, users.stop))
    rows, items = lists.rows(), lists.items
    if targets is not None:
        kept = items != targets[rows]
        rows, items = rows[kept], items[kept]
    counts = torch.bincount(rows, minlength=stop - users.start)
    return ItemLists(F.pad(counts.cumsum(0), (1, 0)), items)


def _ranked(items: Tensor, scores: Tensor, targets: Tensor | None, k: int) -> Ranked:
    ranks = None
    if targets is not None:
        hit = items == targets.unsqueeze(1)
        own = scores.masked_fill(~hit, -torch.inf).amax(1, keepdim=True)
        ranks = ((scores >= own).sum(1) - 1).where(hit.any(1), k).clamp(max=k)
    missing = max(0, k - items.shape[1])
    items, scores = F.pad(items, (0, missing)), F.pad(scores, (0, missing), value=-torch.inf)
    return Ranked(ranks, items[:, :k], scores[:, :k])
