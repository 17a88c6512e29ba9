"""What becomes of an event: which outcomes a model predicts, and how their labels are written down.

A label is one integer an event with two bits an outcome: whether it is known, and whether it came about. So labels of
any number of outcomes travel as one column, and 0 says that nothing is known.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from seqrec.settings import Settings

MOST = 15  # outcomes of a label of 32 bits
PoolingKind = Literal["last", "mean", "max", "attention"]


class ActionOutcomeSettings(Settings):
    """The user takes one of these actions on the same item after the event, and soon."""

    kind: Literal["action"]
    actions: list[str] = Field(min_length=1, description="Actions of the store, any of which counts.")
    within_hours: float = Field(
        default=24.0,
        gt=0,
        description="Hours after the event. An event that ends in none of the actions is labelled only where so much "
        "time of the log's part lies behind it.",
    )

    @property
    def within_us(self) -> int:
        """The window in microseconds."""
        return round(self.within_hours * 3_600_000_000)


class ValueOutcomeSettings(Settings):
    """The event's own value, as a rating, is at least so much; an event without a value has no label."""

    kind: Literal["value"]
    least: float = Field(description="The least value that counts.")


OneOutcomeSettings = Annotated[ActionOutcomeSettings | ValueOutcomeSettings, Field(discriminator="kind")]


class OutcomeSettings(Settings):
    """Predict what becomes of an event from the events before it and from its item.

    A causal backbone reads all events of a sequence in one pass. With `pooling` one event is read in a pass, as text.
    """

    kind: Literal["outcome"]
    outcomes: dict[str, OneOutcomeSettings] = Field(
        min_length=1,
        max_length=MOST,
        description="What is predicted, by names of your own. The first ranks items when recommending.",
    )
    of_actions: list[str] | None = Field(
        default=None, description="Actions of the events that are asked about, as [view]; null: all."
    )
    pooling: PoolingKind | None = Field(
        default=None,
        description="With `model.text`: a history and the event that is asked about are written as one text, a pass of "
        "its own, and what the backbone finds in it is taken together so. Null: histories are item vectors.",
    )

    @field_validator("outcomes")
    @classmethod
    def _check_names(cls, outcomes: dict[str, OneOutcomeSettings]) -> dict[str, OneOutcomeSettings]:
        for name in outcomes:
            if not name.isidentifier():
                raise ValueError(f"`{name}` names an outcome: letters, digits and underscores, as in metrics")
        return outcomes


def known_bit(outcome: int) -> int:
    """The bit that says whether an outcome, by its number from 0, is known."""
    return 1 << 2 * outcome


def positive_bit(outcome: int) -> int:
    """The bit that says whether it came about."""
    return 2 << 2 * outcome


def is_known(labels: Any, outcome: Any) -> Any:
    """Whether outcomes are known, 0 or 1, of integer arrays or tensors that broadcast."""
    return labels >> 2 * outcome & 1


def is_positive(labels: Any, outcome: Any) -> Any:
    """Whether they came about, likewise."""
    return labels >> 2 * outcome + 1 & 1
