"""Recipe files: YAML, overrides, and errors that name the field and the nearest valid one."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from seqrec.errors import RecipeError, nearest
from seqrec.recipe.schema import Recipe


class _Loader(yaml.SafeLoader):
    """YAML 1.2's floats: PyYAML alone reads 1e-3 as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)?$|^[-+]?\.(inf|Inf)$|^\.(nan|NaN)$"),
    list("-+0123456789."),
)


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads a recipe file.

    Args:
        path: YAML file.
        overrides: `dotted.path=value`, values as in YAML: `model.adapter.rank=16`, `model.adapter=null`.
    Raises:
        RecipeError: no such file, no YAML, or a field that is unknown, missing or wrong; all faults in one message.
    """
    path = Path(path)
    if not path.is_file():
        raise RecipeError("no such file", where=str(path), do="give the path of a recipe; some lie in recipes/")
    try:
        values = parse_value(path.read_text())
    except yaml.YAMLError as error:
        raise RecipeError("not YAML", where=str(path), reason=str(error).replace("\n", " ")) from error
    if not isinstance(values, dict):
        raise RecipeError("not a mapping of sections", where=str(path), do="start from a file in recipes/")
    for override in overrides:
        _override(values, override)
    return parse_recipe(values, where=str(path))


def parse_recipe(values: dict[str, Any], *, where: str) -> Recipe:
    """Validates a recipe's values; ``where`` names their source in errors."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        faults = [_describe(fault) for fault in error.errors(include_url=False)]
        first, *rest = faults
        more = {f"also ({i})": text for i, text in enumerate(rest, start=2)}
        raise RecipeError(first, where=where, **more) from error


def parse_value(text: str) -> Any:
    """YAML as recipes have it; raises `yaml.YAMLError`."""
    return yaml.load(text, _Loader)


def dump_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, every field with its value."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed, and a run of its own: NAME-seedN."""
    return recipe.model_copy(update={"seed": seed, "name": f"{recipe.name}-seed{seed}"})


def _override(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise RecipeError(f"{override!r} is no override", do="write `dotted.path=value`, as `model.adapter.rank=16`")
    *parents, last = path.split(".")
    section = values
    for parent in parents:
        if not isinstance(section.get(parent), dict):
            section[parent] = {}
        section = section[parent]
    try:
        section[last] = parse_value(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise RecipeError(
            "not YAML", where=f"override {override!r}", reason=reason, do="put the value in quotes"
        ) from error


def _describe(fault: Any) -> str:
    """One fault as text: its dotted path without union tags, what is wrong, and the nearest valid name."""
    *parents, last = fault["loc"] or ("",)
    classes, path = _walk(parents)
    if fault["type"] == "extra_forbidden":
        near = nearest(str(last), {name for settings in classes for name in settings.model_fields})
        hint = f"; did you mean `{near}`?" if near else f"; it has {_names(classes)}"
        return f"unknown key `{'.'.join([*path, str(last)])}`{hint}"
    _, path = _walk(fault["loc"])
    where = f"`{'.'.join(path)}`: " if path else ""
    if fault["type"] == "union_tag_invalid":
        tag, known = fault["ctx"]["tag"], fault["ctx"]["expected_tags"].replace("'", "").split(", ")
        near = nearest(tag, known)
        hint = f"did you mean `{near}`? " if near else ""
        names = ", ".join("package.module:Class" if name == "custom" else name for name in known)
        return f"{where}unknown kind `{tag}`; {hint}known: {names}"
    if fault["type"] == "union_tag_not_found":
        return f"{where}needs a `kind`"
    if fault["type"] == "missing":
        return f"{where}missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{where}{message}, got {fault['input']!r}" if fault["type"] != "value_error" else f"{where}{message}"


def _names(classes: list[type[BaseModel]]) -> str:
    return ", ".join(f"`{name}`" for settings in classes for name in settings.model_fields)


def _walk(location: Iterable[int | str]) -> tuple[list[type[BaseModel]], list[str]]:
    """The settings classes at a location, and its path without the union tags that pydantic puts in."""
    classes: list[type[BaseModel]] = [Recipe]
    path: list[str] = []
    for part in location:
        tagged = [c for c in classes if "kind" in c.model_fields and part in typing.get_args(_kind(c))]
        if tagged and (len(classes) > 1 or part not in classes[0].model_fields):  # a union with text has one class
            classes = tagged
            continue
        path.append(str(part))
        fields = [c.model_fields[part] for c in classes if isinstance(part, str) and part in c.model_fields]
        if fields:
            classes = [cls for field in fields for cls in _settings_in(field.annotation)]
    return classes, path


def _kind(settings: type[BaseModel]) -> Any:
    return settings.model_fields["kind"].annotation


def _settings_in(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for argument in typing.get_args(annotation) for found in _settings_in(argument)]
