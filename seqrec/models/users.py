"""What is known of users, as a vector added to each of their events."""

from __future__ import annotations

import hashlib
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seqrec.errors import RunError
from seqrec.users import UNIT, UserValues


class UserEmbedding(nn.Module):
    """Makes a vector of a user's attributes: the sum of a vector for each category's value and a linear map of numbers.

    What is not known of a category is the mean over the vectors of its values, and of a number its mean: so a user of
    whom nothing is known gets what values have in common.

    Args:
        values: what the attributes can be.
        width: D.
        init_std: standard deviation of the initial vectors.

    Attributes:
        values: as given.
    """

    fingerprint: Tensor

    def __init__(self, values: UserValues, width: int, *, init_std: float):
        super().__init__()
        self.values = values
        # one parameter for all categories, each with rows of its own
        ends = list(accumulate((len(names) for names in values.categories.values()), initial=0))
        self._rows = [slice(*both) for both in pairwise(ends)]
        self.of_values = nn.Parameter(torch.randn(ends[-1], width) * init_std) if self._rows else None
        self.of_numbers = nn.Parameter(torch.randn(len(values.numbers), width) * init_std) if values.numbers else None
        digest = hashlib.sha256(values.model_dump_json().encode()).digest()
        self.register_buffer("fingerprint", torch.tensor(list(digest), dtype=torch.uint8))

    def forward(self, users: Tensor) -> Tensor:
        """Vectors float (B, D) of attributes int64 (B, F), as `seqrec.users.UserValues` writes them."""
        parts = []
        if self.of_values is not None:
            for number, rows in enumerate(self._rows):
                vectors = self.of_values[rows]
                parts.append(F.embedding(users[:, number], torch.cat([vectors.mean(0, keepdim=True), vectors])))
        if self.of_numbers is not None:
            numbers = users[:, len(self._rows) :].to(self.of_numbers.dtype) / UNIT
            parts.append(numbers @ self.of_numbers)
        return torch.stack(parts).sum(0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        saved = state_dict.get(f"{prefix}fingerprint")
        if saved is not None and not torch.equal(saved.cpu(), self.fingerprint.cpu()):
            raise RunError(
                "the values that attributes of users have in the store are not those that the model was trained on",
                where="model.users",
                do="give the store of the run, or a bundle of it, which carries the values that it knows",
            )
        super()._load_from_state_dict(state_dict, prefix, *others)
