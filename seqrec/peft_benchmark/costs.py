"""What a trained run costs: bytes, memory, speed in training, time to a quality, time of an answer."""

from __future__ import annotations

import tempfile
from copy import copy
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from peft import PeftModel
from torch import nn

from seqrec.evaluation import CurvePoint
from seqrec.event_columns import EventColumns
from seqrec.export.forms.answer import milliseconds
from seqrec.export.forms.questions import BATCHES
from seqrec.export.weights import save_adapter
from seqrec.models import SequenceModel, merged
from seqrec.models.adapters import why_not_merged
from seqrec.recipe import Run, logged_rows, training_curve


def costs_of(run: Run) -> dict[str, Any]:
    """Bytes of what is learnt in the backbone, peak memory and speed in training, and milliseconds of an answer.

    Args:
        run: finished.
    """
    speeds, memory = _logged(run)
    return {
        "adapter_bytes": _bytes_to_hand_over(run.model.backbone.model),
        "peak_memory_gib": max(memory, default=None),
        "tokens_per_second": median(speeds) if speeds else None,
        "answer_ms": _answer_times(run),
    }


def curve_of(run: Run) -> list[dict[str, float]]:
    """Validation metric by seconds of training, by the share of its steps that were done."""
    result = run.result
    assert result is not None  # finished
    a_step = result["training_seconds"] / max(1, result["steps"])
    points: tuple[CurvePoint, ...] = training_curve(run.folder, run.recipe.selection.metric)
    return [{"seconds": round(p.step * a_step, 1), "value": p.valid} for p in points if p.valid is not None]


def _logged(run: Run) -> tuple[list[float], list[float]]:
    """The epochs' events a second, as their last steps have it, and the peaks of memory."""
    by_epoch: dict[int, float] = {}
    memory = []
    for row in logged_rows(run.folder):
        if text := row.get("tokens/s"):
            by_epoch[int(row["epoch"])] = float(text)
            memory.append(float(row["peak_memory_gib"]))
    return list(by_epoch.values()), memory


def _bytes_to_hand_over(network: nn.Module) -> int:
    if isinstance(network, PeftModel):
        with tempfile.TemporaryDirectory() as name:
            save_adapter(network, Path(name), base_source="")
            return (Path(name) / "adapter_model.safetensors").stat().st_size
    return sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad)


@torch.inference_mode()
def _answer_times(run: Run) -> dict[str, float]:
    """Median milliseconds for the vectors of users with full histories, live and merged, by their number."""
    model, network = run.model, run.model.backbone.model
    if not isinstance(model, SequenceModel):
        return {}
    models = {"live": model}
    if isinstance(network, PeftModel) and why_not_merged(network) is None:
        backbone = copy(model.backbone)
        backbone._modules = {**model.backbone._modules, "model": merged(model)}
        plain = copy(model)
        plain._modules = {**model._modules, "backbone": backbone}
        models["merged"] = plain
    length = model.max_history(run.recipe.data.max_length)
    found = {}
    for n in BATCHES:
        items = torch.arange(n * length).remainder(model.n_items).add(1).view(n, length)
        lengths, events = torch.full((n,), length), EventColumns.blank(model.columns, (n, length))
        for name, one in models.items():
            found[f"{name}, {n}"] = milliseconds(partial(one.user_vectors, items, lengths, events))
    return found
