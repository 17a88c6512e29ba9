"""Writes docs/recipe-reference.md from the settings classes and docs/support.md from the code: `make docs`."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from seqrec.recipe import Recipe
from seqrec.settings import Settings
from seqrec.training.strategies import FAMILIES, PRECISIONS, REFUSALS, UNAVAILABLE, Family, named, refusals

PAGE = Path(__file__).with_name("recipe-reference.md")
HEAD = """# Recipe reference

Made from the settings classes by `make docs`; a test sees that it is up to date. `seqrec schema` prints the same as
JSON schema, for editors. How recipes work: [recipes.md](recipes.md).
"""
SUPPORT_PAGE = Path(__file__).with_name("support.md")
SUPPORT_HEAD = """# What works with what

Made from `seqrec/training/strategies/support.py` by `make docs`; a test sees that it is up to date. What is marked – is
refused by name when the recipe is built, before any data is opened; why, and what to do instead, stands below.
"""
ALWAYS = ["no adapter", "lora", "activation checkpointing"]  # under every strategy
NAMES = {int: "integer", float: "number", str: "text", bool: "true or false", datetime: "date and time"}
BOUNDS = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}


def reference() -> str:
    """The page's text."""
    # kinds of one union may share a class below them, which one section describes
    return "\n".join(dict.fromkeys([HEAD, *sections("", Recipe)]))


def support() -> str:
    """The text of the page about strategies and what works with them."""
    columns = {f"precision: {value}": ("trainer.precision", value) for value in PRECISIONS}
    columns |= {named(refusal).partition(".")[2]: (refusal.field, refusal.value or "any") for refusal in REFUSALS}
    titles = [*ALWAYS, *columns]
    lines = [SUPPORT_HEAD, f"| `trainer.strategy` | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for family in typing.get_args(Family):
        names = ", ".join(f"`{name}`" for name, named in FAMILIES.items() if named == family)
        cells = ["–" if refusals(family, {field: value}) else "yes" for field, value in columns.values()]
        lines.append(f"| {names} | {' | '.join(['yes'] * len(ALWAYS) + cells)} |")
    lines += ["", "| refused | under | why | what to do |", "|---|---|---|---|"]
    for refusal in REFUSALS:
        families = ", ".join(f"`{family}`" for family in refusal.families)
        lines.append(f"| `{named(refusal)}` | {families} | {refusal.reason} | {refusal.do} |")
    lines += ["", "| strategy that cannot be used yet | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in UNAVAILABLE.items()]
    return "\n".join(lines) + "\n"


def sections(path: str, settings: type[Settings]) -> Iterator[str]:
    """One section for a settings class at a dotted path, then those below it."""
    kind = settings.model_fields.get("kind")
    title = f"`{path}`" if path else "Top level"
    if kind is not None:
        names = typing.get_args(kind.annotation) or ["package.module:Class"]
        title += " with " + " or ".join(f"`kind: {name}`" for name in names)
    lines = [f"## {title}\n\n{paragraph(settings)}\n"]
    fields = {name: field for name, field in settings.model_fields.items() if name != "kind"}
    if fields:
        lines.append("| key | value | default | meaning |\n|---|---|---|---|")
        lines += [*(row(name, field) for name, field in fields.items()), ""]
    yield "\n".join(lines)
    for name, field in fields.items():
        for inner in settings_in(field.annotation):
            yield from sections(f"{path}.{name}" if path else name, inner)


def paragraph(settings: type[Settings]) -> str:
    """The class's docstring as one line a paragraph."""
    text = (settings.__doc__ or "").strip()
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def row(name: str, field: FieldInfo) -> str:
    """One line of a table."""
    bounds = [
        f"{word} {getattr(rule, bound)}"
        for rule in field.metadata
        for bound, word in BOUNDS.items()
        if hasattr(rule, bound)
    ]
    value = ", ".join([type_text(field.annotation), *bounds])
    return f"| `{name}` | {value} | {default_text(field)} | {field.description} |".replace("\n", " ")


def type_text(annotation: Any) -> str:
    """What may stand behind a key, in words."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(map(type_text, arguments)))
    if origin is list:
        return f"list of {type_text(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)}: {', '.join(dict.fromkeys(map(type_text, arguments)))}"
    if annotation is types.NoneType:
        return "`null`"
    if origin is dict or annotation is dict:
        return "mapping"
    return NAMES.get(annotation, "section, below")


def default_text(field: FieldInfo) -> str:
    """The default as it would stand in a recipe."""
    value = field.get_default(call_default_factory=True)
    return "required" if value is PydanticUndefined else f"`{inline(value)}`"


def inline(value: Any) -> str:
    """A value in YAML's one-line form."""
    if isinstance(value, Settings):
        if hasattr(value, "kind"):
            return f"{{kind: {value.kind}}}"
        given = value.model_dump(exclude_defaults=True)
        return f"{{{', '.join(f'{name}: {inline(part)}' for name, part in given.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(inline, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def settings_in(annotation: Any) -> list[type[Settings]]:
    """The settings classes that an annotation names."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return [annotation] if issubclass(annotation, Settings) else []
    return [found for argument in typing.get_args(annotation) for found in settings_in(argument)]


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    SUPPORT_PAGE.write_text(support(), encoding="utf-8")
