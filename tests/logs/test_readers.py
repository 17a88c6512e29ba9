from __future__ import annotations

import io
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from seqrec.errors import ColumnError, LogError
from seqrec.logs import readers
from seqrec.logs.readers import check_columns, column_names, create_rows, read_rows
from seqrec.logs.sources import FileSource

from .conftest import write

ROLES = {"user": "user", "item": "item", "time": "time"}
CSV = "user,item,time\n007,-1,5\nu,i,6\n"
JSONL = '{"user": "007", "item": -1, "time": 5}\n{"time": 6, "item": "i", "user": "u"}\n'
ROWS = [(1, 0, "007", "-1", "5", None), (2, 0, "u", "i", "6", None)]


def read(path: Path, format: str, roles: dict[str, str] = ROLES, **options: object) -> list[tuple[object, ...]]:
    with duckdb.connect() as connection:
        delimiter = "\t" if format == "tsv" else ","
        create_rows(connection, roles, "t")
        read_rows(connection, FileSource(path.name, path, format, **{"delimiter": delimiter} | options), roles, "t")  # type: ignore[arg-type]
        names = ", ".join(f'"{role}"' for role in roles)
        return connection.execute(
            f"SELECT row, pos, {names}, coalesce(raw, reason) FROM t ORDER BY row, pos"
        ).fetchall()


@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
@pytest.mark.parametrize(
    ("format", "content"),
    [("csv", CSV), ("csv", CSV.replace("\n", "\r\n")), ("tsv", CSV.replace(",", "\t")), ("jsonl", JSONL)],
    ids=["csv", "csv-crlf", "tsv", "jsonl"],
)
def test_text_formats_plain_and_compressed(tmp_path: Path, format: str, content: str, compression: str) -> None:
    file = write(tmp_path / f"log.{format}{compression}", content)
    check_columns(FileSource(file.name, file, format, delimiter="\t" if format == "tsv" else ","), ROLES, ROLES)  # type: ignore[arg-type]
    assert read(file, format) == ROWS


def test_parquet_integers_strings_binary_and_timestamps(tmp_path: Path) -> None:
    moment = 1_457_963_676_123_456_789
    table = pa.table(
        {
            "user": pa.array([7, 12_345_678_901_234_567_890], pa.uint64()),
            "item": pa.array([b"007", None], pa.binary()),
            "naive": pa.array([moment, 0], pa.timestamp("ns")),
            "zoned": pa.array([1_457_963_676, 0], pa.timestamp("s", tz="Europe/Berlin")),
        }
    )
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=1)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        source = FileSource("log.parquet", tmp_path / "log.parquet", "parquet")
        create_rows(connection, table.column_names, "t")
        read_rows(connection, source, {name: name for name in table.column_names}, "t")
        found = connection.execute('SELECT row, "user", item, naive, zoned FROM t ORDER BY row').fetchall()
    assert found == [
        (1, "7", "007", "2016-03-14 13:54:36.123457", "2016-03-14 13:54:36+00"),
        (2, "12345678901234567890", None, "1970-01-01 00:00:00", "1970-01-01 00:00:00+00"),
    ]


def test_sequences_keep_the_place_in_the_line(tmp_path: Path) -> None:
    file = write(tmp_path / "log.txt", "u1 a  b\ta \n\nalone\nu2 -1\n")
    found = read(file, "sequences", {"user": "user", "item": "item"})
    assert found == [
        (1, 1, "u1", "a", None),
        (1, 2, "u1", "b", None),
        (1, 3, "u1", "a", None),
        (2, 1, "alone", None, None),
        (3, 1, "u2", "-1", None),
    ]


def test_csv_quotes_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv", 'user,item,time\n"a,""b","x\ny",1\n"  s ",q"uote,2\n')
    assert read(file, "csv") == [(1, 0, 'a,"b', "x\ny", "1", None), (2, 0, "  s ", 'q"uote', "2", None)]


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    file = write(tmp_path / "log.tsv", 'user\titem\ttime\n"u\t3.5" disk\t1\n')
    assert read(file, "tsv") == [(1, 0, '"u', '3.5" disk', "1", None)]


def test_a_header_setting_names_the_columns_of_a_bare_file(tmp_path: Path) -> None:
    file = write(tmp_path / "u.data", "196|242|881250949\n186|302|891717742\n")
    found = read(file, "csv", header=["user", "item", "time"], delimiter="|")
    assert found == [(1, 0, "196", "242", "881250949", None), (2, 0, "186", "302", "891717742", None)]


