"""Evaluates a model beside the baselines, on any number of ranks to the same digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import lightning as L
import torch

from seqrec.errors import UnsupportedError
from seqrec.evaluation.baselines import DEFAULT_BASELINES, Baseline, BaselineName, check_baselines, fit_baselines
from seqrec.evaluation.list_measures import IntraListDiversity, ListMeasure, Miscalibration, novelty_measure
from seqrec.evaluation.metrics import cutoffs_within
from seqrec.evaluation.outcomes import evaluate_outcomes
from seqrec.evaluation.results import EvaluationResult, SliceResult, UserCounts
from seqrec.evaluation.slices import Slices
from seqrec.evaluation.tally import Tally, rank_values
from seqrec.evaluation.trainer import ranking_trainer
from seqrec.evaluation.users import rank_users
from seqrec.models import OutcomeModel, RankingModel, SequenceModel
from seqrec.ranking import Diversifier, ItemLists, Labels, Ranked, VectorSimilarity, rank
from seqrec.store.split import Part
from seqrec.stream import EvaluatedUsers, EvaluationBatch, EvaluationStream, SequenceDataModule

SLICED = ("hr@10", "ndcg@10")
MODEL = "model"
UNDIVERSIFIED = "undiversified"


class _RankUsers(L.LightningModule):
    """Tallies the users of each rank, the model's lists and the baselines', and sums over ranks."""

    def __init__(
        self,
        model: RankingModel,
        data: SequenceDataModule,
        stream: EvaluationStream,
        baselines: Sequence[BaselineName],
        diversifier: Diversifier | None,
    ):
        super().__init__()
        self.model = model
        self.slices = Slices(data.split.train_counts[1:])
        self.tallies: dict[str, Tally] = {}
        self._data = data
        self._stream = stream
        self._cutoffs = cutoffs_within(model.list_limit)
        self._k = max(self._cutoffs)
        self._names = baselines
        self._diversifier = diversifier
        self._baselines: Mapping[str, Baseline] = {}

    def setup(self, stage: str) -> None:
        """Fits the baselines, the same on every rank."""
        self._baselines = fit_baselines(self._names, self._data)
        rows = [MODEL, *([UNDIVERSIFIED] if self._diversifier else []), *self._baselines]
        measures = list_measures(self.model, self._data)
        self.tallies = {
            name: Tally(
                self._data.split.train_counts[1:],
                self._cutoffs,
                measures=measures,
                n_slices=len(self.slices.names),
                n_users=self._data.store.manifest.counts.users,
            )
            for name in rows
        }

    def test_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        if not len(batch.rows):
            return
        number = self._stream.plan.batches_of(self.global_rank, self.trainer.world_size)[batch_idx]
        users = self._stream.users(number)
        histories = ItemLists(torch.from_numpy(users.offsets), torch.from_numpy(users.items))
        if self._diversifier is None:
            self._count(MODEL, users, histories, rank_users(self.model, batch, k=self._k))
        else:
            ranked = rank_users(self.model, batch, k=self._diversifier.candidates(self._k, self.model.list_limit))
            assert ranked.target_rank is not None  # there are targets
            self._count(MODEL, users, histories, self._diversifier(ranked, self._k, targets=batch.targets))
            self._count(UNDIVERSIFIED, users, histories, ranked)
        seen = histories if self._data.split.settings.seen == "filter" else None
        targets = torch.from_numpy(users.targets)
        for name, baseline in self._baselines.items():
            scorer = baseline.scorer(histories, users.rows)
            self._count(name, users, histories, rank(scorer, k=self._k, targets=targets, seen=seen))

    def on_test_epoch_end(self) -> None:
        for tally in self.tallies.values():
            tally.sum_over_ranks(self.device)

    def _count(self, name: str, users: EvaluatedUsers, histories: ItemLists, ranked: Ranked) -> None:
        assert ranked.target_rank is not None  # there are targets
        self.tallies[name].add(
            users.rows,
            ranked.target_rank.cpu().numpy(),
            ranked.top_items[:, : self._k].cpu().numpy(),
            histories=histories,
            slices=self.slices.places(users.targets, histories.offsets.diff().numpy(), users.trained),
        )


def evaluate(
    model: RankingModel,
    data: SequenceDataModule,
    *,
    part: Part = "test",
    baselines: Sequence[BaselineName] = DEFAULT_BASELINES,
    diversifier: Diversifier | None = None,
    devices: int = 1,
    accelerator: str = "auto",
    progress: bool = False,
) -> EvaluationResult | None:
    """Ranks items for every user with a target, and does the same with the baselines; or judges outcomes.

    Metrics are those at cutoffs that the model's lists reach; a target that a generated list leaves out is missed.

    Args:
        model: what is evaluated.
        data: store and split protocol.
        part: which targets.
        baselines: what stands beside it.
        diversifier: re-ranks the model's lists; the lists before are then a row `undiversified` of the baselines.
        devices: processes; the result is the same for any number at equal threads a process.
        accelerator: as Lightning names it.
        progress: shows a bar.
    Returns:
        The metrics; None on processes other than the first.
    Raises:
        MetricError: a score is NaN, or the model's lists are too short for any metric.
        StoreError: the split leaves no user.
        RecipeError: a baseline is unknown.
        UnsupportedError: outcomes are to be judged, and lists to be re-ranked.
        MissingExtraError: a baseline needs a package that is not installed.
    """
    check_baselines(baselines)
    if isinstance(model, OutcomeModel):
        if diversifier is not None:
            raise UnsupportedError(
                "the head `outcome` is judged by single events, and no lists are made",
                where="--diversify",
                do="leave it out",
            )
        return evaluate_outcomes(model, data, part=part, devices=devices, accelerator=accelerator, progress=progress)
    stream = data.evaluation(part)
    trainer = ranking_trainer(accelerator=accelerator, devices=devices, progress=progress)
    ranker = _RankUsers(model, data, stream, baselines, diversifier)
    trainer.test(ranker, stream.loader(trainer.global_rank, trainer.world_size), verbose=False)
    if not trainer.is_global_zero:
        return None
    counts = stream.counts
    metrics = {name: tally.metrics() for name, tally in ranker.tallies.items()}
    protocol = {"part": part, **data.split.describe(), "max_length": data.settings.max_length}
    if diversifier is not None:
        protocol["diversify"] = str(diversifier.wanted)
    if model.list_limit is not None:
        protocol["list_limit"] = model.list_limit
    return EvaluationResult(
        protocol=protocol,
        counts=UserCounts(counts.users, counts.left_out, counts.cold_targets),
        model=metrics.pop(MODEL),
        baselines=metrics,
        slices=_slice_results(ranker.slices, ranker.tallies),
        rank_of_user={name: tally.rank_of_user for name, tally in ranker.tallies.items()},
    )


def categories(data: SequenceDataModule) -> Labels | None:
    """The items' categories; None where the store has none."""
    table = data.store.catalogue.table
    return Labels.of(table.column("category").to_pylist()) if "category" in table.column_names else None


def list_measures(model: RankingModel, data: SequenceDataModule) -> list[ListMeasure]:
    """What lists are measured by beside their popularity: the same for the model and the baselines."""
    found: list[ListMeasure] = [novelty_measure(data.split.train_counts[1:])]
    if isinstance(model, SequenceModel):
        found.append(IntraListDiversity("vector_diversity", VectorSimilarity.of(model.compared_vectors().cpu())))
    labels = categories(data)
    if labels is not None:
        found += [IntraListDiversity("category_diversity", labels), Miscalibration(labels)]
    return found


def _slice_results(slices: Slices, tallies: Mapping[str, Tally]) -> tuple[SliceResult, ...]:
    found, cutoffs = [], tallies[MODEL].cutoffs
    sliced = [metric for metric in SLICED if int(metric.partition("@")[2]) in cutoffs]
    for place, which in enumerate(slices.names):
        histograms = {name: tally.slice_ranks[place] for name, tally in tallies.items()}
        users = int(histograms[MODEL].sum())
        if users:
            rows = {name: rank_values(histogram, cutoffs) for name, histogram in histograms.items()}
            shown = {name: {metric: values[metric] for metric in sliced} for name, values in rows.items()}
            found.append(SliceResult(which, users, shown))
    return tuple(found)
