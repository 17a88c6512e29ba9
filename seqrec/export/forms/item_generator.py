"""Lists of items by `transformers.generate`. It needs torch and transformers only.

A copy of this file lies beside each model that was exported for `transformers.generate`:

    from generate.item_generator import ItemGenerator

    (found,) = ItemGenerator("generate").lists([["item-3", "item-17"]])
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor

_NOT_FOUND = -1e6  # scores below are of what `generate` forbids


class ItemGenerator:
    """An exported model with its tokenizer and the ids of its items.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: str | Path):
        self.model = AutoModelForCausalLM.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        about = json.loads((Path(folder) / "ids.json").read_text(encoding="utf-8"))
        self.item_ids = list(about["ids"])
        self.max_history: int = about["max_history"]
        self._texts = about["ids"]
        ids = self.tokenizer(list(self._texts.values())).input_ids
        self._prefixes = ItemPrefixes(ids)
        self._named = {tuple(tokens): item_id for tokens, item_id in zip(ids, self.item_ids, strict=True)}

    def lists(
        self, histories: Sequence[Sequence[str]], hidden: Sequence[Sequence[str]] | None = None
    ) -> list[list[tuple[str, float]]]:
        """Of each history, the items that may follow it, best first, each with its log-probability.

        Args:
            histories: item ids, oldest first, at least one each; the latest ``max_history`` count.
            hidden: of each history, item ids that must not be found; None for none.
        Raises:
            KeyError: an item id that the model does not know.
        """
        texts = ["".join(self._texts[item] for item in history[-self.max_history :]) for history in histories]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True).to(self.model.device)
        prompt, beams = inputs.input_ids.shape[1], self.model.generation_config.num_beams
        places = {item: place for place, item in enumerate(self.item_ids)} if hidden else {}
        left_out = None if hidden is None else [{places[item] for item in row} for row in hidden]
        only = ItemsOnly(self._prefixes, prompt, beams=beams, hidden=left_out)
        found = self.model.generate(**inputs, logits_processor=[only], return_dict_in_generate=True, output_scores=True)
        ends = zip(found.sequences[:, prompt:].tolist(), found.sequences_scores.tolist(), strict=True)
        pairs = [(self._named.get(tuple(tokens)), score) for tokens, score in ends]
        rows = [pairs[first : first + beams] for first in range(0, len(pairs), beams)]
        # beams that outnumber the ids end with none
        return [[(item, score) for item, score in row if item is not None and score > _NOT_FOUND] for row in rows]


class ItemPrefixes:
    """By a prefix of ids: the items below it, and the tokens that go on to them.

    Args:
        ids: of each item, its tokens.
    """

    def __init__(self, ids: Sequence[Sequence[int]]):
        below: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, tokens in enumerate(ids):
            for length in range(len(tokens) + 1):
                below[tuple(tokens[:length])].append(place)
        following: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for prefix in below:
            following[prefix[:-1]] += prefix[-1:]
        self._below, self._following = dict(below), dict(following)

    def following(self, prefix: tuple[int, ...]) -> list[int]:
        """The tokens that go on from a prefix to an item, none if no item has it."""
        return self._following.get(prefix, [])

    def emptied(self, prefix: tuple[int, ...], hidden: set[int]) -> list[int]:
        """Those of `following` below which all items are hidden, whose places are given."""
        return [token for token in self.following(prefix) if hidden.issuperset(self._below[*prefix, token])]


class ItemsOnly(LogitsProcessor):  # type: ignore[misc]
    """Lets a beam go on only as the id of an item does.

    The model was trained to choose among the codes that go on to an item, where `generate` makes probabilities of all
    codes. So they are made anew, before what is hidden is left out.

    Args:
        prefixes: of the ids.
        prompt: positions of the input, padding included.
        beams: of a row of the input.
        hidden: for each row of the input, places of items that must not be found; None for none.
    """

    def __init__(
        self,
        prefixes: ItemPrefixes,
        prompt: int,
        *,
        beams: int,
        hidden: Sequence[set[int]] | None = None,
    ):
        self._prefixes, self._prompt, self._beams, self._hidden = prefixes, prompt, beams, hidden

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Log-probabilities float (B * beams, V) of what follows int64 (B * beams, length)."""
        allowed = torch.full_like(scores, -torch.inf)
        for row, prefix in enumerate(map(tuple, input_ids[:, self._prompt :].tolist())):
            tokens = self._prefixes.following(prefix)
            allowed[row, tokens] = scores[row, tokens].log_softmax(-1)
            if self._hidden is not None:
                allowed[row, self._prefixes.emptied(prefix, self._hidden[row // self._beams])] = -torch.inf
        return allowed
