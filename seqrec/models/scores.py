"""How two vectors make the score of an item."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seqrec.settings import Settings


class DotScoresSettings(Settings):
    """The inner product: long item vectors, as those of popular items, score higher."""

    kind: Literal["dot"] = "dot"


class CosineScoresSettings(Settings):
    """The cosine over a temperature: how often an item was bought does not lengthen its vector.

    Source: NISER, Gupta et al. 2019, arXiv:1909.04276.
    """

    kind: Literal["cosine"]
    temperature: float = Field(
        default=0.07, gt=0, description="Divides the cosines: the lower, the more the closest items count."
    )


ScoresSettings = Annotated[DotScoresSettings | CosineScoresSettings, Field(discriminator="kind")]
