"""Every form of an export, by its own library, beside the live model: scores, bytes, quality, time.

    python benchmarks/forms.py RUN [RUN ...]

Of semantic ids that is `generate`, which a program with only transformers also opens, in a virtual environment that is
made for it; of other runs onnx, int8 and index. Writes benchmarks/results/forms-NAME.json for each run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from foreign import foreign_environment, said_elsewhere
from harness import write_result
from peft import PeftModel

from seqrec.export import read_manifest
from seqrec.models import SemanticIdModel
from seqrec.recipe import Run, export_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    for folder in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as name:
            print(write_result(f"forms-{folder.name}", measure(Run.open(folder), Path(name))))


def measure(run: Run, scratch: Path) -> dict[str, Any]:
    bundle, generates = scratch / "bundle", isinstance(run.model, SemanticIdModel)
    if generates:
        export_run(run, bundle, forms=["generate"], merge=isinstance(run.model.backbone.model, PeftModel))
    else:
        export_run(run, bundle, forms=["onnx", "int8", "index"])
    manifest = read_manifest(bundle)
    backbone = manifest.model.backbone
    found = {
        "items": manifest.items,
        "backbone": getattr(backbone, "source", backbone.kind),
        "rows": [{"form": form} | report.model_dump() for form, report in manifest.forms.items()],
    }
    if generates:
        found["elsewhere"] = said_elsewhere(foreign_environment(scratch / "foreign"), "generate_bundle.py", bundle)
    return found


if __name__ == "__main__":
    main()
