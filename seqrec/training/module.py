"""The LightningModule: calls model, loss and metric, and logs."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from seqrec.evaluation import RankHistogram, rank_users
from seqrec.models import SequenceModel
from seqrec.random import draw_items, raw_bits
from seqrec.stream import EvaluationBatch, TrainingBatch
from seqrec.training.callbacks import AllocateRanks, KeepPosition, SettleBuckets
from seqrec.training.checkpoints import check_missing, without_restorable
from seqrec.training.collectives import RankSum
from seqrec.training.optimizer import OptimizerSettings, build_optimizer, build_schedule

VALIDATION_PREFIX = "val/"


class SequenceRecommender(L.LightningModule):
    """Trains a `SequenceModel` on the batches of a `SequenceDataModule`.

    The gradient of a step is that of the mean loss over all targets of the global batch, whatever the number of ranks
    and micro-batches: each contributes by its share of the targets.

    Args:
        model: what is trained.
        optimizer: settings.
        seed: of negatives and dropout, with the step.
        total_steps: steps of the whole training, which learning-rate schedules span.
    """

    strict_loading = False  # restorable keys are left out of checkpoints; `check_missing` sees to the others

    def __init__(self, model: SequenceModel, optimizer: OptimizerSettings, *, seed: int, total_steps: int):
        super().__init__()
        self.model = model
        self.ranks = RankHistogram()
        self.optimizer_settings = optimizer
        self.seed = seed
        self.total_steps = total_steps

    def configure_callbacks(self) -> list[Callback]:
        return [KeepPosition(), SettleBuckets(), AllocateRanks(self.model)]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = build_optimizer(self.optimizer_settings, self.parameters())
        schedule = build_schedule(self.optimizer_settings, optimizer, self.total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_batch_start(self, batch: TrainingBatch, batch_idx: int) -> None:
        """Dropout from a counter, so that a resumed run draws what an undisturbed one would."""
        key = raw_bits(1, "dropout", self.seed, *batch.position, batch.micro_batch, self.global_rank)
        torch.manual_seed(int(key[0] >> 1))

    def training_step(self, batch: TrainingBatch, batch_idx: int) -> Tensor:
        if batch.micro_batch == 0:
            targets = torch.tensor(batch.step_targets, dtype=torch.float64, device=self.device)
            self._step_targets = RankSum(targets)  # while the forward pass runs
        negatives = self._negatives(batch)
        summed = self.model.training_loss(batch.inputs, batch.lengths, batch.targets, negatives)
        targets = self._step_targets.wait()
        # DDP divides gradients by the world size and Lightning by the micro-batches of a step
        loss = summed * (self.trainer.world_size * self.trainer.accumulate_grad_batches / targets)
        penalty = self.model.penalty()
        if penalty is not None:
            loss = loss + penalty
        return {"loss": loss, "loss_sum": summed.detach(), "targets": targets}  # type: ignore[return-value]

    def validation_step(self, batch: EvaluationBatch, batch_idx: int) -> None:
        if len(batch.rows):
            ranked = rank_users(self.model, batch, k=1)
            assert ranked.target_rank is not None  # there are targets
            self.ranks.update(ranked.target_rank)

    def on_validation_epoch_end(self) -> None:
        metrics = {VALIDATION_PREFIX + name: value for name, value in self.ranks.compute().items()}
        self.ranks.reset()
        for name, value in metrics.items():
            self.log(name, value, prog_bar=name.endswith("ndcg@10"))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = without_restorable(checkpoint["state_dict"], self.model)
        checkpoint["seqrec"] = {"total_steps": self.total_steps}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        check_missing(checkpoint["state_dict"], self)
        # Lightning loads weights before its precision plugin converts the module: float64 would be rounded to float32
        self.to(checkpoint["state_dict"]["model.items.weight"].dtype)

    def _negatives(self, batch: TrainingBatch) -> Tensor | None:
        if not self.model.loss.n_negatives:
            return None
        n_items = len(self.model.item_vectors())
        drawn = draw_items(self.model.loss.n_negatives, n_items, "negatives", self.seed, *batch.position)
        return torch.from_numpy(drawn).to(batch.inputs.device)
