import csv
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from seqrec.errors import LogError
from seqrec.simulate import ShopFiles, ShopLog, ShopSettings, read_oracle, simulate_shop, write_shop

SETTINGS = ShopSettings(users=200, items=60, categories=5, malformed=0.01, seed=2)


@pytest.fixture(scope="module")
def shop() -> ShopLog:
    return simulate_shop(SETTINGS)


@pytest.fixture(scope="module")
def files(shop: ShopLog, tmp_path_factory: pytest.TempPathFactory) -> ShopFiles:
    return write_shop(shop, tmp_path_factory.mktemp("shop") / "new")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def is_whole(row: dict[str, str]) -> bool:
    return bool(row["user"] and row["item"] and row["time"].endswith("Z"))


def test_readable_rows_are_the_events(shop: ShopLog, files: ShopFiles) -> None:
    whole = [row for row in rows(files.log) if is_whole(row)]
    assert [row["user"] for row in whole] == [shop.user_ids[user] for user in shop.user]
    assert [row["item"] for row in whole] == [shop.catalogue.item_ids[item] for item in shop.item]
    assert {row["action"] for row in whole} == {"browse", "cart", "purchase"}
    times = [datetime.fromisoformat(row["time"]).timestamp() for row in whole]
    np.testing.assert_array_equal(np.diff(times), np.diff(shop.seconds))
    assert datetime.fromisoformat(whole[0]["time"]).year == 2025
    assert [float(row["price"]) for row in whole] == shop.catalogue.price[shop.item].tolist()


def test_malformed_rows_are_counted_and_of_three_kinds(shop: ShopLog, files: ShopFiles) -> None:
    broken = [row for row in rows(files.log) if not is_whole(row)]
    assert len(broken) == files.malformed == round(0.01 * len(shop))
    assert {(not row["user"], not row["item"], row["time"] == "not-a-time") for row in broken} == {
        (True, False, False),
        (False, True, False),
        (False, False, True),
    }


def test_item_table_has_every_item(shop: ShopLog, files: ShopFiles) -> None:
    table = rows(files.items)
    assert [row["item_id"] for row in table] == shop.catalogue.item_ids
    assert [row["title"] for row in table] == shop.catalogue.titles
    assert {row["category"] for row in table} == set(shop.catalogue.categories)


def test_same_shop_gives_the_same_bytes(shop: ShopLog, files: ShopFiles, tmp_path: Path) -> None:
    again = write_shop(shop, tmp_path)
    for name in ("log", "items", "oracle"):
        assert getattr(again, name).read_bytes() == getattr(files, name).read_bytes()


@pytest.mark.parametrize("split", ["valid", "test"])
def test_oracle_reads_back(shop: ShopLog, files: ShopFiles, split: str) -> None:
    ranks = shop.oracle[split]  # type: ignore[index]
    allow = read_oracle(files.oracle, split=split, seen="allow")  # type: ignore[arg-type]
    assert allow == dict(zip(shop.user_ids, ranks.allow.tolist(), strict=True))
    unseen = read_oracle(files.oracle, split=split)  # type: ignore[arg-type]
    assert unseen == {u: r for u, r in zip(shop.user_ids, ranks.filter.tolist(), strict=True) if r > 0}
    assert len(unseen) < len(allow)


def test_oracle_names_the_target(shop: ShopLog, files: ShopFiles) -> None:
    table = pq.read_table(files.oracle).to_pylist()
    last = {shop.user_ids[u]: shop.catalogue.item_ids[i] for u, i in zip(shop.user, shop.item, strict=True)}
    assert {row["user_id"]: row["item_id"] for row in table if row["split"] == "test"} == last


def test_missing_oracle_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"oracle\.parquet: no such file\n  do: +write it"):
        read_oracle(tmp_path / "oracle.parquet")
