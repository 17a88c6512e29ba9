"""Recipes that travel with the package."""

from __future__ import annotations

from pathlib import Path

import seqrec

_PACKAGE = Path(seqrec.__file__).parent


def packaged_recipe(name: str) -> Path:
    """Path of a recipe: inside the installed package, or beside it in a checkout."""
    installed = _PACKAGE / "recipes" / name
    return installed if installed.is_file() else _PACKAGE.parent / "recipes" / name
