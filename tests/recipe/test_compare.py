from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from seqrec.errors import RunError, UnsupportedError
from seqrec.evaluation import comparison_table, write_comparison
from seqrec.evaluation.comparison import ComparedRun, make_group
from seqrec.recipe import Run, compare_runs, evaluate_run, fit, fit_seeds, parse_recipe
from seqrec.store import SequenceStore


@pytest.fixture(scope="module")
def runs(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs small-seed1, small-seed2 and wide."""
    folder = tmp_path_factory.mktemp("runs")
    fit_seeds(recipe(shop_store, 16, name="small"), [1, 2], runs=folder)
    fit(recipe(shop_store, 32, name="wide"), runs=folder)
    return folder


def recipe(store: Path, width: int, **changes: Any) -> Any:
    values = {
        "data": {"store": str(store), "split": {"kind": "leave_one_out"}, "max_length": 20, "step_tokens": 512},
        "model": {"items": {"width": width}, "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": width}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "enable_progress_bar": False},
    }
    return parse_recipe(values | changes, where="test")


def test_seeds_are_a_group_and_others_are_compared_with_the_first(runs: Path, tmp_path: Path) -> None:
    assert Run(runs / "small-seed1").user_ranks_file("test").is_file()  # evaluated by `fit_seeds`
    assert not Run(runs / "wide").user_ranks_file("test").is_file()
    found = compare_runs([runs / name for name in ("small-seed2", "wide", "small-seed1")], accelerator="cpu")
    small, wide = found.groups
    assert (small.name, [run.seed for run in small.runs]) == ("small", [2, 1])
    assert (wide.name, wide.changes) == (
        "wide", ("model.items.width: 16 → 32", "model.backbone.width: 16 → 32"),
    )  # fmt: skip
    alone = [json.loads(Run(runs / f"small-seed{n}").evaluation_file("test").read_text())["model"] for n in (1, 2)]
    for name in ("ndcg@10", "coverage@5", "novelty@20"):
        assert small.metrics[name].value == pytest.approx(np.mean([one[name] for one in alone]))
    assert wide.differences is not None
    difference = wide.differences["ndcg@10"]
    assert difference.value == pytest.approx(wide.metrics["ndcg@10"].value - small.metrics["ndcg@10"].value)
    assert difference.low <= difference.value <= difference.high

    written = json.loads(json.dumps(found.to_dict()))
    assert written["groups"][1]["difference_from_first"]["ndcg@10"]["p_value"] == difference.p_value
    page = write_comparison(tmp_path / "page.html", found).read_text()
    HTMLParser().feed(page)
    assert page.count("<svg") == 4
    assert "http" not in page
    console = Console(width=200)
    with console.capture() as capture:
        console.print(comparison_table(found))
    assert "difference from small" in capture.get()


def test_ranks_of_users_are_those_of_the_metrics(runs: Path, shop_store: Path) -> None:
    run = Run.open(runs / "small-seed1")
    table = pq.read_table(run.user_ranks_file("test"))
    metrics = json.loads(run.evaluation_file("test").read_text())
    assert table.column_names == ["user_id", "model", "popular", "popular_recent", "item_knn"]
    assert table.num_rows == metrics["counts"]["users_evaluated"]
    assert table.column("user_id").to_pylist() == list(SequenceStore(shop_store).user_ids())
    for name, values in {"model": metrics["model"], **metrics["baselines"]}.items():
        ranks = table.column(name).to_numpy()
        assert (ranks < 10).mean() == pytest.approx(values["hr@10"])
        assert ((ranks < 20) | (ranks == 255)).all()
    sliced = {by: sum(one["users"] for one in metrics["slices"] if one["by"] == by) for by in ("target", "user")}
    assert sliced == {"target": table.num_rows, "user": table.num_rows}


def test_an_evaluation_of_another_checkpoint_is_made_again(runs: Path) -> None:
    run = Run.open(runs / "small-seed1")
    evaluate_run(run, "validation", baselines=[], accelerator="cpu")
    written = run.evaluation_file("validation").stat().st_mtime_ns
    compare_runs([run.folder], part="validation", accelerator="cpu")
    assert run.evaluation_file("validation").stat().st_mtime_ns == written
    file = run.user_ranks_file("validation")
    table = pq.read_table(file)
    about = json.loads(table.schema.metadata[b"seqrec"]) | {"checkpoint": 1}
    pq.write_table(table.replace_schema_metadata({b"seqrec": json.dumps(about)}), file)
    compare_runs([run.folder], part="validation", accelerator="cpu")
    assert run.evaluation_file("validation").stat().st_mtime_ns > written


def test_what_cannot_be_compared_is_refused_by_name(runs: Path, shop_store: Path) -> None:
    with pytest.raises(RunError, match="the run is given twice"):
        compare_runs([runs / "wide", runs / "wide"])
    other = recipe(
        shop_store, 16, name="repeats",
        data={"store": str(shop_store), "split": {"kind": "leave_one_out", "seen": "allow"}, "step_tokens": 512},
    )  # fmt: skip
    fit(other, runs=runs)
    with pytest.raises(RunError, match=r"not evaluated by the protocol of .*wide\n +seen: +filter in .*wide, allow"):
        compare_runs([runs / "wide", runs / "repeats"])
    Run(runs / "repeats").result_file.unlink()
    with pytest.raises(RunError, match="its training has not ended"):
        compare_runs([runs / "repeats"])


def test_no_difference_at_cutoffs_that_one_side_was_not_measured_at() -> None:
    def run(name: str, cutoffs: tuple[int, ...]) -> ComparedRun:
        ranks = np.array([3, 12, 255], np.uint8)
        metrics = {f"hr@{k}": float((ranks < k).mean()) for k in cutoffs}
        return ComparedRun(name, 1, metrics, ranks, 1.0, 1, {"trainable": 1, "frozen": 0, "item_table": 1})

    group = make_group("whole", [run("whole", (10, 20))], [run("list of ten", (10,))])
    assert group.differences is not None
    assert [name for name in group.differences if name.startswith("hr@")] == ["hr@10"]


def test_seeds_on_several_processes_are_refused(shop_store: Path) -> None:
    wanted = recipe(shop_store, 16, name="x", trainer={"max_epochs": 1, "accelerator": "cpu", "devices": 2})
    with pytest.raises(UnsupportedError, match="trained in turn by one process"):
        fit_seeds(wanted, [1, 2])
