"""What a recipe may say about the loss."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from seqrec.settings import CustomSettings, Settings, tag_of_kind


class NegativesSettings(Settings):
    """How many negatives a step draws from each source; all positions of the step share them."""

    uniform: int = Field(default=0, ge=0, description="Items drawn uniformly from the catalogue, with replacement.")
    popularity: int = Field(
        default=0, ge=0, description="Items drawn by their training events, with replacement; cold items never are."
    )
    in_batch: int = Field(default=0, ge=0, description="Targets of the step, of all ranks, drawn without replacement.")
    popularity_power: float = Field(
        default=0.75, ge=0, le=1, description="`popularity` draws an item in proportion to its events to this power."
    )

    @model_validator(mode="after")
    def _check(self) -> NegativesSettings:
        if not self.uniform + self.popularity + self.in_batch:
            raise ValueError("no negatives: give a number for `uniform`, `popularity` or `in_batch`")
        return self

    @property
    def needs_train_counts(self) -> bool:
        """Whether draws or their correction ask how popular items are."""
        return bool(self.popularity or self.in_batch)


class FullSoftmaxSettings(Settings):
    """Cross-entropy over every item."""

    kind: Literal["full_softmax"] = "full_softmax"
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each target that is spread evenly over the catalogue."
    )


class _SampledSettings(Settings):
    negatives: NegativesSettings = Field(
        default=NegativesSettings(uniform=512), description="Where the negatives of a step come from."
    )


class SampledSoftmaxSettings(_SampledSettings):
    """Cross-entropy over the target and the negatives of the step, corrected by their expected counts (logQ)."""

    kind: Literal["sampled_softmax"]


class GBceSettings(_SampledSettings):
    """Binary cross-entropy calibrated for uniform negatives: gBCE, of gSASRec."""

    kind: Literal["gbce"]
    calibration: float = Field(
        default=0.75, ge=0, le=1, description="t of the paper: 0 is plain binary cross-entropy, 1 fully calibrated."
    )

    @field_validator("negatives")
    @classmethod
    def _check_negatives(cls, negatives: NegativesSettings) -> NegativesSettings:
        if negatives.needs_train_counts:
            raise ValueError("gBCE is calibrated for uniform negatives only: leave `popularity` and `in_batch` at 0")
        return negatives


class BceSettings(_SampledSettings):
    """Binary cross-entropy of the target against the mean over negatives."""

    kind: Literal["bce"]


class BprSettings(_SampledSettings):
    """Bayesian personalised ranking: the target above each negative, the mean over negatives."""

    kind: Literal["bpr"]


SampledLossSettings = SampledSoftmaxSettings | GBceSettings | BceSettings | BprSettings

LossSettings = Annotated[
    Annotated[FullSoftmaxSettings, Tag("full_softmax")]
    | Annotated[SampledSoftmaxSettings, Tag("sampled_softmax")]
    | Annotated[GBceSettings, Tag("gbce")]
    | Annotated[BceSettings, Tag("bce")]
    | Annotated[BprSettings, Tag("bpr")]
    | Annotated[CustomSettings, Tag("custom")],
    Discriminator(tag_of_kind),
]
