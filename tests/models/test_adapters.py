from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from pydantic import ValidationError
from torch.optim import Adam

from models.conftest import ADAPTERS, WITHOUT
from seqrec.errors import AdapterError, RecipeError
from seqrec.models import (
    AdaLoraSettings,
    ConfiguredBackboneSettings,
    HstuSettings,
    LoraSettings,
    MicroBatch,
    Pairs,
    SequenceModel,
    allocate_ranks,
    allocator_state,
    attach,
    load_allocator_state,
    load_backbone,
    merged,
    orthogonality_penalty,
    rank_pattern,
)
from seqrec.models.adapters import (
    ADAPTER_NAME,
    BottleneckSettings,
    Ia3Settings,
    LayerNormSettings,
    OftSettings,
    PrefixSettings,
    PromptSettings,
    why_not_merged,
    without_adapter,
)
from seqrec.models.adapters.bottleneck import BottleneckLayer

Build = Callable[..., SequenceModel]
PairsOf = Callable[[SequenceModel], Pairs]
STEPS = 40  # as conftest's TOTAL_STEPS: warm-up to step 4, final ranks from step 28


def small(kind: str = "gpt2", **changes: Any) -> Any:
    settings = ConfiguredBackboneSettings(kind=kind, layers=1, width=4, **changes)  # type: ignore[arg-type]
    return load_backbone(settings, positions=8)


def optimizer_of(model: SequenceModel) -> Adam:
    return Adam([p for p in model.parameters() if p.requires_grad], lr=0.02)


def train(model: SequenceModel, optimizer: Adam, pairs: Pairs, steps: range) -> None:
    adapted = model.backbone.model
    for step in steps:
        loss = model.training_loss(MicroBatch(*pairs)) / 10
        penalty = model.penalty()
        (loss if penalty is None else loss + penalty).backward()
        optimizer.step()
        if isinstance(adapted, PeftModel):
            allocate_ranks(adapted, step)  # after the step, before the gradients go
        optimizer.zero_grad()


@pytest.mark.parametrize("backbone", ["gpt2", "bert", "llama"])
def test_adalora_allocates_down_to_its_target(backbone: str, build: Build, pairs_of: PairsOf) -> None:
    model = build(backbone, "adalora")
    optimizer, adapted = optimizer_of(model), model.backbone.model
    train(model, optimizer, pairs_of(model), range(1, 5))
    assert rank_pattern(adapted) is None
    train(model, optimizer, pairs_of(model), range(5, STEPS + 1))
    ranks = rank_pattern(adapted)
    assert ranks is not None
    assert all(name.split(".")[-1].isidentifier() for name in ranks)
    assert sum(ranks.values()) == 2 * len(ranks)
    assert len(set(ranks.values())) > 1  # the budget has moved
    kept = {
        name.removeprefix("base_model.model.").split(".lora_E")[0]: int(parameter.count_nonzero())
        for name, parameter in adapted.named_parameters()
        if "lora_E" in name
    }
    assert kept == ranks


def test_the_allocator_survives_a_checkpoint(build: Build, pairs_of: PairsOf) -> None:
    model = build("gpt2", "adalora")
    optimizer, pairs = optimizer_of(model), pairs_of(model)
    train(model, optimizer, pairs, range(1, 16))
    file = io.BytesIO()
    torch.save([model.state_dict(), optimizer.state_dict(), allocator_state(model.backbone.model)], file)
    file.seek(0)
    weights, moments, allocation = torch.load(file, weights_only=True)

    resumed = build("gpt2", "adalora", seed=1)
    resumed.load_state_dict(weights)
    load_allocator_state(resumed.backbone.model, allocation)
    resumed_optimizer = optimizer_of(resumed)
    resumed_optimizer.load_state_dict(moments)
    assert rank_pattern(resumed.backbone.model) == rank_pattern(model.backbone.model) is not None

    for one, its_optimizer in ((model, optimizer), (resumed, resumed_optimizer)):
        train(one, its_optimizer, pairs, range(16, STEPS + 1))
    assert rank_pattern(resumed.backbone.model) == rank_pattern(model.backbone.model)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_forgetting_the_allocator_would_show(build: Build, pairs_of: PairsOf) -> None:
    """Else the test before could not fail."""
    ranks = []
    for forget in (False, True):
        model = build("gpt2", "adalora")
        optimizer, pairs = optimizer_of(model), pairs_of(model)
        train(model, optimizer, pairs, range(1, 27))
        if forget:
            load_allocator_state(
                model.backbone.model, {"ipt": {}, "exp_avg_ipt": {}, "exp_avg_unc": {}, "rank_pattern": {}}
            )
        train(model, optimizer, pairs, range(27, STEPS + 1))
        ranks.append({n: p for n, p in model.state_dict().items() if "lora_E" in n})
    assert any(not torch.equal(ranks[0][name], ranks[1][name]) for name in ranks[0])


