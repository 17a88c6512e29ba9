"""Labels of events: what became of them, as far as a part of the log tells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seqrec.errors import UnsupportedError
from seqrec.outcomes import ActionOutcomeSettings, OutcomeSettings, known_bit, positive_bit
from seqrec.store.manifest import Manifest
from seqrec.store.sequences import Sequences

Bool = npt.NDArray[np.bool_]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Labeller:
    """Labels the events of any users.

    Args:
        settings: what is asked about which events.
        manifest: of the store.
    Raises:
        UnsupportedError: the store lacks times, actions or values that the labels are made from.
        RecipeError: it has no such action.
    """

    def __init__(self, settings: OutcomeSettings, manifest: Manifest):
        self._settings = settings
        asked = settings.of_actions
        self._asked = None if asked is None else manifest.action_codes(asked, setting="model.head.of_actions")
        self._outcome_codes: dict[str, list[int]] = {}
        if not manifest.has_time:
            _refuse("times", "outcomes", "time")
        for name, outcome in settings.outcomes.items():
            if isinstance(outcome, ActionOutcomeSettings):
                self._outcome_codes[name] = manifest.action_codes(
                    outcome.actions, setting=f"model.head.outcomes.{name}.actions"
                )
            elif not manifest.has_values:
                _refuse("values", f"outcomes.{name}", "value")

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the outcomes, in the order of their bits."""
        return tuple(self._settings.outcomes)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the store that labels are made from."""
        values = len(self._outcome_codes) < len(self._settings.outcomes)
        actions = bool(self._outcome_codes) or self._asked is not None
        return ("items", "timestamps", *(["actions"] if actions else []), *(["values"] if values else []))

    def __call__(self, sequences: Sequences, until_us: int) -> Int32:
        """Labels as the log tells them up to a point in time.

        Args:
            sequences: whole ones, with `columns`.
            until_us: what comes later is neither labelled nor looked at.
        Returns:
            int32 (events,), bits as in `seqrec.outcomes`; 0 for events that are not asked about, or not known.
        """
        assert sequences.timestamps is not None
        asked = sequences.timestamps <= until_us
        if self._asked is not None:
            assert sequences.actions is not None
            asked &= np.isin(sequences.actions, self._asked)
        labels = np.zeros(len(sequences.items), dtype=np.int32)
        for number, (name, outcome) in enumerate(self._settings.outcomes.items()):
            if isinstance(outcome, ActionOutcomeSettings):
                assert sequences.actions is not None
                counts = np.isin(sequences.actions, self._outcome_codes[name])
                until = sequences.timestamps + outcome.within_us
                positive = _next_times(sequences, counts) <= np.minimum(until, until_us)
                known = positive | (until <= until_us)
            else:
                assert sequences.values is not None
                known = ~np.isnan(sequences.values)
                positive = sequences.values >= outcome.least  # never where it is not a number
            bits = known_bit(number) | np.where(positive, positive_bit(number), 0)
            labels |= np.where(asked & known, bits, 0).astype(np.int32)
        return labels


def _next_times(sequences: Sequences, counts: Bool) -> Int64:
    """int64 (events,): when the same user next has an event of the same item that counts; the far future for never."""
    assert sequences.timestamps is not None
    never = np.iinfo(np.int64).max
    n = len(sequences.items)
    keys = sequences.row_of_event() * (int(sequences.items.max(initial=0)) + 1) + sequences.items
    order = np.argsort(keys, kind="stable")  # by user and item, and of each the oldest first
    places = np.where(counts[order], np.arange(n), n)
    after = np.append(np.minimum.accumulate(places[::-1])[::-1], n)[1:]  # the next place that counts, if any
    found = after < n
    found[found] = keys[order][after[found]] == keys[order][found]
    times = np.full(n, never)
    times[found] = sequences.timestamps[order][after[found]]
    result = np.empty(n, dtype=np.int64)
    result[order] = times
    return result


def _refuse(what: str, field: str, column: str) -> None:
    raise UnsupportedError(
        f"the store has no {what} of its events",
        where=f"model.head.{field}",
        do=f"prepare it from a log with a column of them (`logs.columns.{column}`)",
    )
