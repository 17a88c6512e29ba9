"""Which states a strategy can go on from."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.strategies import DeepSpeedStrategy, ModelParallelStrategy

from seqrec.errors import RunError
from seqrec.training.folders import SavedCheckpoint


def check_can_continue(checkpoint: SavedCheckpoint, trainer: L.Trainer) -> None:
    """Sees that the Trainer's strategy reads the form of a state, and for its number of ranks.

    One file and torch's shards know no number of ranks; the second are read by strategies that shard so, which read one
    file too. ZeRO's parts belong to the ranks that saved them.

    Raises:
        RunError: it does not.
    """
    saved, now = checkpoint.record, trainer.strategy
    zero = next(checkpoint.state.glob("*/*_model_states.pt"), None) is not None
    if zero and isinstance(now, DeepSpeedStrategy):
        if saved.world_size == trainer.world_size:
            return
        raise RunError(
            f"saved by ZeRO on {saved.world_size} ranks, which cannot be continued on {trainer.world_size}",
            where=str(checkpoint.folder),
            do=f"start it on {saved.world_size} ranks; ddp and fsdp2 runs may change their number",
        )
    sharded = checkpoint.state.is_dir() and not zero
    if sharded and isinstance(now, ModelParallelStrategy):
        return
    if checkpoint.state.is_file() and not isinstance(now, DeepSpeedStrategy):
        return
    raise RunError(
        f"saved under {saved.strategy}, which {type(now).__name__} cannot continue",
        where=str(checkpoint.folder),
        do="start it with the `trainer.strategy` that it was saved under; `seqrec consolidate` writes its weights as "
        "one file",
    )
