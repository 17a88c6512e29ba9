"""The tensors of a bundle: what lies outside the backbone, the base model, the adapter."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftConfig, PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import logging

from seqrec.models.adapters import ADAPTER_NAME, as_plain_lora, forget_words, starts_from_weights, virtual_tokens

ITEM_IDS_FILE = "items.json"
ITEMS_FILE = "items.safetensors"
COUNTS = "training_counts"
_BACKBONE = "backbone."


def save_items(folder: Path, model: nn.Module, item_ids: Sequence[str], training_counts: npt.NDArray[np.int64]) -> None:
    """Writes `items.json`, and into `items.safetensors` all of a `SequenceModel` that is not its backbone.

    Tensors: `items.weight` (N, D), `items.mask` (D,) where the head masks, `project_in.*` and `project_out.*` where
    the widths differ, and `training_counts` int64 (N,).
    """
    (folder / ITEM_IDS_FILE).write_text(json.dumps(list(item_ids), ensure_ascii=False), encoding="utf-8")
    outside = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(_BACKBONE)}
    tensors = outside | {COUNTS: torch.from_numpy(training_counts)}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / ITEMS_FILE)


def load_items(folder: Path) -> tuple[list[str], dict[str, Tensor], npt.NDArray[np.int64]]:
    """Item ids, the tensors outside the backbone, and training counts int64 (N,)."""
    item_ids: list[str] = json.loads((folder / ITEM_IDS_FILE).read_text(encoding="utf-8"))
    tensors = load_file(folder / ITEMS_FILE)
    training_counts: npt.NDArray[np.int64] = tensors.pop(COUNTS).numpy()
    return item_ids, tensors, training_counts


def load_outside(model: nn.Module, tensors: dict[str, Tensor]) -> list[str]:
    """Puts the tensors into all of a `SequenceModel` but its backbone; returns the names that do not fit."""
    keys = model.load_state_dict(tensors, strict=False)
    return [name for name in [*keys.missing_keys, *keys.unexpected_keys] if not name.startswith(_BACKBONE)]


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars, and no report about layers that item vectors make unused, as poolers, and a bundle lacks."""
    verbosity, progress = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if progress:
            logging.enable_progress_bar()


def save_adapter(model: PeftModel, folder: Path, *, base_source: str) -> None:
    """Writes the adapter in PEFT's own format; the live model stays as it is.

    Args:
        model: with one adapter.
        folder: to hold `adapter_config.json` and `adapter_model.safetensors`.
        base_source: what the adapter names as its base model.
    """
    with _saved_config(model, base_source):
        # The word embeddings look resized, since item vectors took their place: peft would add them to the adapter.
        # With a state dict given, peft does not take the empty layers of AdaLoRA's rank 0 for a failed gathering.
        state = model.state_dict()
        if starts_from_weights(model):
            state = as_plain_lora(model, ADAPTER_NAME)
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state)
    (folder / "README.md").unlink()  # peft's blank form of a model card; the bundle has a card that says something


def load_adapter(base: PreTrainedModel, folder: Path) -> PeftModel:
    """Puts a saved adapter around a base model, in place."""
    with warnings.catch_warnings():
        # a check meant for LoRA's ranks by module, which peft applies to the masks that AdaLoRA keeps by parameter
        warnings.filterwarnings("ignore", message="The following rank_pattern keys did not match")
        model = PeftModel.from_pretrained(base, str(folder), adapter_name=ADAPTER_NAME, torch_device="cpu")
    if virtual_tokens(model):
        forget_words(model)
    return model


@contextmanager
def _saved_config(model: PeftModel, base_source: str) -> Iterator[None]:
    """Lets the model be saved under a config of its own: saving changes the one it finds, and training needs that."""
    live = model.peft_config[ADAPTER_NAME]
    saved = copy.deepcopy(live)
    saved.base_model_name_or_path = base_source
    if not virtual_tokens(model):
        # whole paths: by their last parts alone, layers would be adapted that the backbone dropped, as BERT's pooler
        saved.target_modules = sorted(model.base_model.targeted_module_names)
    if getattr(live, "rank_pattern", None):
        saved.rank_pattern = _effective_ranks(model, live)
    model.peft_config[ADAPTER_NAME] = saved
    try:
        yield
    finally:
        model.peft_config[ADAPTER_NAME] = live


def _effective_ranks(model: PeftModel, config: PeftConfig) -> dict[str, list[bool]]:
    """AdaLoRA's pattern, with what is masked in it and yet at work.

    Between two allocations masked singular values grow back, and peft, which saves the kept ones only, would write an
    adapter that gives other scores. With final ranks this is the pattern itself.
    """
    suffix = f".{ADAPTER_NAME}"
    pattern = {}
    for path, values in model.get_base_model().named_parameters():
        if not path.endswith(f".lora_E{suffix}"):
            continue
        name = path.removesuffix(suffix)
        kept = config.rank_pattern[path] if path in config.rank_pattern else config.rank_pattern[name]
        pattern[name] = (torch.tensor(kept) | (values.detach().cpu().squeeze(1) != 0)).tolist()
    return pattern
