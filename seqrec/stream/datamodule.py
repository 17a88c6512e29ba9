"""The LightningDataModule over a sequence store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader

from seqrec.errors import RunError, UnsupportedError
from seqrec.event_columns import ColumnName
from seqrec.outcomes import OutcomeSettings
from seqrec.store.outcomes import Labeller
from seqrec.store.sequences import Sequences
from seqrec.store.split import Part, Split, Temporal, resolve
from seqrec.store.store import SequenceStore
from seqrec.store.users import check_user_columns, read_user_values
from seqrec.stream.batches import EvaluationBatch, Position, TrainingBatch
from seqrec.stream.collate import flatten
from seqrec.stream.columns import check_columns
from seqrec.stream.evaluation_stream import EvaluationStream
from seqrec.stream.outcome_stream import OutcomeBatch, OutcomeStream
from seqrec.stream.settings import DataSettings
from seqrec.stream.training_stream import Task, TrainingStream
from seqrec.users import UserSettings, UserValues


class SequenceDataModule(L.LightningDataModule):
    """Streams a store to a Trainer, exactly: each trainable row once an epoch, whatever the number of ranks.

    The position in the stream is global and part of the checkpoint; the callbacks of `SequenceRecommender` keep it up
    to date.

    Args:
        settings: the `data` section of a recipe.
        task: makes inputs and targets; a head of `seqrec.models.heads`.
        seed: of the order and of what the task draws.
        max_history: latest events that the model gets to see when it recommends.
        in_batch: targets that a step takes as its negatives, where the loss asks for some.
        columns: what batches carry of the events beside their items, each with the recipe field that asks for it.
        outcomes: what became of events, for a head that predicts it; then validation judges events.
        users: attributes of users that batches carry: which, and they are written as the store has them; or how.
    Raises:
        StoreError: no store there.
        UnsupportedError: the store lacks one of the columns.
        RecipeError: it lacks one of the attributes.
        RecipeError, UnsupportedError: the split protocol does not fit the store.
    """

    def __init__(
        self,
        settings: DataSettings,
        task: Task,
        *,
        seed: int,
        max_history: int,
        in_batch: int = 0,
        columns: Mapping[ColumnName, str] | None = None,
        outcomes: OutcomeSettings | None = None,
        users: UserSettings | UserValues | None = None,
    ):
        super().__init__()
        self.settings = settings
        self.store = SequenceStore(settings.store, cache=settings.cache)
        self.position = Position(0, 0)
        self._task = task
        self._seed = seed
        self._max_history = max_history
        self._in_batch = in_batch
        self._columns = tuple(columns or {})
        self.labeller = None if outcomes is None else Labeller(outcomes, self.store.manifest)
        check_columns(columns or {}, self.store.manifest, where=settings.store)
        self._users = users
        if users is not None:
            check_user_columns(users, self.store.manifest, where=settings.store)

    @cached_property
    def split(self) -> Split:
        """The protocol over the store."""
        return resolve(self.settings.split, self.store)

    @cached_property
    def user_values(self) -> UserValues | None:
        """How attributes of users are written, where some are asked for; read once off the whole store.

        Raises:
            FeatureError: a cell is not a number, or nobody has a value.
        """
        return read_user_values(self._users, self.store) if isinstance(self._users, UserSettings) else self._users

    @cached_property
    def training(self) -> TrainingStream:
        """The training batches."""
        return TrainingStream(
            self.store,
            self.split,
            self.settings,
            self._task,
            seed=self._seed,
            in_batch=self._in_batch,
            columns=self._columns,
            labels=None if self.labeller is None else partial(self.labeller, until_us=self._cuts.validation_cut_us),
            label_columns=() if self.labeller is None else self.labeller.columns,
            users=self.user_values,
        )

    @property
    def _cuts(self) -> Temporal:
        if not isinstance(self.split, Temporal):
            raise UnsupportedError(
                "labels of outcomes need a point in time up to which the log is known",
                where=f"data.split.kind: {self.settings.split.kind}",
                do="set it to `temporal`",
            )
        return self.split

    def training_labels(self) -> Iterator[tuple[Sequences, npt.NDArray[np.int32]]]:
        """The store's sequences, with the labels that training has of their events."""
        assert self.labeller is not None
        for sequences in self.store.scan(self.labeller.columns):
            yield sequences, self.labeller(sequences, self._cuts.validation_cut_us)

    def outcomes(self, part: Part) -> OutcomeStream:
        """The events that are judged for validation or test."""
        assert self.labeller is not None
        return OutcomeStream(
            self.store, self._cuts, self.labeller, self.settings, part, columns=self._columns, users=self.user_values
        )

    def evaluation(self, part: Part | None) -> EvaluationStream:
        """The validation or test batches; without a part the whole sequence of every user, without targets."""
        return EvaluationStream(
            self.store,
            self.split,
            self.settings,
            part,
            max_history=self._max_history,
            columns=self._columns,
            users=self.user_values,
        )

    def training_sequences(self) -> Iterator[Sequences]:
        """The store's sequences cut to what is trained on, with times where it has them."""
        columns = dict.fromkeys([*self.split.columns, *(["timestamps"] if self.store.manifest.has_time else [])])
        for sequences in self.store.scan(tuple(columns)):
            lengths = self.split.train_end(sequences)
            offsets, items = flatten(sequences.items, sequences.offsets[:-1], lengths)
            times = sequences.timestamps
            if times is not None:
                _, times = flatten(times, sequences.offsets[:-1], lengths)
            yield replace(sequences, offsets=offsets, items=items.astype(np.int32), timestamps=times, actions=None)

    def setup(self, stage: str) -> None:
        """Takes the rank's place and refuses Trainer arguments under which the stream would not be exact."""
        if self.trainer is None or stage != "fit":
            return
        self.training.place(self.trainer.global_rank, self.trainer.world_size)
        if self.trainer.accumulate_grad_batches != self.training.micro_batches:
            raise UnsupportedError(
                f"a step of {self.training.n_partitions} partitions is {self.training.micro_batches} micro-batches on "
                f"each of {self.trainer.world_size} ranks, the Trainer accumulates "
                f"{self.trainer.accumulate_grad_batches}",
                where="trainer.accumulate_grad_batches",
                do=f"set it to {self.training.micro_batches}",
            )
        limit = self.trainer.limit_train_batches  # also where `overfit_batches` or `fast_dev_run` is set
        if isinstance(limit, int) or limit != 1.0:  # to Lightning 1 is one batch and 1.0 all of them
            raise UnsupportedError(
                "part of an epoch cannot be resumed exactly",
                where="trainer.limit_train_batches",
                do="use `max_steps`, or a smaller store",
            )

    def train_dataloader(self) -> TrainingLoader:
        on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return TrainingLoader(self, pin_memory=on_gpu)

    def val_dataloader(self) -> DataLoader[EvaluationBatch] | DataLoader[OutcomeBatch]:
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[EvaluationBatch] | DataLoader[OutcomeBatch]:
        return self._evaluation_loader("test")

    def _evaluation_loader(self, part: Part) -> DataLoader[EvaluationBatch] | DataLoader[OutcomeBatch]:
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        stream = self.evaluation(part) if self.labeller is None else self.outcomes(part)
        return stream.loader(rank, world_size)

    def state_dict(self) -> dict[str, Any]:
        """The position, with what it is a position in, and the catalogue that item indices point into."""
        return {
            "epoch": self.position.epoch,
            "step": self.position.step,
            "fingerprint": self.training.fingerprint,
            "micro_batches": self.training.micro_batches,
            "catalogue": self.store.catalogue.fingerprint,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up a position.

        Raises:
            RunError: it is a position in another order.
        """
        if state_dict["fingerprint"] != self.training.fingerprint:
            raise RunError(
                "the checkpoint's position belongs to another order of the data",
                checkpoint=state_dict["fingerprint"],
                now=self.training.fingerprint,
                do="resume with its store, split, head and seed, and its step_tokens, partitions, window_tokens, "
                "max_length and long_histories",
            )
        self.position = Position(state_dict["epoch"], state_dict["step"])


class TrainingLoader:
    """The rest of the epoch, for Lightning.

    Not a `torch.utils.data.DataLoader`, as threads replace its workers and there is no batch size: Lightning asks a
    loader only for a length and an iterator. The length is the whole epoch's, as Lightning counts what was done before
    a resume; the position is read when the first batch is asked for, since Lightning may build and iterate loaders
    before it restores state.

    Args:
        data: holds the position.
        pin_memory: as for `TrainingStream.batches`.
    """

    def __init__(self, data: SequenceDataModule, *, pin_memory: bool = False):
        self._data = data
        self._pin_memory = pin_memory

    def __len__(self) -> int:
        return len(self._data.training)

    def state_dict(self) -> dict[str, Any]:
        """Nothing, as the datamodule has the position; without it Lightning warns that the loader is not resumable."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Nothing to do."""

    def __iter__(self) -> Iterator[TrainingBatch]:
        yield from self._data.training.batches(self._data.position, pin_memory=self._pin_memory)
