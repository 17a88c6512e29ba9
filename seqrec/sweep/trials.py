"""The trials of a sweep in a file that several processes share."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.samplers import TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from seqrec.sweep.space import SearchedField

_FEW = 10_000  # settings in all, of which those that were not tried can be listed


class Trials:
    """Proposes settings, and keeps what became of them.

    A proposal depends on the seed and the trials so far, not on where a sweep was interrupted. A trial whose process
    has died, which its lock tells, is proposed again.

    Args:
        folder: for journal.log and locks/.
        space: what is searched.
        seed: of the proposals.
        first: values to try first; None for none.
    """

    def __init__(self, folder: Path, space: Sequence[SearchedField], *, seed: int, first: Mapping[str, Any] | None):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._locks = folder / "locks"
        self._locks.mkdir(parents=True, exist_ok=True)
        self._seed = seed
        self._space = space
        self._distributions = {field.path: field.distribution for field in space}
        backend = JournalFileBackend(str(folder / "journal.log"))
        with self._alone():
            self._study = optuna.create_study(
                storage=JournalStorage(backend),
                study_name="sweep",
                direction="maximize",
                load_if_exists=True,
            )
            if first is not None and not self._study.trials:
                self._study.enqueue_trial(dict(first))

    @property
    def size(self) -> float:
        """Different settings in all; infinite where a range has floats."""
        return math.prod(len(values) if (values := field.values) else math.inf for field in self._space)

    @contextmanager
    def take(self, most: int) -> Iterator[Trial | None]:
        """A trial that no other process is at, while the context lasts.

        Args:
            most: trials in all.
        Yields:
            The trial, to be given to `tell` within the context; None where there are as many, or no setting is left.
        """
        with ExitStack() as held:
            with self._alone():
                self._give_back()
                trial = self._ask() if len(self._counted()) < min(most, self.size) else None
                if trial is not None:
                    held.enter_context(self._lock(trial.number))
            yield trial

    def tell(self, trial: Trial, value: float | None, **about: Any) -> None:
        """Keeps what became of a trial.

        Args:
            trial: as `take` gave it.
            value: the higher the better; None for a setting that has none, which counts as a bad one.
            **about: kept beside it.
        """
        for name, what in about.items():
            trial.set_user_attr(name, what)
        self._study.tell(trial, value, state=TrialState.PRUNED if value is None else TrialState.COMPLETE)

    def ended(self) -> list[FrozenTrial]:
        """Those that have been told of, in order."""
        return [trial for trial in self._counted() if trial.state.is_finished()]

    def importances(self) -> dict[str, float]:
        """Share of the values' variance that each path explains, by PED-ANOVA; empty where too few trials tell."""
        values = {trial.value for trial in self._counted() if trial.state == TrialState.COMPLETE}
        if len(values) < 4:  # its best tenth is compared with all
            return {}
        return get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())

    def _counted(self) -> list[FrozenTrial]:
        """All but those that were given back or wait."""
        return self._study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING))

    def _ask(self) -> Trial:
        tried = [trial.params for trial in self._counted()]
        # a sampler's generator begins anew in each process: the same seed would propose the same again
        self._study.sampler = TPESampler(seed=self._seed + len(tried))
        trial = self._study.ask(self._distributions)
        if trial.params in tried and self.size <= _FEW:
            self._give_up(trial.number)
            every = (dict(zip(self._distributions, values, strict=True)) for values in self._settings())
            left = [setting for setting in every if setting not in tried]
            self._study.enqueue_trial(random.Random(self._seed + len(tried)).choice(left))
            trial = self._study.ask(self._distributions)
        return trial

    def _settings(self) -> Iterator[tuple[Any, ...]]:
        return itertools.product(*(field.values or () for field in self._space))

    def _give_back(self) -> None:
        """Lets those be proposed again whose process has died."""
        for trial in self._running():
            try:
                with self._lock(trial.number, timeout=0):
                    if trial.number in {still.number for still in self._running()}:  # it may just have been told of
                        self._give_up(trial.number)
                        self._study.enqueue_trial(trial.params)
            except Timeout:
                pass

    def _running(self) -> list[FrozenTrial]:
        return self._study.get_trials(states=(TrialState.RUNNING,))

    def _give_up(self, number: int) -> None:
        self._study.tell(number, state=TrialState.FAIL)  # which samplers leave out

    def _alone(self) -> FileLock:
        return FileLock(self._locks / "trials.lock")

    def _lock(self, number: int, timeout: float = -1) -> FileLock:
        return FileLock(self._locks / f"trial-{number}.lock", timeout=timeout)
