from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from seqrec.models.dropout import KeyedDropout, RowKeys, Site, _keyed_attention, key_dropout, keyed_draws, mix
from seqrec.random import _mix

BERTS = ["hidden_dropout_prob", "attention_probs_dropout_prob"]
DROPOUT = {
    "gpt2": ["embd_pdrop", "attn_pdrop", "resid_pdrop"],
    "bert": BERTS,
    "llama": ["attention_dropout"],
    "layoutlm": BERTS,  # its attention does not say whether it is causal
}
KINDS = list(DROPOUT)


def make(kind: str, p: float = 0.3) -> PreTrainedModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 1}
    if kind == "llama":
        sizes |= {"num_key_value_heads": 2, "intermediate_size": 32}  # grouped queries
    tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config = AutoConfig.for_model(kind, **sizes, **tokens, **dict.fromkeys(DROPOUT[kind], p))
    return AutoModel.from_config(config).double().train()


def run(model: torch.nn.Module, keys: RowKeys, rows: list[int], vectors: Tensor, lengths: list[int]) -> Tensor:
    keys.rows = torch.tensor(rows)
    mask = (torch.arange(vectors.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return model(inputs_embeds=vectors, attention_mask=mask, use_cache=False).last_hidden_state


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_drops_the_same_in_any_batch_at_any_padding(kind: str) -> None:
    model = make(kind)
    keys = key_dropout(model, model)
    vectors = torch.randn(3, 7, 16, dtype=torch.float64)
    together = run(model, keys, [5, 6, 7], vectors, [7, 4, 5])
    reordered = run(model, keys, [6, 5], vectors[[1, 0]], [4, 7])
    alone = run(model, keys, [6], vectors[1:2, :4], [4])
    torch.testing.assert_close(together[:2].flip(0)[0, :4], reordered[0, :4], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together[0], reordered[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together[1, :4], alone[0], rtol=1e-12, atol=1e-12)
    other_key = run(model, keys, [8], vectors[1:2, :4], [4])
    assert (other_key - alone).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_changes(kind: str) -> None:
    """But for rounding: neither in evaluation nor in training with a vanishing probability."""
    vectors = torch.randn(3, 7, 16, dtype=torch.float64)
    plain, keyed = make(kind, 1e-12), make(kind, 1e-12)
    keys = key_dropout(keyed, keyed)
    real = (torch.arange(7) < torch.tensor([[7], [4], [5]])).unsqueeze(-1)
    expected = run(plain, RowKeys(), [5, 6, 7], vectors, [7, 4, 5])
    found = run(keyed, keys, [5, 6, 7], vectors, [7, 4, 5])
    torch.testing.assert_close(found * real, expected * real, rtol=1e-9, atol=1e-9)
    expected, found = (run(m.eval(), keys, [5, 6, 7], vectors, [7, 4, 5]) for m in (plain, keyed))
    torch.testing.assert_close(found * real, expected * real, rtol=1e-9, atol=1e-9)
    assert keyed.config.to_dict() == plain.config.to_dict()  # what is saved opens where seqrec is not installed


@pytest.mark.parametrize("causal", [None, False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("p", [0, 1e-12])
def test_attention_in_single_steps_takes_the_options_of_sdpa(causal: bool | None, biased: bool, p: float) -> None:
    module, keys = torch.nn.Module(), RowKeys()
    module.dropout_site = Site(keys, "attention")
    keys.rows = torch.tensor([5, 6])
    vectors = torch.randn(3, 2, 4, 7, 8, dtype=torch.float64)
    options = {"is_causal": causal, "position_bias": torch.randn(1, 4, 7, 7, dtype=torch.float64) if biased else None}
    expected, _ = sdpa_attention_forward(module, *vectors, None, **options)
    found, _ = _keyed_attention(module, *vectors, None, p, **options)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("queries", "keys"), [(65, 65), (1, 9)])
def test_long_sequences_and_steps_are_left_to_the_kernel(queries: int, keys: int) -> None:
    module = torch.nn.Module()
    query, (key, value) = torch.randn(2, 4, queries, 8), torch.randn(2, 2, 4, keys, 8)
    expected, _ = sdpa_attention_forward(module, query, key, value, None)
    found, _ = _keyed_attention(module, query, key, value, None)
    assert torch.equal(found, expected)


def test_without_keys_torch_draws() -> None:
    model = make("gpt2")
    keys = key_dropout(model, model)
    vectors = torch.randn(2, 3, 16, dtype=torch.float64)
    for rows in (None, torch.empty(0, dtype=torch.int64)):
        keys.rows = rows
        torch.manual_seed(1)
        first = model(inputs_embeds=vectors).last_hidden_state
        assert not torch.equal(model(inputs_embeds=vectors).last_hidden_state, first)
        torch.manual_seed(1)
        assert torch.equal(model(inputs_embeds=vectors).last_hidden_state, first)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(40, 30, 64), (10, 4, 25, 25), (300, 65)])
def test_the_share_and_the_scale(p: float, shape: tuple[int, ...]) -> None:
    keys = RowKeys()
    keys.rows = torch.arange(shape[0])
    x = torch.ones(shape, dtype=torch.float64, requires_grad=True)
    dropped = Site(keys, "here")(x, p)
    dropped.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, dropped.detach())
    kept = (dropped != 0).double()
    n = kept.numel()
    assert abs(kept.mean().item() - (1 - p)) < 4 * (p * (1 - p) / n) ** 0.5
    assert dropped.max().item() == pytest.approx(1 / (1 - p), rel=2**-14)
    other = (Site(keys, "there")(torch.ones(shape), p) != 0).double()
    correlation = torch.corrcoef(torch.stack([kept.flatten(), other.flatten()]))[0, 1]
    assert abs(correlation.item()) < 4 / n**0.5
    for axis in range(len(shape)):  # neighbours along each axis are independent
        ahead, behind = kept.narrow(axis, 1, shape[axis] - 1), kept.narrow(axis, 0, shape[axis] - 1)
        correlation = torch.corrcoef(torch.stack([ahead.flatten(), behind.flatten()]))[0, 1]
        assert abs(correlation.item()) < 4.5 / ahead.numel() ** 0.5


def test_draws_are_uniform() -> None:
    draws = keyed_draws(torch.arange(64), torch.Size([64, 16, 1024])).flatten().long()
    counts = torch.bincount((draws + 2**15) >> 8, minlength=256).double()
    expected = len(draws) / 256
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert 255 - 4 * 510**0.5 < chi_square < 255 + 4 * 510**0.5


def test_bits_are_those_of_the_shared_generator() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64)
    found = mix(torch.from_numpy(words.view(np.int64).copy())).numpy().view(np.uint64)
    assert np.array_equal(found, _mix(words))


