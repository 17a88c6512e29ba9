"""Training over batches of few shapes: the same losses and gradients, and little to compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from seqrec.evaluation import rank_users
from seqrec.models import MicroBatch
from seqrec.recipe import build_data, build_recipe_model, parse_recipe
from seqrec.stream import Position, SequenceDataModule
from seqrec.training import OptimizerSettings, SequenceRecommender
from seqrec.training.negatives import draw_negatives

BUCKETS = [4, 8, 13, 20]
IN_BATCH = {"uniform": 8, "in_batch": 8}
LOSSES = {
    "full": {"kind": "full_softmax"},
    "sampled": {"kind": "sampled_softmax", "negatives": IN_BATCH},
    "gbce": {"kind": "gbce"},
    "bce": {"kind": "bce"},
    "bpr": {"kind": "bpr"},
}
HEADS = {"next_item": "gpt2", "masked_item": "bert"}


def parts(
    values: dict[str, Any], store: Path, head: str, loss: str, buckets: list[int] | None, **backbone: Any
) -> tuple[SequenceRecommender, SequenceDataModule]:
    backbone = {"kind": HEADS[head], "layers": 1, "heads": 2, "width": 16, "dropout": 0.2} | backbone
    model = {"items": {"width": 16}, "backbone": backbone, "head": {"kind": head}, "loss": LOSSES[loss]}
    fields = {"store": str(store), "partitions": 2, "step_tokens": 128, "length_buckets": buckets}
    recipe = parse_recipe(values | {"data": values["data"] | fields, "model": model}, where="test")
    data = build_data(recipe)
    torch.manual_seed(0)
    built = build_recipe_model(recipe, data.store, total_steps=9)
    counts = data.split.train_counts
    return SequenceRecommender(built, OptimizerSettings(), seed=1, total_steps=9, train_counts=counts), data


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_gradient_are_those_of_the_batch_as_it_was(
    recipe_values: dict[str, Any], store_in_units: Path, head: str, loss: str
) -> None:
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for buckets in (None, BUCKETS):
        module, data = parts(recipe_values, store_in_units, head, loss, buckets)
        module.double()
        steps = [data.training.step(Position(0, step)) for step in range(2)]
        total = torch.zeros((), dtype=torch.float64)
        for step in steps:
            negatives = None if module._sampler is None else draw_negatives(module._sampler, step[0])
            for b in step:
                total = total + module.model.training_loss(
                    MicroBatch(b.inputs, b.lengths, b.targets, b.events, b.keys, b.places), negatives
                )
        total.backward()
        found.append((total.detach(), {n: p.grad for n, p in module.named_parameters() if p.grad is not None}))
    (total, gradients), (other_total, other_gradients) = found
    assert total > 1
    torch.testing.assert_close(other_total, total, rtol=1e-12, atol=0)
    torch.testing.assert_close(other_gradients, gradients, rtol=0, atol=1e-12 * float(total))


@pytest.mark.parametrize("head", HEADS)
def test_users_are_ranked_alike(recipe_values: dict[str, Any], store_in_units: Path, head: str) -> None:
    ranked = []
    for buckets in (None, BUCKETS):
        module, data = parts(recipe_values, store_in_units, head, "full", buckets)
        module.double().eval()
        ranked.append([rank_users(module.model, batch, k=5) for batch in data.evaluation("test").loader(0, 1)])
    for one, other in zip(*ranked, strict=True):
        assert torch.equal(one.target_rank, other.target_rank)
        assert torch.equal(one.top_items, other.top_items)


def test_blocks_are_compiled_once_a_shape(
    recipe_values: dict[str, Any], store_in_units: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dynamic shapes, over an epoch and its validation, each with shapes of its own."""
    torch._dynamo.reset()  # it counts what other tests have compiled of the same code
    counter, original = CompileCounter(), nn.Module.compile
    monkeypatch.setattr(
        nn.Module, "compile", lambda self, **_: original(self, backend=counter, dynamic=False, fullgraph=True)
    )
    module, data = parts(recipe_values, store_in_units, "next_item", "full", BUCKETS, compile=True)
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.accumulate_grad_batches = data.training.micro_batches
    trainer.fit(module, data)
    assert trainer.global_step == data.training.n_steps > 4
    assert 0 < counter.frame_count <= 2 * len(BUCKETS)
