"""The semantic id of each item of a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from seqrec.errors import TokenizerError

CODES_FILE = "codes.safetensors"


class SemanticIds(NamedTuple):
    """A tuple of m codes for each of N items, no two alike.

    Attributes:
        codes: int64 (N, m), from 0; row i - 1 names item i.
        sizes: int64 (m,), codes that each level tells apart.
    """

    codes: Tensor
    sizes: Tensor

    @classmethod
    def checked(cls, codes: Tensor, sizes: Tensor, *, where: str) -> Self:
        """The ids, once they are seen to name items one by one.

        Raises:
            TokenizerError: a code is out of range, or two items share an id; ``where`` names the source.
        """
        if codes.dim() != 2 or sizes.shape != codes.shape[1:] or not len(codes):
            raise TokenizerError(
                f"codes of shape {tuple(codes.shape)} and sizes of shape {tuple(sizes.shape)}",
                where=where,
                do="give codes (N, m) and sizes (m,), as `seqrec tokenize` writes them",
            )
        codes, sizes = codes.long(), sizes.long()
        if bool((codes < 0).any()) or bool((codes >= sizes).any()):
            raise TokenizerError("a code is out of its level's range", where=where, do="make the ids again")
        unique, inverse, counts = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
        if len(unique) < len(codes):
            shared = torch.where(inverse == counts.argmax())[0][:2] + 1
            raise TokenizerError(
                f"{len(codes):,} items have {len(unique):,} different ids",
                where=where,
                first=f"items {shared[0]} and {shared[1]} share {codes[shared[0] - 1].tolist()}",
                do="make the ids again with `seqrec tokenize`",
            )
        return cls(codes, sizes)

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """The ids that `seqrec tokenize` has written.

        Raises:
            TokenizerError: there are none, or they do not name items one by one.
        """
        file = Path(folder) / CODES_FILE
        try:
            tensors = load_file(file)
            return cls.checked(tensors["codes"], tensors["sizes"], where=str(file))
        except (OSError, KeyError, SafetensorError) as error:
            raise TokenizerError.unreadable(file, error) from error
