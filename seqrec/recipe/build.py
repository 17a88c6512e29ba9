"""Recipe to objects: Trainer, module, datamodule."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.fabric.connector import _convert_precision_to_unified_args
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from seqrec.errors import UnsupportedError
from seqrec.features import read_attributes, read_features, read_history_text
from seqrec.models import (
    AdaLoraSettings,
    FeatureItemsSettings,
    FusedItemsSettings,
    HistoryText,
    IdItemsSettings,
    ItemAttributes,
    ItemFeatures,
    LoraSettings,
    RankingModel,
    build_head,
    build_loss,
    build_model,
    check_parts,
)
from seqrec.outcomes import OutcomeSettings
from seqrec.recipe.ids import check_catalogue, check_trained_on
from seqrec.recipe.processes import cluster_environment, is_first_process, place
from seqrec.recipe.schema import CsvLoggerSettings, LoggerSettings, Recipe, WandbLoggerSettings
from seqrec.store import SequenceStore
from seqrec.stream import SequenceDataModule
from seqrec.stream.order_share import micro_batches_per_step
from seqrec.training import (
    AtomicCheckpointIO,
    NonfiniteLoss,
    RankWatch,
    SequenceRecommender,
    StepMetrics,
    TrainingTime,
    limit_waiting,
    selection_callbacks,
)
from seqrec.training.strategies import CatalogueParallelStrategy, build_strategy, check_combination, family_of
from seqrec.users import UserValues

RUN_ID = "run.id"  # in the run folder: the same at every start of a run, so that loggers go on


class _Bar(RichProgressBar):
    """Without the loggers' version, which says nothing where each run has a folder."""

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return metrics


class Parts(NamedTuple):
    """What a recipe builds."""

    trainer: L.Trainer
    module: SequenceRecommender
    data: SequenceDataModule


def build(recipe: Recipe, folder: str | Path) -> Parts:
    """Builds everything that `Trainer.fit` needs; the store must exist.

    Args:
        recipe: what to build.
        folder: the run folder, for checkpoints and logs.
    Raises:
        RecipeError, UnsupportedError, StoreError, TokenizerError, BackboneError, AdapterError: a part does not fit.
    """
    check_recipe(recipe)
    data = build_data(recipe)
    check_trained_on(recipe, data)
    total_steps = _total_steps(recipe, data.training.n_steps)
    trainer = build_trainer(recipe, Path(folder), data)
    rows = None
    if isinstance(trainer.strategy, CatalogueParallelStrategy):
        rows = trainer.strategy.shard_of(data.store.manifest.counts.items).own
    L.seed_everything(recipe.seed, verbose=False)
    model = build_recipe_model(
        recipe,
        data.store,
        total_steps=total_steps,
        table_rows=rows,
        features=item_features(recipe, data),
        text=history_text(recipe, data),
        users=data.user_values,
    )
    if recipe.selection.metric != "auc":
        model.check_list(int(recipe.selection.metric.partition("@")[2]), where="selection.metric")
    module = SequenceRecommender(
        model,
        recipe.optimizer,
        seed=recipe.seed,
        total_steps=total_steps,
        train_counts=data.split.train_counts,
    )
    return Parts(trainer, module, data)


def build_data(recipe: Recipe, *, users: UserValues | None = None, **changes: Any) -> SequenceDataModule:
    """The datamodule; ``changes`` replace fields of the `data` section.

    With ``users`` attributes of users are written as a model knows them, not as the store has them.
    """
    head, negatives = build_head(recipe.model.head), build_loss(recipe.model.loss).negatives
    settings = recipe.data.model_copy(update=changes)
    max_history = settings.max_length - int(head.with_mask)
    in_batch = 0 if negatives is None else negatives.in_batch
    return SequenceDataModule(
        settings,
        head,
        seed=recipe.seed,
        max_history=max_history,
        in_batch=in_batch,
        columns=recipe.model.columns,
        outcomes=recipe.model.head if isinstance(recipe.model.head, OutcomeSettings) else None,
        users=users or recipe.model.users,
    )


