"""Parts of the user's own, named by import path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from seqrec.errors import RecipeError
from seqrec.models import FullSoftmax, ModelSettings, build_head, build_loss
from seqrec.recipe import parse_recipe

BACKBONE = {"kind": "gpt2", "layers": 1, "width": 8}


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_parts.py").write_text(
        "from seqrec.models import FullSoftmax, NextItem\n"
        "class Doubled(FullSoftmax):\n"
        "    def __init__(self, factor):\n"
        "        super().__init__()\n"
        "        self.factor = factor\n"
        "    def forward(self, *arguments):\n"
        "        return self.factor * super().forward(*arguments)\n"
        "class Mine(NextItem):\n"
        "    extra_events = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("own_module")
def test_own_loss_and_head_are_made_from_their_import_path() -> None:
    settings = ModelSettings.model_validate(
        {
            "backbone": BACKBONE,
            "loss": {"kind": "own_parts:Doubled", "options": {"factor": 3}},
            "head": {"kind": "own_parts:Mine"},
        }
    )
    hidden, targets, table = torch.randn(4, 8), torch.tensor([1, 2, 3, 4]), torch.randn(9, 8)
    plain = FullSoftmax()(hidden, targets, table)
    torch.testing.assert_close(build_loss(settings.loss)(hidden, targets, table), 3 * plain)
    assert type(build_head(settings.head)).__name__ == "Mine"


@pytest.mark.usefixtures("own_module")
@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ({"kind": "own_parts:Tripled"}, "no attribute 'Tripled'"),
        ({"kind": "nowhere:Doubled"}, "No module named 'nowhere'"),
        ({"kind": "own_parts:Doubled", "options": {"fctor": 3}}, "fctor"),
    ],
)
def test_own_part_that_cannot_be_made_is_named(part: dict, reason: str) -> None:
    settings = ModelSettings.model_validate({"backbone": BACKBONE, "loss": part})
    with pytest.raises(RecipeError, match=reason) as error:
        build_loss(settings.loss)
    assert part["kind"] in str(error.value)


def test_unknown_kind_offers_the_nearest_and_the_import_path() -> None:
    values = {
        "name": "a",
        "data": {"store": "x"},
        "model": {"backbone": BACKBONE, "loss": {"kind": "full_sofmax"}},
        "trainer": {"max_epochs": 1},
    }
    with pytest.raises(
        RecipeError, match=r"`model.loss`: unknown kind `full_sofmax`; did you mean `full_softmax`\?"
    ) as e:
        parse_recipe(values, where="r.yaml")
    assert "package.module:Class" in str(e.value)
