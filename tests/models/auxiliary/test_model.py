"""What objectives add to the loss: put together from single passes, and refused where it cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig

from seqrec.errors import UnsupportedError
from seqrec.event_columns import EventColumns
from seqrec.models import MASK, MicroBatch, ModelSettings, SequenceModel, build_model
from seqrec.models.auxiliary import AugmentedViewsSettings, AuxiliaryModel, AuxiliarySettings, check_views
from seqrec.models.auxiliary.views import augmented, with_masked_events
from seqrec.models.dropout import keys_for

N_ITEMS = 40
LENGTHS = torch.tensor([6, 4, 5, 1])
REAL = torch.arange(6) < LENGTHS.unsqueeze(1)
KEYS = torch.tensor([11, 12, 13, 14])


def items(seed: int) -> Tensor:
    return torch.randint(1, N_ITEMS + 1, REAL.shape, generator=torch.Generator().manual_seed(seed)) * REAL


BATCH = MicroBatch(items(0), LENGTHS, items(1), EventColumns(actions=REAL.long()), KEYS)


def settings(auxiliary: dict[str, Any], **changes: Any) -> ModelSettings:
    values: dict[str, Any] = {
        "items": {"width": 8},
        "events": {"action_types": True},
        "backbone": {"kind": "gpt2", "layers": 1, "heads": 2, "width": 16, "dropout": 0.2},
        "auxiliary": auxiliary,
    }
    return ModelSettings.model_validate(values | changes)


def build(auxiliary: dict[str, Any], **changes: Any) -> AuxiliaryModel:
    torch.manual_seed(0)
    model = build_model(settings(auxiliary, **changes), n_items=N_ITEMS, max_length=6, total_steps=10, actions=["view"])
    assert isinstance(model, AuxiliaryModel)
    return model.double().train()


def user_vectors(model: AuxiliaryModel, batch: MicroBatch) -> Tensor:
    model.backbone.dropout_keys.rows = batch.dropout_keys
    return model(batch.inputs, batch.lengths, batch.events)[torch.arange(4), batch.lengths - 1]


def nt_xent(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Of each sequence: cross-entropy of its two views' cosines with all others, SimCLR's way."""
    both = torch.cat([one, other])
    cosines = F.cosine_similarity(both.unsqueeze(1), both.unsqueeze(0), dim=2).fill_diagonal_(-torch.inf)
    losses = F.cross_entropy(cosines / temperature, torch.arange(8).roll(4), reduction="none")
    return losses.view(2, 4).mean(0)


def redrawn(batch: MicroBatch, name: str) -> MicroBatch:
    return batch._replace(dropout_keys=keys_for(KEYS, f"dropout of {name}"))


@pytest.mark.parametrize("views", ["dropout", "augmented"])
def test_each_target_also_has_the_contrast_of_its_sequence(views: str) -> None:
    model = build({"contrastive": {"weight": 0.3, "temperature": 0.2, "views": {"kind": views}}})
    one, other = BATCH, redrawn(BATCH, "view")
    if views == "augmented":
        shares = AugmentedViewsSettings(kind="augmented")
        one, other = (redrawn(augmented(BATCH, keys_for(KEYS, view), shares), view) for view in ("view 1", "view 2"))
        assert not torch.equal(one.inputs, other.inputs)
    told_apart = nt_xent(user_vectors(model, one), user_vectors(model, other), 0.2)
    expected = SequenceModel.training_loss(model, BATCH) + 0.3 * (told_apart * LENGTHS).sum()
    torch.testing.assert_close(model.training_loss(BATCH), expected)


def test_masked_events_are_targets_of_a_further_pass() -> None:
    model = build({"masked_events": {"weight": 0.7, "mask_share": 0.4}})
    masked = redrawn(with_masked_events(BATCH, keys_for(KEYS, "masked events"), 0.4), "masked events")
    assert (masked.inputs == MASK).any()
    expected = SequenceModel.training_loss(model, BATCH) + 0.7 * SequenceModel.training_loss(model, masked)
    found = model.training_loss(BATCH)
    torch.testing.assert_close(found, expected)
    places = torch.arange(REAL.numel())  # of fixed shapes: all that have a target, and some without
    torch.testing.assert_close(model.training_loss(BATCH._replace(places=places)), expected)
    found.backward()
    assert model.items.mask is not None
    assert model.items.mask.grad is not None
    assert model.items.mask.grad.any()


def test_objectives_add_up() -> None:
    both: dict[str, Any] = {"contrastive": {"views": {"kind": "augmented"}}, "masked_events": {}}
    alone = [build({name: both[name]}).training_loss(BATCH) for name in both]
    plain = SequenceModel.training_loss(build(both), BATCH)
    torch.testing.assert_close(build(both).training_loss(BATCH), sum(alone) - plain)


def test_a_filler_adds_nothing() -> None:
    model = build({"contrastive": {}, "masked_events": {}})
    one = torch.ones(1, 1, dtype=torch.long)
    filler = MicroBatch(one, one[0], torch.zeros_like(one), EventColumns(actions=one), torch.empty(0).long())
    loss = model.training_loss(filler)
    loss.backward()
    assert loss.item() == 0.0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("auxiliary", "changes", "fault"),
    [
        ({"masked_events": {}}, {"head": {"kind": "slate"}}, r"model\.auxiliary\.masked_events: it goes with"),
        (
            {"contrastive": {}},
            {"backbone": {"kind": "gpt2", "heads": 1, "width": 8, "dropout": 0.0}},
            r"contrastive\.views\.kind: dropout: without dropout both views",
        ),
        (
            {"contrastive": {}},
            {"events": {}, "text": {"template": "{title}"}},
            r"contrastive: histories as text",
        ),
    ],
)
def test_what_objectives_cannot_be_had_of_is_refused(
    auxiliary: dict[str, Any], changes: dict[str, Any], fault: str
) -> None:
    with pytest.raises(UnsupportedError, match=fault):
        build(auxiliary, **changes)


def test_views_of_a_pretrained_backbone_need_its_own_dropout() -> None:
    contrastive = AuxiliarySettings.model_validate({"contrastive": {}})
    check_views(contrastive, LlamaConfig(attention_dropout=0.1))
    with pytest.raises(UnsupportedError, match="without dropout both views"):
        check_views(contrastive, LlamaConfig())
    check_views(AuxiliarySettings.model_validate({"contrastive": {"views": {"kind": "augmented"}}}), LlamaConfig())