def test_saving_an_adapter_does_not_lose_the_pattern(build: Build, pairs_of: PairsOf, tmp_path: Any) -> None:
    """peft cuts the adapter's name off the pattern's keys of the live model when it saves."""
    model = build("gpt2", "adalora")
    train(model, optimizer_of(model), pairs_of(model), range(1, STEPS + 1))
    before = allocator_state(model.backbone.model)["rank_pattern"]
    ranks = rank_pattern(model.backbone.model)
    model.backbone.model.save_pretrained(tmp_path, save_embedding_layers=False)
    after = allocator_state(model.backbone.model)["rank_pattern"]
    assert before.keys() == after.keys()
    assert rank_pattern(model.backbone.model) == ranks


def test_orthogonality_penalty_by_hand() -> None:
    settings = AdaLoraSettings(
        kind="adalora", initial_rank=2, target_rank=1, orthogonality=0.5, target_modules=["attn.c_proj"]
    )
    model = attach(small(), settings, total_steps=100)
    parameters = {name.split(".")[-2]: p for name, p in model.named_parameters() if "lora_" in name}
    with torch.no_grad():
        parameters["lora_A"].copy_(torch.tensor([[1.0, 0, 0, 0], [0, 2, 0, 0]]))  # A Aᵀ - I = diag(0, 3)
        parameters["lora_B"].copy_(torch.tensor([[1.0, 1], [0, 0], [0, 0], [0, 0]]))  # Bᵀ B - I = [[0, 1], [1, 0]]
    penalty = orthogonality_penalty(model)
    assert penalty.item() == pytest.approx(0.5 * (3 + math.sqrt(2)) / 2)


def test_lora_has_no_penalty_and_no_allocation(build: Build) -> None:
    model = build("gpt2", "lora")
    assert model.penalty() is None
    assert rank_pattern(model.backbone.model) is None
    allocate_ranks(model.backbone.model, 5)
    assert build("gpt2").penalty() is None


def test_lora_beside_a_trainable_backbone_trains_both(build: Build, pairs_of: PairsOf) -> None:
    model = build("gpt2", "lora", trainable=True)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    train(model, optimizer_of(model), pairs_of(model), range(1, 4))
    unmoved = {name for name, p in model.named_parameters() if torch.equal(p, before[name])}
    assert unmoved == {"backbone.model.base_model.model.wte.weight"}


def test_lora_starts_as_the_backbone_alone(build: Build) -> None:
    vectors, lengths = torch.ones(1, 3, 16), torch.tensor([3])
    with torch.no_grad():
        assert torch.equal(build("gpt2", "lora").backbone(vectors, lengths), build("gpt2").backbone(vectors, lengths))


