from __future__ import annotations

import json
from pathlib import Path

import pytest
from lightning.pytorch.strategies import StrategyRegistry

from seqrec.training.strategies import FAMILIES, Fsdp2Strategy, ZeroStrategy, build_strategy, family_of


def test_deepspeed_has_lightnings_names() -> None:
    assert {name for name in FAMILIES if name.startswith("deepspeed")} <= set(StrategyRegistry.available_strategies())


def test_names_become_strategies() -> None:
    assert build_strategy("auto") == "auto"
    assert build_strategy("ddp") == "ddp"
    assert isinstance(build_strategy("fsdp2_offload"), Fsdp2Strategy)
    strategy = build_strategy("deepspeed_stage_3_offload")
    assert isinstance(strategy, ZeroStrategy)
    zero = strategy.config["zero_optimization"]
    assert zero["stage"] == 3
    assert {"offload_optimizer", "offload_param"} <= set(zero)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no strategy `fsdp`; did you mean `fsdp2`\? known: auto, ddp, "):
        family_of("fsdp")


@pytest.mark.parametrize(
    ("name", "reason"), [("xla", "no release for torch 2.13"), ("xla_fsdp", "not for the Trainer")]
)
def test_strategies_for_tpus_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"strategy `{name}` cannot be used yet: .*{reason}.* use `ddp` or `fsdp2`"):
        family_of(name)


def test_a_deepspeed_file_is_passed_through(tmp_path: Path) -> None:
    file = tmp_path / "zero.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2, "reduce_bucket_size": 1000}}))
    assert family_of(str(file)) == "zero_2"
    strategy = build_strategy(str(file))
    assert isinstance(strategy, ZeroStrategy)
    assert strategy.config["zero_optimization"] == {"stage": 2, "reduce_bucket_size": 1000}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        ('{"zero_optimization": {"stage": 0}}', r"`zero_optimization\.stage` must be 1, 2 or 3, got 0"),
        (
            '{"optimizer": {}, "zero_optimization": {"stage": 1}}',
            r"`optimizer` cannot be set there; it follows",
        ),
    ],
)
def test_a_deepspeed_file_that_does_not_serve_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    file = tmp_path / "zero.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=fault):
        family_of(str(file))


def test_a_missing_deepspeed_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none\.json: cannot be read: No such file"):
        family_of(str(tmp_path / "none.json"))
