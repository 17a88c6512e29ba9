"""Evaluates the probabilities of outcomes beside those of counting, on any number of ranks to the same digits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric

from seqrec.errors import MetricError
from seqrec.evaluation.exact import Floats, Ints
from seqrec.evaluation.outcome_metrics import Predictions, ReliabilityBin, outcome_metrics, reliability
from seqrec.evaluation.results import EvaluationResult, MetricValue, UserCounts
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.models import OutcomeModel
from seqrec.outcomes import is_known, is_positive
from seqrec.store.split import Part
from seqrec.stream import OutcomeBatch, SequenceDataModule

_BINS = 2**16  # of a histogram of logits
_PRIOR = 20  # events at the overall rate that a rate of few is smoothed with


@dataclass(frozen=True, kw_only=True)
class OutcomeResult(EvaluationResult):
    """Metrics by `auc/NAME`, one set an outcome, and how reliable the model's probabilities are.

    Attributes:
        reliability: by outcome, the bins of its reliability diagram.
        rates: by outcome, the share of labelled events that came about.
    """

    reliability: Mapping[str, list[ReliabilityBin]]
    rates: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As of `EvaluationResult`, with `reliability` and `rates`."""
        bins = {name: [one._asdict() for one in found] for name, found in self.reliability.items()}
        return super().to_dict() | {"rates": dict(self.rates), "reliability": bins}


class Judged(NamedTuple):
    """Labelled events with the model's logits.

    Attributes:
        rows, items, labels: int64 (n,), store rows of the users, items, and labels as in `seqrec.outcomes`.
        logits: float32 (n, A).
    """

    rows: Tensor
    items: Tensor
    labels: Tensor
    logits: Tensor


def judge(model: OutcomeModel, batch: OutcomeBatch) -> Judged:
    """The events of a batch that are to be judged.

    Args:
        model: in evaluation mode.
        batch: on the model's device.
    Raises:
        MetricError: a logit is NaN.
    """
    (places,) = torch.where(batch.labels.flatten() != 0)
    logits = model.logits(batch.items, batch.lengths, places, batch.events)
    if logits.isnan().any():
        raise MetricError.of_nan(int(logits.isnan().sum()), logits.numel(), "logits")
    rows = batch.rows.unsqueeze(1).expand_as(batch.items)
    of_events = [column.flatten().index_select(0, places) for column in (rows, batch.items, batch.labels)]
    return Judged(of_events[0], of_events[1], of_events[2], logits.float())