def test_malformed_csv_rows_keep_their_place(tmp_path: Path) -> None:
    lines = [
        "user,item,time",
        "a,b,1",
        "bad,row",
        "too,many,fields,4",
        "c,d,2",
        b"\xff,e,3".decode("latin-1"),
        "f,g,4",
        "x",
    ]
    file = tmp_path / "log.csv"
    file.write_bytes("\n".join(lines).encode("latin-1"))
    found = read(file, "csv")
    assert [row[0] for row in found] == [1, 2, 3, 4, 5, 6, 7]
    assert [row[2] for row in found] == ["a", None, None, "c", None, "f", None]
    assert [row[-1] for row in found if row[2] is None][:2] == ["bad,row", "too,many,fields,4"]


def test_malformed_json_lines_keep_their_place(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", '{"user":"a"}\nnope\n[1]\n{"user":"b","item":null}\n{"user":"c"')
    assert read(file, "jsonl", {"user": "user", "item": "item"}) == [
        (1, 0, "a", None, None),
        (2, 0, None, None, "nope"),
        (3, 0, None, None, "[1]"),
        (4, 0, "b", None, None),
        (5, 0, None, None, '{"user":"c"'),
    ]


def test_json_keys_may_be_anything_and_big_numbers_survive(tmp_path: Path) -> None:
    file = write(tmp_path / "log.jsonl", '{"$a.b": 12345678901234567890123, "x/y~z": "é\\n", "n": {"m": 1}}\n')
    roles = {"user": "$a.b", "item": "x/y~z", "time": "n"}
    assert read(file, "jsonl", roles) == [(1, 0, "12345678901234567890123", "é\n", '{"m":1}', None)]


def test_row_numbers_are_the_file_s_with_parallel_readers(tmp_path: Path) -> None:
    """20 MB are read in several pieces (8 MB each); the malformed rows shift the numbers of those behind them."""
    count, bad = 1_200_000, {1, 2, 600_000, 1_199_999}
    text = io.StringIO()
    text.write("user,item,time\n")
    text.writelines("bad\n" if i in bad else f"{i},some-item,1\n" for i in range(1, count + 1))
    file = write(tmp_path / "log.csv", text.getvalue())
    with duckdb.connect(config={"threads": 4}) as connection:
        create_rows(connection, ROLES, "t")
        read_rows(connection, FileSource(file.name, file, "csv"), ROLES, "t")
        query = """SELECT count(*), count(*) FILTER (row::VARCHAR = "user"),
            list(row ORDER BY row) FILTER ("user" IS NULL) FROM t"""
        assert connection.execute(query).fetchall() == [(count, count - len(bad), sorted(bad))]


def test_a_missing_column_names_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv.gz", "userId,item,ts\n")
    with pytest.raises(
        ColumnError, match=r"(?s)log.csv.gz: no column `user`.*`userId`, `item`, `ts`.*did you mean `userId`"
    ):
        check_columns(FileSource(file.name, file, "csv"), ROLES, {role: f"logs.columns.{role}" for role in ROLES})


def test_columns_of_json_come_from_a_sample_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "log.jsonl", '{"a": 1}\n{"b": 1}\n{"c": 1}\n')
    monkeypatch.setattr(readers, "_JSON_SAMPLE_LINES", 2)
    assert column_names(FileSource(file.name, file, "jsonl")) == ["a", "b"]


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv", "\ufeff" + CSV)
    assert column_names(FileSource(file.name, file, "csv")) == list(ROLES)
    assert read(file, "csv") == ROWS


@pytest.mark.parametrize(
    ("content", "format", "message"),
    [
        ("", "csv", "no header line"),
        ("a,a\n", "csv", "two columns are called `a`"),
        ("no parquet", "parquet", "cannot be read as parquet"),
    ],
)
def test_heads_that_cannot_be_read(tmp_path: Path, content: str, format: str, message: str) -> None:
    file = write(tmp_path / "log", content)
    with pytest.raises(LogError, match=message):
        column_names(FileSource(file.name, file, format))  # type: ignore[arg-type]


def test_mixed_line_ends_are_refused_rather_than_misread(tmp_path: Path) -> None:
    file = write(tmp_path / "log.csv", "user,item,time\na,b,1\r\nc,d,2\n")
    with pytest.raises(LogError, match=r"(?s)log.csv: .*line ends are mixed.*sed"):
        read(file, "csv")


def test_columns_that_differ_by_case_alone_are_refused_where_the_engine_takes_them_for_one(tmp_path: Path) -> None:
    table = pa.table({"User": ["wrong"], "user": ["right"], "item": ["i"], "time": [5]})
    pq.write_table(table, tmp_path / "log.parquet")
    write(tmp_path / "log.csv", "User,user,item,time\nwrong,right,i,5\n")
    for format in ("parquet", "csv"):
        with pytest.raises(LogError, match="two columns are called `User` or `user`"):
            column_names(FileSource(f"log.{format}", tmp_path / f"log.{format}", format))  # type: ignore[arg-type]
    line = '{"User": "wrong", "user": "right", "item": "i", "time": 5}\n'
    assert read(write(tmp_path / "log.jsonl", line), "jsonl") == [(1, 0, "right", "i", "5", None)]
