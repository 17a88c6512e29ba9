"""Raw event logs → sequence store, with DuckDB on one machine."""

from seqrec.logs.prepare import check_settings, prepare
from seqrec.logs.settings import (
    CleanSettings,
    ColumnSettings,
    DatasetSettings,
    ItemTableSettings,
    LogSettings,
    UserTableSettings,
)

__all__ = [
    "CleanSettings",
    "ColumnSettings",
    "DatasetSettings",
    "ItemTableSettings",
    "LogSettings",
    "UserTableSettings",
    "check_settings",
    "prepare",
]
