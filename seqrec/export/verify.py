"""Opens a bundle in a process that knows nothing of the model: `python -m seqrec.export.verify BUNDLE SCORES`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from seqrec.errors import BundleError, SeqrecError
from seqrec.export.bundle import Bundle, load_bundle
from seqrec.export.scoring import history_scores


def scores_in_fresh_process(bundle: Path) -> Tensor:
    """Scores of every item after the samples' histories, by a new Python process that opens the bundle.

    Returns:
        float32 (S, N).
    Raises:
        BundleError: the process cannot open the bundle, for the reason it gives.
    """
    with tempfile.TemporaryDirectory() as scratch:
        scores = Path(scratch) / "scores.safetensors"
        command = [sys.executable, "-m", "seqrec.export.verify", str(bundle.absolute()), str(scores)]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            said = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            raise BundleError("a fresh process cannot open the export", reason="\n    ".join(said[-12:]))
        return load_file(scores)["scores"]


def sample_scores(bundle: Bundle) -> Tensor:
    """Scores of every item after the histories of a bundle's samples, float32 (S, N)."""
    histories = bundle.encoder([sample.events for sample in bundle.samples.samples])
    return history_scores(bundle.model, histories, max_length=bundle.manifest.max_length)


def main(bundle: str, scores: str) -> None:
    """Opens a bundle and writes the scores of its samples to a safetensors file."""
    save_file({"scores": sample_scores(load_bundle(bundle))}, scores)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except SeqrecError as error:
        sys.exit(str(error))
