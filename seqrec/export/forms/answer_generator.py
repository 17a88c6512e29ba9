"""Answers by torch and transformers only: `python answer_generator.py FOLDER QUESTIONS ANSWERS THREADS`.

It runs as a file, so that nothing of seqrec comes along.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers


class Answers:
    """Lists as arrays, by the program that lies in the model's folder."""

    def __init__(self, folder: str):
        sys.path.insert(0, folder)
        from item_generator import ItemGenerator  # type: ignore[import-not-found]  # the folder's own copy

        self._generator = ItemGenerator(folder)
        self._numbers = {item_id: item for item, item_id in enumerate(self._generator.item_ids, 1)}

    def lists(self, items: Any, lengths: Any) -> tuple[Any, Any]:
        """Items int64 (B, beams), from 1, and their scores float32, best first; 0 where there are no more.

        Args:
            items: int64 (B, L), from 1.
            lengths: int64 (B,).
        """
        rows = zip(items.tolist(), lengths.tolist(), strict=True)
        histories = [[self._generator.item_ids[item - 1] for item in row[:length]] for row, length in rows]
        shape = len(histories), self._generator.model.generation_config.num_beams
        listed, scores = np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        for row, found in enumerate(self._generator.lists(histories)):
            listed[row, : len(found)] = [self._numbers[item_id] for item_id, _ in found]
            scores[row, : len(found)] = [score for _, score in found]
        return listed, scores


def main(folder: str, questions: str, answers: str, threads: str) -> None:
    """Writes the lists of all questions, and the time of some, as arrays by name."""
    sys.path.insert(0, str(Path(__file__).parent))
    from answer import TOP, milliseconds  # type: ignore[import-not-found]

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(threads))
    generator, asked = Answers(folder), np.load(questions)
    found: dict[str, Any] = {"library": f"transformers {transformers.__version__}"}
    for name in (key.removesuffix(".items") for key in asked if key.endswith(".items")):
        histories = asked[f"{name}.items"], asked[f"{name}.lengths"]
        if name.startswith("timed"):
            found[name] = milliseconds(lambda histories=histories: generator.lists(*histories))
            continue
        items, scores = generator.lists(*histories)
        found[name] = scores if name.startswith("shapes") else items[:, :TOP]
    if foreign := {"seqrec", "lightning"} & set(sys.modules):
        raise SystemExit(f"this process was to do without {', '.join(sorted(foreign))}")
    np.savez(answers, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
