"""Raw logs → sequence store, on one machine with DuckDB."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from seqrec.errors import StoreError
from seqrec.logs.attributes import AttributeTable, attribute_tables
from seqrec.logs.audit import audit_log
from seqrec.logs.cleaning import clean
from seqrec.logs.events import action_names, classify, rejected_by_reason, role_settings, stage, time_unit, used_roles
from seqrec.logs.readers import check_columns
from seqrec.logs.sequences import catalogue_table, index, time_percentiles, unit_tables
from seqrec.logs.settings import LogSettings
from seqrec.logs.sources import Source, log_sources
from seqrec.logs.sql import connect
from seqrec.store import Counts, SequenceStore, SourceFile
from seqrec.store.writer import StoreWriter

logger = logging.getLogger("seqrec.logs")


def prepare(settings: LogSettings, out: str | Path, *, progress: Callable[[str], None] | None = None) -> SequenceStore:
    """Reads the logs and writes a sequence store; returns an existing one made from equal files with equal settings.

    Order of a sequence: `order` where the log has it, else time, then position in the source. The log need not fit into
    memory: the engine spills to a folder beside the destination (into the system's temporary folder where that is a
    URL), and one unit of users is held at a time. The store appears at once and whole; an interrupted call leaves
    nothing behind.

    Args:
        settings: the `logs` section of a recipe.
        out: the store's folder, or a URL of any fsspec protocol.
        progress: called with a sentence at the start of each stage; the logger `seqrec.logs` gets them too.
    Raises:
        LogError: a file is missing or unreadable, most rows are refused, or no event is left.
        ColumnError: a column is missing.
        TimestampError: the times do not fit their unit.
        StoreError: the destination holds something else.
    """
    report = _reporter(progress)
    sources = log_sources(settings)
    for source in sources:
        check_columns(source, used_roles(settings, source), role_settings(settings))
    tables = attribute_tables(settings)
    report(f"hashing {len(sources) + len(tables)} files")
    fingerprints = [source.fingerprint() for source in [*sources, *(table.source for table in tables)]]
    if SequenceStore.exists(out):
        return _existing(SequenceStore(out), settings, fingerprints)
    with StoreWriter(out) as writer:
        return _write(writer, settings, sources, tables, fingerprints, report)


def _write(
    writer: StoreWriter,
    settings: LogSettings,
    sources: list[Source],
    tables: list[AttributeTable],
    fingerprints: list[SourceFile],
    report: Callable[[str], None],
) -> SequenceStore:
    context = settings.columns.context if sources[0].format != "sequences" else []
    with connect(writer.scratch) as connection:
        for table in tables:
            report(f"reading {table.source.name}")
            table.read(connection)
        report("reading " + ", ".join(source.name for source in sources[:3]) + (", …" if len(sources) > 3 else ""))
        roles = stage(connection, settings, sources)
        classify(connection, sources, roles, time_unit(connection, settings, sources, roles))
        report("cleaning")
        cleaning = clean(connection, settings.clean)
        report("ordering")
        actions = action_names(connection, settings.columns.action or "") if "action" in roles else []
        of_items, of_users = (_named(tables, key) for key in ("item_id", "user_id"))
        attributes = [] if of_users is None else of_users.attributes
        index(connection, roles, actions, all_items=settings.items is not None and settings.items.all_items)
        report("writing")
        writer.write_catalogue(catalogue_table(connection, of_items))
        writer.write_units(unit_tables(connection, roles, context, of_users), context, attributes)
        writer.write_batches("rejected.parquet", connection.sql("FROM rejected").to_arrow_reader())
        rejected = rejected_by_reason(connection)
        audit = audit_log(connection, roles, actions, tables)
        percentiles = time_percentiles(connection) if "time" in roles else None
    counts = Counts(users=audit["users"], items=audit["items"], events=audit["events"], rejected=sum(rejected.values()))
    cleaned = {"rounds": cleaning.rounds, "dropped_events": cleaning.dropped}
    writer.write_json("audit.json", audit | {"rejected": rejected, "cleaning": cleaned})
    store = writer.commit(
        sources=fingerprints,
        settings=settings.model_dump(mode="json"),
        counts=counts,
        rejected=rejected,
        dropped=cleaning.dropped,
        has_time="time" in roles,
        actions=actions,
        has_values="value" in roles,
        context=context,
        user_attributes=attributes,
        ties=audit["share_of_neighbours_tied_in_time"],
        time_percentiles=percentiles,
    )
    report(
        f"{counts.users:,} users, {counts.items:,} items, {counts.events:,} events, {counts.rejected:,} rows rejected"
    )
    return store


def _named(tables: list[AttributeTable], key: str) -> AttributeTable | None:
    return next((table for table in tables if table.key == key), None)


def _existing(store: SequenceStore, settings: LogSettings, fingerprints: list[SourceFile]) -> SequenceStore:
    """The store, where it is what the settings would make.

    Raises:
        StoreError: files or settings differ.
    """
    check_settings(store, settings)
    before, after = (Counter(file.sha256 for file in files) for files in (store.manifest.sources, fingerprints))
    if before != after:
        other = (before - after) + (after - before)
        named = {file.path for file in [*store.manifest.sources, *fingerprints] if file.sha256 in other}
        raise _made_otherwise(store, files=", ".join(sorted(named)[:5]))
    if [file.sha256 for file in store.manifest.sources] != [file.sha256 for file in fingerprints]:
        raise _made_otherwise(store, files="the same files, in another order")
    logger.info("%s is up to date", store.path)
    return store


def check_settings(store: SequenceStore, settings: LogSettings) -> None:
    """Sees that a store was made with these settings; files are not looked at, as they may be elsewhere by now.

    Raises:
        StoreError: it was made with others.
    """
    was, now = (_comparable(raw) for raw in (store.manifest.settings, settings.model_dump(mode="json")))
    if changed := [name for name in now if was.get(name) != now[name]]:
        raise _made_otherwise(
            store, settings="; ".join(f"logs.{name} was {was.get(name)}, is {now[name]}" for name in changed)
        )


def _made_otherwise(store: SequenceStore, **facts: str) -> StoreError:
    return StoreError(
        "holds a store made from other files or settings",
        where=str(store.path),
        do="remove it, or choose another place by `--out` or `data.store`",
        **facts,
    )


def _comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Without places: files are compared by content, and where they lay does not matter."""
    kept = {name: value for name, value in settings.items() if name not in ("root", "sources")}
    for name in ("items", "users"):
        if isinstance(table := kept.get(name), dict):
            kept[name] = {key: value for key, value in table.items() if key != "path"}
    return kept


def _reporter(progress: Callable[[str], None] | None) -> Callable[[str], None]:
    def report(stage: str) -> None:
        logger.info(stage)
        if progress is not None:
            progress(stage)

    return report
