"""Forms written into a bundle, each seen to answer as the model does by a process that has its library only."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from seqrec.errors import BundleError, MissingExtraError
from seqrec.export.forms.item_index import write_index
from seqrec.export.forms.onnx_graph import write_int8, write_onnx
from seqrec.export.forms.questions import (
    BATCHES,
    Answers,
    Questions,
    exact_top,
    live_answers,
    milliseconds,
    ndcg,
    same_top,
    user_vectors,
)
from seqrec.export.forms.report import Form, FormReport
from seqrec.export.scoring import TOLERANCE, differences, evaluating
from seqrec.models import RankingModel, SequenceModel, is_quantized

_FILES: dict[Form, str] = {"onnx": "onnx/model.onnx", "int8": "onnx/model.int8.onnx", "index": "index/items.faiss"}
_PACKAGES: dict[Form, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "int8": ("onnx", "onnxscript", "onnxruntime"),
    "index": ("faiss",),
}


def check_forms(model: RankingModel, forms: Sequence[Form]) -> None:
    """Sees that the forms can be made, before anything is.

    Raises:
        BundleError: the model is none that they hold.
        MissingExtraError: a package is not installed.
    """
    if not forms:
        return
    if not isinstance(model, SequenceModel) or model.list_limit is not None:
        raise BundleError(
            f"{', '.join(forms)}: the model makes its lists by a search, not by products with item vectors",
            do="serve the bundle itself, or its backbone with transformers",
        )
    if is_quantized(model.backbone.model) and set(forms) - {"index"}:
        raise BundleError(
            "the base model is quantized, which a graph does not hold",
            where="model.backbone.quantize",
            do="ask for the index alone",
        )
    if model.columns or model.user_values is not None:
        read = ", ".join([*model.columns, *(["users"] if model.user_values is not None else [])])
        if set(forms) - {"index"}:
            raise BundleError(f"the model reads {read}, and a graph takes items only", do="ask for the index alone")
    for form in forms:
        for package in _PACKAGES[form]:
            if find_spec(package) is None:
                raise MissingExtraError.of(package, extra="serving", needed_for=f"the form `{form}`")


def write_forms(
    folder: Path, model: SequenceModel, forms: Sequence[Form], questions: Questions, *, most: int
) -> dict[Form, FormReport]:
    """Writes forms of a model into a bundle.

    Args:
        folder: of the bundle.
        model: on the CPU, with a table of item vectors.
        forms: which.
        questions: by which they are compared with the model.
        most: longest history.
    Raises:
        BundleError: scores of the ONNX graph differ from the model's by more than 1e-5.
    """
    found: dict[Form, FormReport] = {}
    with evaluating(model), tempfile.TemporaryDirectory() as scratch:
        live = live_answers(model, questions)
        for form in forms:
            (folder / _FILES[form]).parent.mkdir(exist_ok=True)
        graph = folder / _FILES["onnx"] if "onnx" in forms else Path(scratch) / "model.onnx"
        if set(forms) - {"index"}:
            write_onnx(model, graph, most=most)
        for form in forms:
            file = folder / _FILES[form]
            if form == "index":
                found[form] = _index(file, model, questions, Path(scratch))
                continue
            if form == "int8":
                write_int8(graph, file)
            found[form] = _graph(form, file, live, questions, Path(scratch))
    return found


class _Told(NamedTuple):
    """What a fresh process said."""

    library: str
    arrays: dict[str, npt.NDArray[Any]]


def _graph(form: Form, file: Path, live: Answers, questions: Questions, scratch: Path) -> FormReport:
    told = _answers("answer_onnx.py", file, questions.arrays(), scratch)
    apart = max(
        float(differences(torch.from_numpy(told.arrays[f"shapes.{place}"]), torch.from_numpy(expected)).max())
        for place, expected in enumerate(live.scores)
    )
    if form == "onnx" and apart > TOLERANCE:
        raise BundleError(
            f"the ONNX graph's scores differ from the model's by up to {apart:.2g}, {TOLERANCE:.0e} is allowed",
            do="nothing was exported; please report this with the recipe",
        )
    tops = [told.arrays[f"held_out.{place}"] for place in range(len(questions.held_out))]
    top_items = np.concatenate(tops) if tops else live.top_items
    times = {str(size): round(float(told.arrays[f"timed.{place}"]), 3) for place, size in enumerate(BATCHES)}
    return _report(file, told.library, apart, top_items, live.top_items, questions, times, live.milliseconds)


def _index(file: Path, model: SequenceModel, questions: Questions, scratch: Path) -> FormReport:
    items = model.item_vectors().detach()
    write_index(items, file)
    # without users the timed histories, which are made up, are searched for, and tell times only
    users = user_vectors(model, questions.held_out or questions.timed)
    told = _answers("answer_index.py", file, {"users": users.numpy(), "sizes": np.array(BATCHES)}, scratch)
    exact = exact_top(users, items)
    times = {str(size): round(float(told.arrays[f"timed.{size}"]), 3) for size in BATCHES}
    some = {size: torch.from_numpy(np.resize(users.numpy(), (size, users.shape[1]))) for size in BATCHES}
    live_times = {str(size): milliseconds(partial(exact_top, vectors, items)) for size, vectors in some.items()}
    return _report(file, told.library, None, told.arrays["top_items"], exact, questions, times, live_times)


def _report(
    file: Path,
    library: str,
    apart: float | None,
    top_items: npt.NDArray[np.int64],
    exact: npt.NDArray[np.int64],
    questions: Questions,
    times: dict[str, float],
    live_times: dict[str, float],
) -> FormReport:
    users = len(exact) if questions.held_out else 0
    return FormReport(
        file=f"{file.parent.name}/{file.name}",
        library=library,
        size_bytes=sum(part.stat().st_size for part in file.parent.glob(f"{file.name}*")),
        max_difference=apart,
        users=users,
        same_top_10=same_top(top_items, exact) if users else None,
        ndcg_10=ndcg(top_items, questions.targets),
        live_ndcg_10=ndcg(exact, questions.targets),
        milliseconds=times,
        live_milliseconds=live_times,
    )


def _answers(program: str, form: Path, questions: dict[str, npt.NDArray[Any]], scratch: Path) -> _Told:
    """Runs a program of this folder, which knows nothing of seqrec, on a form.

    Raises:
        BundleError: it ended with an error.
    """
    asked, answered = scratch / "questions.npz", scratch / "answers.npz"
    np.savez(asked, **questions)  # type: ignore[arg-type]
    # isolated: neither the working folder nor PYTHONPATH can lend it what it is to do without
    command = [sys.executable, "-I", str(Path(__file__).with_name(program)), str(form), str(asked), str(answered)]
    process = subprocess.run([*command, str(torch.get_num_threads())], capture_output=True, text=True, check=False)
    if process.returncode:
        said = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise BundleError(f"a fresh process cannot open `{form.name}`", reason="\n    ".join(said[-12:]))
    with np.load(answered) as found:
        arrays = {name: found[name] for name in found}
    return _Told(str(arrays.pop("library")), arrays)
