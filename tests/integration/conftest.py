from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .workplace import Workplace

EPOCHS = 3


@pytest.fixture
def make(recipe_values: dict[str, Any], store_in_units: Path, tmp_path: Path) -> Callable[..., Workplace]:
    """Workplaces of recipes with ten steps an epoch, that save after every third."""

    def workplace(partitions: int, *, precision: str = "32-true") -> Workplace:
        backbone = recipe_values["model"]["backbone"] | {"dropout": 0.2}
        data = {"store": str(store_in_units), "partitions": partitions, "step_tokens": 150}
        values = recipe_values | {
            "data": recipe_values["data"] | data,
            "model": recipe_values["model"] | {"backbone": backbone},
            "selection": {"patience": None, "save_every_steps": 3},
            "trainer": recipe_values["trainer"] | {"max_epochs": EPOCHS, "precision": precision},
        }
        return Workplace(tmp_path, values)

    return workplace
