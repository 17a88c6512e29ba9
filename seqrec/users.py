"""What is known of users beside what they did: which attributes a model reads, and how they are written as numbers."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from seqrec.settings import Settings

UNIT = 1024  # parts of a standard deviation that numbers are counted in


class UserSettings(Settings):
    """Attributes of users, whose vectors are added to every event's; of the columns that `logs.users` keeps."""

    categories: list[str] = Field(
        default=[], description="Columns with a value a user, each of which has a trainable vector."
    )
    numbers: list[str] = Field(default=[], description="Columns with numbers; they are standardised.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.columns:
            raise ValueError("name at least one of `categories` and `numbers`")
        if twice := sorted({name for name in self.columns if self.columns.count(name) > 1}):
            raise ValueError(f"{twice} are named twice")
        return self

    @property
    def columns(self) -> list[str]:
        """All columns, in the order in which they are written."""
        return [*self.categories, *self.numbers]


class Scale(Settings):
    """Mean and standard deviation of a number over the users of a store."""

    mean: float = Field(description="Mean.")
    deviation: float = Field(gt=0, description="Standard deviation, or 1 where all are the same.")


class UserValues(Settings):
    """What the attributes of users can be, so that they can be written as integers, a row (F,) a user.

    A category is its value's place from 1, a number is counted in parts of a standard deviation from its mean. 0 is
    what is not known, as are values that training did not know.
    """

    categories: dict[str, list[str]] = Field(description="By column its values, sorted.")
    numbers: dict[str, Scale] = Field(description="By column its scale.")

    @property
    def columns(self) -> list[str]:
        """The columns, in the order in which they are written."""
        return [*self.categories, *self.numbers]
