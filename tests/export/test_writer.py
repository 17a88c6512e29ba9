from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import seqrec.export.writer
from export.conftest import (
    ADAPTERS,
    HISTORIES,
    ITEM_IDS,
    LAST_STEP,
    MAX_LENGTH,
    MINILM,
    N_ITEMS,
    SETTINGS,
    TOTAL_STEPS,
    Exported,
    build,
    encoded,
    export,
    scores_in_this_process,
    train,
)
from seqrec.errors import BundleError, UnknownIdError
from seqrec.export import load_bundle
from seqrec.export.scoring import history_scores
from seqrec.models import Backbone, ItemAttributes, ModelSettings, SequenceModel, build_model, rank_pattern
from seqrec.models.adapters import without_adapter

KINDS = ["gpt2", "bert", "lora", "adalora", "prefix", "prompt", "merged"]
OPEN_ALL = """
import sys
from safetensors.torch import save_file
from seqrec.export import load_bundle
from seqrec.export.verify import sample_scores
out, *paths = sys.argv[1:]
save_file({path: sample_scores(load_bundle(path)) for path in paths}, out)
"""


@pytest.fixture(scope="module")
def fresh_scores(exported: dict[str, Exported], tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """Scores of each bundle in one other process."""
    out = tmp_path_factory.mktemp("scores") / "scores.safetensors"
    paths = [str(found.path) for found in exported.values()]
    subprocess.run([sys.executable, "-c", OPEN_ALL, str(out), *paths], check=True, capture_output=True)
    scores = load_file(out)
    return {kind: scores[str(found.path)] for kind, found in exported.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_process_gives_the_scores_of_the_live_model(
    kind: str, exported: dict[str, Exported], fresh_scores: dict[str, torch.Tensor]
) -> None:
    torch.testing.assert_close(fresh_scores[kind], exported[kind].scores, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ADAPTERS)
def test_the_adapter_matters_to_those_scores(kind: str, exported: dict[str, Exported]) -> None:
    model = exported[kind].model
    plain = copy.copy(model)
    plain._modules = {**model._modules, "backbone": Backbone(without_adapter(model.backbone.model))}
    without = history_scores(plain, encoded(HISTORIES), max_length=MAX_LENGTH)
    assert (without - exported[kind].scores).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("kind", "stated", "folders"),
    [
        ("gpt2", "full", {"backbone"}),
        ("bert", "full", {"backbone"}),
        *((adapter, "adapter", {"adapter"}) for adapter in ADAPTERS),
        ("merged", "merged", {"backbone"}),
    ],
)
def test_a_bundle_carries_what_cannot_be_had_again(
    kind: str, stated: str, folders: set[str], exported: dict[str, Exported]
) -> None:
    path = exported[kind].path
    assert {entry.name for entry in path.iterdir()} == folders | {
        "README.md", "bundle.json", "items.json", "items.safetensors", "recipe.yaml", "samples.json",
    }  # fmt: skip
    assert load_bundle(path).manifest.kind == stated
    assert json.loads((path / "items.json").read_text()) == ITEM_IDS
    assert not list(path.parent.glob(".*"))


def test_a_frozen_random_backbone_under_an_adapter_travels_along(tmp_path: Path, quick: None) -> None:
    frozen = SETTINGS["gpt2"]["backbone"] | {"trainable": False}
    settings = ModelSettings.model_validate(SETTINGS["gpt2"] | {"backbone": frozen, "adapter": {"kind": "lora"}})
    model = build_model(settings, n_items=len(ITEM_IDS), max_length=MAX_LENGTH, total_steps=TOTAL_STEPS)
    train(model, range(1, 5))
    bundle = load_bundle(export(tmp_path / "bundle", model, settings))
    assert (bundle.manifest.kind, bundle.manifest.base.included) == ("adapter", True)


def test_adalora_has_ragged_ranks_and_the_live_model_trains_on(exported: dict[str, Exported]) -> None:
    found = exported["adalora"]
    model = copy.deepcopy(found.model)
    network = model.backbone.model
    ranks = rank_pattern(network)
    assert ranks is not None
    assert len(set(ranks.values())) > 1
    assert 0 in ranks.values()
    config = json.loads((found.path / "adapter" / "adapter_config.json").read_text())
    saved = {name.split(".lora_E")[0]: sum(kept) for name, kept in config["rank_pattern"].items()}
    assert saved == ranks
    assert network.peft_config["default"].base_model_name_or_path != MINILM  # the live config is as it was
    train(model, range(LAST_STEP + 1, TOTAL_STEPS + 1))
    assert rank_pattern(network) == ranks


def test_adalora_between_two_allocations_is_exported_as_it_computes(tmp_path: Path, quick: None) -> None:
    model, settings = build("adalora")
    train(model, range(1, 8))  # allocated in steps 2, 4 and 6: step 7 let masked values grow back
    network = model.backbone.model
    kept = rank_pattern(network)
    at_work = sum(int((p != 0).sum()) for name, p in network.named_parameters() if "lora_E" in name)
    assert kept is not None
    assert at_work > sum(kept.values())
    load_bundle(export(tmp_path / "bundle", model, settings))


@pytest.mark.parametrize("kind", ADAPTERS)
def test_plain_peft_opens_the_adapter_on_the_original_model(kind: str, exported: dict[str, Exported]) -> None:
    found = exported[kind]
    package, folder = MINILM.removeprefix("package:").split("/")
    base = AutoModel.from_pretrained(str(files(package) / folder))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        plain = PeftModel.from_pretrained(base, str(found.path / "adapter")).eval()
    assert not [w for w in caught if "adapter keys" in str(w.message)]
    vectors = torch.randn(2, 5, base.config.hidden_size)
    live = load_bundle(found.path).model.backbone
    with torch.no_grad():
        expected = live(vectors, torch.tensor([5, 5]))
        hidden = plain(inputs_embeds=vectors).last_hidden_state[:, -5:]
    # seqrec computes attention in other steps, and adapters that were trained in haste make much of rounding
    torch.testing.assert_close(hidden, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_code_of_the_model_card_gives_the_same_scores(
    kind: str, exported: dict[str, Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = exported[kind]
    monkeypatch.chdir(found.path)
    card = (found.path / "README.md").read_text()
    assert ("without seqrec" in card) == (kind != "bottleneck")  # plain peft knows no bottlenecks
    blocks = card.split("```python\n")[1:]
    if kind == "bottleneck":
        return
    with_seqrec, without = (block.split("```")[0] for block in blocks)
    names: dict[str, object] = {}
    exec(with_seqrec, names)
    assert len(names["slate"]) == 10  # type: ignore[arg-type]
    names = {}
    exec(without, names)
    torch.testing.assert_close(names["scores"], found.scores[0], rtol=0, atol=1e-5)


def test_an_export_that_differs_from_the_live_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: the weights on disk are others than those of the model."""
    save_items = seqrec.export.writer.save_items

    def save_others(folder: Path, model: SequenceModel, *rest: object) -> None:
        save_items(folder, model, *rest)
        _change(folder / "items.safetensors", "items.weight")

    monkeypatch.setattr(seqrec.export.writer, "save_items", save_others)
    model, settings = build("gpt2")
    with pytest.raises(BundleError, match=r"(?s)fresh process.*scores differ from those exported by up to 0\.\d"):
        export(tmp_path / "bundle", model, settings)
    assert not list(tmp_path.iterdir())


def test_scores_that_the_samples_do_not_list_are_compared_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slightly_off(folder: Path) -> torch.Tensor:
        scores = scores_in_this_process(folder)
        scores[1, 7] += 0.25
        return scores

    monkeypatch.setattr(seqrec.export.writer, "scores_in_fresh_process", slightly_off)
    model, settings = build("gpt2")
    with pytest.raises(BundleError, match=r"(?s)differ by up to 0\.25, 1e-05 is allowed.*1 of 120 scores"):
        export(tmp_path / "bundle", model, settings)
    assert not list(tmp_path.iterdir())


def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(
    tmp_path: Path, exported: dict[str, Exported]
) -> None:
    _, settings = build("gpt2")
    model = exported["gpt2"].model
    with pytest.raises(BundleError, match="40 items, there are 39 ids"):
        export(tmp_path / "bundle", model, settings, item_ids=ITEM_IDS[1:])
    with pytest.raises(BundleError, match="non-empty histories"):
        export(tmp_path / "bundle", model, settings, sample_histories=[ITEM_IDS[:2], []])
    with pytest.raises(BundleError, match="no adapter to merge"):
        export(tmp_path / "bundle", model, settings, merge=True)
    for kind in ("bottleneck", "prefix"):
        with pytest.raises(BundleError, match="no part of any layer's weights"):
            export(tmp_path / "bundle", exported[kind].model, exported[kind].settings, merge=True)
    with pytest.raises(UnknownIdError, match="-001"):
        export(tmp_path / "bundle", model, settings, sample_histories=[["-0001"]])
    assert not list(tmp_path.iterdir())
    (tmp_path / "bundle").mkdir()
    with pytest.raises(BundleError, match="destination exists"):
        export(tmp_path / "bundle", model, settings)


def _change(file: Path, name: str) -> None:
    tensors = load_file(file)
    tensors[name] = tensors[name] + 0.1 * torch.arange(len(tensors[name])).unsqueeze(1)
    save_file(tensors, file)


@pytest.mark.usefixtures("quick")
def test_what_attributes_add_becomes_part_of_the_item_vectors(tmp_path: Path) -> None:
    sections = {
        "items": {"width": 16, "init_std": 1.0, "attributes": ["category"]},
        "backbone": {"kind": "smoothed_gpt2", "layers": 1, "width": 16},
        "scores": {"kind": "cosine"},
    }
    settings = ModelSettings.model_validate(sections)
    two_each = ItemAttributes(torch.arange(2 * N_ITEMS) % 7, 2 * torch.arange(N_ITEMS + 1), n_values=7)
    model = build_model(
        settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=TOTAL_STEPS, attributes=two_each
    ).eval()
    assert isinstance(model, SequenceModel)
    bundle = load_bundle(export(tmp_path / "bundle", model, settings))
    assert bundle.manifest.model.items.attributes == []
    assert isinstance(bundle.model, SequenceModel)
    torch.testing.assert_close(bundle.model.item_vectors(), model.item_vectors())
    assert model.items.attributes is not None


def test_pissa_is_handed_over_as_plain_lora_of_twice_the_rank(exported: dict[str, Exported]) -> None:
    found = exported["pissa"]
    config = json.loads((found.path / "adapter" / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["init_lora_weights"]) == (8, pytest.approx(16 * 2**0.5), True)
    state = load_file(found.path / "adapter" / "adapter_model.safetensors")
    assert not [name for name in state if "first_" in name]
    assert {tensor.shape[0] for name, tensor in state.items() if "lora_A" in name} == {8}
    live = found.model.backbone.model.peft_config["default"]
    assert (live.r, live.init_lora_weights) == (4, "pissa")  # it trains on as it was
