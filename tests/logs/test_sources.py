from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from seqrec.errors import LogError
from seqrec.logs import ItemTableSettings, LogSettings
from seqrec.logs.sources import FileSource, log_sources, table_source


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(*sources: str, root: Path) -> list[str]:
    return [source.name for source in log_sources(LogSettings(sources=list(sources), root=str(root)))]


def test_files_keep_the_order_given_and_globs_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "z.csv", "d/b.csv", "d/a.csv", "d/deep/c.csv", "d.csv/inside")
    assert names("z.csv", "d/*.csv", root=tmp_path) == ["z.csv", "d/a.csv", "d/b.csv"]
    assert names("**/c.csv", root=tmp_path) == ["d/deep/c.csv"]


def test_a_file_name_with_brackets_is_no_glob(tmp_path: Path) -> None:
    touch(tmp_path, "log[1].csv")
    assert names("log[1].csv", root=tmp_path) == ["log[1].csv"]


def test_root_then_variable_then_current_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "root/a.csv", "data/a.csv", "here/a.csv")
    monkeypatch.chdir(tmp_path / "here")
    bare, rooted = LogSettings(sources=["a.csv"]), LogSettings(sources=["a.csv"], root=str(tmp_path / "root"))
    assert log_sources(bare)[0].path.resolve() == tmp_path / "here/a.csv"
    monkeypatch.setenv("SEQREC_DATA", str(tmp_path / "data"))
    assert log_sources(bare)[0].path == tmp_path / "data/a.csv"
    assert log_sources(rooted)[0].path == tmp_path / "root/a.csv"
    absolute = LogSettings(sources=[str(tmp_path / "here/a.csv")], root=str(tmp_path / "root"))
    assert log_sources(absolute)[0].path == tmp_path / "here/a.csv"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("a.CSV.GZ", "csv"),
        ("a.b.tsv.zst", "tsv"),
        ("a.ndjson", "jsonl"),
        ("a.jsonl.gz", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.txt.gz", "sequences"),
    ],
)
def test_formats_by_suffix(tmp_path: Path, name: str, format: str) -> None:
    touch(tmp_path, name)
    assert log_sources(LogSettings(sources=[name], root=str(tmp_path)))[0].format == format


def test_unknown_suffix_needs_a_format(tmp_path: Path) -> None:
    touch(tmp_path, "u.data.gz")
    with pytest.raises(LogError, match=r"(?s)u.data.gz: the format cannot be told.*logs.format"):
        names("u.data.gz", root=tmp_path)
    told = log_sources(LogSettings(sources=["u.data.gz"], root=str(tmp_path), format="tsv"))[0]
    assert (told.format, told.delimiter) == ("tsv", "\t")


def test_missing_files_say_which_root_was_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        LogError, match=rf"(?s)a.csv: no such file.*{tmp_path} \(the current directory; SEQREC_DATA is not"
    ):
        log_sources(LogSettings(sources=["a.csv"]))
    monkeypatch.setenv("SEQREC_DATA", str(tmp_path))
    with pytest.raises(
        LogError, match=r"(?s)a\*.csv: no file matches this glob.*\(SEQREC_DATA\).*environment variable"
    ):
        log_sources(LogSettings(sources=["a*.csv"]))
    with pytest.raises(LogError, match=r"^/nowhere/a.csv: no such file\n  do: correct the path$"):
        log_sources(LogSettings(sources=["/nowhere/a.csv"]))


def test_one_file_twice_and_compressed_parquet_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "b.parquet.gz")
    with pytest.raises(LogError, match=r"a\.csv: named twice"):
        names("a.csv", "*.csv", root=tmp_path)
    with pytest.raises(LogError, match="Parquet compresses within"):
        names("b.parquet.gz", root=tmp_path)


def test_one_file_is_one_however_it_is_spelled(tmp_path: Path) -> None:
    touch(tmp_path, "d/a.csv")
    with pytest.raises(LogError, match=r"d/\.\./d/a\.csv: named twice"):
        names("d/a.csv", "d/../d/a.csv", root=tmp_path)


def test_fingerprint_is_of_the_bytes(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv")
    file = log_sources(LogSettings(sources=["a.csv"], root=str(tmp_path)))[0].fingerprint()
    assert (file.path, file.size_bytes, file.sha256) == ("a.csv", 5, hashlib.sha256(b"a.csv").hexdigest())


def test_a_table_of_attributes_is_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.csv", "i1.tsv", "i2.tsv", "i.txt")

    def source(path: str) -> FileSource:
        return table_source(LogSettings(sources=["a.csv"], root=str(tmp_path)), ItemTableSettings(path=path))

    assert source("i1.tsv").format == "tsv"
    with pytest.raises(LogError, match="matches 2 files"):
        source("i*.tsv")
    with pytest.raises(LogError, match=r"(?s)i.txt: not a table.*logs.items.format"):
        source("i.txt")
