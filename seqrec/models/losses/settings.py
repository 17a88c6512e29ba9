"""What a recipe may say about the loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from seqrec.settings import CustomSettings, Settings, tag_of_kind


class FullSoftmaxSettings(Settings):
    """Cross-entropy over every item."""

    kind: Literal["full_softmax"] = "full_softmax"


class SampledSoftmaxSettings(Settings):
    """Cross-entropy over the target and negatives drawn uniformly, shared by the positions of a step."""

    kind: Literal["sampled_softmax"]
    negatives: int = Field(default=512, ge=1, description="Negatives of a step.")


LossSettings = Annotated[
    Annotated[FullSoftmaxSettings, Tag("full_softmax")]
    | Annotated[SampledSoftmaxSettings, Tag("sampled_softmax")]
    | Annotated[CustomSettings, Tag("custom")],
    Discriminator(tag_of_kind),
]
