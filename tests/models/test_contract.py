"""What holds for every (backbone, adapter) pair."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor

from seqrec.models import PAD, MicroBatch, Pairs, SequenceModel
from seqrec.models.adapters import ADAPTER_NAME

PairsOf = Callable[[SequenceModel], Pairs]

ROW = torch.tensor([[3, 14, 15, 9, 26]])
LENGTH = torch.tensor([5])


def loss_of(model: SequenceModel, pairs: Pairs) -> Tensor:
    loss = model.training_loss(MicroBatch(*pairs))
    penalty = model.penalty()
    return loss if penalty is None else loss + penalty


def test_what_else_is_in_the_batch_changes_no_row(pair: SequenceModel) -> None:
    wide = torch.zeros(3, 11, dtype=torch.long)
    wide[0, :5], wide[1, :11], wide[2, :1] = ROW[0], torch.arange(1, 12), 7
    lengths = torch.tensor([5, 11, 1])
    with torch.no_grad():
        torch.testing.assert_close(pair(wide, lengths)[0, :5], pair(ROW, LENGTH)[0], rtol=1e-5, atol=1e-5)
        users = pair.user_vectors(wide, lengths)
        torch.testing.assert_close(users[:1], pair.user_vectors(ROW, LENGTH), rtol=1e-5, atol=1e-5)


def test_causal_backbones_do_not_see_the_future_and_others_do(pair: SequenceModel) -> None:
    changed = ROW.clone()
    changed[0, 3] = 31
    with torch.no_grad():
        before, after = pair(ROW, LENGTH)[0], pair(changed, LENGTH)[0]
    differs = (before != after).any(-1).tolist()
    assert differs == ([False] * 3 + [True] * 2 if pair.backbone.causal else [True] * 5)


def test_every_trainable_parameter_gets_a_gradient_and_no_other(pair: SequenceModel, pairs_of: PairsOf) -> None:
    pair.zero_grad()
    loss_of(pair, pairs_of(pair)).backward()
    wrong = [name for name, p in pair.named_parameters() if (p.grad is not None) != p.requires_grad]
    assert not wrong
    trained = [(name, p) for name, p in pair.named_parameters() if p.requires_grad]
    silent = [name for name, p in trained if f".{ADAPTER_NAME}" in name and not p.grad.abs().sum() > 0]
    assert not silent


def test_no_gradient_comes_from_padding(pair: SequenceModel, pairs_of: PairsOf) -> None:
    inputs, lengths, targets, _ = pairs_of(pair)
    vectors = pair.project_in(pair.items(inputs)).detach().requires_grad_()
    hidden = pair.project_out(pair.backbone(vectors, lengths))[targets != PAD]
    (gradient,) = torch.autograd.grad(hidden.sum(), vectors)
    padding = torch.arange(inputs.shape[1]) >= lengths.unsqueeze(1)
    assert padding.any()
    assert not gradient[padding].any()
    assert gradient[~padding].any()


def test_a_filler_has_no_loss_and_zero_gradients(pair: SequenceModel) -> None:
    pair.zero_grad()
    one = torch.ones(1, 1, dtype=torch.long)
    loss = pair.training_loss(MicroBatch(one, one[0], torch.zeros_like(one)))
    assert loss.item() == 0
    loss.backward()
    gradients = [p.grad for p in pair.parameters() if p.requires_grad]
    assert all(g is not None and not g.any() for g in gradients)


def test_it_runs_in_float64(pair: SequenceModel, pairs_of: PairsOf) -> None:
    double = deepcopy(pair).double()
    loss = loss_of(double, pairs_of(double))
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(loss_of(pair, pairs_of(pair)).item(), rel=1e-4)


def test_a_few_steps_lower_the_loss(pair: SequenceModel, pairs_of: PairsOf) -> None:
    model, pairs = deepcopy(pair), pairs_of(pair)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = loss_of(model, pairs)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True), losses


def test_it_keeps_its_weights_through_a_state_dict(pair: SequenceModel) -> None:
    copy = deepcopy(pair)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    copy.load_state_dict(pair.state_dict())
    with torch.no_grad():
        assert torch.equal(copy(ROW, LENGTH), pair(ROW, LENGTH))
