"""Makes docs/benchmarks.md from the figures in benchmarks/results/.

    python benchmarks/tables.py

What has not been measured is said with the command that does it.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

from harness import RESULTS
from sections import (
    adapters,
    baselines,
    catalogue_parallel,
    cold_items,
    curves,
    decoding,
    diversity,
    exactness,
    faults,
    figures,
    forms,
    gpu,
    inference,
    loader,
    losses,
    matmul_share,
    outcome,
    peft_methods,
    plan,
    quality,
    ranking,
    ranks,
    ranks_speed,
    saving,
    search,
    shards,
    slate,
    strategies,
    table_updates,
    text_histories,
    training,
    training_loop,
)
from sections.common import conditions

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
SECTIONS = (
    *(quality, search, baselines, cold_items, text_histories, slate, outcome, diversity),
    *(peft_methods, adapters, forms),
    *(training, curves, inference, decoding),
    *(losses, matmul_share, table_updates, ranking, loader, shards, training_loop, ranks_speed),
    gpu,
    *(exactness, ranks, strategies, catalogue_parallel, faults, saving),
    plan,
    figures,  # takes what is left
)
HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/`, which `benchmarks/*.py` write; do not edit. First how
well recipes recommend, then speed beside other systems, then speed beside limits, then exactness. Compare figures
within a section: date, machine and threads of each are given.

    SEQREC_DATA=~/data make benchmark                                       # speed and exactness
    SEQREC_DATA=~/data python benchmarks/quality.py recipes/ml-100k.yaml    # how well one recipe recommends
    SEQREC_DATA=~/data python benchmarks/peft_methods.py minilm             # methods of fine-tuning on one backbone
    python benchmarks/adapters.py                                           # adapters from training to other programs
    python benchmarks/forms.py RUN...                                       # ONNX, 8 bits, index beside the live model
    SEQREC_DATA=~/data python benchmarks/baselines.py RECIPE...             # baselines, tuned on validation
    SEQREC_DATA=~/data python benchmarks/diversity.py RECIPE                # re-ranking for diversity
    SEQREC_DATA=~/data python benchmarks/slate.py                           # lists beside lists
    SEQREC_DATA=~/data python benchmarks/outcome.py                         # outcomes beside classifiers

`make benchmark` needs the data of `recipes/amazon-beauty-causal.yaml` and `recipes/ml-1m-causal.yaml`, a package
registry for the peers, which get environments of their own in `.peers/`, and hours on a machine that does nothing else.
Each script also runs alone. Those that compare with peers go on where they stopped on the same day; `--fresh` measures
again.
"""


def main() -> None:
    shown, left = [HEAD], sorted(RESULTS.glob("*.json"))
    for module in SECTIONS:
        taken = [path for path in left if path.match(module.FILES)]
        left = [path for path in left if path not in taken]
        shown += [section(module, path, about=path == taken[0]) for path in taken]
        if not taken and "*" not in module.FILES:
            script = module.FILES.removesuffix(".json").replace("-", "_")
            lines = [f"## {module.TITLE}\n", module.ABOUT, f"Not measured yet: `python benchmarks/{script}.py`."]
            shown.append("\n".join(lines) + "\n")
    PAGE.write_text("\n".join(shown))
    print(PAGE)


def section(module: ModuleType, path: Path, *, about: bool) -> str:
    """One result: heading, what it is about where the section before has not said so, conditions, figures."""
    found = json.loads(path.read_text())
    title = module.TITLE.format(stem=path.stem, rest=path.stem.partition("-")[2])
    lines = [
        f"## {title}\n",
        *([module.ABOUT] if about and module.ABOUT else []),
        conditions(found),
        *module.body(found),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
