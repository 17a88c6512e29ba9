"""Answers from a form by numpy and the form's own library only: `python answer.py FORM QUESTIONS ANSWERS THREADS`.

It runs as a file, so that nothing of seqrec comes along.
"""

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

TOP = 10
_ANSWERS, _WARM_UP = 15, 3  # answers that are timed, of which the first are not counted


def milliseconds(answer: Callable[[], Any]) -> float:
    """Median time of an answer."""
    times = []
    for _ in range(_ANSWERS):
        begun = time.perf_counter()
        answer()
        times.append(1e3 * (time.perf_counter() - begun))
    return round(median(times[_WARM_UP:]), 3)


def from_graph(file: str, asked: Any, threads: int) -> dict[str, Any]:
    """Scores of `shapes`, best items of `held_out` and times of `timed`, from an ONNX file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    found: dict[str, Any] = {"library": f"onnxruntime {onnxruntime.__version__}"}

    def scores(name: str) -> Any:
        inputs = {"items": asked[f"{name}.items"], "lengths": asked[f"{name}.lengths"]}
        return session.run(["scores"], inputs)[0]

    for name in (key.removesuffix(".items") for key in asked if key.endswith(".items")):
        if name.startswith("shapes"):
            found[name] = scores(name)
        elif name.startswith("held_out"):
            found[name] = np.argsort(-scores(name), axis=1, kind="stable")[:, :TOP] + 1
        else:
            found[name] = milliseconds(lambda name=name: scores(name))  # type: ignore[misc]
    return found


def from_index(file: str, asked: Any, threads: int) -> dict[str, Any]:
    """Best items of `users` and times of as many as `timed` says, from an index of faiss."""
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.read_index(file)
    k = min(TOP, index.ntotal)
    found: dict[str, Any] = {"library": f"faiss {faiss.__version__}"}
    found["top_items"] = index.search(asked["users"], k)[1] + 1
    for place, size in enumerate(asked["timed"]):
        users = np.resize(asked["users"], (size, index.d))
        found[f"timed.{place}"] = milliseconds(lambda users=users: index.search(users, k))  # type: ignore[misc]
    return found


def main(file: str, questions: str, answers: str, threads: str) -> None:
    """Opens a form, and writes its answers as arrays by name."""
    answer = from_graph if file.endswith(".onnx") else from_index
    found = answer(file, np.load(questions), int(threads))
    if foreign := {"torch", "seqrec", "transformers"} & set(sys.modules):
        raise SystemExit(f"this process was to do without {', '.join(sorted(foreign))}")
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
