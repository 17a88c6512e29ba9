"""Vectors of codes, and which codes name an item."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from seqrec.errors import TokenizerError
from seqrec.models.items import Items
from seqrec.models.semantic.codes import SemanticIds
from seqrec.models.semantic.trie import CodeTrie
from seqrec.settings import Settings


class SemanticItemsSettings(Settings):
    """A tuple of codes an item, and one trainable vector a code."""

    kind: Literal["semantic_ids"]
    codes: str = Field(description="Folder of the semantic ids, which `seqrec tokenize` writes.")
    width: int = Field(default=64, ge=1, description="Width D of the code vectors.")
    init_std: float = Field(default=0.02, gt=0, description="Standard deviation of the initial vectors.")


class CodeTable(Items):
    """The trainable vectors of codes, both input and output table; levels share none.

    Args:
        ids: of the catalogue.
        settings: width and initialisation.

    Attributes:
        weight: float (sum of sizes, D), the vectors of level 0, then those of level 1, and so on.
        codes: int64 (N, m), as `SemanticIds`; saved with the weights, whose rows mean nothing without.
        first_rows: int64 (m,), the first row of each level.
        sizes: codes of each level.
        trie: of all ids.
    """

    codes: Tensor
    first_rows: Tensor

    def __init__(self, ids: SemanticIds, settings: SemanticItemsSettings):
        super().__init__()
        self.n_items = len(ids.codes)
        self.sizes: list[int] = ids.sizes.tolist()
        self.weight = nn.Parameter(torch.randn(sum(self.sizes), settings.width) * settings.init_std)
        self.trie = CodeTrie(ids)
        self.register_buffer("codes", ids.codes)
        self.register_buffer("sizes_of_levels", ids.sizes)
        self.register_buffer("first_rows", ids.sizes.cumsum(0) - ids.sizes, persistent=False)
        self.register_load_state_dict_pre_hook(_check_codes)  # type: ignore[no-untyped-call]

    @property
    def levels(self) -> int:
        """Codes of an id, m."""
        return len(self.sizes)

    def forward(self, items: Tensor) -> Tensor:
        """Vectors of the codes of items.

        Args:
            items: int64 (B, L), 1..N or PAD. What a PAD yields must not be read.
        Returns:
            float (B, L * m, D), the codes of an item one after another.
        """
        codes: Tensor = self.codes[(items - 1).clamp(min=0)] + self.first_rows
        return F.embedding(codes.flatten(1), self.weight)

    def vectors(self, codes: Tensor, level: int) -> Tensor:
        """Vectors, float (…, D), of codes of one level, int64 (…)."""
        return F.embedding(codes + self.first_rows[level], self.weight)

    def level(self, level: int) -> Tensor:
        """float (C, D): the vectors of a level's C codes."""
        first = sum(self.sizes[:level])
        return self.weight[first : first + self.sizes[level]]


def _check_codes(table: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Refuses weights of other ids: their rows would be taken for other codes."""
    saved = state.get(f"{prefix}codes")
    assert isinstance(table, CodeTable)
    if saved is not None and not torch.equal(saved.to(table.codes.device), table.codes):
        raise TokenizerError(
            "the weights were trained on other semantic ids",
            where="model.items.codes",
            do="give the folder of ids that the run was trained on, or train again",
        )
