"""Bundles: a trained recommender as a folder, opened and verified."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from transformers import PreTrainedModel

from seqrec.errors import BackboneError, BundleError
from seqrec.export.histories import Encoder
from seqrec.export.manifest import ADAPTER_FOLDER, BACKBONE_FOLDER, BundleManifest, check_files, read_manifest
from seqrec.export.samples import Samples, read_samples, verify_samples
from seqrec.export.texts import load_text
from seqrec.export.weights import load_adapter, load_items, load_outside, quiet_transformers
from seqrec.models import (
    Backbone,
    HistoryText,
    PretrainedBackboneSettings,
    RankingModel,
    SemanticIds,
    assemble,
    fingerprint,
    load_backbone,
    load_words,
)
from seqrec.store import Catalogue


@dataclass(frozen=True)
class Bundle:
    """An opened bundle, whose files, base model and sample scores have been verified.

    `seqrec.serving.Recommender.from_bundle` recommends from it.

    Attributes:
        path: the folder.
        manifest: `bundle.json`: settings, versions, metrics.
        model: on the CPU, in evaluation mode.
        item_ids: N ids; item i is ``item_ids[i - 1]``.
        training_counts: int64 (N,), training events of each item.
        samples: sample histories and the scores they must give.
    """

    path: Path
    manifest: BundleManifest
    model: RankingModel
    item_ids: list[str]
    training_counts: npt.NDArray[np.int64]
    samples: Samples

    @property
    def recipe(self) -> str:
        """Text of the recipe that the model was trained by."""
        return (self.path / "recipe.yaml").read_text(encoding="utf-8")

    @property
    def encoder(self) -> Encoder:
        """Makes tensors of histories, as the model reads them."""
        catalogue = Catalogue.of_ids(self.item_ids)
        return Encoder(catalogue, self.manifest.actions, self.model.columns, self.model.user_values)


def load_bundle(path: str | Path, *, base: str | None = None) -> Bundle:
    """Opens a bundle and verifies it: hashes, base model, scores of the samples.

    Args:
        path: the bundle's folder.
        base: where the base model is, in place of the source that the bundle names; for bundles without it.
    Raises:
        BundleError: the folder is no bundle, a file is missing or changed, the base model is not to be had or is
            another than the one trained on, or the samples' scores differ by more than 1e-5.
    """
    folder = Path(path)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    item_ids, tensors, training_counts = load_items(folder)
    source = _source(folder, manifest, base)
    with _base_errors(folder):
        base_model = _load_base(folder, manifest, source)
        text = None if manifest.model.text is None else load_text(folder, load_words(source).vectors)
    model = _assemble(manifest, base_model, tensors, folder, text)
    bundle = Bundle(folder, manifest, model, item_ids, training_counts, read_samples(folder))
    verify_samples(model, bundle.samples, bundle.encoder, max_length=manifest.max_length, where=str(folder))
    return bundle


def _source(folder: Path, manifest: BundleManifest, base: str | None) -> str:
    if manifest.base.included and base is not None:
        raise BundleError("the bundle carries its own base model", where=str(folder), do="leave `base` out")
    return str(folder / BACKBONE_FOLDER) if manifest.base.included else base or manifest.base.source


@contextmanager
def _base_errors(folder: Path) -> Iterator[None]:
    """Says of which bundle a base model could not be loaded."""
    try:
        with quiet_transformers():
            yield
    except BackboneError as error:
        reason = " ".join(str(error).split())
        do = "put it there, or say where it is: `load_bundle(…, base=…)`, a folder, a hub name or `package:NAME/FOLDER`"
        raise BundleError("the base model cannot be loaded", where=str(folder), reason=reason, do=do) from error


def _load_base(folder: Path, manifest: BundleManifest, source: str) -> PreTrainedModel:
    trained = manifest.model.backbone
    quantize = trained.quantize if isinstance(trained, PretrainedBackboneSettings) else None
    settings = PretrainedBackboneSettings(kind="pretrained", source=source, quantize=quantize)
    model = load_backbone(settings, positions=manifest.max_length + manifest.model.virtual_tokens)
    found = fingerprint(model)
    if found != manifest.base.fingerprint:
        raise BundleError(
            f"the base model {source!r} is not the one that was trained on",
            where=str(folder),
            expected=f"weights with the fingerprint {manifest.base.fingerprint[:16]}… (from {manifest.base.source!r})",
            found=f"{found[:16]}…",
            do="say where the right one is, `load_bundle(…, base=…)`, or export with `merge` to carry it along",
        )
    return model


def _assemble(
    manifest: BundleManifest,
    base: PreTrainedModel,
    tensors: dict[str, Tensor],
    folder: Path,
    text: HistoryText | None,
) -> RankingModel:
    adapted = manifest.kind == "adapter"
    backbone = Backbone(base, (lambda base: load_adapter(base, folder / ADAPTER_FOLDER)) if adapted else None)
    ids = SemanticIds(tensors["items.codes"], tensors["items.sizes_of_levels"]) if "items.codes" in tensors else None
    model = assemble(
        manifest.model,
        backbone,
        n_items=manifest.items,
        n_actions=len(manifest.actions),
        ids=ids,
        text=text,
        users=manifest.users,
    )
    wrong = load_outside(model, tensors)
    if wrong:
        names = ", ".join(f"`{name}`" for name in wrong)
        raise BundleError(
            "`items.safetensors` does not fit the model", where=str(folder), tensors=names, do="export the run again"
        )
    return model.eval().requires_grad_(False)
