"""What users may rely on: exported names, settings, and the command line's verbs and options."""

from __future__ import annotations

import importlib
import inspect
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

import seqrec
from seqrec.cli import app
from seqrec.settings import Settings

PACKAGE = Path(seqrec.__file__).parent


def module_names(pattern: str) -> list[str]:
    paths = (path.relative_to(PACKAGE.parent).with_suffix("").parts for path in PACKAGE.rglob(pattern))
    return sorted(".".join(parts).removesuffix(".__init__") for parts in paths if "__main__" not in parts)


MODULES = module_names("*.py")
FOLDERS = [name for name in module_names("__init__.py") if name != "seqrec"]

VERBS = {
    "prepare": {
        "logs", "--out", "--user", "--item", "--time", "--time-unit", "--action", "--value", "--order", "--context",
        "--format", "--header", "--delimiter", "--min-user-events", "--min-item-events", "--items", "--items-id",
        "--items-title", "--items-category",
    },
    "embed": {"recipe", "--out", "--template", "--source", "--max-tokens"},
    "tokenize": {"recipe", "overrides", "--fresh"},
    "fit": {"recipe", "overrides", "--runs", "--fresh", "--seed"},
    "plan": {"recipe", "overrides", "--device", "--devices", "--nodes", "--items", "--json"},
    "launch": {
        "scheduler", "recipe", "overrides", "--nodes", "--devices", "--option", "--image", "--claim", "--kind",
        "--dry-run",
    },
    "sweep": {"recipe", "overrides", "--over", "--trials", "--out"},
    "benchmark peft": {"recipe", "overrides", "--out", "--methods", "--parameters", "--lr", "--seed", "--minutes"},
    "evaluate": {
        "trained", "--split", "--devices", "--accelerator", "--store", "--baselines", "--diversify", "--json",
    },
    "compare": {"runs", "--split", "--json", "--html", "--accelerator"},
    "recommend": {
        "trained", "--history", "--times", "--actions", "--about", "--user", "--users", "--all", "-k", "--store",
        "--out", "--devices", "--accelerator", "--fresh", "--diversify",
    },
    "consolidate": {"run", "--checkpoint", "--out"},
    "export": {"run", "--out", "--merge", "--forms"},
    "demo": {"--out"},
    "schema": set(),
}  # fmt: skip


def isort_key(name: str) -> tuple[int, str]:
    """CONSTANTS, then Classes, then functions: ruff's order of `__all__` (RUF022)."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


@pytest.mark.parametrize("name", FOLDERS)
def test_each_folder_exports_a_sorted_list_of_names(name: str) -> None:
    folder = importlib.import_module(name)
    assert folder.__doc__, "a folder says in a sentence what it is for"
    assert all(isinstance(exported, str) for exported in folder.__all__)
    assert folder.__all__ == sorted(set(folder.__all__), key=isort_key)
    for exported in folder.__all__:
        assert not isinstance(getattr(folder, exported), ModuleType), f"{exported} is a module"


@pytest.mark.parametrize("name", FOLDERS)
def test_what_a_folder_exports_has_a_docstring(name: str) -> None:
    folder = importlib.import_module(name)
    exported = {public: getattr(folder, public) for public in folder.__all__}
    callables = {
        public: value for public, value in exported.items() if inspect.isroutine(value) or inspect.isclass(value)
    }
    assert [public for public, value in callables.items() if not value.__doc__] == []


def settings_classes() -> list[type[Settings]]:
    for name in MODULES:
        importlib.import_module(name)
    found, queue = [], [Settings]
    while queue:
        below = queue.pop().__subclasses__()
        found += below
        queue += below
    return [cls for cls in found if cls.__module__.startswith("seqrec.")]


def test_every_setting_is_described_frozen_and_strict() -> None:
    classes = settings_classes()
    assert len(classes) > 20, "the search for settings classes has lost some"
    undescribed = [
        f"{cls.__name__}.{name}"
        for cls in classes
        for name, field in cls.model_fields.items()
        if name != "kind" and not field.description
    ]
    assert undescribed == []
    assert [cls.__name__ for cls in classes if not cls.__doc__ and not cls.__name__.startswith("_")] == []
    assert all(cls.model_config["frozen"] and cls.model_config["extra"] == "forbid" for cls in classes)


def commands() -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    found = {}
    for verb, command in group.commands.items():
        below = getattr(command, "commands", {})
        found |= {f"{verb} {name}": one for name, one in below.items()} if below else {verb: command}
    return found


def test_verbs_and_options_are_the_promised_ones() -> None:
    found = {
        verb: {max(p.opts, key=len) if p.param_type_name == "option" else p.name for p in command.params} - {"--help"}
        for verb, command in commands().items()
    }
    assert found == VERBS


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_and_option_has_help(verb: str) -> None:
    command = commands()[verb]
    assert command.help
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("demo", "schema")])
def test_examples_in_the_help_parse(verb: str) -> None:
    command = commands()[verb]
    _, _, rest = (command.help or "").partition("Example: `seqrec ")
    names = verb.split()
    words = shlex.split(rest.partition("`")[0])
    assert words[: len(names)] == names
    with command.make_context(verb, words[len(names) :]) as context:
        assert context.params
