"""Beam search over semantic ids that exist."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqrec.models.semantic.trie import CodeTrie
from seqrec.ranking import ItemLists


class Beams(NamedTuple):
    """Prefixes that a search keeps for B users, best first.

    Attributes:
        nodes: int64 (B, W), of the trie.
        scores: float32 (B, W), sums of log-probabilities; ``-inf`` for none, as where beams outnumber prefixes.
        parents: int64 (B, W), places in the beams before.
        codes: int64 (B, W), the last codes.
    """

    nodes: Tensor
    scores: Tensor
    parents: Tensor
    codes: Tensor


class BeamSearch:
    """The ids of greatest probability under a model, among those that items have and a user has not seen.

    A prefix all of whose items are hidden is left at once, so that beams are not spent on it. Prefixes are nodes of the
    trie and no two beams hold the same one, so that no item is found twice.

    Args:
        trie: of the ids.
        beams: prefixes kept at each level.
        hidden: items of each user that may not be found; None for none.
    """

    def __init__(self, trie: CodeTrie, *, beams: int, hidden: ItemLists | None = None):
        self._trie = trie
        self._beams = beams
        self._hidden: Tensor | None = None
        if hidden is not None:
            # one key a (user, leaf), ascending: those of a slice of leaves are counted by two look-ups
            leaves = trie.item_leaf[hidden.items - 1]
            self._hidden = torch.unique(hidden.rows() * (len(trie.leaf_item) + 1) + leaves)

    def run(self, n_users: int, logits: Callable[[int, Beams], Tensor]) -> tuple[Tensor, Tensor]:
        """Finds the best items of B users.

        Args:
            n_users: B.
            logits: of level and beams: float (B, W, C), of the level's codes after each prefix.
        Returns:
            Items int64 (B, W), 0 for none, and their scores float32 (B, W), best first.
        """
        device = self._trie.leaf_item.device
        none = torch.zeros(n_users, 1, dtype=torch.long, device=device)
        beams = Beams(none, none.float(), none, none)
        for level in range(self._trie.depth):
            beams = self._extend(beams, logits(level, beams), level)
        return self._trie.leaf_item[beams.nodes].where(beams.scores > -torch.inf, 0), beams.scores

    def _extend(self, beams: Beams, logits: Tensor, level: int) -> Beams:
        children, log_probs = self._trie.log_probs(logits, beams.nodes, level)  # (B, W, children)
        scores = beams.scores.unsqueeze(2) + log_probs
        if self._hidden is not None:
            scores = scores.masked_fill(~self._has_visible(children, level + 1), -torch.inf)
        best = scores.flatten(1).topk(min(self._beams, scores[0].numel()))
        nodes = children.flatten(1).gather(1, best.indices)
        return Beams(
            nodes=nodes,
            scores=best.values,
            parents=best.indices // children.shape[2],
            codes=self._trie.codes(nodes, level + 1),
        )

    def _has_visible(self, nodes: Tensor, depth: int) -> Tensor:
        """bool (B, W, n): whether an item below each node may be found."""
        assert self._hidden is not None
        first, stop = self._trie.leaves(nodes, depth)
        user = torch.arange(len(nodes), device=nodes.device).view(-1, 1, 1) * (len(self._trie.leaf_item) + 1)
        hidden = torch.searchsorted(self._hidden, user + stop) - torch.searchsorted(self._hidden, user + first)
        return hidden < stop - first
