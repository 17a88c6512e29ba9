from __future__ import annotations

import pytest
from pydantic import ValidationError

from seqrec.logs import ColumnSettings, LogSettings


def test_defaults_read_a_log_of_user_item_time() -> None:
    assert LogSettings(sources=["a.csv"]).columns.roles() == {"user": "user", "item": "item", "time": "time"}


def test_roles_number_the_context() -> None:
    columns = ColumnSettings(time=None, context=["device", "country"])
    assert columns.roles() == {"user": "user", "item": "item", "context_0": "device", "context_1": "country"}


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"columns": {"context": ["items"]}}, "store's own names"),
        ({"columns": {"context": ["a", "a"]}}, "twice"),
        ({"items": {"path": "i.csv", "columns": ["count"]}}, "store's own names"),
        ({"time_unit": "ns"}, "time_unit"),
        ({"colums": {}}, "colums"),
        ({"clean": {"min_user_events": 0}}, "min_user_events"),
    ],
)
def test_wrong_settings_are_refused(section: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LogSettings.model_validate({"sources": ["a.csv"], **section})


def test_a_log_needs_a_source() -> None:
    with pytest.raises(ValidationError, match="sources"):
        LogSettings(sources=[])
