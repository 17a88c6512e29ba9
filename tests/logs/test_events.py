from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from seqrec.errors import LogError

from .conftest import Prepare, rows, sequences

T = 1_457_963_676


def test_every_reason_is_counted_and_every_row_kept(prepared: Prepare) -> None:
    good = "".join(f"u{i},i,{T},view,1.5,{i}\n" for i in range(12))
    bad = [f",i,{T},view,1,1", f"u, ,{T},view,1,1", "u,i,later,view,1,1", f"u,i,{T},,1,1", f"u,i,{T},view,x,1"]
    bad += [f"u,i,{T},view,nan,1", f"u,i,{T},view,1,", "u,i", f"u,i,{T},view,1,1,more"]
    content = "user,item,time,what,price,seq\n" + good + "\n".join(bad) + "\n"
    store = prepared(content, action="what", value="price", order="seq")
    assert store.manifest.rejected == {
        "bad value": 2,
        "malformed line": 2,
        "bad order": 1,
        "bad time": 1,
        "empty action": 1,
        "empty item": 1,
        "empty user": 1,
    }
    assert store.manifest.counts.rejected == 9
    kept = pq.read_table(store.path / "rejected.parquet").to_pylist()
    assert [row["row"] for row in kept] == list(range(13, 22))
    assert {row["file"] for row in kept} == {"log.csv"}
    assert json.loads(kept[2]["raw"]) == {
        "user": "u", "item": "i", "time": "later", "action": "view", "value": "1", "order": "1",
    }  # fmt: skip
    assert [row["raw"] for row in kept[-2:]] == bad[-2:]


def test_json_and_sequence_lines_are_refused_alike(prepared: Prepare) -> None:
    good = f'{{"user": "u", "item": "i", "time": {T}}}\n'
    store = prepared(good * 3 + "nope\n" + '{"user": "u", "item": null}\n', name="log.jsonl")
    assert store.manifest.rejected == {"malformed line": 1, "empty item": 1}
    store = prepared("u a b\nalone\n", name="log.txt", out="second")
    assert store.manifest.rejected == {"empty item": 1}
    assert sequences(store) == {"u": ["a", "b"]}


def test_a_log_that_is_mostly_refused_makes_no_store(prepared: Prepare, tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"(?s)log.csv: 2 of 3 rows are rejected.*empty item 2.*first: +log.csv, row 2"):
        prepared(f"user,item,time\nu,i,{T}\nu,,{T}\nu,,{T}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv"]


def test_half_refused_is_let_through(prepared: Prepare) -> None:
    assert prepared(f"user,item,time\nu,i,{T}\nu,,{T}\n").manifest.counts.events == 1


@pytest.mark.parametrize(("content", "name"), [("user,item,time\n", "log.csv"), ("", "log.txt")])
def test_a_log_without_rows(prepared: Prepare, content: str, name: str) -> None:
    with pytest.raises(LogError, match=rf"{name}: no events"):
        prepared(content, name=name)


def test_actions_are_codes_of_sorted_names_and_values_may_be_missing(prepared: Prepare) -> None:
    lines = [f"u,a,{T},view,", f"u,a,{T + 1},buy,2.5", f"u,b,{T + 2},ärger,-1"]
    store = prepared("user,item,time,action,value\n" + "\n".join(lines), action="action", value="value")
    assert store.manifest.actions == ["buy", "view", "ärger"]
    assert store.manifest.has_values
    assert list(rows(store, "actions", "values")) == [
        {"user_id": "u", "actions": [1, 0, 2], "values": [None, 2.5, -1.0]}
    ]


def test_more_actions_than_codes(prepared: Prepare) -> None:
    lines = "".join(f"u,i,{T},a{n}\n" for n in range(129))
    with pytest.raises(LogError, match=r"(?s)column `kind`: 129 distinct actions.*logs.columns.context"):
        prepared("user,item,time,kind\n" + lines, action="kind")


def test_context_columns_are_text_lists(prepared: Prepare) -> None:
    store = prepared(f"user,item,time,os,01\nu,a,{T},x,007\nu,b,{T + 1},,8\n", context=["os", "01"])
    assert store.manifest.context == ["os", "01"]
    assert list(rows(store, "os", "01")) == [{"user_id": "u", "os": ["x", ""], "01": ["007", "8"]}]
