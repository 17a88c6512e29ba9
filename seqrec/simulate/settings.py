"""What a simulated shop may be told."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from seqrec.settings import Settings


class ShopSettings(Settings):
    """Size and habits of a simulated shop; the defaults give about 50,000 events over some months.

    The symbols in brackets are those of the formulas in `seqrec.simulate.shop`.
    """

    users: int = Field(default=2_000, ge=1, description="Users of the shop, at least 1.")
    items: int = Field(
        default=800, ge=12, le=5_000, description="Items in the catalogue, at least 6 a category, at most 5,000."
    )
    categories: int = Field(default=16, ge=2, le=16, description="Categories, each with its own kinds of item, 2..16.")
    days: int = Field(
        default=120, ge=1, description="Days over which users come to the shop for the first time and items appear."
    )
    seed: int = Field(default=0, ge=0, description="Seed of every draw; equal settings give equal logs.")

    events_min: int = Field(default=6, ge=3, description="Events that every user has at least.")
    events_mean: float = Field(
        default=25.0, gt=3, description="Mean number of events a user, geometric above `events_min`."
    )
    new_session: float = Field(
        default=0.25,
        gt=0,
        lt=1,
        description="Probability [s] that an event opens a session: sessions have 1/s events in the mean.",
    )
    visit_days: float = Field(default=4.0, gt=0, description="Median over users of the mean days between sessions.")

    follow: float = Field(
        default=0.35, ge=0, le=1, description="Share [f] of moves to a successor of the item just looked at."
    )
    return_to: float = Field(
        default=0.25, ge=0, le=1, description="Share [r] of moves to a successor of the item before that; f + r <= 1."
    )
    persist: float = Field(
        default=0.8,
        ge=0,
        le=1,
        description="Share [k] of all other moves that stay in the category that opened the session.",
    )
    resume: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="Share [w] of sessions that open at a successor of the last session's last item.",
    )
    cart: float = Field(
        default=0.15, ge=0, le=1, description="Probability [b] that a look is followed by putting in the cart."
    )
    purchase: float = Field(
        default=0.5, ge=0, le=1, description="Probability [p] that a cart is followed by the purchase."
    )
    revisit: float = Field(
        default=0.1, gt=0, le=1, description="Weight [v] of items seen before, against 1 for the others."
    )
    taste_drift: float = Field(
        default=0.1, ge=0, le=1, description="Share [d] of a user's taste that each new session redraws."
    )
    malformed: float = Field(
        default=0.001, ge=0, lt=1, description="Unreadable rows added to the log, as a share of its events."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.items < 6 * self.categories:
            raise ValueError(f"{self.items} items are too few for {self.categories} categories, which need 6 each")
        if self.events_mean < self.events_min:
            raise ValueError(f"events_mean {self.events_mean:g} is below events_min {self.events_min}")
        if self.follow + self.return_to > 1:
            raise ValueError(f"follow {self.follow:g} + return_to {self.return_to:g} is above 1")
        return self
