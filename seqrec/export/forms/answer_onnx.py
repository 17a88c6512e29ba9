"""Answers from an ONNX file by numpy and onnxruntime only: `answer_onnx.py MODEL QUESTIONS ANSWERS THREADS`."""

import sys
import time
from typing import Any

import numpy as np
import onnxruntime


def main(model: str, questions: str, answers: str, threads: str) -> None:
    """Opens the file, and writes scores, best items and times as arrays by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(threads)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    asked, found = np.load(questions), {}

    def scores(name: str) -> Any:
        inputs = {"items": asked[f"{name}.items"], "lengths": asked[f"{name}.lengths"]}
        return session.run(["scores"], inputs)[0]

    for name in sorted(key.removesuffix(".items") for key in asked if key.endswith(".items")):
        if name.startswith("shapes"):
            found[name] = scores(name)
        elif name.startswith("held_out"):
            found[name] = np.argsort(-scores(name), axis=1, kind="stable")[:, :10] + 1
        else:
            times = []
            for _ in range(15):
                begun = time.perf_counter()
                scores(name)
                times.append(1e3 * (time.perf_counter() - begun))
            found[name] = np.median(times[3:])
    if foreign := {"torch", "seqrec", "transformers"} & set(sys.modules):
        raise SystemExit(f"this process was to do without {', '.join(sorted(foreign))}")
    np.savez(answers, library=f"onnxruntime {onnxruntime.__version__}", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
