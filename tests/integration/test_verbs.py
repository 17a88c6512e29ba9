"""Every verb in turn, on a small log, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from .command import seqrec


@pytest.fixture(scope="module")
def workplace(shop_log: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with log, store, run and bundle; the log's item ids begin with "-"."""
    folder = tmp_path_factory.mktemp("work")
    for name in ("events.csv", "items.csv"):
        (folder / name).write_text((shop_log / name).read_text().replace("sku-", "-"))
    columns = ["--user", "user", "--item", "item", "--time", "time", "--action", "action", "--value", "price"]
    items = ["--items", "items.csv", "--items-title", "title", "--items-category", "category"]
    prepared = seqrec("prepare", "events.csv", "--out", "store", *columns, *items, cwd=folder)
    assert "120" in prepared.stdout
    (folder / "recipe.yaml").write_text(
        "name: tiny\n"
        "data: {store: store, split: {kind: leave_one_out, seen: filter}, max_length: 20, step_tokens: 512}\n"
        "model: {items: {width: 16}, backbone: {kind: gpt2, layers: 1, heads: 2, width: 16}}\n"
        "trainer: {max_epochs: 2, accelerator: cpu}\n"
    )
    seqrec("fit", "recipe.yaml", cwd=folder)
    return folder


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def some_ids(workplace: Path) -> list[str]:
    from seqrec.store import SequenceStore

    return SequenceStore(workplace / "store").catalogue.item_ids


def test_ids_of_the_log_begin_with_a_dash(some_ids: list[str]) -> None:
    assert all(item_id.startswith("-") for item_id in some_ids)


def test_evaluate_export_and_the_same_from_the_bundle(workplace: Path) -> None:
    seqrec("evaluate", "runs/tiny", "--json", "run.json", cwd=workplace)
    result = json.loads((workplace / "run.json").read_text())
    assert set(result) == {"protocol", "counts", "model", "baselines", "intervals", "slices"}
    assert set(result["baselines"]) == {"popular", "popular_recent", "item_knn"}
    exported = seqrec("export", "runs/tiny", "--out", "bundle", "--forms", "onnx,index", cwd=workplace)
    assert "scores equal in a fresh process" in exported.stderr
    forms = json.loads((workplace / "bundle/bundle.json").read_text())["forms"]
    assert list(forms) == ["onnx", "index"]
    assert all(form["users"] == result["counts"]["users_evaluated"] for form in forms.values())
    assert "same 10 best" in exported.stdout
    seqrec("evaluate", "bundle", "--json", "bundle.json", cwd=workplace)
    assert json.loads((workplace / "bundle.json").read_text()) == result
    assert "ndcg@10" in (workplace / "bundle/README.md").read_text()  # the card shows what was measured
    refused = seqrec("export", "runs/tiny", "--out", "bundle", cwd=workplace, check=False)
    assert refused.returncode == 1
    assert "bundle" in refused.stderr


def test_compare_writes_a_table_json_and_a_page(workplace: Path) -> None:
    done = seqrec("compare", "runs/tiny", "--json", "compared.json", "--html", "compared.html", cwd=workplace)
    assert "ndcg@10" in done.stdout
    (group,) = json.loads((workplace / "compared.json").read_text())["groups"]
    assert group["parameters"]["item_table"] == 60 * 16
    assert (workplace / "compared.html").read_text().count("<svg") == 2
    assert (workplace / "runs/tiny/users-test.parquet").is_file()


def test_recommend_a_re_ranked_list(workplace: Path, some_ids: list[str]) -> None:
    arguments = ["recommend", "runs/tiny", f"--history={some_ids[3]}", "-k", "10"]
    plain, diverse = (
        lines(seqrec(*arguments, *more, cwd=workplace).stdout)[0]["items"] for more in ([], ["--diversify=dpp:0.1"])
    )
    assert plain[0] == diverse[0]  # before anything is chosen all are equally new
    assert [one["item_id"] for one in plain] != [one["item_id"] for one in diverse]
    assert len({one["item_id"] for one in diverse}) == 10


def test_recommend_for_a_history(workplace: Path, some_ids: list[str]) -> None:
    seen = some_ids[:2]
    (found,) = lines(seqrec("recommend", "runs/tiny", f"--history={','.join(seen)}", "-k", "5", cwd=workplace).stdout)
    ids = [one["item_id"] for one in found["items"]]
    assert len(set(ids)) == 5
    assert set(ids) <= set(some_ids) - set(seen)
    scores = [one["score"] for one in found["items"]]
    assert scores == sorted(scores, reverse=True)


def test_more_than_is_left_gives_a_shorter_list(workplace: Path, some_ids: list[str]) -> None:
    done = seqrec("recommend", "runs/tiny", f"--history={some_ids[0]}", "-k", "500", cwd=workplace)
    (found,) = lines(done.stdout)
    assert sorted(one["item_id"] for one in found["items"]) == sorted(some_ids[1:])


def test_recommend_for_users_and_for_a_new_one(workplace: Path) -> None:
    (workplace / "users.txt").write_text("u00003\nu00001\n")
    found = lines(seqrec("recommend", "runs/tiny", "--users", "users.txt", "-k", "3", cwd=workplace).stdout)
    assert [line["user"] for line in found] == ["u00003", "u00001"]
    (new,) = lines(seqrec("recommend", "runs/tiny", "--history=", "-k", "3", cwd=workplace).stdout)
    assert new["fallback"] == "popular"
    counts = [one["score"] for one in new["items"]]
    assert counts == sorted(counts, reverse=True)


def test_a_bundle_recommends_without_its_store(workplace: Path, some_ids: list[str], tmp_path: Path) -> None:
    if not (workplace / "bundle").exists():
        seqrec("export", "runs/tiny", "--out", "bundle", cwd=workplace)
    shutil.copytree(workplace / "bundle", tmp_path / "bundle")
    arguments = [f"--history={some_ids[4]}", "-k", "4"]
    alone = seqrec("recommend", "bundle", *arguments, cwd=tmp_path).stdout
    assert [one["item_id"] for one in lines(alone)[0]["items"]] == [
        one["item_id"] for one in lines(seqrec("recommend", "runs/tiny", *arguments, cwd=workplace).stdout)[0]["items"]
    ]
