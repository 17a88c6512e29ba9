"""Makes docs/benchmarks.md from the figures in benchmarks/results/.

python benchmarks/tables.py
"""

from __future__ import annotations

import json
from pathlib import Path

from harness import RESULTS
from sections import adapters, curves, figures, inference, quality, ranks, training

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
SECTIONS = (training, curves, inference, quality, adapters, ranks, figures)  # the last takes what is left
HEAD = """# Benchmarks

Made by `python benchmarks/tables.py` from `benchmarks/results/`, which `benchmarks/*.py` write; do not edit. Test
metrics of the checkpoint that was best on validation; every item ranked; 95 % intervals over users in brackets.
`make benchmark` runs those that compare speeds, with the peers that it needs.
"""


def main() -> None:
    shown = [HEAD]
    left = sorted(RESULTS.glob("*.json"))
    for module in SECTIONS:
        taken = [path for path in left if path.match(module.FILES)]
        shown += [module.section(path.stem, json.loads(path.read_text())) for path in taken]
        left = [path for path in left if path not in taken]
    PAGE.write_text("\n".join(shown))
    print(PAGE)


if __name__ == "__main__":
    main()
