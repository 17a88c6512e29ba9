"""Histories longer than an input: which parts of them are trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from seqrec.settings import Settings

Int64 = npt.NDArray[np.int64]


class LatestSettings(Settings):
    """The latest events that fit; earlier ones are not trained on."""

    kind: Literal["latest"] = "latest"


class SlidingSettings(Settings):
    """Overlapping parts, each of `max_length` inputs; an event in several is trained on once in each."""

    kind: Literal["sliding"]
    stride: int = Field(ge=1, description="Events from one part of a history to the next, at most `max_length`.")


class ChunksSettings(Settings):
    """Consecutive parts: each event is a target (next item) or may be masked (masked item) in exactly one.

    What predicts the first target of a chunk is the event before it, so next-item chunks share that one.
    """

    kind: Literal["chunks"]


LongHistories = Annotated[LatestSettings | SlidingSettings | ChunksSettings, Field(discriminator="kind")]


@dataclass(frozen=True)
class Parts:
    """Parts of histories, by history and from the latest on.

    Attributes:
        history: int64 (n,), which history it is a part of.
        age: int64 (n,), 0 for the latest part of a history, 1 for the one before it, and so on.
        start: int64 (n,), position of its first event in the history.
        length: int64 (n,), its events.
    """

    history: Int64
    age: Int64
    start: Int64
    length: Int64


def parts(settings: LongHistories, ends: Int64, *, max_length: int, extra_events: int) -> Parts:
    """Cuts histories into sequences that fit.

    Parts end at the end of a history and `stride` (chunks: ``max_length``) events before it, twice that, and so on, up
    to the first that reaches the history's beginning, which may be shorter. A history that fits is one part.

    Args:
        settings: how.
        ends: int64 (histories,), the first so many events are the history; all of them are in some part unless only
            the latest part is wanted.
        max_length: inputs of a part at most.
        extra_events: events that it has beyond its inputs.
    """
    longest, stride = max_length + extra_events, _stride(settings, max_length)
    if stride is None:
        start = np.maximum(ends - longest, 0)
        return Parts(np.arange(len(ends)), np.zeros_like(ends), start, ends - start)
    n_parts = 1 - (-np.maximum(ends - longest, 0) // stride)
    history = np.repeat(np.arange(len(ends)), n_parts)
    age = np.arange(len(history)) - np.repeat(np.cumsum(n_parts) - n_parts, n_parts)
    stop = ends[history] - age * stride
    start = np.maximum(stop - longest, 0)
    return Parts(history, age, start, stop - start)


def _stride(settings: LongHistories, max_length: int) -> int | None:
    if isinstance(settings, ChunksSettings):
        return max_length
    return settings.stride if isinstance(settings, SlidingSettings) else None
