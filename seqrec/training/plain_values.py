"""Reading what ranks have saved in parts without running anything that the files may hold.

torch's sharded checkpoints and DeepSpeed's are pickles, and unpickling runs whatever a file tells it to. Here nothing
but tensors, plain values and a few classes that only hold values is read; whatever else a file names is refused before
it is called.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import metadata as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, _StorageInfo
from torch.serialization import _get_layout, safe_globals

from seqrec.errors import MissingExtraError, RunError

# torch's own switches, read at each `torch.load`: the first overrules even `weights_only=False`
_FORCE, _FORBID = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


@contextmanager
def plain_values_only(where: Path, *classes: type) -> Iterator[None]:
    """Whatever calls `torch.load` within gets tensors and plain values, or an error; also where it asks for more.

    Args:
        where: what is read, for the error.
        classes: further classes that may be made, which must do no more than hold values.
    Raises:
        RunError: a file holds something else, which was not loaded.
    """
    before = {name: os.environ.pop(name, None) for name in (_FORCE, _FORBID)}
    os.environ[_FORCE] = "1"
    try:
        with safe_globals([*classes]):
            yield
    except (pickle.UnpicklingError, CheckpointException) as error:
        refused = _refused(error)
        if refused is None:
            raise
        raise RunError(
            "the checkpoint is damaged, or holds more than tensors and plain values, and that could run code",
            where=str(where),
            refused=refused,
            do="take another checkpoint; weights from elsewhere are to come as safetensors, which "
            "`seqrec consolidate` writes",
        ) from error
    finally:
        del os.environ[_FORCE]
        os.environ.update({name: value for name, value in before.items() if value is not None})


def _refused(error: BaseException) -> str | None:
    """What a file would have called, or else what is wrong with it; None where unpickling is not what failed."""
    if isinstance(error, CheckpointException):  # of the first rank that failed
        return next((_refused(cause) for cause, _ in error.failures.values()), None)
    if not isinstance(error, pickle.UnpicklingError):
        return None
    name = re.search(r"GLOBAL (\S+)", str(error))
    return name[1] if name else str(error).splitlines()[0]


def zero_classes() -> tuple[type, ...]:
    """What DeepSpeed's checkpoints hold beside plain values, for `plain_values_only`.

    Raises:
        MissingExtraError: DeepSpeed is not installed.
    """
    try:
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
        from deepspeed.runtime.zero.config import ZeroStageEnum
        from deepspeed.utils.tensor_fragment import fragment_address
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("deepspeed", extra="deepspeed", needed_for="a checkpoint of ZeRO") from error
    return DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address


class ShardReader(FileSystemReader):
    """torch's reader of sharded checkpoints, but for how it reads `.metadata`; for use within `plain_values_only`.

    Args:
        state: the folder.
    Raises:
        pickle.UnpicklingError: `.metadata` holds something else.
    """

    def __init__(self, state: Path):
        super().__init__(state)
        with (state / ".metadata").open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
        if not isinstance(metadata, dcp.Metadata):
            raise pickle.UnpicklingError(f"no metadata but {type(metadata).__name__}")
        metadata.storage_meta = dcp.StorageMeta(load_id=self.load_id)
        self.metadata = metadata

    def read_metadata(self, *args: Any, **kwargs: Any) -> dcp.Metadata:
        return self.metadata


def _no_path(*_: str) -> None:
    """In place of the path that the checkpoint had when it was saved, which nothing reads."""


_METADATA: dict[tuple[str, str], Callable[..., Any]] = {
    (made.__module__, made.__qualname__): made
    for made in (
        dcp.BytesStorageMetadata,
        dcp.ChunkStorageMetadata,
        dcp.Metadata,
        dcp.MetadataIndex,
        dcp.StorageMeta,
        dcp.TensorProperties,
        dcp.TensorStorageMetadata,
        dcp._MEM_FORMAT_ENCODING,
        _StorageInfo,
        _get_layout,
        torch.Size,
    )
} | {("pathlib", "PosixPath"): _no_path, ("pathlib._local", "PosixPath"): _no_path}  # the second from Python 3.13


class _MetadataUnpickler(pickle.Unpickler):
    """After "Restricting Globals" in Python's documentation of `pickle`."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _METADATA:
            return _METADATA[module, name]
        dtype = getattr(torch, name, None) if module == "torch" else None
        if isinstance(dtype, torch.dtype):
            return dtype
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
