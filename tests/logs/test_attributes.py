from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from seqrec.errors import ColumnError, LogError
from seqrec.logs import ItemTableSettings, UserTableSettings
from seqrec.store import SequenceStore

from .conftest import Prepare, audit, rows, write

LOG = "u 007 7 7\n"


def with_table(prepared: Prepare, folder: Path, content: str, **table: Any) -> SequenceStore:
    name = table.pop("path", "items.csv")
    write(folder / name, content)
    return prepared(LOG, name="log.txt", items=ItemTableSettings(path=name, **table))


def test_attributes_are_joined_by_exact_id(prepared: Prepare, tmp_path: Path) -> None:
    content = "item_id,name,kind,colour\n007,Bond,film,\n8,Eight,film,red\n"
    store = with_table(prepared, tmp_path, content, title="name", category="kind", columns=["colour"])
    assert store.catalogue.table.select(["item_id", "title", "category", "colour"]).to_pylist() == [
        {"item_id": "7", "title": None, "category": None, "colour": None},
        {"item_id": "007", "title": "Bond", "category": "film", "colour": None},
    ]
    assert store.catalogue.titles == ["7", "Bond"]
    assert audit(store)["attributes"] == {"items_of_the_log_without_attributes": 1, "attribute_rows_without_events": 1}
    assert [file.path for file in store.manifest.sources] == ["log.txt", "items.csv"]


def test_a_piped_table_without_header(prepared: Prepare, tmp_path: Path) -> None:
    store = with_table(
        prepared, tmp_path, "7|Seven (1995)|x\n", path="u.item.gz", format="csv", delimiter="|",
        header=["id", "title", "rest"], id="id", title="title",
    )  # fmt: skip
    assert store.catalogue.titles == ["Seven (1995)", "007"]


def test_repeated_ids_name_id_and_rows(prepared: Prepare, tmp_path: Path) -> None:
    content = "item_id,title\n1,a\n2,b\n3,c\n2,d\n1,e\n"
    with pytest.raises(LogError, match=r"(?s)items.csv, column `item_id`: 2 ids occur.*'1' in rows 1, 5"):
        with_table(prepared, tmp_path, content, title="title")


@pytest.mark.parametrize(
    ("content", "message"),
    [("item_id,title\n1,a\n2\n", "row 2: malformed line"), ("item_id,title\n1,a\n,b\n", "row 2: empty id")],
)
def test_rows_that_name_no_item(prepared: Prepare, tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(LogError, match=message):
        with_table(prepared, tmp_path, content, title="title")


def test_a_missing_column_names_its_setting(prepared: Prepare, tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=r"(?s)items.csv: no column `titel`.*logs.items.title.*did you mean `title`"):
        with_table(prepared, tmp_path, "item_id,title\n1,a\n", title="titel")
    with pytest.raises(ColumnError, match=r"(?s)no column `brand`.*logs.items.columns"):
        with_table(prepared, tmp_path, "item_id,title\n1,a\n", columns=["brand"])


def test_items_without_events_may_stand_behind_the_others(prepared: Prepare, tmp_path: Path) -> None:
    store = with_table(prepared, tmp_path, "item_id,title\n9,Nine\n007,Bond\n8,Eight\n", title="title", all_items=True)
    assert store.catalogue.table.select(["item", "item_id", "count", "title"]).to_pylist() == [
        {"item": 1, "item_id": "7", "count": 2, "title": None},
        {"item": 2, "item_id": "007", "count": 1, "title": "Bond"},
        {"item": 3, "item_id": "8", "count": 0, "title": "Eight"},
        {"item": 4, "item_id": "9", "count": 0, "title": "Nine"},
    ]
    assert store.manifest.counts.items == 4
    assert audit(store)["attributes"] == {"items_of_the_log_without_attributes": 1, "attribute_rows_without_events": 2}


USERS = "id,sex,age\nu,F,25\n007,,31\nnobody,M,40\n"


def with_users(prepared: Prepare, folder: Path, content: str, **table: Any) -> SequenceStore:
    write(folder / "users.csv", content)
    users = UserTableSettings(path="users.csv", id="id", **table)
    return prepared("u 5 6\n007 5 5 7\nv 7\n", name="log.txt", users=users)


def test_users_keep_the_named_columns_by_exact_id(prepared: Prepare, tmp_path: Path) -> None:
    store = with_users(prepared, tmp_path, USERS, columns=["age", "sex"])
    assert list(rows(store, "age", "sex")) == [
        {"user_id": "007", "age": "31", "sex": None},
        {"user_id": "u", "age": "25", "sex": "F"},
        {"user_id": "v", "age": None, "sex": None},
    ]
    assert store.manifest.user_attributes == ["age", "sex"]
    assert audit(store)["attributes"] == {"users_without_attributes": 1, "user_attribute_rows_without_events": 1}
    less = with_users(lambda *a, **k: prepared(*a, out="less", **k), tmp_path, USERS, columns=["age"])
    (shard,) = less.manifest.shards
    assert pq.read_schema(less.path / shard.file).names[-2:] == ["values", "age"]  # of people only what is asked for


def test_faults_in_a_table_of_users_name_its_settings(prepared: Prepare, tmp_path: Path) -> None:
    with pytest.raises(ColumnError, match=r"(?s)users.csv: no column `zip`.*logs.users.columns"):
        with_users(prepared, tmp_path, USERS, columns=["zip"])
    with pytest.raises(LogError, match=r"(?s)users.csv, column `id`: 1 ids occur.*'u' in rows 1, 4.*one row a user"):
        with_users(prepared, tmp_path, USERS + "u,M,3\n", columns=["age"])
    with pytest.raises(LogError, match=r"(?s)row 4: malformed line.*logs.users.header"):
        with_users(prepared, tmp_path, USERS + "w\n", columns=["age"])


@pytest.mark.parametrize("columns", [["items"], ["age", "age"], []])
def test_columns_of_users_have_names_of_their_own(columns: list[str]) -> None:
    with pytest.raises(ValueError, match="columns"):
        UserTableSettings(path="users.csv", columns=columns)


def test_columns_of_users_and_of_events_do_not_meet(prepared: Prepare) -> None:
    users = UserTableSettings(path="users.csv", columns=["age"])
    with pytest.raises(ValueError, match="both name"):
        prepared("user,item,time,age\nu,1,5,3\n", context=["age"], users=users)


def test_columns_may_have_any_name_also_the_engine_s_own(prepared: Prepare, tmp_path: Path) -> None:
    names = ["row", "reason", "file", "pos", "raw", "Count", "Title"]
    content = f"item_id,{','.join(names)},name\n7,{','.join(map(str, range(7)))},Seven\n"
    write(tmp_path / "users.csv", "user_id,row,Length\nu,1,2\n")
    users = UserTableSettings(path="users.csv", columns=["row", "Length"])
    write(tmp_path / "items.csv", content)
    items = ItemTableSettings(path="items.csv", title="name", columns=names)
    store = prepared(LOG, name="log.txt", items=items, users=users)
    assert store.catalogue.table.select(names).to_pylist()[0] == {name: str(i) for i, name in enumerate(names)}
    assert store.catalogue.titles[0] == "Seven"
    assert [row["row"] + row["Length"] for row in rows(store, "row", "Length")] == ["12"]
