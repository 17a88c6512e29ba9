"""What a recipe may say about slates: ordered lists of items, each chosen after those before it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seqrec.settings import Settings


class GreedySettings(Settings):
    """At each place the most probable item after those before it."""

    kind: Literal["greedy"] = "greedy"


class BeamSettings(Settings):
    """The most probable slate that a beam search finds."""

    kind: Literal["beam"]
    beams: int = Field(default=4, ge=2, description="Slates in the making that are kept at each place.")


class TopPSettings(Settings):
    """At each place an item drawn from the fewest that hold a share of the probability (nucleus sampling).

    A draw is a function of the seed, the history and the place: the same history gets the same slate in any batch.
    """

    kind: Literal["top_p"]
    share: float = Field(default=0.9, gt=0, le=1, description="Share of the probability, p: 1 draws from all items.")
    seed: int = Field(default=0, ge=0, description="Of the draws; another one gives other slates.")


DecodingSettings = Annotated[GreedySettings | BeamSettings | TopPSettings, Field(discriminator="kind")]


class SlateSettings(Settings):
    """Generate an ordered list of items, each after those before it, from the events so far; for causal backbones."""

    kind: Literal["slate"]
    size: int = Field(default=10, ge=1, description="Items K of a slate, which learns from the next K events.")
    decoder: Literal["gru", "lstm", "transformer"] = Field(
        default="gru", description="What reads the user's vector and the items chosen so far, one layer."
    )
    later_weight: float = Field(
        default=1.0, gt=0, le=1, description="Weight of the loss of each item after a slate's first, whose weight is 1."
    )
    decoding: DecodingSettings = Field(
        default_factory=GreedySettings, description="How a slate is chosen; training does not depend on it."
    )
