"""The gradient of a step on 1, 2 and 3 real processes, against plain autograd over the whole global batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from seqrec.models import MicroBatch
from seqrec.random import raw_bits
from seqrec.recipe import build_data, build_recipe_model, item_features, parse_recipe
from seqrec.stream import Position
from seqrec.training import OptimizerSettings, SequenceRecommender
from seqrec.training.negatives import draw_negatives

STEPS = 3
LOSSES = {
    "full": {"kind": "full_softmax"},
    "sampled": {"kind": "sampled_softmax", "negatives": {"uniform": 8, "in_batch": 8}},
}
SIZE = {"layers": 1, "heads": 2, "width": 16, "dropout": 0.2}
OUTCOMES = {
    "outcomes": {
        "taken": {"kind": "action", "actions": ["cart", "purchase"], "within_hours": 48},
        "dear": {"kind": "value", "least": 30},
    },
}
MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"backbone": SIZE | {"kind": "gpt2"}},
    "bert": {"backbone": SIZE | {"kind": "bert"}, "head": {"kind": "masked_item"}},
    "slate": {"backbone": SIZE | {"kind": "gpt2"}, "head": {"kind": "slate"}},
    "outcome": {"backbone": SIZE | {"kind": "gpt2"}, "head": {"kind": "outcome"} | OUTCOMES},
    "hstu": {
        "backbone": SIZE | {"kind": "hstu", "time_bias": 16},
        "events": {"action_types": True, "time_gaps": 16},
    },
    "gated_transformer": {"backbone": SIZE | {"kind": "gated_transformer"}},
    "dropout_views": {"backbone": SIZE | {"kind": "gpt2"}, "auxiliary": {"contrastive": {"positives": "same_target"}}},
    "augmented_views": {
        "backbone": SIZE | {"kind": "gpt2"},
        "events": {"action_types": True, "time_gaps": 16},
        "auxiliary": {"contrastive": {"views": {"kind": "augmented"}}},
    },
    "masked_events": {"backbone": SIZE | {"kind": "gpt2"}, "auxiliary": {"masked_events": {}}},
    "gru": {"backbone": {"kind": "gru", "layers": 2, "width": 16, "dropout": 0.2}},
    "users": {"backbone": SIZE | {"kind": "gpt2"}, "users": {"categories": ["band"], "numbers": ["age"]}},
}
PLACES = 10  # of a slate
# the norm of a tensor's difference, as it is and as a part of the whole gradient's norm
BOUNDS = {"32-true": 1e-6, "64-true": 1e-12}
# partitions and events of a step: one slot in stripes, six accumulated on any number of ranks, four that three ranks
# cut into stripes; at 16 events a step there are fewer rows than stripes
SIZES = {"stripes": (1, 256), "thin-stripes": (1, 16), "slots": (6, 256), "thin-slots": (4, 16)}
NAMES = [f"{loss}-{m}-{size}-{p}" for loss in LOSSES for m in ("gpt2", "bert") for size in SIZES for p in BOUNDS]
# what slates and outcomes have of their own is how many targets they count; a thin step may have no outcome
NAMES += [f"sampled-slate-{size}-64-true" for size in SIZES]
NAMES += [f"full-outcome-{size}-64-true" for size in SIZES if "thin" not in size]
NAMES += [f"full-{model}-thin-slots-64-true" for model in ("hstu", "gated_transformer", "gru", "users")]
# all sequences of a step are told apart, on whatever rank they are
NAMES += [f"full-dropout_views-{size}-64-true" for size in ("stripes", "thin-stripes")]
NAMES += ["sampled-augmented_views-stripes-64-true", "sampled-masked_events-thin-slots-64-true"]
# items made of features, whose ids a step leaves out alike on all ranks
FUSED = {"kind": "fused", "width": 16, "categories": [{"column": "category"}], "id_dropout": 0.4}
NAMES += ["full_fused-gpt2-slots-64-true", "sampled_fused-bert-slots-64-true"]


def case(values: dict[str, Any], store: Path, name: str) -> dict[str, Any]:
    loss, model, *size, bits, _ = name.split("-")
    partitions, step_tokens = SIZES["-".join(size)]
    data = {"store": str(store), "partitions": partitions, "step_tokens": step_tokens}
    if model == "outcome":
        data["split"] = {"kind": "temporal"}
    loss, _, fused = loss.partition("_")
    section = {"items": FUSED if fused else {"width": 16}, "loss": LOSSES[loss]} | MODELS[model]
    trainer = {"max_steps": STEPS, "precision": f"{bits}-true"}
    return values | {"data": values["data"] | data, "model": section, "trainer": trainer}


@pytest.fixture(scope="module")
def recorded(store_in_units: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `step_gradients.py` left, from three processes that do all cases."""
    folder = tmp_path_factory.mktemp("gradients")
    values = {"name": "tiny", "seed": 1, "data": {"split": {"kind": "leave_one_out"}, "max_length": 20}}
    (folder / "cases.json").write_text(json.dumps({name: case(values, store_in_units, name) for name in NAMES}))
    script = Path(__file__).with_name("step_gradients.py")
    ranks = [
        subprocess.Popen(
            [sys.executable, script, str(rank), folder],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(3)
    ]
    errors = [rank.communicate(timeout=500)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0, 0], "\n".join(errors)
    return folder


def by_autograd(values: dict[str, Any], step: int) -> dict[str, Tensor]:
    """Of the mean over the targets of all slots, as one process has them."""
    recipe = parse_recipe(values, where="test")
    data = build_data(recipe)
    torch.manual_seed(0)
    features, users = item_features(recipe, data), data.user_values
    model = build_recipe_model(recipe, data.store, total_steps=STEPS, features=features, users=users)
    model.items.start_step(int(raw_bits(1, "items", 1, 0, step)[0] >> 1))
    counts = data.split.train_counts
    module = SequenceRecommender(model, OptimizerSettings(), seed=1, total_steps=STEPS, train_counts=counts)
    module.to(torch.float64 if recipe.trainer["precision"] == "64-true" else torch.float32)
    slots = data.training.step(Position(0, step))
    negatives = None if module._sampler is None else draw_negatives(module._sampler, slots[0])
    losses = [
        model.training_loss(MicroBatch(b.inputs, b.lengths, b.targets, b.events, b.keys), negatives) for b in slots
    ]
    n = sum(n_targets(b.targets, values["model"].get("head", {}).get("kind")) for b in slots)
    (torch.stack(losses).sum() / n).backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def n_targets(targets: Tensor, head: str) -> int:
    """By hand: different items among the next ones of each position, outcomes that are known, or positions."""
    rows = targets.tolist()
    if head == "outcome":
        return sum((label & 1) + (label >> 2 & 1) for row in rows for label in row)
    places = PLACES if head == "slate" else 1
    return sum(len({*row[at : at + places]} - {0}) for row in rows for at in range(len(row)) if row[at])


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_ranks_make_the_gradient_of_the_global_batch(
    recorded: Path, store_in_units: Path, name: str, ranks: int
) -> None:
    values = json.loads((recorded / "cases.json").read_text())[name]
    bound = BOUNDS[values["trainer"]["precision"]]
    found = torch.load(recorded / f"{name}-{ranks}.pt")
    assert len(found) == STEPS
    for step, gradients in enumerate(found):
        expected = by_autograd(values, step)
        assert gradients.keys() == expected.keys()
        whole = float(torch.stack([grad.double().norm() for grad in expected.values()]).norm())
        assert whole > 1e-2
        for tensor, grad in expected.items():
            difference = float((gradients[tensor].double() - grad.double()).norm())
            assert difference <= bound * min(1.0, whole), f"{tensor} at step {step}: {difference}"


def test_the_cases_are_what_they_are_meant_to_be(recorded: Path) -> None:
    """Slots of unequal length, accumulation on every number of ranks, and ranks without any row."""

    def rows(size: str, ranks: int) -> list[list[list[int]]]:
        name = f"full-gpt2-{size}-64-true-{ranks}"
        return [json.loads((recorded / f"{name}-{rank}.json").read_text()) for rank in range(ranks)]

    assert [len(rows("slots", ranks)[0]) for ranks in (1, 2, 3)] == [6 * STEPS, 3 * STEPS, 2 * STEPS]
    assert [len(rows("stripes", ranks)[0]) for ranks in (1, 2, 3)] == [STEPS] * 3
    for size in SIZES:
        steps = [sorted(chain(*chain(*rows(size, ranks)))) for ranks in (1, 2, 3)]
        assert steps[0] == steps[1] == steps[2]
    assert any(not taken for rank in rows("thin-stripes", 3) for taken in rank)
    assert any(not taken for rank in rows("thin-slots", 3) for taken in rank)
    assert len({len(taken) for rank in rows("slots", 2) for taken in rank}) > 1