def item_features(recipe: Recipe, data: SequenceDataModule) -> ItemFeatures | None:
    """What is known of the catalogue's items, where the recipe makes their vectors of it; else None.

    Raises:
        FeatureError, RecipeError: it cannot be read, or says nothing of some items.
    """
    items = recipe.model.items
    if not isinstance(items, FeatureItemsSettings | FusedItemsSettings):
        return None
    return read_features(items, data.store.catalogue, data.split.train_counts[1:] > 0)


def history_text(recipe: Recipe, data: SequenceDataModule) -> HistoryText | None:
    """What histories are written with, where the recipe has them as text; else None.

    Raises:
        UnsupportedError, BackboneError, RecipeError: backbone, head or template do not fit.
    """
    model = recipe.model
    if model.text is None:
        return None
    store, with_mask = data.store, build_head(model.head).with_mask
    return read_history_text(
        model.text, model.backbone, store.catalogue, with_mask=with_mask, actions=store.manifest.actions
    )


def build_recipe_model(
    recipe: Recipe,
    store: SequenceStore,
    *,
    total_steps: int,
    table_rows: slice | None = None,
    features: ItemFeatures | None = None,
    text: HistoryText | None = None,
    users: UserValues | None = None,
) -> RankingModel:
    """The model, over the store's catalogue; arguments as in `build_model`.

    Raises:
        TokenizerError: semantic ids are of another catalogue.
    """
    check_catalogue(recipe, store)
    return build_model(
        recipe.model,
        n_items=store.manifest.counts.items,
        max_length=recipe.data.max_length,
        total_steps=total_steps,
        actions=store.manifest.actions,
        attributes=_item_attributes(recipe, store),
        table_rows=table_rows,
        features=features,
        text=text,
        users=users,
    )


def _item_attributes(recipe: Recipe, store: SequenceStore) -> ItemAttributes | None:
    items = recipe.model.items
    if not isinstance(items, IdItemsSettings) or not items.attributes:
        return None
    return read_attributes(items.attributes, store.catalogue)


