"""States of every form, read without a Trainer: one file, torch's sharded checkpoint, DeepSpeed's ZeRO."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from seqrec.errors import RunError, SeqrecError
from seqrec.training.checkpoints import PREFIX, read_checkpoint
from seqrec.training.plain_values import ShardReader, plain_values_only, zero_classes

SHARDED_META = "meta.pt"  # where Lightning puts what is no tensor of a sharded state


def read_state(state: Path) -> dict[str, Any]:
    """The weights of a state, whole and on the CPU, and the plain values saved with them; no optimizer states.

    Only tensors and plain values are read, so that a state from elsewhere cannot run code.

    Args:
        state: a checkpoint's `state`, a file or a folder.
    Returns:
        `state_dict`, and what `SequenceRecommender` and its datamodule saved, as a one-file checkpoint holds them.
    Raises:
        RunError: it cannot be read, or holds more than tensors and plain values.
        MissingExtraError: it is DeepSpeed's, which is not installed.
    """
    if state.is_file():
        return read_checkpoint(state)
    if (state / ".metadata").is_file():
        return _reading(state, _read_sharded)
    if next(state.glob("*/*_model_states.pt"), None) is not None:
        return _reading(state, _read_zero)
    raise RunError("not a state of a form that seqrec knows", where=str(state), do="take another checkpoint")


def _reading(state: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    try:
        return read(state)
    except (Exception, CheckpointException) as error:  # the second is no Exception
        if isinstance(error, SeqrecError):
            raise
        raise RunError(
            "cannot read the checkpoint",
            where=str(state),
            reason=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}",
            do="take another one with `--checkpoint`",
        ) from error


def _read_sharded(state: Path) -> dict[str, Any]:
    weights: dict[str, Any] = {}
    planner = _EmptyStateDictLoadPlanner(keys={"state_dict"})  # type: ignore[no-untyped-call] # skips the optimizer's states
    with plain_values_only(state):
        _load_state_dict(weights, storage_reader=ShardReader(state), planner=planner, no_dist=True)
        values: dict[str, Any] = torch.load(state / SHARDED_META, map_location="cpu")
    return values | weights


def _read_zero(state: Path) -> dict[str, Any]:
    classes = zero_classes()
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

    with plain_values_only(state, *classes):
        with redirect_stdout(io.StringIO()):  # it prints its progress
            weights = get_fp32_state_dict_from_zero_checkpoint(str(state))
        saved = torch.load(min(state.glob("*/*_model_states.pt")), map_location="cpu")
    # the module's own state holds frozen weights, which stage 1 has nowhere else, and nothing of what stage 3 shards
    module = {name: weight for name, weight in saved["module"].items() if weight.numel() and PREFIX in name}
    weights = {name[name.index(PREFIX) :]: weight.clone() for name, weight in (module | weights).items()}
    return {key: value for key, value in saved.items() if key not in ("module", "optimizer")} | {"state_dict": weights}