@pytest.mark.parametrize(
    ("backbone", "adapter"),
    [
        (b, a)
        for b in ("gpt2", "bert", "llama")
        for a in ADAPTERS
        if a not in {"none", "bottleneck", "prefix", "prompt", *WITHOUT.get(b, ())}
    ],
)
def test_merged_backbone_computes_the_same(backbone: str, adapter: str, build: Build, pairs_of: PairsOf) -> None:
    model = build(backbone, adapter)
    pairs = pairs_of(model)
    inputs, lengths = pairs.inputs, pairs.lengths
    start = model(inputs, lengths).detach()
    train(model, optimizer_of(model), pairs, range(1, STEPS + 1))
    state = {name: value.clone() for name, value in model.state_dict().items()}
    base = merged(model)
    with torch.no_grad():
        vectors = model.project_in(model.items(inputs))
        live = model.backbone(vectors, lengths)
        mask = (torch.arange(inputs.shape[1]) < lengths.unsqueeze(1)).long()
        found = base(inputs_embeds=vectors, attention_mask=mask).last_hidden_state
        plain = build(backbone).backbone(vectors, lengths)
    real = mask.bool()
    torch.testing.assert_close(found[real], live[real], rtol=1e-5, atol=1e-5)
    assert (live - plain)[real].abs().max() > 1e-2  # the adapter matters
    assert (model(inputs, lengths) - start)[real].abs().max() > 1e-2
    assert not any(ADAPTER_NAME in name or "base_layer" in name for name in base.state_dict())
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_merged_without_an_adapter_is_a_copy(build: Build) -> None:
    model = build("bert")
    base = merged(model)
    assert base is not model.backbone.model
    assert not base.training
    assert model.training


@pytest.mark.parametrize("targets", [["c_attn", "q_proj"], ["attn"]])
def test_target_modules_that_the_backbone_does_not_have(targets: list[str]) -> None:
    with pytest.raises(AdapterError, match=f"(?s)target_modules: .*`{targets[-1]}`.*has: .*`attn.c_proj`.*the default"):
        attach(small(), LoraSettings(kind="lora", target_modules=targets), total_steps=10)


def test_only_the_target_modules_are_adapted() -> None:
    model = attach(small(), LoraSettings(kind="lora", target_modules=["c_attn"]), total_steps=10)
    adapted = {name.split(".lora_")[0].split(".")[-1] for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {"c_attn"}


def test_adalora_ranks_must_fall() -> None:
    with pytest.raises(ValidationError, match="target_rank 8 must be below initial_rank 8"):
        AdaLoraSettings(kind="adalora", initial_rank=8, target_rank=8)


def test_adalora_schedule_must_leave_steps() -> None:
    with pytest.raises(ValidationError, match=r"warmup 0\.6 \+ final 0\.4 leave no steps"):
        AdaLoraSettings(kind="adalora", warmup=0.6, final=0.4)


def test_adalora_with_too_few_steps() -> None:
    with pytest.raises(RecipeError, match=r"(?s)model\.adapter: 15 steps leave 10 .*interval of 11.*train longer"):
        attach(small(), AdaLoraSettings(kind="adalora", interval=11), total_steps=15)


def test_oft_says_which_layers_it_cannot_turn() -> None:
    with pytest.raises(AdapterError, match=r"(?s)model\.adapter\.kind: .*GPT-2 keeps its weights in `Conv1D`.*`llama`"):
        attach(small(), OftSettings(kind="oft"), total_steps=10)
    with pytest.raises(AdapterError, match=r"(?s)block_size: blocks of 3 do not divide the 4 inputs.*divides 4 and 16"):
        attach(small("bert"), OftSettings(kind="oft", block_size=3), total_steps=10)


def test_ia3_has_a_factor_for_each_output() -> None:
    model = attach(small(trainable=False), Ia3Settings(kind="ia3", target_modules=["c_attn"]), total_steps=10)
    assert [tuple(p.shape) for p in model.parameters() if p.requires_grad] == [(12, 1)]


def test_normalisations_are_all_found_and_not_trained_twice() -> None:
    model = attach(small("llama", trainable=False), LayerNormSettings(kind="layer_norm"), total_steps=10)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert len(trained) == 3  # two in the block, one after it
    with pytest.raises(AdapterError, match="trainable: false"):
        attach(small(), LayerNormSettings(kind="layer_norm"), total_steps=10)
    with pytest.raises(AdapterError, match="no normalisations"):
        attach(torch.nn.GRU(2, 2).requires_grad_(False), LayerNormSettings(kind="layer_norm"), total_steps=10)  # type: ignore[arg-type]


def test_dora_keeps_lengths_apart() -> None:
    model = attach(small(), LoraSettings(kind="lora", rank=4, rank_stabilized=True, dora=True), total_steps=10)
    assert any("lora_magnitude_vector" in name for name, p in model.named_parameters() if p.requires_grad)
    assert {layer.scaling[ADAPTER_NAME] for layer in model.modules() if isinstance(layer, LoraLayer)} == {16 / 4**0.5}


@pytest.mark.parametrize(
    ("kind", "behind"),
    [("gpt2", {"attn.c_proj", "mlp.c_proj"}), ("bert", {"attention.output.dense", "0.output.dense"}),
     ("llama", {"self_attn.o_proj", "mlp.down_proj"})],
)  # fmt: skip
def test_bottlenecks_stand_behind_attention_and_feed_forward(kind: str, behind: set[str]) -> None:
    settings = BottleneckSettings(kind="bottleneck", size=2)
    model = attach(small(kind, trainable=False), settings, total_steps=10)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, BottleneckLayer)}
    assert len(layers) == len(behind)
    assert all(any(name.endswith(end) for name in layers) for end in behind)
    layer = next(iter(layers.values()))
    with torch.no_grad():
        inputs = torch.randn(3, layer.get_base_layer().weight.shape[0 if kind == "gpt2" else 1])
        base = layer.base_layer(inputs)
        assert torch.equal(layer(inputs), base)
        up, down = layer.bottleneck_up[ADAPTER_NAME], layer.bottleneck_down[ADAPTER_NAME]
        up.weight.copy_(torch.tensor([[1.0, 0], [0, 2], [0, 0], [0, 0]]))
        hidden = torch.nn.functional.gelu(base @ down.weight.T + down.bias)
        torch.testing.assert_close(layer(inputs)[:, :2], base[:, :2] + hidden * torch.tensor([1.0, 2]))
    assert "no linear map" in (why_not_merged(model) or "")


