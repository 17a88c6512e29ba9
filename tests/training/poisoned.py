"""Opens runs whose checkpoints hold objects that run code when they are unpickled: poisoned.py RECIPE FOLDER.

Trains the recipe under strategies that save in parts, poisons a file of each kind in a copy of the run, as somebody who
hands it on could, and opens the copy in every way. Writes outcomes.json: what each said, and whether code ran.

A script of its own, as strategies start process groups.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.default_planner import _EmptyStateDictLoadPlanner
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict

from seqrec.errors import RunError
from seqrec.recipe import Run, consolidate, fit, load_recipe, open_trained
from seqrec.training.folders import COMPLETE, checkpoints_in, commit

STRATEGIES = ("fsdp2", "deepspeed_stage_2")
RECIPE, FOLDER = (Path(argument) for argument in sys.argv[1:])
MARKER = FOLDER / "code ran"


class Payload:
    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(MARKER),)


def metadata(state: Path) -> None:
    (state / ".metadata").write_bytes(pickle.dumps(Payload()))


def values_among_shards(state: Path) -> None:
    whole: dict[str, Any] = {}
    planner = _EmptyStateDictLoadPlanner()
    _load_state_dict(whole, storage_reader=dcp.FileSystemReader(state), planner=planner, no_dist=True)
    whole["state_dict"]["more"] = whole["optimizer_0"]["param_groups"][0]["lr"] = Payload()
    dcp.save(whole, storage_writer=dcp.FileSystemWriter(state), no_dist=True)


def a_file(pattern: str) -> Callable[[Path], None]:
    def poison(state: Path) -> None:
        path = next(state.glob(pattern))
        torch.save(torch.load(path, weights_only=False) | {"more": Payload()}, path)

    return poison


POISONS = {
    "fsdp2": {"metadata": metadata, "values": values_among_shards, "meta.pt": a_file("meta.pt")},
    "deepspeed_stage_2": {"model": a_file("*/*_model_states.pt"), "optimizer": a_file("*/*_optim_states.pt")},
}


def outcome(open_run: Callable[[], object]) -> tuple[str, bool]:
    assert not MARKER.exists()
    try:
        open_run()
        said = "opened"
    except RunError as error:
        said = str(error)
    return said, MARKER.exists()


def main() -> None:
    outcomes: dict[str, tuple[str, bool]] = {}
    for strategy in STRATEGIES:
        recipe = load_recipe(RECIPE, [f"name={strategy}", f"trainer.strategy={strategy}"])
        run = fit(recipe, runs=FOLDER / "own")
        out = consolidate(run)
        (run.folder / "result.json").unlink()
        outcomes[f"{strategy}, own"] = outcome(lambda recipe=recipe: fit(recipe, runs=FOLDER / "own"))
        out.unlink()
        for name, poison in POISONS[strategy].items():
            runs = FOLDER / name
            got = Run(shutil.copytree(run.folder, runs / strategy))
            (got.folder / "result.json").unlink()
            for checkpoint in checkpoints_in(got.checkpoints):
                record = replace(checkpoint.record, files={})
                poison(checkpoint.state)
                (checkpoint.folder / COMPLETE).unlink()
                commit(checkpoint.folder.rename(f"{checkpoint.folder}.tmp"), record)  # sizes and hashes say nothing
            ways = {
                "evaluate": lambda got=got: open_trained(got.folder).model,
                "consolidate": lambda got=got: consolidate(got),
                "fit": lambda recipe=recipe, runs=runs: fit(recipe, runs=runs),
            }
            for way, open_run in ways.items():
                outcomes[f"{strategy}, {name}, {way}"] = outcome(open_run)
    poisoned = next((FOLDER / "metadata").glob("fsdp2/checkpoints/*/state"))
    outcomes["unpickled"] = outcome(lambda: pickle.loads((poisoned / ".metadata").read_bytes()))
    (FOLDER / "outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main()
