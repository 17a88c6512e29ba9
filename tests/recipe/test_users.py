"""Attributes of users, from a table beside the log through training to a bundle's recommendations."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from seqrec.bulk import recommend_all
from seqrec.cli import app
from seqrec.errors import RecipeError, RunError, UnknownIdError
from seqrec.evaluation import evaluate, lists_and_what_followed
from seqrec.export import History
from seqrec.recipe import Run, ensure_store, export_run, fit, open_trained, parse_recipe

BANDS, AGES = [f"b{number}" for number in range(10)], (20, 60)
LONG_AGO, BETWEEN, LATER = 1_000_000_000, 1_300_000_000, 1_500_000_000  # seconds
STRANGER = "stranger"  # in no table


def taste(band: str, age: int) -> str:
    """The one item that such a user goes on to."""
    return f"taste-{band}-{age}"


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe over a log in which everybody begins alike, and goes on as band and age say."""
    folder = tmp_path_factory.mktemp("taste")
    events, people = ["user,item,time"], ["id,band,age"]
    kinds = [(band, age) for band in BANDS for age in AGES]
    for number in range(13 * len(kinds)):
        (band, age), turn = kinds[number % len(kinds)], number // len(kinds)
        time = LONG_AGO if turn < 10 else BETWEEN if turn == 10 else LATER
        events += [f"u{number},common-{number % 3},{LONG_AGO}", f"u{number},{taste(band, age)},{time + 60}"]
        people.append(f"u{number},{band},{age}")
    events += [f"{STRANGER},common-0,{LONG_AGO}", f"{STRANGER},common-1,{LATER}"]
    (folder / "events.csv").write_text("\n".join(events) + "\n")
    (folder / "people.csv").write_text("\n".join(people) + "\n")
    return {
        "name": "taste",
        "seed": 1,
        "logs": {
            "root": str(folder),
            "sources": ["events.csv"],
            "users": {"path": "people.csv", "id": "id", "columns": ["band", "age"]},
        },
        "data": {
            "store": str(folder / "store"),
            "split": {"kind": "temporal", "validation_from": "2011-01-01T00:00Z", "test_from": "2015-01-01T00:00Z"},
            "max_length": 4,
            "step_tokens": 64,
        },
        "model": {
            "items": {"width": 16},
            "users": {"categories": ["band"], "numbers": ["age"]},
            "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.0},
        },
        "optimizer": {"kind": "adam", "lr": 0.02},
        "selection": {"patience": None},
        "trainer": {"max_epochs": 30, "accelerator": "cpu", "check_val_every_n_epoch": 30},
    }


