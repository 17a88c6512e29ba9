"""Keeps `transformers.generate` to ids that items have. It needs torch and transformers only.

A copy of this file lies beside each model that was exported for `transformers.generate`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor

NOT_FOUND = -1e6  # scores below are those of beams that outnumber the ids


class ItemsOnly(LogitsProcessor):  # type: ignore[misc]
    """Lets a beam go on only as the id of an item does.

    The model was trained to choose among the codes of one level, where `generate` makes probabilities of all codes. So
    they are made anew, of a level's own, before what no item has is left out.

    Args:
        ids: of each item, its tokens.
        levels: of each level, its first token and the one behind its last.
        prompt: positions of the input, padding included.
        beams: of a row of the input.
        hidden: for each row of the input, places in ``ids`` of items that must not be found; None for none.
    """

    def __init__(
        self,
        ids: Sequence[Sequence[int]],
        levels: Sequence[Sequence[int]],
        prompt: int,
        *,
        beams: int,
        hidden: Sequence[Sequence[int]] | None = None,
    ):
        self._levels, self._prompt, self._beams = levels, prompt, beams
        self._hidden = None if hidden is None else [set(places) for places in hidden]
        self._below: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)  # places of the items with a prefix
        for place, tokens in enumerate(ids):
            for length in range(len(tokens) + 1):
                self._below[tuple(tokens[:length])].append(place)
        self._next: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for prefix in self._below:
            self._next[prefix[:-1]] += prefix[-1:]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities float (B * beams, V) of what follows int64 (B * beams, length)."""
        first, stop = self._levels[input_ids.shape[1] - self._prompt]
        own = scores[:, first:stop].log_softmax(-1)
        allowed = torch.full_like(scores, -torch.inf)
        for row, prefix in enumerate(map(tuple, input_ids[:, self._prompt :].tolist())):
            tokens = self._next.get(prefix, [])  # a beam that outnumbers the ids has none
            if self._hidden is not None:
                hidden = self._hidden[row // self._beams]
                tokens = [token for token in tokens if not hidden.issuperset(self._below[*prefix, token])]
            allowed[row, tokens] = own[row, [token - first for token in tokens]]
        return allowed
