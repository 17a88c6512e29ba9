"""What the systems of this folder have in common: their task, the data, and how they are told what to do.

Imported in each system's own environment: the standard library and numpy only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

K = 10  # items of a list
LEFT_OUT = {"train": 2, "validation": 2, "test": 1}  # last items of a user that a part does not show


@dataclass(frozen=True)
class Task:
    """What every system trains: the same data, the same sizes; batch, dropout and learning rate are its own.

    Attributes:
        data: .npz of behaviour sequences: `items` int32 (events,), 1..N, oldest first; `offsets` int64 (U + 1,);
            `n_items`.
        recipe: of seqrec's own run.
        negatives: of the sampled loss; 0 for the full softmax.
        width, blocks, heads: of the model.
        max_length: positions that the model sees.
        folder: for files of the system.
        seed: of weights and order.
    """

    data: Path
    recipe: Path
    negatives: int
    width: int
    blocks: int
    heads: int
    max_length: int
    folder: Path
    seed: int


class Sequences(NamedTuple):
    """Histories as flat events: those of user u are items[starts[u] : ends[u]], 1..n_items."""

    items: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    n_items: int

    @staticmethod
    def read(path: Path, part: str) -> Sequences:
        """What a part of the classic leave-one-out shows of each user."""
        with np.load(path) as file:
            offsets, items, n_items = file["offsets"], file["items"], int(file["n_items"])
        return Sequences(items, offsets[:-1], offsets[1:] - LEFT_OUT[part], n_items)

    def lists(self) -> list[np.ndarray]:
        """The items of each user."""
        return [self.items[start:end] for start, end in zip(self.starts, self.ends, strict=True)]

    def flat(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """User, item, and position in the history, of each event."""
        lengths = self.ends - self.starts
        users = np.repeat(np.arange(len(lengths)), lengths)
        positions = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return users, self.items[self.starts[users] + positions], positions


class System(Protocol):
    """A system under test.

    Attributes:
        packages: whose versions matter.
        settings: what was chosen for it, for the record.
    """

    packages: tuple[str, ...]
    settings: dict[str, Any]

    def train(self, turns: Turns) -> None:
        """Trains an epoch each time that `turns` says so, without end or for `settings["epochs"]`."""
        ...

    def lists(self, part: str) -> tuple[np.ndarray, float]:
        """The ten best items of each user, seen ones left out, by the state that training is in.

        Returns:
            int32 (U, K), 1..N, best first, 0 where there are fewer; and the seconds that the system itself took, from
            histories as it keeps them to its own form of lists.
        """
        ...


class Turns:
    """Orders from the standard input, events to the standard output; see `worker.py`."""

    def __init__(self, system: System):
        self._system = system
        self._events = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)  # what systems print is not for the reader of events
        self._ready = False
        self._started = 0.0

    def wait(self, model: Any) -> None:
        """Obeys until an epoch is asked for; ends the process where no more orders come.

        Args:
            model: the torch module that is trained.
        """
        if not self._ready:
            self._ready = True
            packages = {name: version(name) for name in ("torch", *self._system.packages)}
            n_parameters = sum(parameter.numel() for parameter in model.parameters())
            self._say("ready", settings=self._system.settings, parameters=n_parameters, versions=packages)
        self._obey()
        self._started = time.perf_counter()

    def end(self) -> None:
        """Obeys once training has ended by itself; an epoch asked for then ends the process, with an error."""
        self._obey()
        raise SystemExit("there is no further epoch: training has ended")

    def _obey(self) -> None:
        for line in sys.stdin:
            order = json.loads(line)
            if order["do"] == "epoch":
                return
            listed, seconds = self._system.lists(order["part"])
            np.save(order["to"], listed)
            self._say("lists", seconds=seconds, users=len(listed))
        sys.stderr.flush()
        os._exit(0)  # from the middle of a Trainer's loop, which has nothing to save

    def done(self, share: float = 1.0) -> None:
        """Reports the epoch that `wait` began; ``share`` of it, where a whole one would take hours."""
        self._say("epoch", seconds=time.perf_counter() - self._started, share=share)

    def callback(self, base: type) -> Any:
        """Lightning's (``base`` is its Callback, under either name): epochs begin on order, and only they are timed."""
        turns = self

        class EpochsOnOrder(base):  # type: ignore[misc]
            def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
                turns.wait(pl_module)
                pl_module.train()

            def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
                turns.done()

        return EpochsOnOrder()

    def _say(self, event: str, **facts: Any) -> None:
        self._events.write(json.dumps({"event": event, **facts}) + "\n")
