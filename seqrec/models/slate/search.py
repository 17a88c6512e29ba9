"""The items of a slate, place by place, none twice and none that a user may not be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.errors import MetricError
from seqrec.models.slate_settings import BeamSettings, DecodingSettings, TopPSettings
from seqrec.random import uniform


class _Beams(NamedTuple):
    """Slates in the making, W for each of B users.

    Attributes:
        items: int64 (B, W, J), 0 where nothing was left for a place.
        scores: float32 (B, W, J), log-probability of the slate up to each place.
        total: float32 (B, W), that of the last place; ``-inf`` for a beam that is none.
    """

    items: Tensor
    scores: Tensor
    total: Tensor


class SlateSearch:
    """Finds slates of B users under a model of what stands at the next place.

    Probabilities are those among the items that are allowed there, so that those of all slates sum to 1.

    Args:
        decoding: how an item is chosen.
        next_scores: of users (R,), positions 0..B - 1, and the items before a place int64 (R, J): float (R, N), scores
            of what stands there.
        hidden: bool (B, N), what each user may not be given.
        keys: uint64 (B,), of draws; see `seqrec.random.row_keys`.
        targets: int64 (B,), an item of each user that is chosen after what scores alike, so that a tie is no hit; None
            for none.
    """

    def __init__(
        self,
        decoding: DecodingSettings,
        next_scores: Callable[[Tensor, Tensor], Tensor],
        hidden: Tensor,
        keys: npt.NDArray[np.uint64] | None = None,
        targets: Tensor | None = None,
    ):
        self._n_beams = decoding.beams if isinstance(decoding, BeamSettings) else 1
        self._share = decoding.share if isinstance(decoding, TopPSettings) else None
        self._next_scores = next_scores
        self._hidden = hidden
        self._left = (~hidden).sum(1)  # items that each user may be given
        self._draws: Tensor | None = None
        self._keys = keys
        self._targets = targets

    def run(self, k: int) -> tuple[Tensor, Tensor]:
        """The best slate of each user.

        Args:
            k: its items.
        Returns:
            Items int64 (B, k), 0 where fewer are left; and float32 (B, k), the log-probability of the slate up to each,
            ``-inf`` beside item 0.
        Raises:
            MetricError: a score is NaN.
        """
        n_users, device = len(self._hidden), self._hidden.device
        if self._share is not None:
            assert self._keys is not None
            self._draws = torch.from_numpy(uniform(self._keys, np.arange(k))).to(device)
        none = torch.zeros(n_users, 1, 0, device=device)
        beams = _Beams(none.long(), none, torch.zeros(n_users, 1, device=device))
        for _ in range(k):
            beams = self._extend(beams)
        return beams.items[:, 0], beams.scores[:, 0]

    def _extend(self, beams: _Beams) -> _Beams:
        place = beams.items.shape[2]
        log_probs = self._log_probs(beams.items)
        items, gains = self._proposals(log_probs, place)  # (B, W, c)
        totals = beams.total.unsqueeze(2) + gains
        over = (self._left <= place).view(-1, 1, 1)  # nothing is left for this place: slates stay as they are
        first = torch.zeros_like(totals, dtype=torch.bool)
        first[:, :, 0] = True
        totals = totals.where(~over, beams.total.unsqueeze(2).where(first, -torch.inf))
        items = items.where(~over, 0)
        best = totals.flatten(1).topk(min(self._n_beams, totals.shape[1] * totals.shape[2]))
        parents = (best.indices // totals.shape[2]).unsqueeze(2)
        last = items.flatten(1).gather(1, best.indices).unsqueeze(2)
        reached = best.values.unsqueeze(2).where(last > 0, -torch.inf)
        return _Beams(
            items=torch.cat([beams.items.gather(1, parents.expand(-1, -1, place)), last], dim=2),
            scores=torch.cat([beams.scores.gather(1, parents.expand(-1, -1, place)), reached], dim=2),
            total=best.values,
        )

    def _log_probs(self, chosen: Tensor) -> Tensor:
        """float32 (B, W, N) after slates (B, W, J); ``-inf`` for what is not allowed there."""
        n_users, n_beams, _ = chosen.shape
        user = torch.arange(n_users, device=chosen.device).repeat_interleave(n_beams)
        before = chosen.flatten(0, 1)
        scores = self._next_scores(user, before).float()
        if scores.isnan().any():
            raise MetricError.of_nan(
                int(scores.isnan().sum()),
                scores.numel(),
                "scores",
                where=f"place {before.shape[1] + 1} of the slates of {n_users} users",
            )
        scores = scores.masked_fill(self._hidden[user], -torch.inf)
        scores = scores.scatter(1, (before - 1).clamp(min=0), -torch.inf) if before.shape[1] else scores
        # where nothing is left the sum is -inf, of which a difference would be NaN
        log_probs = scores - scores.logsumexp(1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        if self._targets is not None:
            target = (self._targets[user] - 1).unsqueeze(1)
            own = log_probs.gather(1, target)
            log_probs = log_probs.scatter(1, target, own.nextafter(torch.full_like(own, -torch.inf)))
        return log_probs.view(n_users, n_beams, self._hidden.shape[1])

    def _proposals(self, log_probs: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """Items (B, W, c) that may come next, and their log-probabilities."""
        if self._share is None:
            best = log_probs.topk(min(self._n_beams, log_probs.shape[2]))
            return best.indices + 1, best.values
        assert self._draws is not None
        ordered = log_probs[:, 0].sort(dim=1, descending=True, stable=True)
        held = ordered.values.double().exp().cumsum(1)
        nucleus = torch.searchsorted(held, (self._share * held[:, -1:]).contiguous()).clamp(max=held.shape[1] - 1)
        drawn = (self._draws[:, place, None] * held.gather(1, nucleus)).contiguous()
        chosen = torch.searchsorted(held, drawn, right=True).minimum(nucleus)
        items = ordered.indices.gather(1, chosen) + 1
        return items.unsqueeze(1), ordered.values.gather(1, chosen).unsqueeze(1)
