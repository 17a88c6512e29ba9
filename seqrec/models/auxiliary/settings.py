"""What a recipe may say about objectives beside the head's own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from transformers import PretrainedConfig

from seqrec.errors import UnsupportedError
from seqrec.settings import Settings


class DropoutViewsSettings(Settings):
    """The sequence as it is, and once more under other dropout masks: DuoRec's."""

    kind: Literal["dropout"] = "dropout"


class AugmentedViewsSettings(Settings):
    """Two further copies of the sequence, each of them cropped, masked or reordered, as is drawn: CL4SRec's."""

    kind: Literal["augmented"]
    crop: float = Field(default=0.6, gt=0, le=1, description="Share of its events, in a run, that cropping leaves.")
    mask: float = Field(default=0.3, ge=0, lt=1, description="Share of its events that masking hides.")
    reorder: float = Field(default=0.6, ge=0, le=1, description="Share of its events, in a run, that are shuffled.")


ViewsSettings = Annotated[DropoutViewsSettings | AugmentedViewsSettings, Field(discriminator="kind")]


class ContrastiveSettings(Settings):
    """Tell the sequences of a step apart: two views of one are to have vectors more alike than any others."""

    weight: float = Field(
        default=0.1, gt=0, description="What the contrastive loss of its sequence counts beside each target's own loss."
    )
    temperature: float = Field(default=0.1, gt=0, description="What cosines of the vectors are divided by.")
    views: ViewsSettings = Field(default_factory=DropoutViewsSettings, description="How a sequence is seen twice.")
    positives: Literal["own", "same_target"] = Field(
        default="own",
        description="Which vectors are to be alike: those of one sequence, or of all of the step whose last target is "
        "the same item.",
    )


class MaskedEventsSettings(Settings):
    """Predict events that are masked in a further copy of each sequence, from what is left before them (Cloze)."""

    weight: float = Field(default=1.0, gt=0, description="What a masked event counts beside a target of the head.")
    mask_share: float = Field(default=0.2, gt=0, lt=1, description="Share of events that is masked.")


class AuxiliarySettings(Settings):
    """Objectives beside the head's own, in training only; for the head `next_item`."""

    contrastive: ContrastiveSettings | None = Field(
        default=None, description="Tells the sequences of a step apart; null: does not."
    )
    masked_events: MaskedEventsSettings | None = Field(
        default=None, description="Predicts masked events too; null: does not."
    )

    @property
    def asked(self) -> tuple[str, ...]:
        """The objectives that there are, by name."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    @property
    def with_mask(self) -> bool:
        """Whether mask tokens are put into inputs."""
        views = None if self.contrastive is None else self.contrastive.views
        return self.masked_events is not None or isinstance(views, AugmentedViewsSettings)


def check_views(settings: AuxiliarySettings, config: PretrainedConfig) -> None:
    """Sees that two views of a sequence can differ.

    Args:
        settings: which objectives.
        config: of the backbone, whose own dropout a recipe may leave as it is.
    Raises:
        UnsupportedError: they are told apart by dropout, and there is none.
    """
    of_heads = ("summary", "classifier")  # which a backbone has none of
    own = {name: value for name, value in config.to_dict().items() if not name.startswith(of_heads)}
    shares = [value for name, value in own.items() if "drop" in name and isinstance(value, float)]
    contrastive = settings.contrastive
    if contrastive is not None and isinstance(contrastive.views, DropoutViewsSettings) and not any(shares):
        raise UnsupportedError(
            "without dropout both views of a sequence are the same",
            where="model.auxiliary.contrastive.views.kind: dropout",
            do="set `model.backbone.dropout` above 0, or take `augmented` views",
        )
