"""What a recipe file may say."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import lightning as L
from pydantic import Field, field_validator

from seqrec.errors import nearest
from seqrec.logs import LogSettings
from seqrec.models import ModelSettings
from seqrec.settings import Settings
from seqrec.stream import DataSettings
from seqrec.tokenize import TokenizerSettings
from seqrec.training import FaultSettings, OptimizerSettings, SelectionSettings
from seqrec.training.strategies import family_of

REFUSED_TRAINER_ARGUMENTS = {
    "accumulate_grad_batches": "follows from data.partitions and the number of ranks",
    "limit_train_batches": "part of an epoch cannot be resumed exactly; use max_steps",
    "overfit_batches": "part of an epoch cannot be resumed exactly; use max_steps",
    "fast_dev_run": "part of an epoch cannot be resumed exactly; use max_steps",
    "use_distributed_sampler": "the stream shares work between ranks itself",
    "reload_dataloaders_every_n_epochs": "the stream's order changes every epoch by itself",
    "callbacks": "use the library: Trainer(callbacks=[…]).fit(module, datamodule)",
    "logger": "use the `loggers` section",
    "plugins": "use the library: Trainer(plugins=[…]).fit(module, datamodule)",
    "enable_checkpointing": "the run folder needs its checkpoints",
    "default_root_dir": "the run folder is runs/NAME",
    "barebones": "it switches off checkpoints and metrics",
}


class CsvLoggerSettings(Settings):
    """CSV files in the run folder."""

    kind: Literal["csv"] = "csv"


class TensorBoardLoggerSettings(Settings):
    """TensorBoard event files in the run folder."""

    kind: Literal["tensorboard"]


class WandbLoggerSettings(Settings):
    """Weights & Biases; a continued run continues its curves."""

    kind: Literal["wandb"]
    project: str = Field("seqrec", description="Project name.")
    entity: str | None = Field(None, description="Team or user; null: the default one.")
    offline: bool = Field(False, description="Keep everything in the run folder; `wandb sync` uploads it later.")


LoggerSettings = Annotated[
    CsvLoggerSettings | TensorBoardLoggerSettings | WandbLoggerSettings, Field(discriminator="kind")
]


class Recipe(Settings):
    """One training run, from raw logs to a checkpoint."""

    name: str = Field(pattern=r"^[\w.-]+$", description="Names the run folder, runs/NAME.")
    seed: int = Field(0, ge=0, description="Seed of everything random: weights, order, masks, negatives, dropout.")
    logs: LogSettings | None = Field(None, description="What `prepare` reads; null where the store exists already.")
    data: DataSettings = Field(description="Store, split protocol, batches.")
    tokenizer: TokenizerSettings | None = Field(
        None, description="How `tokenize` names items by semantic ids; null where they exist already."
    )
    model: ModelSettings = Field(description="Items, backbone, adapter, head, loss.")
    optimizer: OptimizerSettings = Field(default_factory=OptimizerSettings, description="Optimiser and schedule.")
    selection: SelectionSettings = Field(
        default_factory=SelectionSettings, description="Which checkpoint is the result, and when to stop."
    )
    faults: FaultSettings = Field(default_factory=FaultSettings, description="What is done when something goes wrong.")
    trainer: dict[str, Any] = Field(
        default_factory=dict, description="Arguments of Lightning's Trainer, by their own names."
    )
    loggers: list[LoggerSettings] = Field([CsvLoggerSettings()], description="Where metrics are written.")

    @field_validator("trainer")
    @classmethod
    def _check_trainer(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        known = set(inspect.signature(L.Trainer.__init__).parameters) - {"self"}
        for name in arguments:
            if name in REFUSED_TRAINER_ARGUMENTS:
                raise ValueError(f"`{name}` cannot be set here: {REFUSED_TRAINER_ARGUMENTS[name]}")
            if name not in known:
                near = nearest(name, known)
                raise ValueError(f"no Trainer argument `{name}`" + (f"; did you mean `{near}`?" if near else ""))
        if not any(isinstance(value := arguments.get(n), int) and value > 0 for n in ("max_epochs", "max_steps")):
            raise ValueError("`max_epochs` or `max_steps` must say how long to train")
        family_of(arguments.get("strategy", "auto"))
        # null means without a limit, as it does for max_epochs; Lightning spells that -1 for steps
        return {name: value for name, value in arguments.items() if (name, value) != ("max_steps", None)}
