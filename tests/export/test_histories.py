from __future__ import annotations

import pytest

from seqrec.errors import RecipeError, TimestampError, UnknownIdError, UnsupportedError
from seqrec.event_columns import NO_COLUMNS
from seqrec.export import Encoder, History
from seqrec.store import Catalogue

ITEMS = ["a", "b", "c"]
TIMES = [1_700_000_000_000_000, 1_700_000_000_500_000]
ENCODE = Encoder(Catalogue.of_ids(ITEMS), ["buy", "view"], ("timestamps", "actions"))


def test_histories_by_hand() -> None:
    known, nobody = ENCODE([History(["c", "a"], TIMES, ["view", "buy"]), []])
    assert known.items.tolist() == [3, 1]
    assert known.events.timestamps is not None
    assert known.events.actions is not None
    assert known.events.timestamps.tolist() == TIMES
    assert known.events.actions.tolist() == [2, 1]
    assert known.events.values is None
    assert nobody.items.tolist() == []


def test_what_the_model_does_not_read_is_left_alone() -> None:
    (one,) = Encoder(Catalogue.of_ids(ITEMS), (), ())([History(["b"], [3], ["sell"])])
    assert one.events == NO_COLUMNS


@pytest.mark.parametrize(
    ("history", "error", "message"),
    [
        (["a", "b"], UnsupportedError, r"(?s)reads the times of events.*--times"),
        (History(["a", "b"], TIMES), UnsupportedError, r"(?s)reads the actions of events.*--actions"),
        (History(["a"], TIMES, ["buy"]), RecipeError, "a history of 1 items has 2 times"),
        (History(["a", "b"], [1_700_000_000, 1_700_000_001], ["buy", "buy"]), TimestampError, "microseconds: seconds"),
        (History(["a", "b"], TIMES, ["buy", "views"]), UnknownIdError, r"(?s)no action 'views'.*'view'.*buy, view"),
    ],
)
def test_what_does_not_fit_is_refused(history: History, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ENCODE([history])
