"""Answers by torch and transformers only: `python answer_generator.py FOLDER QUESTIONS ANSWERS THREADS`.

It runs as a file, so that nothing of seqrec comes along.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


class Generator:
    """The exported model with all that it is used with, which lies in its folder."""

    def __init__(self, folder: str):
        sys.path.insert(0, folder)
        from items_only import NOT_FOUND, ItemsOnly  # type: ignore[import-not-found]  # the folder's own copy

        self._not_found, self._items_only = NOT_FOUND, ItemsOnly
        self._model = AutoModelForCausalLM.from_pretrained(folder)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        about = json.loads((Path(folder) / "ids.json").read_text(encoding="utf-8"))
        self._texts, self._levels = list(about["ids"].values()), about["levels"]
        self._place = {text: place for place, text in enumerate(self._texts)}
        self._ids = self._tokenizer(self._texts).input_ids

    def lists(self, items: Any, lengths: Any) -> tuple[Any, Any]:
        """Items int64 (B, beams), from 1, and their scores float32, best first; 0 where there are no more.

        Args:
            items: int64 (B, L), from 1.
            lengths: int64 (B,).
        """
        rows = zip(items.tolist(), lengths.tolist(), strict=True)
        texts = ["".join(self._texts[item - 1] for item in row[:length]) for row, length in rows]
        inputs = self._tokenizer(texts, return_tensors="pt", padding=True)
        prompt, beams = inputs.input_ids.shape[1], self._model.generation_config.num_beams
        only = self._items_only(self._ids, self._levels, prompt, beams=beams)
        found = self._model.generate(
            **inputs, logits_processor=[only], return_dict_in_generate=True, output_scores=True
        )
        scores = found.sequences_scores.view(len(texts), beams).numpy()
        there = scores > self._not_found
        texts = self._tokenizer.batch_decode(found.sequences[torch.from_numpy(there.ravel()), prompt:])
        listed = np.zeros(scores.shape, np.int64)
        listed[there] = [self._place[text] + 1 for text in texts]
        return listed, np.where(there, scores, 0)


def main(folder: str, questions: str, answers: str, threads: str) -> None:
    """Writes the lists of all questions, and the time of some, as arrays by name."""
    sys.path.insert(0, str(Path(__file__).parent))
    from answer import TOP, milliseconds  # type: ignore[import-not-found]

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(threads))
    generator, asked = Generator(folder), np.load(questions)
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
