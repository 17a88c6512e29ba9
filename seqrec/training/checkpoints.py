"""What a checkpoint holds, and how it gets to disk: plain values and tensors only, never half a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import Tensor, nn

from seqrec.errors import RunError
from seqrec.models import RankingModel
from seqrec.training.collectives import from_first_rank
from seqrec.training.plain_values import plain_values_only

PREFIX = "model."  # of the RankingModel inside the LightningModule


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the destination, flushes to disk, and renames: a reader sees the old file or the new one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".tmp")
        try:
            with temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return read_checkpoint(from_first_rank(str(path)))  # rank 0 has seen that it is whole


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint to the CPU, without unpickling objects.

    Raises:
        RunError: the file is damaged, or holds more than plain values and tensors.
    """
    with plain_values_only(Path(path)):
        try:
            checkpoint: dict[str, Any] = torch.load(path, map_location="cpu")
        except (RuntimeError, EOFError, OSError) as error:
            raise RunError(
                "cannot read the checkpoint",
                where=str(path),
                reason=str(error).splitlines()[0],
                do="delete it to resume from another one, or start over with `--fresh`",
            ) from error
    return checkpoint


def without_restorable(state: Mapping[str, Any], model: RankingModel) -> dict[str, Any]:
    """The state without frozen weights that the pretrained source has anyway."""
    restorable = {PREFIX + key for key in model.restorable_keys()}
    return {key: value for key, value in state.items() if key not in restorable}


def check_missing(state: Mapping[str, Any], module: nn.Module) -> None:
    """Sees that a checkpoint lacks exactly the restorable keys.

    Raises:
        RunError: keys are missing or too many.
    """
    model = module.model
    assert isinstance(model, RankingModel)
    expected = without_restorable(module.state_dict(), model).keys()
    missing, unknown = sorted(expected - state.keys()), sorted(state.keys() - expected)
    if missing or unknown:
        raise RunError(
            f"the checkpoint belongs to another model: {len(missing)} keys missing, {len(unknown)} unknown",
            first=(missing or unknown)[0],
            do="use the recipe that the run was started with",
        )


def load_weights(model: RankingModel, checkpoint: Mapping[str, Any]) -> None:
    """Puts the weights of a checkpoint into a model built from the same recipe."""
    holder = nn.Module()
    holder.model = model
    weights = without_restorable(checkpoint["state_dict"], model)  # DeepSpeed's checkpoints have them nevertheless
    check_missing(weights, holder)
    model.load_state_dict(weights_of({"state_dict": weights}), strict=False)


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint under the names that a `RankingModel` gives them."""
    return {key.removeprefix(PREFIX): value for key, value in checkpoint["state_dict"].items()}
