"""A small made-up shop log, its store, and recipes over it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny tensors: a second thread costs more than it gives
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("WANDB_MODE", "offline")

settings.register_profile("machines", deadline=None)  # how fast a machine is says nothing about the code
settings.load_profile("machines")


@pytest.fixture(scope="session")
def shop_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with events.csv and items.csv of a simulated shop of 120 users and 60 items."""
    from seqrec.simulate import ShopSettings, simulate_shop, write_shop

    folder = tmp_path_factory.mktemp("shop")
    write_shop(simulate_shop(ShopSettings(users=120, items=60, categories=4, days=30, seed=3)), folder)
    return folder


@pytest.fixture(scope="session")
def shop_store(shop_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of that log."""
    from seqrec.logs import LogSettings, prepare

    path = tmp_path_factory.mktemp("stores") / "shop"
    people = path.with_name("people.csv")
    rows = [f"u{number:05},{'abc'[number % 3]},{20 + number % 50}\n" for number in range(100)]  # the last are not there
    people.write_text("".join(["user_id,band,age\n", *rows]))
    columns = {"user": "user", "item": "item", "time": "time", "action": "action", "value": "price"}
    items = {"path": "items.csv", "title": "title", "category": "category"}
    settings = LogSettings.model_validate(
        {
            "root": str(shop_log),
            "sources": ["events.csv"],
            "columns": columns,
            "items": items,
            "users": {"path": str(people), "columns": ["band", "age"]},
        }
    )
    prepare(settings, path)
    return path


@pytest.fixture(scope="session")
def store_in_units(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store in units of 16 users, as a large one has many."""
    return copy_in_units(shop_store, tmp_path_factory.mktemp("stores") / "units", rows=16)


@pytest.fixture(scope="session")
def store_in_small_units(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same store in units of 4 users."""
    return copy_in_units(shop_store, tmp_path_factory.mktemp("stores") / "small-units", rows=4)


def copy_in_units(store: Path, path: Path, *, rows: int) -> Path:
    shutil.copytree(store, path)
    for shard in path.glob("shards/*.parquet"):
        pq.write_table(pq.read_table(shard), shard, row_group_size=rows)
    manifest = json.loads((path / "manifest.json").read_text())
    for shard in manifest["shards"]:
        del shard["size_bytes"], shard["unit_rows"]  # read from the file then
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


@pytest.fixture
def recipe_values(shop_store: Path) -> dict[str, Any]:
    """A recipe that trains a tiny causal model for two epochs of a few steps."""
    return {
        "name": "tiny",
        "seed": 1,
        "data": {"store": str(shop_store), "split": {"kind": "leave_one_out", "seen": "allow"},
                 "max_length": 20, "step_tokens": 512},
        "model": {"items": {"kind": "ids", "width": 16},
                  "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.1}},
        "optimizer": {"kind": "adam", "lr": 0.01},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1},
    }  # fmt: skip


@pytest.fixture
def write_recipe(recipe_values: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny recipe with sections replaced, and gives back the file."""

    def write(**sections: Any) -> Path:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe_values | sections))
        return path

    return write
