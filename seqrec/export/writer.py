"""A trained model to a bundle that has been seen to give its scores."""

from __future__ import annotations

import copy
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel

from seqrec.errors import BundleError
from seqrec.export.card import model_card
from seqrec.export.forms import Form, FormReport, ask, check_forms, write_forms
from seqrec.export.histories import Encoder, History
from seqrec.export.manifest import (
    ADAPTER_FOLDER,
    BACKBONE_FOLDER,
    MANIFEST_FILE,
    BaseModelReference,
    BundleManifest,
    list_files,
    package_versions,
)
from seqrec.export.samples import SAMPLES_FILE, make_samples
from seqrec.export.scoring import TOLERANCE, differences, history_scores
from seqrec.export.texts import save_text
from seqrec.export.verify import scores_in_fresh_process
from seqrec.export.weights import quiet_transformers, save_adapter, save_items
from seqrec.models import (
    HistoryWriter,
    ModelSettings,
    PretrainedBackboneSettings,
    RankingModel,
    SequenceModel,
    fingerprint,
    give_back_words,
    is_quantized,
    load_words,
    merged,
    with_table,
)
from seqrec.models.adapters import why_not_merged, without_adapter
from seqrec.store import Catalogue


def export_bundle(
    out: str | Path,
    *,
    model: RankingModel,
    settings: ModelSettings,
    item_ids: Sequence[str],
    popular: npt.NDArray[np.int64],
    seen: Literal["filter", "allow"],
    max_length: int,
    recipe_text: str,
    sample_histories: Sequence[Sequence[str] | History],
    actions: Sequence[str] = (),
    metrics: Mapping[str, Any] | None = None,
    merge: bool = False,
    forms: Sequence[Form] = (),
    held_out: Iterable[tuple[Tensor, Tensor, Tensor]] = (),
) -> Path:
    """Writes a bundle, and sees that a fresh process gets the live model's scores from it.

    It is written beside its destination and renamed once verified: what stands at the destination is whole and true.
    The model stays as it was, and can be trained on. Item vectors that are made of features are written as the table
    that they are, so that a bundle needs neither the features nor their files.

    Args:
        out: the bundle's folder; must not exist.
        model: as trained, on any device.
        settings: what the model was built from.
        item_ids: N ids; item i is ``item_ids[i - 1]``.
        popular: int64 (N,), training events of each item, which the fallback for new users ranks by.
        seen: whether items of a history may be recommended again.
        max_length: positions that an input takes.
        recipe_text: the resolved recipe as YAML.
        sample_histories: at least one non-empty history; a few from validation are a good choice.
        actions: names of the store's action types, in the order of their codes.
        metrics: what `seqrec evaluate` gives as JSON; None where it was not run.
        merge: merge the adapter into the backbone, which the bundle then carries whole.
        forms: for other runtimes, to be written beside; each is opened by a process that has its library only.
        held_out: by which the quality of forms is told: items int64 (B, L), lengths int64 (B,), next items int64 (B,)
            of users.
    Returns:
        The bundle's folder.
    Raises:
        BundleError: the destination exists, arguments do not fit together, or the export does not give the model's
            scores to 1e-5; nothing is left at the destination.
        MissingExtraError: a form needs a package that is not installed.
        UnknownIdError: a sample history has an id that is not among ``item_ids``, or an action not among ``actions``.
        UnsupportedError: a sample history lacks what the model reads of events.
    """
    destination = Path(out)
    _refuse_existing(destination)
    histories = [one if isinstance(one, History) else History(one) for one in sample_histories]
    _check(model, settings, item_ids, popular, histories, merge)
    check_forms(model, forms, merge=merge)
    model, settings = with_table(model, settings)  # so that a bundle needs no catalogue or files beside it
    encode = Encoder(Catalogue.of_ids(item_ids), actions, model.columns, model.user_values)
    expected = history_scores(model, encode(histories), max_length=max_length)
    with _beside(destination) as folder:
        kind, base = _write_weights(folder, model, settings, merge=merge)
        if (writer := _writer(model)) is not None:
            save_text(folder, writer.text)
        save_items(folder, model, item_ids, popular)
        (folder / "recipe.yaml").write_text(recipe_text, encoding="utf-8")
        samples = make_samples(histories, expected, item_ids)
        (folder / SAMPLES_FILE).write_text(samples.model_dump_json(indent=1) + "\n", encoding="utf-8")
        reports = _write_forms(folder, model, forms, item_ids, held_out, most=model.max_history(max_length))
        manifest = BundleManifest(
            kind=kind,
            base=base,
            model=settings,
            items=len(item_ids),
            actions=list(actions),
            users=model.user_values,
            max_length=max_length,
            seen=seen,
            forms=reports,
            metrics=None if metrics is None else dict(metrics),
            versions=package_versions(),
            files={},
        )
        _describe(folder, manifest, model, name=destination.name, example=histories[0])
        _verify(folder, expected, destination)
        _refuse_existing(destination)
        folder.rename(destination)
    return destination