def test_adapters_drop_by_row_too() -> None:
    base = make("gpt2")
    model = get_peft_model(base, LoraConfig(r=2, lora_dropout=0.5, target_modules=["c_attn"], fan_in_fan_out=True))
    key_dropout(model, base)
    dropouts = [m for m in model.modules() if isinstance(m, torch.nn.Dropout)]
    assert all(isinstance(m, KeyedDropout) for m in dropouts)
    assert {m.p for m in dropouts} == {0.3, 0.5}
    assert len({m.site.name for m in dropouts if isinstance(m, KeyedDropout)}) == len(dropouts)


def test_recomputed_activations_drop_the_same() -> None:
    model = make("gpt2")
    keys = key_dropout(model, model)
    keys.rows = torch.tensor([3, 4])
    vectors = torch.randn(2, 5, 16, dtype=torch.float64, requires_grad=True)

    def loss(x: Tensor) -> Tensor:
        return model(inputs_embeds=x).last_hidden_state.pow(2).sum()

    (plain,) = torch.autograd.grad(loss(vectors), vectors)
    (recomputed,) = torch.autograd.grad(checkpoint(loss, vectors, use_reentrant=False), vectors)
    torch.testing.assert_close(recomputed, plain, rtol=1e-12, atol=1e-12)


def test_a_copy_has_keys_of_its_own() -> None:
    model = torch.nn.Sequential(make("gpt2"))
    keys = key_dropout(model, model[0])
    keys.rows = torch.tensor([1, 2])
    copy = deepcopy(model)
    keys.rows = torch.tensor([3])
    sites = {id(m.site.keys) for m in copy.modules() if isinstance(m, KeyedDropout)}
    (copied,) = [m.site.keys for m in copy.modules() if isinstance(m, KeyedDropout)][:1]
    assert len(sites) == 1
    assert copied.rows is not None
    assert copied.rows.tolist() == [1, 2]