class OutcomeHistogram(Metric):
    """Counts labelled events by their logit and gives the AUC of each outcome, over all ranks of the job.

    The state is a histogram in int64: sums of it are exact. A bin is a logit's sign, exponent and seven bits of its
    fraction; within one, pairs count as ties.

    Args:
        outcomes: names.
        **kwargs: of `torchmetrics.Metric`.
    """

    full_state_update = False
    higher_is_better = True
    counts: Tensor

    def __init__(self, outcomes: tuple[str, ...], **kwargs: Any):
        super().__init__(**kwargs)
        self.outcomes = outcomes
        self.add_state("counts", torch.zeros(len(outcomes), 2, _BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, logits: Tensor) -> None:
        """Adds events: labels int64 (n,), logits float (n, A)."""
        bits = (logits.float() + 0.0).contiguous().view(torch.int32)
        bins = ((bits ^ ((bits >> 31) & 0x7FFFFFFF)) >> 16).long() + _BINS // 2
        for number in range(len(self.outcomes)):
            known = is_known(labels, number).bool()
            for kind in (0, 1):
                some = bins[known & (is_positive(labels, number) == kind), number]
                self.counts[number, kind] += torch.bincount(some, minlength=_BINS)

    def compute(self) -> dict[str, Tensor]:
        """Float64 scalars: `auc`, the mean over outcomes, and `auc/NAME` of each; 0.5 where one class is missing."""
        found = {}
        for name, (lost, won) in zip(self.outcomes, self.counts.cpu().double(), strict=True):
            pairs = lost.sum() * won.sum()
            found[f"auc/{name}"] = (won @ (lost.cumsum(0) - lost / 2) / pairs) if pairs else torch.tensor(0.5).double()
        return {"auc": torch.stack(list(found.values())).mean()} | found


class Found(NamedTuple):
    """As `Judged`, of all ranks and on the CPU, ordered by rows, items, labels and logits."""

    rows: Ints
    items: Ints
    labels: Ints
    logits: Floats


class _JudgeEvents(L.LightningModule):
    """Judges the events of each rank, and brings them together."""

    def __init__(self, model: OutcomeModel):
        super().__init__()
        self.model = model
        self.found: Found | None = None
        self._own: list[Judged] = []

    def test_step(self, batch: OutcomeBatch, batch_idx: int) -> None:
        self._own.append(Judged(*(column.cpu() for column in judge(self.model, batch))))

    def on_test_epoch_end(self) -> None:
        everybody: list[list[Judged]] = [self._own]
        if dist.is_available() and dist.is_initialized():
            everybody = [[] for _ in range(dist.get_world_size())]
            dist.all_gather_object(everybody, self._own)
        none = torch.empty(0, dtype=torch.int64)
        found = [Judged(none, none, none, torch.empty(0, len(self.model.outcomes))), *chain(*everybody)]
        rows, items, labels, logits = (torch.cat(column).numpy() for column in zip(*found, strict=True))
        # sums of floats depend on their order, and that must not depend on the number of ranks
        order = np.lexsort((*logits.T, labels, items, rows))
        self.found = Found(rows[order], items[order], labels[order], logits[order])


def evaluate_outcomes(
    model: OutcomeModel,
    data: SequenceDataModule,
    *,
    part: Part = "test",
    devices: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
) -> OutcomeResult | None:
    """Judges every labelled event of a part after all that came before it; arguments as of `evaluate`.

    Beside the model stand the share of training events that came about, of the item and of the user, each smoothed by
    twenty events at the share of all.

    Returns:
        The metrics; None on processes other than the first.
    Raises:
        MetricError: a probability is NaN, or an outcome has one class only.
    """
    stream = data.outcomes(part)
    trainer = ranking_trainer(accelerator=accelerator, devices=devices, progress=progress)
    judging = _JudgeEvents(model)
    trainer.test(judging, stream.loader(trainer.global_rank, trainer.world_size), verbose=False)
    if not trainer.is_global_zero:
        return None
    found = judging.found
    assert found is not None  # after a test
    counted = _training_shares(model.outcomes, data)
    metrics: dict[str, dict[str, MetricValue]] = {"model": {}, "item_rate": {}, "user_rate": {}}
    bins, rates = {}, {}
    for number, name in enumerate(model.outcomes):
        known = is_known(found.labels, number).astype(np.bool_)
        rows, items = found.rows[known], found.items[known]
        positive = is_positive(found.labels[known], number).astype(np.bool_)
        of_items, of_users = counted[name]
        own = 1 / (1 + np.exp(-found.logits[known, number].astype(np.float64)))
        for column, probabilities in {"model": own, "item_rate": of_items[items], "user_rate": of_users[rows]}.items():
            values = outcome_metrics(Predictions(rows, probabilities, positive))
            metrics[column] |= {f"{metric}/{name}": value for metric, value in values.items()}
        bins[name], rates[name] = reliability(Predictions(rows, own, positive)), float(positive.mean())
    return OutcomeResult(
        protocol={"part": part, **data.split.describe(), "max_length": data.settings.max_length},
        counts=UserCounts(
            evaluated=len(np.unique(found.rows)),
            left_out={"no labelled event": data.store.manifest.counts.users - len(np.unique(found.rows))},
            cold_targets=int((data.split.train_counts[found.items] == 0).sum()),
        ),
        model=metrics.pop("model"),
        baselines=metrics,
        reliability=bins,
        rates=rates,
    )


def _training_shares(outcomes: tuple[str, ...], data: SequenceDataModule) -> dict[str, tuple[Floats, Floats]]:
    """By outcome, float64 (N + 1,) and (users,): shares of training events that came about, of items and of users."""
    counts = data.store.manifest.counts
    totals = {name: [np.zeros((2, counts.items + 1)), np.zeros((2, counts.users))] for name in outcomes}
    for sequences, labels in data.training_labels():
        rows = sequences.rows[sequences.row_of_event()]
        for number, name in enumerate(outcomes):
            known, positive = is_known(labels, number), is_positive(labels, number)
            of_items, of_users = totals[name]
            for kind, part in enumerate((known, positive)):
                of_items[kind] += np.bincount(sequences.items, part, minlength=of_items.shape[1])
                of_users[kind] += np.bincount(rows, part, minlength=of_users.shape[1])
    found = {}
    for name, columns in totals.items():
        share = columns[0][1].sum() / max(1.0, columns[0][0].sum())
        of_items, of_users = ((positive + _PRIOR * share) / (known + _PRIOR) for known, positive in columns)
        found[name] = (of_items, of_users)
    return found
