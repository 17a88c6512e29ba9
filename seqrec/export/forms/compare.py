"""A form beside the live model: what a fresh process answers from it, and how far that lies apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from seqrec.errors import BundleError
from seqrec.export.forms import answer
from seqrec.export.forms.questions import BATCHES, Answers, Questions, ndcg, same_top, stacked
from seqrec.export.forms.report import FormReport
from seqrec.export.scoring import TOLERANCE, differences


def fresh_answers(
    form: Path, questions: dict[str, npt.NDArray[Any]], scratch: Path, program: str = answer.__file__
) -> tuple[str, dict[str, Any]]:
    """What a fresh process, which knows nothing of seqrec, answers from a form: its library, and arrays by name.

    Args:
        form: its file or folder.
        questions: arrays by name.
        scratch: a folder for what the processes tell each other.
        program: the file that it runs.
    Raises:
        BundleError: it ended with an error.
    """
    asked, answered = scratch / "questions.npz", scratch / "answers.npz"
    np.savez(asked, **questions)  # type: ignore[arg-type]
    # isolated: neither the working folder nor PYTHONPATH can lend it what it is to do without
    command = [sys.executable, "-I", program, str(form), str(asked), str(answered)]
    process = subprocess.run([*command, str(torch.get_num_threads())], capture_output=True, text=True, check=False)
    if process.returncode:
        said = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise BundleError(f"a fresh process cannot open `{form.name}`", reason="\n    ".join(said[-12:]))
    with np.load(answered) as found:
        arrays = {name: found[name] for name in found}
    return str(arrays.pop("library")), arrays


def answers_of(told: dict[str, npt.NDArray[Any]], questions: Questions) -> Answers:
    """What `fresh_answers` brought, in the order of the questions."""
    return Answers(
        scores=[told[f"shapes.{place}"] for place in range(len(questions.shapes))],
        top_items=stacked([told[f"held_out.{place}"] for place in range(len(questions.held_out))]),
        milliseconds=times_of(told),
    )


def times_of(told: dict[str, npt.NDArray[Any]]) -> dict[str, float]:
    """Times by the number of histories."""
    return {str(size): float(told[f"timed.{place}"]) for place, size in enumerate(BATCHES)}


def report_of(file: Path, library: str, found: Answers, live: Answers, questions: Questions) -> FormReport:
    """A form's answers beside the live model's."""
    apart = [
        float(differences(torch.from_numpy(scores), torch.from_numpy(expected)).max())
        for scores, expected in zip(found.scores, live.scores, strict=True)
    ]
    users = len(live.top_items) if questions.held_out else 0
    return FormReport(
        file=f"{file.parent.name}/{file.name}",
        library=library,
        size_bytes=sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")),
        max_difference=max(apart, default=None),
        users=users,
        same_top_10=same_top(found.top_items, live.top_items) if users else None,
        ndcg_10=ndcg(found.top_items, questions.targets),
        live_ndcg_10=ndcg(live.top_items, questions.targets),
        milliseconds=found.milliseconds,
        live_milliseconds=live.milliseconds,
    )


def refuse_unlike(report: FormReport, what: str) -> None:
    """Raises BundleError where scores differ by more than exactness allows."""
    apart = report.max_difference
    if apart is not None and apart > TOLERANCE:
        raise BundleError(
            f"{what} scores differ from the model's by up to {apart:.2g}, {TOLERANCE:.0e} is allowed",
            do="nothing was exported; please report this with the recipe",
        )
