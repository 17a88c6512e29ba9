"""Searches an index by numpy and faiss only: `answer_index.py INDEX USERS ANSWERS THREADS`."""

import sys
import time

import faiss
import numpy as np


def main(index: str, users: str, answers: str, threads: str) -> None:
    """Opens the index, and writes the ten best items of each user and the time of a search."""
    faiss.omp_set_num_threads(int(threads))
    opened = faiss.read_index(index)
    asked = np.load(users)
    k = min(10, opened.ntotal)
    found = {"top_items": opened.search(asked["users"], k)[1] + 1}
    for size in asked["sizes"]:
        times, some = [], np.resize(asked["users"], (size, opened.d))
        for _ in range(15):
            begun = time.perf_counter()
            opened.search(some, k)
            times.append(1e3 * (time.perf_counter() - begun))
        found[f"timed.{size}"] = np.median(times[3:])
    if foreign := {"torch", "seqrec", "transformers"} & set(sys.modules):
        raise SystemExit(f"this process was to do without {', '.join(sorted(foreign))}")
    np.savez(answers, library=f"faiss {faiss.__version__}", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
