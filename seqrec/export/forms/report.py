"""What is known of a form: `bundle.json` has one of these for each."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from seqrec.errors import UnsupportedError
from seqrec.settings import Settings

Form = Literal["onnx", "int8", "index", "generate"]
FORMS: tuple[Form, ...] = get_args(Form)


def parse_forms(text: str) -> tuple[Form, ...]:
    """Forms by name, separated by commas, each once.

    Raises:
        UnsupportedError: one that there is not.
    """
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if unknown := [name for name in names if name not in FORMS]:
        raise UnsupportedError(
            f"no form is called {', '.join(f'`{name}`' for name in unknown)}", where="--forms", known=", ".join(FORMS)
        )
    return tuple(form for form in FORMS if form in names)


class FormReport(Settings):
    """A form beside the live model, measured in a fresh process that had only the form's own library."""

    file: str = Field(description="The form's file in the bundle; of `generate` that of its weights.")
    library: str = Field(description="What opened it, with its version.")
    size_bytes: int = Field(ge=0, description="Size of the file.")
    max_difference: float | None = Field(
        description="Largest difference of a score, as a share of the history's top score where above 1; null for an "
        "index, whose scores are exact and whose items may not be."
    )
    users: int = Field(ge=0, description="By whose histories quality is told; without any the next three are null.")
    same_top_10: float | None = Field(description="Share of the live model's ten best items that it has, too.")
    ndcg_10: float | None = Field(description="NDCG@10 of the users' next items, those of the history not left out.")
    live_ndcg_10: float | None = Field(description="The live model's.")
    milliseconds: dict[str, float] = Field(
        description="Median of an answer, by the number of histories at once, which are as long as they can be."
    )
    live_milliseconds: dict[str, float] = Field(description="The live model's, on as many threads.")