def test_bottlenecks_ask_for_names_where_none_is_known() -> None:
    with pytest.raises(AdapterError, match=r"(?s)target_modules: the backbone names none.*name those layers"):
        attach(torch.nn.Sequential(torch.nn.Linear(2, 2)), BottleneckSettings(kind="bottleneck"), total_steps=10)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
@pytest.mark.parametrize("backbone", ["gpt2", "bert", "llama"])
def test_virtual_tokens_take_positions_of_their_own(kind: str, backbone: str, build: Build) -> None:
    model, plain = build(backbone, kind), build(backbone)
    assert model.backbone.positions == plain.backbone.positions
    assert model.backbone.config.max_position_embeddings == plain.backbone.config.max_position_embeddings + 3
    vectors, lengths = torch.ones(1, 12, 16), torch.tensor([12])
    assert model.backbone(vectors, lengths).shape == (1, 12, 16)


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_virtual_tokens_leave_the_base_as_it_is(kind: str, build: Build, wake: Callable[..., None]) -> None:
    model = build("bert", kind)
    before = {name: value.clone() for name, value in without_adapter(model.backbone.model).state_dict().items()}
    wake(model)
    after = without_adapter(model.backbone.model).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any("prompt" in name or "base_model" in name for name in after)
    assert "before a sequence" in (why_not_merged(model.backbone.model) or "")


