"""Each recipe that the project ships: its head, and a few steps on a made-up twin of its data."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoConfig, AutoModel

from seqrec.features import write_vectors
from seqrec.recipe import Recipe, fit, load_recipe

FOLDER = Path(__file__).parents[2] / "recipes"
RECIPES = sorted(FOLDER.rglob("*.yaml"))
COMMANDS = {"demo.yaml": "# seqrec demo"}
# what small made-up data, and files that recipes need beside them, are named by
TWINS = {
    "amazon-beauty-semantic": [
        "tokenizer.vectors=[{{kind: run, run: {folder}/runs/vectors}}]",
        "tokenizer.quantizer.codes=8",
        "model.items.codes={folder}/ids",
    ],
    "amazon-beauty-smollm2-lora": ["model.backbone.source={folder}/llama"],
    "amazon-beauty-titles": ["model.items.vectors=[{folder}/data/titles.parquet]"],
    "ml-100k-outcome-text": ["data.step_tokens=1024"],  # so that the twin has an epoch of two steps
}


def test_all_recipes_are_found() -> None:
    assert [path.stem for path in RECIPES] == [
        "amazon-beauty-attributes",
        "amazon-beauty-causal",
        "amazon-beauty-gated-transformer",
        "amazon-beauty-gru",
        "amazon-beauty-hstu",
        "amazon-beauty-ids",
        "amazon-beauty-masked",
        "amazon-beauty-minilm-lora",
        "amazon-beauty-sampled",
        "amazon-beauty-semantic",
        "amazon-beauty-slate",
        "amazon-beauty-smollm2-lora",
        "amazon-beauty-titles",
        "amazon-sports-attributes",
        "amazon-sports-ids",
        "demo",
        "deskdrop-outcome",
        "deskdrop",
        "ml-100k-outcome-text",
        "ml-100k-outcome-users",
        "ml-100k-outcome",
        "ml-100k",
        "ml-1m-causal",
        "ml-1m-smoothed",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_head_of_the_file(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == COMMANDS.get(path.name, f"# seqrec fit recipes/{path.name}")
    assert lines[1].startswith("# ")
    assert len(lines) <= 60
    assert load_recipe(path).name


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_few_steps_on_a_twin_of_its_data(path: Path, shop_log: Path, tmp_path: Path) -> None:
    root = shop_log if path.stem == "demo" else make_twin(tmp_path / "data")
    if path.stem == "amazon-beauty-smollm2-lora":
        make_llama(tmp_path / "llama")
    overrides = [f"logs.root={root}", f"data.store={tmp_path / 'store'}", "trainer.max_steps=2"]
    overrides += ["trainer.check_val_every_n_epoch=1", "trainer.accelerator=cpu"]
    if path.stem == "amazon-beauty-semantic":
        fit(load_recipe(FOLDER / "amazon-beauty-sampled.yaml", [*overrides, "name=vectors"]), runs=tmp_path / "runs")
    own = [one.format(folder=tmp_path) for one in TWINS.get(path.stem, [])]
    run = fit(load_recipe(path, [*overrides, *own, "name=twin"]), runs=tmp_path / "runs")
    assert run.result is not None
    assert run.result["steps"] == 2
    assert run.last.step == run.result["steps"]
    assert_restorable(run.recipe, run.best.state)


def assert_restorable(recipe: Recipe, checkpoint: Path) -> None:
    """Frozen pretrained weights are left out: MiniLM's blocks alone are 43 MB."""
    assert (recipe.model.backbone.kind == "pretrained") <= (checkpoint.stat().st_size < 8_000_000)


def make_twin(root: Path) -> Path:
    """Small made-up files of the names and forms that the recipes read."""
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 60, 1500), rng.integers(1, 40, 1500)
    times = np.sort(rng.integers(1_460_000_000, 1_480_000_000, 1500))
    events = list(zip(users.tolist(), items.tolist(), times.tolist(), strict=True))
    ratings = "".join(f"{u}\t{i}\t{1 + i % 5}\t{t}\n" for u, i, t in events)
    write(root / "ml-100k/u.data.gz", ratings)
    titles = "".join(f"{i}|Film {i} (1995)|||" + "|0" * 19 + "\n" for i in range(1, 40))
    write(root / "ml-100k/u.item.gz", titles)
    write(root / "ml-100k/u.user.gz", "".join(f"{u}|{20 + u}|{'MF'[u % 2]}|writer|1234{u}\n" for u in range(1, 60)))
    head = "timestamp,eventType,contentId,personId,sessionId,userCountry\n"
    rare = {1: "LIKE", 2: "BOOKMARK", 3: "COMMENT CREATED", 4: "FOLLOW"}
    views = "".join(f"{t},{rare.get(t % 20, 'VIEW')},-{i}00,{u},{t // 999},BR\n" for u, i, t in events)
    write(root / "deskdrop/users_interactions.csv.gz", head + views)
    sequences = "".join(f"{u} " + " ".join(map(str, items[users == u])) + "\n" for u in np.unique(users))
    write(root / "amazon-beauty/Beauty.txt.gz", sequences)
    write(root / "ml-1m/ml-1m_sequences.txt.gz", sequences)
    table = "item_id\ttitle\tattributes\n" + "".join(f"{i}\tCream {i}\tSkin|Care\n" for i in range(1, 40))
    write(root / "amazon-beauty/items.tsv.gz", table)
    write_vectors(root / "titles.parquet", [str(i) for i in range(1, 40)], rng.normal(size=(39, 8)).astype(np.float32))
    write(root / "amazon-sports/Sports_and_Outdoors.txt.gz", sequences)
    write(root / "amazon-sports/items.tsv.gz", table.replace("\ttitle", "\tasin"))
    return root


def make_llama(folder: Path) -> None:
    """A decoder in the place of SmolLM2, which is not in a package as it is."""
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    AutoModel.from_config(AutoConfig.for_model("llama", vocab_size=8, **sizes)).save_pretrained(folder)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.write(text)
