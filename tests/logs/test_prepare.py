from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from seqrec.errors import ColumnError, LogError, StoreError, TimestampError
from seqrec.logs import CleanSettings, ColumnSettings, ItemTableSettings, LogSettings, prepare
from seqrec.logs import prepare as exported
from seqrec.store.writer import StoreWriter

from .conftest import Prepare, audit, sequences

T = 1_457_963_676
CSV = f"user,item,time\n007,-1,{T}\n007,12345678901234567890,{T + 1}\n"


def test_a_store_as_the_layout_says(prepared: Prepare) -> None:
    store = prepared(CSV)
    files = sorted(str(file.relative_to(store.path)) for file in store.path.rglob("*") if file.is_file())
    expected = [
        "README.md",
        "audit.json",
        "catalogue.parquet",
        "manifest.json",
        "rejected.parquet",
        "shards/part-00000.parquet",
    ]
    assert files == expected
    assert sequences(store) == {"007": ["-1", "12345678901234567890"]}
    assert store.manifest.counts.model_dump() == {"users": 1, "items": 2, "events": 2, "rejected": 0}
    assert LogSettings.model_validate(store.manifest.settings).sources == ["log.csv"]


def test_equal_logs_have_equal_fingerprints(prepared: Prepare) -> None:
    first, second = prepared(CSV, out="a"), prepared(CSV, out="b")
    assert first.manifest == second.manifest
    assert prepared(CSV.replace("-1", "-2"), out="c").manifest.fingerprint != first.manifest.fingerprint


def test_an_equal_store_is_returned_as_it_is(prepared: Prepare) -> None:
    store = prepared(CSV)
    before = (store.path / "manifest.json").stat().st_mtime_ns
    assert prepared(CSV).manifest == store.manifest
    assert (store.path / "manifest.json").stat().st_mtime_ns == before


def test_an_existing_store_of_other_settings_or_files_is_refused(prepared: Prepare) -> None:
    prepared(CSV)
    with pytest.raises(
        StoreError, match=r"(?s)settings: logs.time_unit was auto, is s\n.*remove it, or choose another"
    ):
        prepared(CSV, time_unit="s")
    with pytest.raises(StoreError, match=r"(?s)files: log.csv\n"):
        prepared(CSV + f"u,i,{T}\n")


def test_the_same_files_elsewhere_make_the_same_store(prepared: Prepare, tmp_path: Path) -> None:
    store = prepared(CSV)
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / "log.csv").rename(tmp_path / "moved" / "events.csv")
    assert prepare(LogSettings(sources=[str(moved)]), store.path).manifest == store.manifest


def test_a_folder_that_is_no_store_is_refused_and_an_empty_one_filled(prepared: Prepare, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").touch()
    assert prepared(CSV).manifest.counts.users == 1
    with pytest.raises(StoreError, match="the destination exists"):
        prepared(CSV, out="full")


@pytest.mark.parametrize("error", [RuntimeError("disk"), KeyboardInterrupt()])
def test_a_failure_midway_leaves_nothing(
    prepared: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(self: StoreWriter, *args: object) -> None:
        assert any(path.name.startswith(".store.partial-") for path in tmp_path.iterdir())
        raise error

    monkeypatch.setattr(StoreWriter, "write_batches", fail)  # shards and catalogue are written by then
    with pytest.raises(type(error)):
        prepared(CSV)
    assert list(tmp_path.iterdir()) == [tmp_path / "log.csv"]


def test_all_files_and_columns_are_checked_before_any_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.csv").write_text("user,item,when\n")
    monkeypatch.setattr(StoreWriter, "__enter__", lambda self: pytest.fail("the work began"))
    with pytest.raises(ColumnError, match=r"(?s)b.csv: no column `time`.*`when`.*logs.columns.time"):
        prepare(LogSettings(sources=["a.csv", "b.csv"], root=str(tmp_path)), tmp_path / "store")
    with pytest.raises(LogError, match=r"c.csv: no such file"):
        prepare(LogSettings(sources=["a.csv", "c.csv"], root=str(tmp_path)), tmp_path / "store")


def test_a_wrong_unit(prepared: Prepare) -> None:
    with pytest.raises(
        TimestampError, match=r"(?s)log.csv, column `time`: 2 of 2.*row 1 holds 1457963676.*time_unit: s"
    ):
        prepared(CSV, time_unit="ms")


def test_cleaning_is_recorded(prepared: Prepare) -> None:
    store = prepared("u a a\nv b\n", name="log.txt", clean=CleanSettings(min_user_events=2))
    assert sequences(store) == {"u": ["a", "a"]}
    assert store.manifest.dropped == {"min_user_events": 1}
    assert audit(store)["cleaning"] == {"rounds": 1, "dropped_events": {"min_user_events": 1}}


def test_sequences_do_not_mix_with_logs(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "b.txt").write_text("u a\n")
    with pytest.raises(LogError, match="cannot be mixed"):
        prepare(LogSettings(sources=["a.csv", "b.txt"], root=str(tmp_path)), tmp_path / "store")


def test_stages_are_told_to_the_callback_and_the_logger(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    told: list[str] = []
    with caplog.at_level(logging.INFO, "seqrec.logs"):
        exported(LogSettings(sources=["a.csv"], root=str(tmp_path)), tmp_path / "store", progress=told.append)
    assert told[0] == "hashing 1 files"
    assert told[-1] == "1 users, 2 items, 2 events, 0 rows rejected"
    assert caplog.messages == told


DESKDROP = LogSettings(
    sources=["deskdrop/users_interactions.csv.gz"],
    columns=ColumnSettings(user="personId", item="contentId", time="timestamp", action="eventType"),
)
ML_100K = LogSettings(
    sources=["ml-100k/u.data.gz"],
    format="tsv",
    header=["user", "item", "rating", "time"],
    columns=ColumnSettings(value="rating"),
    items=ItemTableSettings(
        path="ml-100k/u.item.gz",
        format="csv",
        delimiter="|",
        header=["id", "title", *(f"column_{i}" for i in range(2, 24))],
        id="id",
        title="title",
    ),
)
BEAUTY = LogSettings(
    sources=["amazon-beauty/Beauty.txt.gz"],
    items=ItemTableSettings(path="amazon-beauty/items.tsv.gz", title="title", category="attributes"),
)
DATA = os.environ.get("SEQREC_DATA")  # read at import: the fixture hides it from every test


@pytest.mark.skipif(DATA is None, reason="SEQREC_DATA does not name the folder of public data sets")
@pytest.mark.parametrize(
    ("settings", "counts"),
    [(DESKDROP, (1_895, 2_987, 72_312)), (ML_100K, (943, 1_682, 100_000)), (BEAUTY, (22_363, 12_101, 198_502))],
    ids=["deskdrop", "ml-100k", "amazon-beauty"],
)
def test_public_logs_have_their_published_counts(
    settings: LogSettings, counts: tuple[int, ...], tmp_path: Path
) -> None:
    store = prepare(settings.model_copy(update={"root": DATA}), tmp_path / "store")
    found = store.manifest.counts
    assert (found.users, found.items, found.events, found.rejected) == (*counts, 0)
