"""The `logs` section of a recipe: which raw files hold the events, and how to read them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Literal, Self, TypeVar

from pydantic import Discriminator, Field, Tag, model_validator

from seqrec.settings import Settings

Format = Literal["csv", "tsv", "jsonl", "parquet", "sequences"]
TimeUnit = Literal["s", "ms", "us", "iso"]
S = TypeVar("S", bound=Settings)

SHARD_COLUMNS = frozenset({"user_id", "items", "timestamps", "actions", "values"})
CATALOGUE_COLUMNS = frozenset({"item", "item_id", "count", "first_seen", "last_seen", "title", "category"})
USER_COLUMNS = SHARD_COLUMNS | {"user", "length"}


class ColumnSettings(Settings):
    """Which column of the log plays which part; the `sequences` format has no columns and ignores this section."""

    user: str = Field(default="user", description="Column of the user id, kept as text exactly.")
    item: str = Field(default="item", description="Column of the item id, kept as text exactly.")
    time: str | None = Field(default="time", description="Column of the event time; null for a log without times.")
    action: str | None = Field(
        default=None, description="Column of the event type, as view or purchase; at most 128 names."
    )
    value: str | None = Field(
        default=None, description="Column of a number, as rating or price; an empty cell becomes null."
    )
    order: str | None = Field(
        default=None, description="Numeric column that orders a user's events instead of the time."
    )
    context: list[str] = Field(default=[], description="Further columns kept for each event, as text.")

    @model_validator(mode="after")
    def _context_is_distinct(self) -> Self:
        return _refuse(self, "context", self.context, SHARD_COLUMNS)

    def roles(self) -> dict[str, str]:
        """Role → column of the log, of the roles in use; the i-th context column has role `context_i`."""
        single = {role: getattr(self, role) for role in ("user", "item", "time", "action", "value", "order")}
        context = {f"context_{i}": column for i, column in enumerate(self.context)}
        return {role: column for role, column in (single | context).items() if column is not None}


class CleanSettings(Settings):
    """Minimum counts, applied in turn until both hold (the k-core that papers call 5-core for 5 and 5)."""

    min_user_events: int = Field(default=1, ge=1, description="Users with fewer events are left out.")
    min_item_events: int = Field(default=1, ge=1, description="Items with fewer events are left out.")


class TableSettings(Settings, ABC):
    """A table of attributes of what an id names.

    Attributes:
        section: the section of a recipe that describes it.
    """

    section: ClassVar[str]

    path: str = Field(description="File of the table, found as `logs.sources` are.")
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet"] = Field(default="auto", description="As `logs.format`.")
    header: list[str] | None = Field(default=None, description="Column names of a file without a header line.")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="As `logs.delimiter`.")

    @abstractmethod
    def roles(self) -> dict[str, str]:
        """Column of the store → column of the table; the id first."""

    def fields(self) -> dict[str, str]:
        """Column of the store → the setting that names its column."""
        key, *others = self.roles()
        named = dict.fromkeys(others, f"{self.section}.columns")
        return {key: f"{self.section}.id"} | named


class ItemTableSettings(TableSettings):
    """A table of item attributes, one row an item; items missing in it are fine, unused rows are counted."""

    section = "logs.items"

    id: str = Field(default="item_id", description="Column of the item id, as the log spells it.")
    title: str | None = Field(default=None, description="Column that becomes `title` in the catalogue.")
    category: str | None = Field(default=None, description="Column that becomes `category` in the catalogue.")
    columns: list[str] = Field(
        default=[], description="Further columns to keep in the catalogue, as text, by their own names."
    )
    all_items: bool = Field(
        default=False, description="Whether items without an event are in the catalogue too, behind the others."
    )

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        return _refuse(self, "columns", self.columns, CATALOGUE_COLUMNS)

    def roles(self) -> dict[str, str]:
        """As `TableSettings.roles`; columns of the catalogue."""
        named = {"item_id": self.id, "title": self.title, "category": self.category}
        return {role: column for role, column in named.items() if column} | {name: name for name in self.columns}

    def fields(self) -> dict[str, str]:
        """As `TableSettings.fields`."""
        return super().fields() | {role: f"{self.section}.{role}" for role in ("title", "category")}


class UserTableSettings(TableSettings):
    """A table of user attributes, one row a user; users missing in it are fine, unused rows are counted.

    What is known of people is personal data: only the columns that are named here are kept.
    """

    section = "logs.users"

    id: str = Field(default="user_id", description="Column of the user id, as the log spells it.")
    columns: list[str] = Field(
        min_length=1, description="Columns to keep beside each user's sequence, as text, by their own names."
    )

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        return _refuse(self, "columns", self.columns, USER_COLUMNS)

    def roles(self) -> dict[str, str]:
        """As `TableSettings.roles`; columns of the shards."""
        return {"user_id": self.id} | {name: name for name in self.columns}


class DatasetSettings(Settings):
    """A data set that Hugging Face `datasets` loads: of the hub, or a folder."""

    kind: Literal["hf"] = Field(description="hf.")
    path: str = Field(
        description="Folder that `save_to_disk` wrote or that holds files of one format, found as other sources are; "
        "else a name on the hub, as owner/name."
    )
    name: str | None = Field(default=None, description="Configuration of the data set, where it has several.")
    split: str | None = Field(
        default=None,
        description="Split, as train, or a part, as train[:10%], but not of saved data sets; "
        "null where there is one only.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit on the hub.")


LogSource = Annotated[
    Annotated[str, Tag("file")] | Annotated[DatasetSettings, Tag("hf")],
    Discriminator(lambda value: "file" if isinstance(value, str) else "hf"),
]


class LogSettings(Settings):
    """What `prepare` reads and how.

    Files that differ in format may be mixed where `format` is auto. A relative path is resolved against `root`, else
    against the folder that the environment variable SEQREC_DATA names, else against the current directory.
    """

    sources: list[LogSource] = Field(
        min_length=1, description="Files, globs or data sets, in the order of events; a glob's files are sorted."
    )
    root: str | None = Field(
        default=None, description="Folder that relative paths start from; default $SEQREC_DATA, else `.`."
    )
    format: Literal["auto", Format] = Field(
        default="auto",
        description="auto goes by the suffix: .csv .tsv .jsonl .ndjson .parquet, .txt for `sequences` (one user a "
        "line: `user item item …`), each also with .gz or .zst behind it except .parquet. tsv knows no quotes.",
    )
    columns: ColumnSettings = Field(default_factory=ColumnSettings, description="Which column is which.")
    header: list[str] | None = Field(
        default=None, description="Column names of csv or tsv files without a header line."
    )
    time_unit: Literal["auto", TimeUnit] = Field(
        default="auto",
        description="Unit of times since 1970 UTC, or iso for text. auto: iso where most values are ISO 8601 texts, "
        "else by the median: below 1e11 s, below 1e14 ms, else us.",
    )
    delimiter: str | None = Field(
        default=None, min_length=1, max_length=1, description="Field separator; default `,` for csv and a tab for tsv."
    )
    clean: CleanSettings = Field(default_factory=CleanSettings, description="Minimum counts for users and items.")
    items: ItemTableSettings | None = Field(default=None, description="Item attributes to join into the catalogue.")
    users: UserTableSettings | None = Field(default=None, description="User attributes to keep with the sequences.")

    @model_validator(mode="after")
    def _columns_are_distinct(self) -> Self:
        if self.users is not None and (both := set(self.users.columns).intersection(self.columns.context)):
            raise ValueError(f"`users.columns` and `columns.context` both name {sorted(both)}")
        return self


def _refuse(settings: S, field: str, names: list[str], reserved: frozenset[str]) -> S:
    if len(set(names)) < len(names):
        raise ValueError(f"`{field}` names a column twice: {names}")
    if taken := reserved.intersection(names):
        raise ValueError(f"`{field}` may not use the store's own names {sorted(taken)}")
    return settings
