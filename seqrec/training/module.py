"""The LightningModule: calls model, loss and metric, and logs."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torchmetrics import Metric

from seqrec.errors import UnsupportedError
from seqrec.evaluation import OutcomeHistogram, RankHistogram, cutoffs_within, judge, rank_users
from seqrec.models import (
    AuxiliaryModel,
    MicroBatch,
    Negatives,
    NegativeSampler,
    OutcomeModel,
    RankingModel,
    SequenceModel,
)
from seqrec.random import raw_bits
from seqrec.stream import EvaluationBatch, OutcomeBatch, TrainingBatch
from seqrec.training.averages import MovingAverage, ScheduleFreeAverage
from seqrec.training.callbacks import AllocateRanks, KeepPosition, SettleBuckets
from seqrec.training.catalogue import ShardedItemTable, rank_over_shards
from seqrec.training.checkpoints import check_missing, without_restorable
from seqrec.training.clipping import clip_gradients, gradients_of
from seqrec.training.collectives import RankSum, gather_rows
from seqrec.training.negatives import draw_negatives
from seqrec.training.optimizer import OptimizerSettings, build_optimizer, build_schedule
from seqrec.training.row_gradients import AverageRowGradients
from seqrec.training.shared_memory import AverageInSharedMemory
from seqrec.training.strategies import CatalogueParallelStrategy, Fsdp2Strategy, forward_gathers, loss_factor

VALIDATION_PREFIX = "val/"


class SequenceRecommender(L.LightningModule):
    """Trains a `RankingModel` on the batches of a `SequenceDataModule`.

    The gradient of a step is that of the mean loss over all targets of the global batch, whatever the number of ranks
    and micro-batches: each contributes by its share of the targets.

    Args:
        model: what is trained.
        optimizer: settings.
        seed: with the step, of negatives and of what draws from torch's generator.
        total_steps: steps of the whole training, which learning-rate schedules span.
        train_counts: int64 (N + 1,), training events of each item; for popularity and in-batch negatives.

    Attributes:
        stop_requested: whether this rank was told to stop; `StopOnSignal` sets it, and each step sums it over ranks.

    Raises:
        UnsupportedError: the optimizer is to update rows, and the loss touches all.
        ValueError: ``train_counts`` is needed.
    """

    strict_loading = False  # restorable keys are left out of checkpoints; `check_missing` sees to the others

    def __init__(
        self,
        model: RankingModel,
        optimizer: OptimizerSettings,
        *,
        seed: int,
        total_steps: int,
        train_counts: npt.NDArray[np.int64] | None = None,
    ):
        super().__init__()
        self.model = model
        self.ranks = RankHistogram(cutoffs_within(model.list_limit))
        self.judged = OutcomeHistogram(model.outcomes) if isinstance(model, OutcomeModel) else None
        self.optimizer_settings = optimizer
        self.seed = seed
        self.total_steps = total_steps
        self.stop_requested = False
        self._sampler: NegativeSampler | None = None
        if (wanted := model.loss.negatives) is not None:
            compared = model.items.compared
            among = None if compared is None else np.flatnonzero(compared.cpu().numpy()) + 1
            self._sampler = NegativeSampler(wanted, model.n_items, seed=seed, train_counts=train_counts, among=among)
        self._negatives: Negatives | None = None
        if isinstance(model, AuxiliaryModel):
            model.gather = gather_rows
        self.step_loss: RankSum | None = None  # of all ranks and micro-batches, once the last one has its loss
        self._loss_sum: Tensor | float = 0.0
        # DDP reads the name. Buffers of items and of what writes texts are constants, which it would send in every step
        constants = [name for name, _ in model.named_buffers() if name.startswith(("items.", "writer."))]
        self._ddp_params_and_buffers_to_ignore = [f"model.{name}" for name in constants]
        if self._updates_rows:
            model.use_row_gradients()
            # `AverageRowGradients` does what DDP then does not
            self._ddp_params_and_buffers_to_ignore.append("model.items.weight")

    @property
    def _updates_rows(self) -> bool:
        return self.optimizer_settings.table_updates == "rows"

    def setup(self, stage: str) -> None:
        """Refuses steps in whose parts no sequence could be told apart from those of other parts."""
        contrasts = isinstance(self.model, AuxiliaryModel) and self.model.auxiliary.contrastive is not None
        if stage == "fit" and contrasts and self.trainer.accumulate_grad_batches > 1:
            raise UnsupportedError(
                f"each rank takes a step in {self.trainer.accumulate_grad_batches} micro-batches, one after the other, "
                "and all its sequences are to be told apart at once",
                where="model.auxiliary.contrastive",
                do="set `data.partitions` to 1, or to a number that divides that of the ranks",
            )

    def configure_callbacks(self) -> list[Callback]:
        callbacks: list[Callback] = [
            KeepPosition(),
            AverageInSharedMemory(),
            SettleBuckets(),
            AllocateRanks(self.model),
        ]
        if self._updates_rows and not isinstance(self.trainer.strategy, CatalogueParallelStrategy):
            callbacks.append(AverageRowGradients(self.model.items.weight))
        if self.optimizer_settings.ema is not None:
            callbacks.append(MovingAverage(self.optimizer_settings.ema))
        if self.optimizer_settings.kind == "schedule_free_adamw":
            callbacks.append(ScheduleFreeAverage())
        return callbacks

    def configure_model(self) -> None:
        if isinstance(self.trainer.strategy, Fsdp2Strategy | CatalogueParallelStrategy):
            self.trainer.strategy.shard(self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.optimizer_settings, self.parameters(), table=self.model.items.weight)
        schedule = build_schedule(self.optimizer_settings, optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        own = {self.model.items.weight} if isinstance(self.model.items, ShardedItemTable) else set()
        gradients, of_rank = gradients_of(p for p in self.parameters() if p not in own), gradients_of(own)
        if gradient_clip_val and (of_rank or any(g.is_sparse or isinstance(g, DTensor) for g in gradients)):
            clip_gradients(gradients, gradient_clip_val, gradient_clip_algorithm, of_rank=of_rank)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """What still draws from torch's generator repeats in a resumed run; dropout is keyed by row."""
        key = raw_bits(1, "torch", self.seed, *batch.position, batch.micro_batch, self.global_rank)
        torch.manual_seed(int(key[0] >> 1))

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        if batch.micro_batch == 0:
            told = torch.tensor([batch.step_targets, self.stop_requested], dtype=torch.float64, device=self.device)
            self._step_sums = RankSum(told)  # while the forward pass runs
            self.model.items.start_step(int(raw_bits(1, "items", self.seed, *batch.position)[0] >> 1))
            if self._sampler is not None:
                table = self.model.items.weight
                self._negatives = draw_negatives(self._sampler, batch).to(table.device, table.dtype)
        learnt = MicroBatch(batch.inputs, batch.lengths, batch.targets, batch.events, batch.keys, batch.places)
        summed = self.model.training_loss(learnt, self._negatives)
        targets, stops = self._step_sums.wait()
        # a step without a target, as labels may leave one, has no gradient
        loss = summed * (loss_factor(self.trainer) / targets.clamp(min=1))
        penalty = self.model.penalty()
        if penalty is not None:
            loss = loss + penalty
        self._sum_loss(summed.detach(), batch)
        outputs = {"loss": loss, "loss_sum": summed.detach(), "targets": targets, "stops": stops}
        return outputs  # type: ignore[return-value]

    def _sum_loss(self, summed: Tensor, batch: TrainingBatch) -> None:
        self._loss_sum = summed.double() + (self._loss_sum if batch.micro_batch else 0.0)
        last = batch.micro_batch + 1 == self.trainer.accumulate_grad_batches
        self.step_loss = RankSum(self._loss_sum) if last else None  # while the backward pass runs

    def validation_step(self, batch: EvaluationBatch | OutcomeBatch, batch_idx: int) -> None:
        if isinstance(batch, OutcomeBatch):
            assert isinstance(self.model, OutcomeModel)  # which such batches are made for
            assert self.judged is not None
            found = judge(self.model, batch)
            self.judged.update(found.labels, found.logits)
            return
        if isinstance(self.trainer.strategy, CatalogueParallelStrategy):
            assert isinstance(self.model, SequenceModel)  # what the strategy can shard
            ranked = rank_over_shards(self.model, batch, k=max(self.ranks.cutoffs))
            assert ranked.target_rank is not None  # there are targets
            self.ranks.update(ranked.target_rank)
            return
        gathers = forward_gathers(self.trainer.strategy)
        if len(batch.rows):
            ranked = rank_users(self.model, batch, k=max(self.ranks.cutoffs), in_parts=not gathers)
            assert ranked.target_rank is not None  # there are targets
            self.ranks.update(ranked.target_rank)
        elif gathers:
            self.model.rank(self.model.filler(self.device))

    def on_validation_epoch_end(self) -> None:
        metric: Metric = self.ranks if self.judged is None else self.judged
        metrics = {VALIDATION_PREFIX + name: value for name, value in metric.compute().items()}
        metric.reset()
        for name, value in metrics.items():
            self.log(name, value, prog_bar=name.endswith(("ndcg@10", "/auc")))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = without_restorable(checkpoint["state_dict"], self.model)
        checkpoint["seqrec"] = {"total_steps": self.total_steps}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint.get("state_dict")
        if state is None:  # a strategy that shards has loaded the weights itself
            return
        check_missing(state, self)
        # Lightning loads weights before its precision plugin converts the module: float64 would be rounded to float32
        self.to(state["model.items.weight"].dtype)
