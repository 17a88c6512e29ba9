"""Sample histories with the scores that a bundle must give for them: `samples.json`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from pydantic import Field, ValidationError
from torch import Tensor

from seqrec.errors import BundleError
from seqrec.export.histories import Encoder, History
from seqrec.export.scoring import TOLERANCE, differences, history_scores
from seqrec.models import RankingModel
from seqrec.settings import Settings
from seqrec.store import Catalogue

SAMPLES_FILE = "samples.json"
_TOP = 10
_SPREAD = 20  # further items, evenly over the catalogue: rarely recommended ones must be right too


class ItemScore(Settings):
    """An item and its score."""

    item_id: str = Field(description="The item.")
    score: float = Field(
        description="Its score; that of the last item in the model's longest list, if that leaves it out."
    )


class Sample(Settings):
    """One history and what it must give."""

    history: list[str] = Field(min_length=1, description="Item ids, oldest first.")
    times: list[int] | None = Field(
        None, description="Microseconds since 1970 UTC of each event, where the model reads times."
    )
    actions: list[str] | None = Field(None, description="Action of each event, where the model reads actions.")
    user: dict[str, str | None] | None = Field(
        None, description="What is known of the user, where the model reads attributes."
    )
    top: list[ItemScore] = Field(description="The items of the highest scores, best first, those of the history too.")
    others: list[ItemScore] = Field(description="Items spread evenly over the catalogue.")

    @property
    def events(self) -> History:
        """The history with all that is known of it."""
        return History(self.history, self.times, self.actions, self.user)


class Samples(Settings):
    """Contents of `samples.json`."""

    tolerance: float = Field(
        TOLERANCE, description="Largest difference of a score, as a share of the history's top score where above 1."
    )
    samples: list[Sample] = Field(min_length=1, description="The samples.")


def make_samples(histories: Sequence[History], scores: Tensor, item_ids: Sequence[str]) -> Samples:
    """Writes down what a model gives.

    Args:
        histories: S of them.
        scores: float32 (S, N), the model's scores after each.
        item_ids: N ids.
    """
    spread = torch.linspace(0, len(item_ids) - 1, min(_SPREAD, len(item_ids))).long()

    def named(row: Tensor, columns: Tensor) -> list[ItemScore]:
        pairs = zip(columns.tolist(), row[columns].tolist(), strict=True)
        return [ItemScore(item_id=item_ids[column], score=score) for column, score in pairs]

    return Samples(
        samples=[
            Sample(
                history=list(history.items),
                times=None if history.times is None else list(history.times),
                actions=None if history.actions is None else list(history.actions),
                user=None if history.user is None else dict(history.user),
                top=named(row, row.topk(min(_TOP, len(row))).indices),
                others=named(row, spread),
            )
            for history, row in zip(histories, scores, strict=True)
        ]
    )


def read_samples(folder: Path) -> Samples:
    """Reads `samples.json` of a bundle.

    Raises:
        BundleError: it cannot be read.
    """
    file = folder / SAMPLES_FILE
    try:
        return Samples.model_validate_json(file.read_bytes())
    except ValidationError as error:
        reason = " ".join(str(error).split())
        raise BundleError("unreadable samples", where=str(file), reason=reason, do="export the run again") from error


def verify_samples(model: RankingModel, samples: Samples, encode: Encoder, *, max_length: int, where: str) -> None:
    """Sees that a model gives the scores that the samples expect, and the same items on top.

    Items whose scores differ by less than the tolerance may change places.

    Raises:
        BundleError: names the largest difference, its sample and the item that differs most.
    """
    histories = encode([sample.events for sample in samples.samples])
    scores = history_scores(model, histories, max_length=max_length)
    faults = [_fault(sample, row, encode.catalogue) for sample, row in zip(samples.samples, scores, strict=True)]
    worst, (difference, item_id) = max(enumerate(faults), key=lambda fault: fault[1][0])
    if difference > samples.tolerance:
        raise BundleError(
            f"scores differ from those exported by up to {difference:.2g}, {samples.tolerance:.0e} is allowed",
            where=where,
            sample=f"{worst} of {SAMPLES_FILE} (from 0), item {item_id!r}",
            do="read the bundle with the versions it names; if they are these, export the run again",
        )


def _fault(sample: Sample, scores: Tensor, catalogue: Catalogue) -> tuple[float, str]:
    """Largest difference in a sample, and its item."""
    listed = [*sample.top, *sample.others]
    columns = torch.from_numpy(catalogue.encode(item.item_id for item in listed)) - 1
    expected = torch.tensor([item.score for item in listed])
    apart = differences(scores[columns], expected)
    # nothing that is not on top may score above the last that is
    last = expected[len(sample.top) - 1]
    rest = scores.index_fill(0, columns[: len(sample.top)], -torch.inf).clamp(min=last)
    above = differences(rest, last.expand_as(rest))
    worst = int(torch.cat([apart, above]).argmax())
    if worst < len(listed):
        return float(apart[worst]), listed[worst].item_id
    return float(above[worst - len(listed)]), catalogue.item_ids[worst - len(listed)]
