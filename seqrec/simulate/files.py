"""A simulated shop as files: the raw log, the item table, and what the oracle knows."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from seqrec.errors import LogError
from seqrec.simulate.behaviour import Action
from seqrec.simulate.oracle import OracleSplit, SeenPolicy
from seqrec.simulate.shop import ShopLog, streams

LOG_COLUMNS = ("user", "item", "time", "action", "price", "session")
LOG_START = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())


@dataclass(frozen=True)
class ShopFiles:
    """Where `write_shop` wrote, and how many rows of the log cannot be read.

    Attributes:
        log: `events.csv` with the columns `LOG_COLUMNS`: times as `2025-01-31T12:00:00Z`, the price of the item in
            every row, and rows in time order.
        items: `items.csv` with `item_id,title,category,price`, every item of the shop, also those nobody looked at.
        oracle: `oracle.parquet`, a row for each user and split: `user_id`, `split` (`valid`, `test`), `item_id` (the
            target), `allow`, `filter` (its ranks; `filter` is null where the target repeats an earlier item).
        malformed: rows of the log with an empty user, an empty item or an unreadable time.
    """

    log: Path
    items: Path
    oracle: Path
    malformed: int


def write_shop(shop: ShopLog, folder: Path) -> ShopFiles:
    """Writes a simulated shop into a folder, which is made where it is missing; the same shop gives the same bytes.

    Malformed rows are additional ones, so that what can be read is exactly the simulated events.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = _log_rows(shop)
    malformed = _spoil(rows, shop)
    _write_csv(folder / "events.csv", LOG_COLUMNS, rows)
    items = shop.catalogue
    columns = (items.item_ids, items.titles, [items.categories[c] for c in items.category], items.price.tolist())
    _write_csv(folder / "items.csv", ("item_id", "title", "category", "price"), zip(*columns, strict=True))
    pq.write_table(_oracle_table(shop), folder / "oracle.parquet")
    return ShopFiles(folder / "events.csv", folder / "items.csv", folder / "oracle.parquet", malformed)


def read_oracle(path: Path, *, split: OracleSplit = "test", seen: SeenPolicy = "filter") -> dict[str, int]:
    """Ranks of the targets by `user_id`; users whose target the policy leaves out are not in it.

    Raises:
        LogError: the file is not there.
    """
    if not path.exists():
        raise LogError("no such file", where=str(path), do="write it with `seqrec.simulate.write_shop`")
    table = pq.read_table(path, columns=["user_id", seen], filters=[("split", "=", split), (seen, ">", 0)])
    return dict(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _log_rows(shop: ShopLog) -> list[list[str]]:
    moments = (LOG_START + shop.seconds).astype("datetime64[s]").astype(str)
    prices = np.char.mod("%.2f", shop.catalogue.price)
    columns = (
        np.array(shop.user_ids)[shop.user],
        np.array(shop.catalogue.item_ids)[shop.item],
        np.char.add(moments, "Z"),
        np.array([action.name for action in Action])[shop.action],
        prices[shop.item],
        (shop.session + 1).astype(str),
    )
    return np.stack(columns, axis=1).tolist()  # type: ignore[no-any-return]


def _spoil(rows: list[list[str]], shop: ShopLog) -> int:
    """Inserts unreadable copies of some rows behind them, of three kinds in turn; returns how many."""
    *_, rng = streams(shop.settings.seed)
    count = round(shop.settings.malformed * len(rows))
    faults = ((0, ""), (1, ""), (2, "not-a-time"))
    # from the end, so that an insertion does not shift the places still to come
    for number, place in enumerate(np.sort(rng.choice(len(rows), size=count, replace=False))[::-1].tolist()):
        column, fault = faults[number % len(faults)]
        rows.insert(place + 1, [fault if c == column else value for c, value in enumerate(rows[place])])
    return count


def _oracle_table(shop: ShopLog) -> pa.Table:
    item_ids = np.array(shop.catalogue.item_ids)
    return pa.concat_tables(
        pa.table(
            {
                "user_id": shop.user_ids,
                "split": [split] * len(shop.user_ids),
                "item_id": item_ids[ranks.item],
                "allow": ranks.allow,
                "filter": pa.array(ranks.filter, mask=ranks.filter == 0),
            }
        )
        for split, ranks in shop.oracle.items()
    )


def _write_csv(path: Path, header: tuple[str, ...], rows: object) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)  # type: ignore[arg-type]
