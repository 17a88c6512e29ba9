"""What a form and the live model are both asked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seqrec.export.forms.answer import TOP, milliseconds
from seqrec.models import SequenceModel

SHAPES = ((1, 1), (3, 2), (2, 7), (5, 50))  # rows and positions; cut to what an input takes
BATCHES = (1, 64)  # histories of an answer that is timed


class Histories(NamedTuple):
    """Histories in one shape.

    Attributes:
        items: int64 (B, L), 1..N, 0 beyond ``lengths``.
        lengths: int64 (B,), 1..L.
    """

    items: Tensor
    lengths: Tensor


class Questions(NamedTuple):
    """What is asked.

    Attributes:
        shapes: batches of several shapes, whose scores must be the same.
        timed: full histories, whose answers are timed.
        held_out: histories of users, by which quality is told.
        targets: int64 (B,) for each batch of ``held_out``: the item that came next.
    """

    shapes: Sequence[Histories]
    timed: Sequence[Histories]
    held_out: Sequence[Histories]
    targets: Sequence[Tensor]

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """All of it by name, for a process that has numpy only."""
        found: dict[str, npt.NDArray[Any]] = {}
        for group in ("shapes", "timed", "held_out"):
            for place, (items, lengths) in enumerate(getattr(self, group)):
                found |= {f"{group}.{place}.items": items.numpy(), f"{group}.{place}.lengths": lengths.numpy()}
        return found


class Answers(NamedTuple):
    """What came back.

    Attributes:
        scores: float32 (B, N) for each of `Questions.shapes`.
        top_items: int64 (U, 10), 1..N, of all held-out users.
        milliseconds: median of an answer, by the number of histories.
    """

    scores: list[npt.NDArray[np.float32]]
    top_items: npt.NDArray[np.int64]
    milliseconds: dict[str, float]


def ask(n_items: int, most: int, held_out: Iterable[tuple[Tensor, Tensor, Tensor]] = ()) -> Questions:
    """The questions for a model.

    Args:
        n_items: catalogue size N.
        most: longest history that an input takes.
        held_out: items (B, L), lengths (B,) and next items (B,) of users.
    """
    batches = list(held_out)
    random = torch.Generator().manual_seed(0)

    def made_up(rows: int, positions: int, *, full: bool) -> Histories:
        items = torch.randint(1, n_items + 1, (rows, positions), generator=random)
        lengths = torch.randint(1, positions + 1, (rows,), generator=random)
        lengths[-1] = positions
        if full:
            lengths[:] = positions
        return Histories(items.where(torch.arange(positions) < lengths.unsqueeze(1), 0), lengths)

    return Questions(
        shapes=[made_up(rows, min(positions, most), full=False) for rows, positions in SHAPES],
        timed=[made_up(rows, most, full=True) for rows in BATCHES],
        held_out=[Histories(items.cpu(), lengths.cpu()) for items, lengths, _ in batches],
        targets=[targets.cpu() for _, _, targets in batches],
    )


@torch.inference_mode()
def live_answers(model: SequenceModel, questions: Questions) -> Answers:
    """The model's own; it is in evaluation mode, on the CPU."""

    def scores(histories: Histories) -> Tensor:
        return model.user_vectors(*histories) @ model.item_vectors().T

    return Answers(
        scores=[scores(histories).numpy() for histories in questions.shapes],
        top_items=stacked([_top(scores(histories)) for histories in questions.held_out]),
        milliseconds={
            str(len(histories.items)): milliseconds(partial(scores, histories)) for histories in questions.timed
        },
    )


def user_vectors(model: SequenceModel, batches: Sequence[Histories]) -> Tensor:
    """float32 (U, D), of all rows of the batches."""
    with torch.inference_mode():
        return torch.cat([model.user_vectors(*histories) for histories in batches])


def exact_top(users: Tensor, items: Tensor) -> npt.NDArray[np.int64]:
    """int64 (U, 10): the items, 1..N, whose vectors (N, D) have the largest products with the users' (U, D)."""
    return _top(users @ items.T)


def _top(scores: Tensor) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = scores.topk(min(TOP, scores.shape[1]), dim=1).indices.add(1).numpy()
    return found


def stacked(tops: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    """int64 (U, 10), the rows of all batches."""
    return np.concatenate(tops) if tops else np.empty((0, TOP), np.int64)


def ndcg(top_items: npt.NDArray[np.int64], targets: Sequence[Tensor]) -> float | None:
    """NDCG@10 of users whose next item is one; None of no users."""
    if not targets:
        return None
    hits = top_items == np.concatenate([batch.numpy() for batch in targets])[:, None]
    return float((hits / np.log2(np.arange(2, hits.shape[1] + 2))).sum(axis=1).mean())


def same_top(found: npt.NDArray[np.int64], expected: npt.NDArray[np.int64]) -> float:
    """Share of the expected items, row by row, that were found."""
    return float((found[:, :, None] == expected[:, None, :]).any(axis=1).mean())