def test_a_prefix_is_what_attention_sees_first() -> None:
    """By hand: the first position of a causal model attends to the virtual ones and to itself."""
    model = attach(small(trainable=False, heads=1), PrefixSettings(kind="prefix", tokens=2), total_steps=10).eval()
    base, attention = model.get_base_model(), model.get_base_model().h[0].attn
    keys, values = model.prompt_encoder[ADAPTER_NAME].embedding.weight.reshape(2, 2, 4).unbind(1)
    vectors = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = model(inputs_embeds=vectors, use_cache=False).last_hidden_state
        hidden = vectors[0] + base.wpe.weight[2]  # after two virtual positions
        query, key, value = attention.c_attn(base.h[0].ln_1(hidden)).split(4, dim=-1)
        weights = (query @ torch.cat([keys, key]).T / 2).softmax(-1)
        hidden = hidden + attention.c_proj(weights @ torch.cat([values, value]))
        hidden = hidden + base.h[0].mlp(base.h[0].ln_2(hidden))
        torch.testing.assert_close(found[0], base.ln_f(hidden))


def test_what_a_prefix_or_prompt_does_not_fit() -> None:
    prefix = PrefixSettings(kind="prefix")
    hstu = load_backbone(HstuSettings(kind="hstu", layers=1, width=4, time_bias=8), positions=8)
    with pytest.raises(AdapterError, match=r"(?s)model\.adapter\.kind: prefix: `seqrec_hstu` takes no keys.*`prompt`"):
        attach(hstu, prefix, total_steps=10)
    with pytest.raises(AdapterError, match=r"(?s)model\.adapter\.kind: prompt: the backbone reads timestamps"):
        attach(hstu, PromptSettings(kind="prompt"), total_steps=10)
    with pytest.raises(AdapterError, match=r"(?s)activation_checkpointing: .*computed again"):
        attach(small(activation_checkpointing=True), prefix, total_steps=10)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_pissa_takes_the_largest_part_of_the_weights_and_gives_it_back(kind: str) -> None:
    base = small(kind).eval()
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    vectors = torch.randn(2, 5, 4)
    with torch.no_grad():
        expected = base(inputs_embeds=vectors).last_hidden_state
        model = attach(base, LoraSettings(kind="lora", rank=2, initialization="pissa"), total_steps=10)
        torch.testing.assert_close(model(inputs_embeds=vectors).last_hidden_state, expected, rtol=1e-5, atol=1e-5)
    layer = next(module for module in model.modules() if hasattr(module, "first_A"))
    rest = torch.linalg.svdvals(layer.get_base_layer().weight)
    assert (rest[-2:] < 1e-6).all()  # two singular values are in the adapter
    assert (torch.linalg.svdvals(layer.first_B @ layer.first_A)[:2] > 1e-3).all()
    torch.nn.init.normal_(layer.lora_B[ADAPTER_NAME].weight)  # as training does, which leaves the first ones alone
    after = without_adapter(model).state_dict()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=1e-5, atol=1e-6)


def test_pissa_and_lengths_of_whole_weights_are_refused_together() -> None:
    with pytest.raises(ValidationError, match="`dora` takes lengths of whole weights"):
        LoraSettings(kind="lora", dora=True, initialization="pissa")


def test_vera_s_matrices_are_shared_and_made_again(build: Build) -> None:
    one, other = (build("llama", "vera", seed=seed) for seed in (0, 1))
    assert not any("vera_A" in name or "vera_B" in name for name in one.state_dict())
    other.load_state_dict(one.state_dict())
    vectors, lengths = torch.ones(1, 3, 16), torch.tensor([3])
    assert torch.equal(one.backbone(vectors, lengths), other.backbone(vectors, lengths))
    matrices = {id(module.vera_A) for module in one.modules() if hasattr(module, "vera_lambda_b")}
    assert len(matrices) == 1


def test_only_layers_that_are_named_must_fit_a_block() -> None:
    settings = OftSettings(kind="oft", block_size=4, target_modules=["query"])
    model = attach(small("bert", inner=6, trainable=False), settings, total_steps=10)
    assert sum(parameter.requires_grad for parameter in model.parameters()) == 1


def test_pissa_cannot_begin_with_more_than_a_layer_has() -> None:
    with pytest.raises(AdapterError, match=r"one side is 4 has no 5 singular values(.|\n)*set it to 4 or less"):
        attach(small("llama"), LoraSettings(kind="lora", rank=5, initialization="pissa"), total_steps=10)
