"""A checkpoint of any strategy as one safetensors file, the form in which weights are exchanged."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors.torch import save_file

from seqrec.errors import RunError
from seqrec.recipe.load import dump_recipe
from seqrec.recipe.run import Run
from seqrec.stream import SequenceDataModule
from seqrec.training import SavedCheckpoint, check_whole, read_state, weights_of
from seqrec.versions import versions


def consolidate(run: Run, *, checkpoint: str | None = None, out: str | Path | None = None) -> Path:
    """Writes the weights of a run's checkpoint as one file.

    The file holds what was saved: the trained weights, and of a pretrained backbone not those that its source has. Its
    header's metadata tell, as text or JSON, `step`, `strategy`, `world_size`, `recipe` (YAML), `catalogue`
    (fingerprint), and `versions`.

    Args:
        run: whose.
        checkpoint: `step-N`; None for the best.
        out: the file; None for `step-N.safetensors` in the run folder.
    Raises:
        RunError: no such checkpoint, it is damaged, or ``out`` exists.
    """
    saved = run.best if checkpoint is None else check_whole(SavedCheckpoint(run.checkpoints / checkpoint))
    path = run.folder / f"{saved.folder.name}.safetensors" if out is None else Path(out)
    if path.exists():
        raise RunError("exists already", where=str(path), do="remove it, or give another file with `--out`")
    state = read_state(saved.state)
    weights = {name: tensor.contiguous().clone() for name, tensor in weights_of(state).items()}
    metadata = {
        "format": "pt",
        "step": str(saved.step),
        "strategy": saved.record.strategy,
        "world_size": str(saved.record.world_size),
        "recipe": dump_recipe(run.recipe),
        "catalogue": state[SequenceDataModule.__qualname__]["catalogue"],
        "versions": json.dumps(versions()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(weights, temporary, metadata=metadata)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
