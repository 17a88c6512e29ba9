from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seqrec.errors import UnsupportedError
from seqrec.recipe import build, load_recipe
from seqrec.training.strategies import FAMILIES, REFUSALS, named, refusals

STRATEGY_OF = {family: name for name, family in reversed(FAMILIES.items())}
ADALORA = {"kind": "adalora", "initial_rank": 4, "target_rank": 2}
SETTINGS: dict[str, list[str]] = {
    "model.adapter.kind": [f"model.adapter={ADALORA}", "selection.patience=null"],
    "model.items.kind: semantic_ids": ["model.items.codes=none"],
    "model.items.kind": ["model.items.numbers=[price]"],
    "model.backbone.quantize": ["model.backbone={kind: pretrained, source: none}"],
    "optimizer.table_updates": ["model.loss.kind=sampled_softmax"],
    "model.head.kind: outcome": ["model.head={outcomes: {liked: {kind: value, least: 4}}}"],
    "model.loss.label_smoothing": ["model.loss.kind=full_softmax"],
}
# of fields that any value is refused of; 0.9 for the others
VALUES = {
    "data.length_buckets": "[5, 20]",
    "model.backbone.quantize": "nf4",
    "model.items.attributes": "[category]",
}


@pytest.mark.parametrize(
    ("family", "refusal"), [(family, r) for r in REFUSALS for family in r.families], ids=lambda value: str(value)[:40]
)
def test_what_does_not_work_is_refused_by_name_before_training(
    write_recipe: Callable[..., Path], tmp_path: Path, family: Any, refusal: Any
) -> None:
    overrides = [
        *SETTINGS.get(named(refusal), SETTINGS.get(refusal.field, [])),
        f"{refusal.field}={refusal.value or VALUES.get(refusal.field, 0.9)}",
    ]
    recipe = load_recipe(write_recipe(), [f"trainer.strategy={STRATEGY_OF[family]}", "data.store=none", *overrides])
    with pytest.raises(UnsupportedError) as error:
        build(recipe, tmp_path)
    assert str(error.value).startswith(f"{named(refusal)}: does not work under")
    assert refusal.do in str(error.value)


def test_all_faults_are_in_one_message(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    overrides = ["trainer.strategy=fsdp2", "trainer.precision=64", "optimizer.table_updates=rows"]
    with pytest.raises(UnsupportedError, match=r"64-true: does not work .*\n.*also \(2\): optimizer\.table_updates"):
        build(load_recipe(write_recipe(), overrides), tmp_path)


def test_a_precision_that_was_never_tried_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    overrides = ["trainer.strategy=fsdp2", "trainer.precision=16-true"]
    with pytest.raises(UnsupportedError, match="use one of 32-true, bf16-mixed, bf16-true"):
        build(load_recipe(write_recipe(), overrides), tmp_path)


def test_ddp_takes_what_others_refuse() -> None:
    assert not refusals("ddp", {refusal.field: refusal.value or "any" for refusal in REFUSALS})
