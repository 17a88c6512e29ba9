"""Strategies by the names that recipes give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from lightning.pytorch.strategies import Strategy

from seqrec.errors import nearest
from seqrec.training.strategies.catalogue_parallel import CatalogueParallelStrategy
from seqrec.training.strategies.fsdp2 import Fsdp2Strategy
from seqrec.training.strategies.zero import ZeroStrategy

Family = Literal["auto", "ddp", "fsdp2", "zero_1", "zero_2", "zero_3", "catalogue_parallel"]

FAMILIES: dict[str, Family] = {
    "auto": "auto",
    "ddp": "ddp",
    "fsdp2": "fsdp2",
    "fsdp2_offload": "fsdp2",
    "deepspeed_stage_1": "zero_1",
    "deepspeed_stage_2": "zero_2",
    "deepspeed_stage_2_offload": "zero_2",
    "deepspeed_stage_3": "zero_3",
    "deepspeed_stage_3_offload": "zero_3",
    "catalogue_parallel": "catalogue_parallel",
}
# Lightning's names for TPUs, and why there is nothing behind them yet
UNAVAILABLE = {
    "xla": "torch_xla, which it needs, has no release for torch 2.13, which seqrec needs: its last, 2.9, goes with "
    "torch 2.9. Sums over ranks would also have to go through it",
    "xla_fsdp": "Lightning has it for Fabric and not for the Trainer; torch_xla, which it needs, has no release for "
    "torch 2.13, which seqrec needs",
}
_ZERO_STAGES: dict[int, Family] = {1: "zero_1", 2: "zero_2", 3: "zero_3"}

# what a DeepSpeed file may not say, and where it is said instead
_SAID_ELSEWHERE = {
    "train_batch_size": "data.step_tokens",
    "gradient_accumulation_steps": "data.partitions and the number of ranks",
    "gradient_clipping": "trainer.gradient_clip_val",
    "optimizer": "the `optimizer` section",
    "scheduler": "optimizer.schedule",
    "fp16": "trainer.precision",
    "bf16": "trainer.precision",
}


def family_of(name: str) -> Family:
    """How a strategy shards, which decides what works with it.

    Args:
        name: a key of `FAMILIES`, or the path of a DeepSpeed JSON file.
    Raises:
        ValueError: an unknown name, one of `UNAVAILABLE`, or a file that cannot be read or says what the recipe says.
    """
    if name.endswith(".json"):
        return _ZERO_STAGES[_read_deepspeed_file(Path(name))["zero_optimization"]["stage"]]
    if name in UNAVAILABLE:
        raise ValueError(f"strategy `{name}` cannot be used yet: {UNAVAILABLE[name]}; on GPUs use `ddp` or `fsdp2`")
    if name not in FAMILIES:
        near = nearest(name, FAMILIES)
        hint = f"did you mean `{near}`? " if near else ""
        raise ValueError(
            f"no strategy `{name}`; {hint}known: {', '.join(FAMILIES)}, or the path of a DeepSpeed JSON file"
        )
    return FAMILIES[name]


def build_strategy(name: str) -> str | Strategy:
    """What `Trainer(strategy=…)` takes.

    Args:
        name: as for `family_of`.
    Raises:
        ValueError: as `family_of` does.
    """
    family = family_of(name)
    if name.endswith(".json"):
        return ZeroStrategy(config=_read_deepspeed_file(Path(name)))
    if family == "catalogue_parallel":
        return CatalogueParallelStrategy()
    offload = name.endswith("_offload")
    if family == "fsdp2":
        return Fsdp2Strategy(offload=offload)
    if family in _ZERO_STAGES.values():
        stage = next(stage for stage, named in _ZERO_STAGES.items() if named == family)
        return ZeroStrategy(stage=stage, offload_optimizer=offload, offload_parameters=offload and stage == 3)
    return name


def _read_deepspeed_file(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path}: not a JSON object")
    for key, place in _SAID_ELSEWHERE.items():
        if key in config:
            raise ValueError(f"{path}: `{key}` cannot be set there; it follows from {place}")
    zero = config.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if stage not in _ZERO_STAGES:
        raise ValueError(f"{path}: `zero_optimization.stage` must be 1, 2 or 3, got {stage!r}; without ZeRO, use `ddp`")
    return config
