"""The model card of a bundle: what it is, how it was trained, how good it is, how to load it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import jinja2

from seqrec.export.histories import History
from seqrec.export.manifest import BundleManifest
from seqrec.models import CosineScoresSettings, ModelSettings, SemanticItemsSettings, SlateSettings, build_head
from seqrec.models.adapters import BottleneckSettings
from seqrec.models.architectures import NetworkSettings
from seqrec.models.smoothed_gpt2 import SmoothedGpt2Config
from seqrec.outcomes import OutcomeSettings

_KINDS = {
    "full": "full: a backbone with weights of its own",
    "frozen": "frozen: item vectors over a pretrained backbone as it is",
    "adapter": "adapter: item vectors and a PEFT adapter over a base model",
    "merged": "merged: a backbone that the adapter was merged into",
}
_PACKAGE = "package:"


def model_card(
    manifest: BundleManifest, *, name: str, example: History, projected: bool, columns: Collection[str]
) -> str:
    """The text of README.md.

    Args:
        manifest: of the bundle; its files need not be listed yet.
        name: of the bundle.
        example: a history, for the code.
        projected: whether linear maps join item vectors and backbone.
        columns: what the model reads of events beside their items.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqrec.export", "."),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["json"] = _json  # jinja's own `tojson` escapes for HTML
    generates = isinstance(manifest.model.items, SemanticItemsSettings)
    masked, source = build_head(manifest.model.head).with_mask, manifest.base.source
    return environment.get_template("card.md.j2").render(
        manifest=manifest,
        settings=manifest.model,
        name=name,
        kind=_KINDS[manifest.kind],
        base="in `backbone/`" if manifest.base.included else f"`{source}`",
        package=source.removeprefix(_PACKAGE).split("/", maxsplit=1) if source.startswith(_PACKAGE) else None,
        versions=", ".join(f"{package} {version}" for package, version in manifest.versions.items()),
        example=list(example.items),
        times=list(example.times or []) if "timestamps" in columns else None,
        actions=list(example.actions or []) if "actions" in columns else None,
        user=dict(example.user or {}) if manifest.users is not None else None,
        reads_more=bool(columns) or manifest.users is not None,
        plain=not columns and manifest.users is None and _opens_elsewhere(manifest.model),
        cosine=manifest.model.scores if isinstance(manifest.model.scores, CosineScoresSettings) else None,
        max_history=manifest.max_length - int(masked),
        masked=masked,
        generates=generates,
        projected=projected,
        adapted=manifest.kind == "adapter",
        tensors=_tensors(manifest.model, generates=generates, projected=projected),
        **_metrics(manifest.metrics or {}),
    )


def _opens_elsewhere(settings: ModelSettings) -> bool:
    """Whether transformers and peft alone can read all of it, and a product with item vectors scores."""
    own_backbone = (
        isinstance(settings.backbone, NetworkSettings) or settings.backbone.kind == SmoothedGpt2Config.model_type
    )
    quantized = getattr(settings.backbone, "quantize", None) is not None
    own_adapter = isinstance(settings.adapter, BottleneckSettings)
    own_scores = isinstance(settings.head, SlateSettings | OutcomeSettings)
    return not (own_backbone or quantized or own_adapter or own_scores)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=list)


def _tensors(settings: ModelSettings, *, generates: bool, projected: bool) -> list[str]:
    both = settings.text is None
    own_of_heads = {
        "slate": ["`decoder.*`: makes the vector of a slate's next place"],
        "outcome": ["`scoring.*`: makes the vector of an outcome from a user's"],
    }
    maps = (
        "`project_in.*`, `project_out.*`: maps from item vectors to the base model and back"
        if both
        else "`project_out.*`: map from the base model to item vectors"
    )
    return [
        f"`items.weight`: {'code' if generates else 'item'} vectors, {'input and output table' if both else 'scored'}",
        *(["`items.codes`, `items.sizes_of_levels`: the semantic id of each item"] if generates else []),
        *(["`items.mask`: vector of the mask token"] if settings.with_mask and both else []),
        *([maps] if projected else []),
        *own_of_heads.get(settings.head.kind, []),
        "`training_counts`: training events of each item, by which users without a history are served",
    ]


def _metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The table: the model's metrics by row, beside the baselines'."""
    columns = {"model": metrics.get("model", {}), **metrics.get("baselines", {})}
    return {
        "protocol": _json(metrics["protocol"]) if "protocol" in metrics else None,
        "columns": list(columns),
        "rows": [
            (metric, ["" if values.get(metric) is None else f"{values[metric]:.4f}" for values in columns.values()])
            for metric in columns["model"]
        ],
    }