def _write_weights(
    folder: Path, model: RankingModel, settings: ModelSettings, *, merge: bool
) -> tuple[Literal["full", "frozen", "adapter", "merged"], BaseModelReference]:
    """Writes `backbone/` where the base model cannot be had again, and `adapter/` where there is one."""
    network = model.backbone.model
    adapter = network if isinstance(network, PeftModel) and not merge else None
    restorable = bool(model.restorable_keys()) and not merge
    if restorable:
        assert isinstance(settings.backbone, PretrainedBackboneSettings)
        assert model.backbone.base_fingerprint is not None
        source, digest = settings.backbone.source, model.backbone.base_fingerprint
    else:
        base = (merged(model) if adapter is None else without_adapter(adapter)).float()
        with quiet_transformers():
            digest = fingerprint(base)
            if _writer(model) is not None:
                _write_words(folder / BACKBONE_FOLDER, base, settings)
            base.save_pretrained(str(folder / BACKBONE_FOLDER))
        source = BACKBONE_FOLDER
    if adapter is not None:
        save_adapter(adapter, folder / ADAPTER_FOLDER, base_source=source)
    plain: Literal["frozen", "full"] = "frozen" if restorable else "full"
    kind: Literal["full", "frozen", "adapter", "merged"] = "merged" if merge else "adapter" if adapter else plain
    return kind, BaseModelReference(source=source, included=not restorable, fingerprint=digest)


def _writer(model: RankingModel) -> HistoryWriter | None:
    return model.writer if isinstance(model, SequenceModel) else None


def _write_words(folder: Path, base: PreTrainedModel, settings: ModelSettings) -> None:
    """Puts the words into a base model that reads text, and writes their tokenizer beside it."""
    assert isinstance(settings.backbone, PretrainedBackboneSettings)
    words = load_words(settings.backbone.source)
    give_back_words(base, words)
    words.tokenizer.save_pretrained(str(folder))


def _write_forms(
    folder: Path,
    model: RankingModel,
    forms: Sequence[Form],
    item_ids: Sequence[str],
    held_out: Iterable[tuple[Tensor, Tensor, Tensor]],
    *,
    most: int,
) -> dict[Form, FormReport]:
    if not forms:
        return {}
    on_cpu = model if model.device.type == "cpu" else copy.deepcopy(model).cpu()
    return write_forms(folder, on_cpu, forms, item_ids, ask(model.n_items, most, held_out), most=most)


def _describe(folder: Path, manifest: BundleManifest, model: RankingModel, *, name: str, example: History) -> None:
    """Writes README.md, and last `bundle.json` with the hashes of all that is there."""
    projected = model.items.width != model.backbone.width
    card = model_card(manifest, name=name, example=example, projected=projected, columns=model.columns)
    (folder / "README.md").write_text(card, encoding="utf-8")
    manifest = manifest.model_copy(update={"files": list_files(folder)})
    (folder / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def _verify(folder: Path, expected: Tensor, destination: Path) -> None:
    """Compares what a fresh process gets with the live model's scores."""
    apart = differences(scores_in_fresh_process(folder), expected)
    if apart.max() > TOLERANCE:
        raise BundleError(
            f"the export does not reproduce the model: scores differ by up to {float(apart.max()):.2g}, "
            f"{TOLERANCE:.0e} is allowed",
            where=str(destination),
            differ=f"{int((apart > TOLERANCE).sum()):,} of {apart.numel():,} scores of {len(apart)} sample histories",
            do="nothing was exported; please report this with the recipe",
        )


def _check(
    model: RankingModel,
    settings: ModelSettings,
    item_ids: Sequence[str],
    popular: npt.NDArray[np.int64],
    sample_histories: Sequence[History],
    merge: bool,
) -> None:
    n_items = model.n_items
    if not len(item_ids) == len(popular) == n_items:
        raise BundleError(
            f"the model has {n_items:,} items, there are {len(item_ids):,} ids and {len(popular):,} counts",
            do="export with the store that the model was trained on",
        )
    if not sample_histories or not all(history.items for history in sample_histories):
        raise BundleError("samples must be non-empty histories, at least one", do="give some users' histories")
    if settings.text is not None and _writer(model) is None:
        raise BundleError(
            "an outcome is read off a text, which bundles do not hold", where="model.text", do="serve from the run"
        )
    if merge and not isinstance(model.backbone.model, PeftModel):
        raise BundleError("there is no adapter to merge", do="export without `merge`")
    if merge and (reason := why_not_merged(model.backbone.model)):
        raise BundleError(
            reason,
            do="export without `merge`; the bundle then carries the adapter beside the backbone",
        )
    if merge and is_quantized(model.backbone.model):
        raise BundleError(
            "an adapter cannot be merged into quantized weights: rounding would undo much of what it learned",
            do="export without `merge`; the bundle then names the base model and carries the adapter",
        )


def _refuse_existing(destination: Path) -> None:
    if destination.exists():
        raise BundleError("the destination exists", where=str(destination), do="remove it or choose another --out")


@contextmanager
def _beside(destination: Path) -> Iterator[Path]:
    """A temporary folder in the same file system, where a rename is atomic; removed if it is still there after."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{destination.name}.partial-", dir=destination.parent))
    folder.chmod(0o755)  # mkdtemp's 0700 would keep colleagues out of the finished bundle
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
