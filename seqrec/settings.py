"""The base of every settings class: frozen, strict about keys, documented field by field."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Frozen pydantic model that refuses unknown keys.

    Each field carries a description with meaning, unit and range: command-line help, the reference page and the
    editor's JSON schema are made from it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