@pytest.fixture(scope="module")
def run(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Run:
    return fit(parse_recipe(values, where="test"), runs=tmp_path_factory.mktemp("runs"))


def test_the_store_keeps_them_with_the_sequences(run: Run) -> None:
    store = run.data.store
    assert store.manifest.user_attributes == ["band", "age"]
    rows = store.rows_of(["u1", STRANGER], ["band", "age"])
    assert rows == {"u1": {"band": "b0", "age": "60"}, STRANGER: {"band": None, "age": None}}


def test_a_model_that_knows_them_finds_what_one_without_cannot(
    run: Run, values: dict[str, Any], tmp_path: Path
) -> None:
    plain = values | {"model": values["model"] | {"users": None}}
    without = fit(parse_recipe(plain, where="test"), runs=tmp_path)
    found = [evaluate(one.model, one.data, baselines=[]) for one in (run, without)]
    hits = [result.model["hr@5"].value for result in found if result is not None]
    assert hits[0] > 0.9
    assert hits[1] < 0.5  # five of twenty
    followed = lists_and_what_followed(run.model, run.data, part="test", k=1)
    assert (followed.items == followed.followed).mean() > 0.9


def test_what_is_known_reaches_every_list(run: Run, tmp_path: Path) -> None:
    trained = open_trained(run.folder)
    users = ["u241", "u242", STRANGER]
    histories = [replace(history, items=history.items[:1]) for history in trained.histories(users)]
    assert histories[0].user == {"band": "b0", "age": "60"}
    slates = trained.recommender().recommend(histories, k=5)
    assert [slates[0][0].item_id, slates[1][0].item_id] == [taste("b0", 60), taste("b1", 20)]
    changed = replace(histories[0], user={"band": "b7", "age": "20"})
    nobody = History(histories[2].items, user={"band": "of no value that was met"})
    other = trained.recommender().recommend([changed, nobody], k=5)
    assert other[0][0].item_id == taste("b7", 20)
    assert other[1] == slates[2]
    with pytest.raises(UnknownIdError, match=r"no 'aeg' of users \(did you mean 'age'\?\)"):
        trained.recommender().recommend([replace(changed, user={"aeg": "20"})], k=5)

    told = ["--history", histories[0].items[0], "--about", "band=b7", "--about", "age=20"]
    printed = CliRunner().invoke(app, ["recommend", str(run.folder), *told, "-k", "1"])
    assert json.loads(printed.stdout)["items"][0]["item_id"] == taste("b7", 20)
    printed = CliRunner().invoke(app, ["recommend", str(run.folder), "--history", "", "--about", "band"])
    assert printed.exit_code == 2
    assert "'band' is not NAME=VALUE" in printed.stderr

    recommend_all(trained.model, trained.data, tmp_path / "lists", k=5)
    rows = {row["user_id"]: row for row in pq.read_table(tmp_path / "lists" / "part-00000.parquet").to_pylist()}
    whole = trained.recommender().recommend(trained.histories(users), k=5)
    for user, slate in zip(users, whole, strict=True):
        assert rows[user]["scores"] == pytest.approx([one.score for one in slate], abs=1e-5)

    bundle = open_trained(export_run(run, tmp_path / "bundle"))  # which compares scores in a fresh process
    for found, expected in zip(bundle.recommender().recommend(histories, k=5), slates, strict=True):
        assert [one.item_id for one in found] == [one.item_id for one in expected]
        assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=1e-5)
    again = evaluate(bundle.model, bundle.data, baselines=[])
    assert again is not None
    assert again.model["hr@5"].value > 0.9
    samples = bundle_file(tmp_path, "samples.json")
    assert '"age": "40"' in samples  # the mean, which nobody has: what is known of people stays with their store
    assert 'user={"band": "b0", "age": "40"}' in bundle_file(tmp_path, "README.md")


def bundle_file(folder: Path, name: str) -> str:
    return (folder / "bundle" / name).read_text()


def test_another_store_is_read_by_the_values_that_the_model_knows(
    run: Run, values: dict[str, Any], tmp_path: Path
) -> None:
    """With one band less, codes of a store of its own would be other bands'."""
    people = (Path(values["logs"]["root"]) / "people.csv").read_text().replace(",b0,", ",,")
    (tmp_path / "people.csv").write_text(people)
    logs = values["logs"] | {"users": values["logs"]["users"] | {"path": str(tmp_path / "people.csv")}}
    data = values["data"] | {"store": str(tmp_path / "other")}
    ensure_store(parse_recipe(values | {"logs": logs, "data": data}, where="test"))
    with pytest.raises(RunError, match=r"model.users: the values that attributes of users have in the store"):
        _ = Run.open(run.folder, store=tmp_path / "other").model
    bundle = open_trained(export_run(run, tmp_path / "bundle"), store=tmp_path / "other")
    result = evaluate(bundle.model, bundle.data, baselines=[])
    assert result is not None
    assert 0.8 < result.model["hr@5"].value < 1  # a tenth of the users are of a band that is not known now


def test_a_column_that_the_store_has_not_is_refused_before_training(values: dict[str, Any], tmp_path: Path) -> None:
    model = values["model"] | {"users": {"categories": ["bnad"]}}
    with pytest.raises(RecipeError, match=r"(?s)knows no `bnad` of its users.*did you mean `band`"):
        fit(parse_recipe(values | {"model": model}, where="test"), runs=tmp_path)
