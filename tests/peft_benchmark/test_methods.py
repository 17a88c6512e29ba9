from __future__ import annotations

from typing import Any

import pytest

from seqrec.errors import AdapterError
from seqrec.models import ConfiguredBackboneSettings, attach, load_backbone
from seqrec.peft_benchmark import METHODS


def small(kind: str = "bert", width: int = 32) -> Any:
    settings = ConfiguredBackboneSettings(kind=kind, layers=2, width=width, trainable=False)  # type: ignore[arg-type]
    return load_backbone(settings, positions=50)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.sized])
@pytest.mark.parametrize("budget", [1_000, 6_000])
def test_sizes_come_as_close_to_a_budget_as_a_unit_allows(name: str, budget: int) -> None:
    method, base = METHODS[name], small()
    size = method.size_for(budget, base, most_tokens=50)
    found = method.parameters(base, size)
    sizes = method.sizes or range(1, 52)
    near = [s for s in sizes if s in (size // 2, size - 1, size + 1, 2 * size) and s <= 32]
    if method.takes_positions and size == 50:
        assert found < budget
    else:
        others = [method.parameters(base, s) for s in near if not (method.takes_positions and s > 50)]
        assert all(abs(found - budget) <= abs(other - budget) for other in others)


@pytest.mark.parametrize("name", METHODS)
def test_parameters_are_those_that_would_be_trained(name: str) -> None:
    method, base = METHODS[name], small()
    adapter = method.adapter(4)
    before = sum(p.numel() for p in base.parameters())
    if adapter is None:
        assert method.parameters(base, 4) == 0
        return
    found = method.parameters(base, 4)
    assert sum(p.numel() for p in base.parameters()) == before  # the base stays as it is
    adapted = attach(base, adapter, total_steps=1000)
    assert found == sum(p.numel() for p in adapted.parameters() if p.requires_grad) > 0


@pytest.mark.parametrize("budget", [20_000, 60_000])
def test_large_budgets_are_kept_too(budget: int) -> None:
    for name in ("lora", "adalora", "bottleneck"):
        base = small()
        size = METHODS[name].size_for(budget, base, most_tokens=50)
        assert METHODS[name].parameters(base, size) == pytest.approx(budget, rel=0.06)


def test_virtual_tokens_need_positions() -> None:
    with pytest.raises(AdapterError, match="no positions for virtual tokens"):
        METHODS["prompt"].size_for(1_000, small(), most_tokens=0)


def test_a_method_that_fits_nowhere_says_why() -> None:
    with pytest.raises(AdapterError, match="GPT-2"):
        METHODS["oft"].size_for(1_000, small("gpt2"), most_tokens=50)
