"""Every form of an export, by its own library, beside the live model: scores, bytes, quality, time.

    python benchmarks/forms.py RUN [RUN ...]

Writes benchmarks/results/forms-NAME.json for each run.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from harness import write_result

from seqrec.export import FORMS, read_manifest
from seqrec.recipe import Run, export_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    for folder in parser.parse_args().runs:
        with tempfile.TemporaryDirectory() as name:
            bundle = export_run(Run.open(folder), Path(name) / "bundle", forms=FORMS)
            manifest = read_manifest(bundle)
            rows = [{"form": form} | report.model_dump() for form, report in manifest.forms.items()]
            backbone = manifest.model.backbone
            about = {"items": manifest.items, "backbone": getattr(backbone, "source", backbone.kind)}
            print(write_result(f"forms-{folder.name}", about | {"rows": rows}))


if __name__ == "__main__":
    main()