def build_trainer(recipe: Recipe, folder: Path, data: SequenceDataModule) -> L.Trainer:
    """The Trainer, with the arguments of the recipe and those that exactness needs."""
    callbacks: list[Callback] = [
        StepMetrics(),
        TrainingTime(),
        NonfiniteLoss(recipe.faults.nonfinite_loss),
        RankWatch(),
        *selection_callbacks(recipe.selection, folder / "checkpoints"),
    ]
    arguments: dict[str, Any] = {
        "enable_progress_bar": sys.stderr.isatty(),
        "enable_model_summary": False,
        **recipe.trainer,
        **place(recipe.trainer),
    }
    if recipe.data.split.kind == "leave_one_out" and recipe.data.split.refit:
        arguments["limit_val_batches"] = 0
    if arguments["enable_progress_bar"]:
        callbacks.append(_Bar(leave=True))
    arguments["strategy"] = build_strategy(arguments.get("strategy", "auto"))
    trainer = L.Trainer(
        **arguments,
        callbacks=callbacks,
        logger=[_logger(settings, recipe, folder) for settings in recipe.loggers],
        plugins=[AtomicCheckpointIO(), *cluster_environment()],
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    limit_waiting(trainer, recipe.faults.timeout_s)
    if trainer.strategy.root_device.type == "cuda" and trainer.precision not in ("32-true", "64-true"):
        # products with the item table stay in float32, and TF32, finer than bfloat16, puts them on tensor cores too:
        # a step of a GPT-2 over 3,416 items was a tenth faster on an H200
        torch.set_float32_matmul_precision("high")
    trainer.accumulate_grad_batches = micro_batches_per_step(data.training.n_partitions, trainer.world_size)
    return trainer


def _total_steps(recipe: Recipe, steps_per_epoch: int) -> int:
    epochs, steps = recipe.trainer.get("max_epochs", -1), recipe.trainer.get("max_steps", -1)
    limits = [epochs * steps_per_epoch if epochs and epochs > 0 else math.inf, steps if steps > 0 else math.inf]
    return int(min(limits))


def check_recipe(recipe: Recipe) -> None:
    """Refuses settings that are right one by one and do not work together.

    Raises:
        UnsupportedError: which, and the way out.
    """
    strategy = recipe.trainer.get("strategy", "auto")
    adapter = recipe.model.adapter
    chosen = {
        "trainer.precision": _convert_precision_to_unified_args(recipe.trainer.get("precision")),
        "trainer.gradient_clip_algorithm": recipe.trainer.get("gradient_clip_algorithm"),
        "model.items.kind": recipe.model.items.kind,
        "model.head.kind": recipe.model.head.kind,
        "model.adapter.kind": None if adapter is None else adapter.kind,
        "model.backbone.quantize": getattr(recipe.model.backbone, "quantize", None),
        "model.auxiliary": ", ".join(recipe.model.auxiliary.asked) or None,
        "optimizer.table_updates": recipe.optimizer.table_updates,
        "optimizer.kind": recipe.optimizer.kind,
        "optimizer.ema": None if recipe.optimizer.ema is None else str(recipe.optimizer.ema),
        "model.items.attributes": ", ".join(getattr(recipe.model.items, "attributes", ())) or None,
        "model.loss.label_smoothing": str(getattr(recipe.model.loss, "label_smoothing", 0.0) or "") or None,
        "selection.save_in_background": "true" if recipe.selection.save_in_background else None,
        "data.length_buckets": None if recipe.data.length_buckets is None else str(recipe.data.length_buckets),
    }
    check_combination(strategy, family_of(strategy), chosen)
    check_parts(recipe.model)
    if (recipe.model.head.kind == "outcome") != (recipe.selection.metric == "auc"):
        raise UnsupportedError(
            f"the head `{recipe.model.head.kind}` is not measured by it",
            where=f"selection.metric: {recipe.selection.metric}",
            do="take `auc` with the head `outcome`, and another metric with all others",
        )
    plain_lora = isinstance(adapter, LoraSettings) and not adapter.dora and adapter.initialization == "random"
    if chosen["model.backbone.quantize"] is not None and adapter is not None and not plain_lora:
        raise UnsupportedError(
            f"`{adapter.kind}` over quantized weights has not been tried",
            where="model.backbone.quantize",
            do="use `lora` without `dora` and with `initialization: random`, or leave it null",
        )
    if not isinstance(adapter, AdaLoraSettings):
        return
    if recipe.optimizer.averages:
        raise UnsupportedError(
            "AdaLoRA sets the parts of a rank that it takes away to zero, and their average would not be",
            where="optimizer.kind: schedule_free_adamw" if recipe.optimizer.ema is None else "optimizer.ema",
            do="take `adamw` without an average, or use `lora`",
        )
    if recipe.faults.nonfinite_loss == "skip":
        raise UnsupportedError(
            "AdaLoRA needs a gradient in every step, to tell which ranks matter",
            where="faults.nonfinite_loss",
            do="set it to `stop`, or take LoRA",
        )
    if recipe.selection.patience is not None:
        raise UnsupportedError(
            "AdaLoRA moves ranks on a schedule over all steps, and early stopping would end before they are final",
            where="selection.patience",
            do="set `selection.patience: null`; the best checkpoint is chosen among those with final ranks",
        )


def _logger(settings: LoggerSettings, recipe: Recipe, folder: Path) -> Logger:
    if isinstance(settings, CsvLoggerSettings):
        return CSVLogger(folder, name="csv")
    if isinstance(settings, WandbLoggerSettings):
        return WandbLogger(
            name=recipe.name,
            id=(folder / RUN_ID).read_text() if is_first_process() else None,  # others may be ahead of its writer
            save_dir=folder,
            project=settings.project,
            entity=settings.entity,
            offline=settings.offline,
            resume="allow",
            config=recipe.model_dump(mode="json"),
        )
    return TensorBoardLogger(folder, name="", version="tensorboard")
