"""What a sweep may change in a recipe: fields with ranges or choices."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import yaml
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from seqrec.errors import RecipeError
from seqrec.recipe import Recipe, parse_value

_RANGE = re.compile(r"([-+.\deE]+?)\.\.([-+.\deE]+)")
_LOG_FROM = 10  # a range whose ends lie this factor apart is searched in logarithms


@dataclass(frozen=True)
class Choices:
    """A field with the values that it may have.

    Attributes:
        path: dotted, as in an override.
        texts: the values as YAML, two or more; so Optuna has them too, which keeps no lists or mappings.
    """

    path: str
    texts: tuple[str, ...]
    logarithmic = False

    @property
    def values(self) -> tuple[str, ...]:
        """All values, as Optuna has them."""
        return self.texts

    @property
    def ends(self) -> tuple[str, ...]:
        """As YAML, values that must be right for all to be so."""
        return self.texts

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        return CategoricalDistribution(self.texts)

    def find(self, value: Any) -> str | None:
        """A recipe's value, as Optuna has it; None where it is not among those searched."""
        return text if (text := as_yaml(value)) in self.texts else None

    def __str__(self) -> str:
        return f"{self.path}: {' | '.join(self.texts)}"


@dataclass(frozen=True)
class Range:
    """A field with all numbers between two.

    Attributes:
        path: dotted, as in an override.
        low, high: both part of it; two integers for integers alone.
    """

    path: str
    low: float
    high: float

    @property
    def logarithmic(self) -> bool:
        """Whether it is searched in logarithms."""
        return 0 < _LOG_FROM * self.low <= self.high

    @property
    def values(self) -> range | None:
        """All values, as Optuna has them; None for floats."""
        return range(self.low, self.high + 1) if isinstance(self.low, int) and isinstance(self.high, int) else None

    @property
    def ends(self) -> tuple[str, ...]:
        """As YAML, values that must be right for all to be so."""
        return as_yaml(self.low), as_yaml(self.high)

    @property
    def distribution(self) -> BaseDistribution:
        """As Optuna has it."""
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.logarithmic)
        return FloatDistribution(self.low, self.high, log=self.logarithmic)

    def find(self, value: Any) -> float | None:
        """A recipe's value, as Optuna has it; None where it is not among those searched."""
        kinds = (int,) if self.values else (int, float)
        return value if type(value) in kinds and self.low <= value <= self.high else None

    def __str__(self) -> str:
        return f"{self.path}: {self.low} to {self.high}" + (", in logarithms" if self.logarithmic else "")


SearchedField = Choices | Range


def parse_space(texts: Sequence[str]) -> tuple[SearchedField, ...]:
    """The fields of a sweep.

    Args:
        texts: `PATH=LOW..HIGH` or `PATH=ONE,OTHER,…` each, values as in YAML.
    Raises:
        RecipeError: there is none, one of them cannot be read, or two are the same.
    """
    fields = tuple(map(_parse, texts))
    paths = [field.path for field in fields]
    if not fields:
        raise RecipeError("nothing is searched", where="--over", do="name a field: `--over optimizer.lr=1e-4..1e-2`")
    for path in paths:
        if paths.count(path) > 1 or any(other.startswith(path + ".") for other in paths):
            raise RecipeError(
                f"`{path}` is searched twice", where="--over", do="name each field once, and none within another"
            )
    return fields


def overrides_of(values: Mapping[str, Any], space: Sequence[SearchedField]) -> list[str]:
    """The overrides that put a trial's values into a recipe.

    Args:
        values: by path, as Optuna has them.
        space: the fields.
    """
    texts = {f.path: values[f.path] if isinstance(f, Choices) else as_yaml(values[f.path]) for f in space}
    return [f"{path}={text}" for path, text in texts.items()]


def own_values(recipe: Recipe, space: Sequence[SearchedField]) -> dict[str, float | str] | None:
    """The recipe's own values of the fields, as Optuna has them; None where one is not among those searched."""
    values = recipe.model_dump(mode="json")
    own = {field.path: field.find(reduce(_below, field.path.split("."), values)) for field in space}
    found = {path: value for path, value in own.items() if value is not None}
    return found if len(found) == len(own) else None


def as_yaml(value: Any) -> str:
    """A value as YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.strip().removesuffix("\n...")


def _below(section: Any, key: str) -> Any:
    return section.get(key) if isinstance(section, dict) else None


def _parse(text: str) -> SearchedField:
    path, equals, values = text.partition("=")
    if not path or not equals:
        raise _wrong(text, "no field with values")
    if match := _RANGE.fullmatch(values.strip()):
        try:
            low, high = map(_number, match.groups())
        except ValueError as error:
            raise _wrong(text, "an end of the range is no number") from error
        if not low < high:
            raise _wrong(text, "the range is empty")
        integers = isinstance(low, int) and isinstance(high, int)
        return Range(path, low, high) if integers else Range(path, float(low), float(high))
    try:
        choices = parse_value(f"[{values}]")
    except yaml.YAMLError as error:
        raise _wrong(text, "not YAML") from error
    texts = tuple(dict.fromkeys(map(as_yaml, choices)))
    if len(texts) < 2:
        raise _wrong(text, "one value is no choice")
    return Choices(path, texts)


def _number(text: str) -> float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _wrong(text: str, what: str) -> RecipeError:
    return RecipeError(
        what,
        where=f"--over {text!r}",
        do="write `PATH=LOW..HIGH` or `PATH=ONE,OTHER`: `optimizer.lr=1e-4..1e-2`, `model.backbone.layers=1,2,4`",
    )
