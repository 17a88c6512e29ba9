"""The base of every settings class: frozen, strict about keys, documented field by field."""

from __future__ import annotations

import importlib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seqrec.errors import RecipeError


class Settings(BaseModel):
    """Frozen pydantic model that refuses unknown keys.

    Each field carries a description with meaning, unit and range: command-line help, the reference page and the
    editor's JSON schema are made from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class CustomSettings(Settings):
    """A part of the user's own, named by its import path."""

    kind: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", description="`package.module:Class`.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the class.")

    def create(self) -> Any:
        """An instance of the class.

        Raises:
            RecipeError: it cannot be imported, or does not take these options.
        """
        module, _, name = self.kind.partition(":")
        try:
            return getattr(importlib.import_module(module), name)(**self.options)
        except (ImportError, AttributeError, TypeError) as error:
            raise RecipeError(
                "cannot make this part",
                where=f"kind: {self.kind}",
                reason=str(error),
                do="give a class that Python can import from here, and options that it takes",
            ) from error


def tag_of_kind(value: Any) -> str:
    """Which member of a union a value is meant to be: `custom` for an import path, else what its `kind` says."""
    kind = value.get("kind", "") if isinstance(value, dict) else getattr(value, "kind", "")
    return "custom" if ":" in str(kind) else str(kind)
