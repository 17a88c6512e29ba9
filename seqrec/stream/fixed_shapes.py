"""Few distinct shapes of batches, for what compiles a program for each: XLA, CUDA graphs, torch.compile.

A batch is padded to the next length of a list, and to a number of rows that belongs to that length. What it pads with
has no target, so losses and gradients are those of the batch as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from seqrec.event_columns import EventColumns
from seqrec.stream.batches import EvaluationBatch, TrainingBatch
from seqrec.stream.order_runs import smallest_cap

# a window's batches cost up to this much more than if all windows were cut as one; see `order_windows.MIN_SLOTS`
_SLACK = Fraction(17, 16)


@dataclass(frozen=True)
class Shape:
    """What a batch is padded to.

    Attributes:
        rows, length: B and L.
        targets: positions that the loss takes, at most B * L.
    """

    rows: int
    length: int
    targets: int


class FixedShapes:
    """One shape for each length of a list.

    Rows and lengths of a batch multiply to at most a cap that follows from counts alone, so the shortest rows of a
    bucket say how many rows its batches can have. They are the same in every epoch. A batch beyond them, as windows
    with few batches may have one, gets a whole multiple.

    Args:
        buckets: ascending; the last is at least the longest row.
        histogram: int64 (longest + 1,), rows by length.
        n_batches: batches that the rows are cut into.
        part: the share of such a batch's rows that comes at a time.
    """

    def __init__(
        self,
        buckets: Sequence[int],
        histogram: npt.NDArray[np.int64],
        n_batches: int,
        *,
        part: Fraction = Fraction(1),
    ):
        distinct = np.flatnonzero(histogram)
        cap = smallest_cap(distinct.tolist(), histogram[distinct].tolist(), n_batches) * _SLACK
        self._shapes = []
        for above, bucket in zip([0, *buckets], buckets, strict=False):
            here = distinct[(distinct > above) & (distinct <= bucket)]
            rows = -(-int(cap / here[0]) * part // 1) if len(here) else 1
            self._shapes.append(Shape(rows, bucket, min(rows * bucket, -(-cap * part // 1) + bucket)))

    def __call__(self, n_rows: int, longest: int, n_targets: int = 0) -> Shape:
        """The shape of a batch of so many rows and targets."""
        shape = next(shape for shape in self._shapes if shape.length >= longest)
        times = max(1, -(-n_rows // shape.rows), -(-n_targets // shape.targets))
        rows = shape.rows * times
        return Shape(rows, shape.length, min(shape.targets * times, rows * shape.length))

    def training(self, batch: TrainingBatch) -> TrainingBatch:
        """A micro-batch in its shape; the filler of a rank without rows too."""
        targets = torch.count_nonzero(batch.targets)
        shape = self(len(batch.inputs), batch.inputs.shape[1], int(targets))
        more = shape.rows - len(batch.inputs)
        padded = _pad(batch.targets, shape)
        return replace(
            batch,
            inputs=_pad(batch.inputs, shape),
            lengths=F.pad(batch.lengths, (0, more), value=1),
            targets=padded,
            events=_pad_events(batch.events, shape),
            keys=F.pad(batch.keys, (0, shape.rows - len(batch.keys))),
            places=_places(padded, shape.targets),
        )

    def evaluation(self, batch: EvaluationBatch) -> EvaluationBatch:
        """A batch of histories in its shape; one without users stays as it is."""
        if not len(batch.rows):
            return batch
        shape = self(len(batch.items), batch.items.shape[1])
        lengths = F.pad(batch.lengths, (0, shape.rows - len(batch.items)), value=1)
        items, events = _pad(batch.items, shape), _pad_events(batch.events, shape)
        return replace(batch, items=items, lengths=lengths, events=events, fixed_shape=True)


def _pad(values: Tensor, shape: Shape) -> Tensor:
    """The same with 0 to the right and below."""
    return F.pad(values, (0, shape.length - values.shape[1], 0, shape.rows - len(values)))


def _pad_events(events: EventColumns, shape: Shape) -> EventColumns:
    users = events.users
    more = None if users is None else F.pad(users, (0, 0, 0, shape.rows - len(users)))
    return events.each(partial(_pad, shape=shape))._replace(users=more)


def _places(targets: Tensor, n: int) -> Tensor:
    """int64 (n,): where targets are, and a place without one as often as it takes."""
    flat = targets.flatten()
    (places,) = torch.where(flat != 0)
    return F.pad(places, (0, n - len(places)), value=int((flat == 0).int().argmax()))
