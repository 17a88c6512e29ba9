"""Item tables whose rows lie in several places, as the losses see them."""

from __future__ import annotations

from torch import Tensor


class TablePart:
    """The rows of an item table that are here: all of them, where nothing is said otherwise.

    A table that several processes share has other parts elsewhere. Who shares it so subclasses this with what tells
    the parts from each other and joins what each has found; losses then need not know how parts talk.

    Attributes:
        first: rows of the table before those of this part.
    """

    first = 0

    def most_rows(self, own: int) -> int:
        """Rows of the largest part, where this one has ``own``."""
        return own

    def greatest(self, values: Tensor) -> Tensor:
        """The greatest over all parts of what each found, elementwise; may overwrite ``values``."""
        return values

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all parts of what each found; may overwrite ``values``."""
        return values
