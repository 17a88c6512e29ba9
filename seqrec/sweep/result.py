"""What a sweep has found so far."""

from __future__ import annotations

from pydantic import BaseModel


class TrialResult(BaseModel):
    """One setting that was tried.

    Attributes:
        name: of its run.
        values: by path; choices as YAML.
        value: best validation; None where there is none.
        seconds: of its training, since that was last started.
        note: why there is no value.
    """

    name: str
    values: dict[str, int | float | str]
    value: float | None = None
    seconds: float = 0.0
    note: str = ""

    @property
    def text(self) -> str:
        """Its values for people to read."""
        return ", ".join(f"{path.rpartition('.')[2]} {value_text(value)}" for path, value in self.values.items())


def value_text(value: float | str) -> str:
    """A value with four digits where it is a number."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class SweepResult(BaseModel):
    """All settings that were tried.

    Attributes:
        recipe: the recipe's name.
        metric: of the validation, the higher the better.
        fields: what was searched, as text, by path.
        logarithmic: paths of ranges searched in logarithms.
        trials: the best first, those without a value last.
        importances: share of the values' variance that each path explains, by PED-ANOVA (Watanabe, Bansal and Hutter
            2023, arXiv:2304.10255); empty before there are enough trials.
    """

    recipe: str
    metric: str
    fields: dict[str, str]
    logarithmic: list[str]
    trials: list[TrialResult]
    importances: dict[str, float]

    @property
    def best(self) -> TrialResult | None:
        """The setting of the best validation; None where none has any."""
        return next((trial for trial in self.trials if trial.value is not None), None)
