"""What `bundle.json` says about a bundle, and whether the folder still is what it says."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, Literal

from pydantic import Field, ValidationError

from seqrec.errors import BundleError
from seqrec.export.forms import Form, FormReport
from seqrec.models import ModelSettings
from seqrec.settings import Settings
from seqrec.users import UserValues

FORMAT_VERSION = 1
MANIFEST_FILE = "bundle.json"
BACKBONE_FOLDER = "backbone"
ADAPTER_FOLDER = "adapter"


class BundleFile(Settings):
    """One file of a bundle."""

    size_bytes: int = Field(ge=0, description="Size of the file.")
    sha256: str = Field(description="SHA-256 of the file's bytes.")


class BaseModelReference(Settings):
    """The Hugging Face model under the item vectors and the adapter."""

    source: str = Field(
        description="Where it is: folder, hub name or `package:NAME/FOLDER` as the recipe names it, or `backbone`, "
        "the folder of the bundle itself."
    )
    included: bool = Field(description="Whether the bundle carries it in `backbone/`.")
    fingerprint: str = Field(description="SHA-256 over its weights, as `seqrec.models.fingerprint` takes it.")


class BundleManifest(Settings):
    """Contents of `bundle.json`."""

    format_version: int = Field(FORMAT_VERSION, description="Version of this layout.")
    kind: Literal["full", "frozen", "adapter", "merged"] = Field(
        description="full: a backbone of its own weights; frozen: a pretrained backbone as it is; adapter: a base "
        "model and a PEFT adapter; merged: a backbone that the adapter was merged into."
    )
    base: BaseModelReference = Field(description="The base model, and whether it is in the bundle.")
    model: ModelSettings = Field(description="The `model` section of the recipe: items, backbone, adapter, head, loss.")
    items: int = Field(ge=1, description="Catalogue size N.")
    actions: list[str] = Field(default=[], description="Names of the action types, in the order of their codes.")
    users: UserValues | None = Field(
        default=None, description="What the model knows of the values that attributes of users have."
    )
    max_length: int = Field(ge=2, description="Positions that an input takes.")
    seen: Literal["filter", "allow"] = Field(description="Whether items of a history may be recommended again.")
    forms: dict[Form, FormReport] = Field(default={}, description="Forms for other runtimes, as they were verified.")
    metrics: dict[str, Any] | None = Field(description="What `seqrec evaluate` gave, or null where it was not run.")
    versions: dict[str, str] = Field(description="Versions of python and of the packages that wrote the bundle.")
    files: dict[str, BundleFile] = Field(description="Every other file of the bundle, by its path inside it.")


def package_versions() -> dict[str, str]:
    """Versions of what decides how a bundle is read."""
    return {"python": python_version()} | {n: version(n) for n in ("seqrec", "torch", "transformers", "peft")}


def list_files(folder: Path) -> dict[str, BundleFile]:
    """Every file below a folder but the manifest, sorted by path."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {name: _describe(path) for name, path in names.items() if name != MANIFEST_FILE}


def read_manifest(folder: Path) -> BundleManifest:
    """Reads `bundle.json`.

    Raises:
        BundleError: the folder is no bundle, is of another format version, or its manifest cannot be read.
    """
    file = folder / MANIFEST_FILE
    if not file.is_file():
        raise BundleError(
            "not a bundle" + ("" if folder.is_dir() else " (no such folder)"),
            where=str(folder),
            expected=f"a folder with {MANIFEST_FILE}, items.json, items.safetensors and samples.json",
            do=f"make one with `seqrec export RUN --out {folder}`",
        )
    try:
        raw = json.loads(file.read_text(encoding="utf-8"))
        if raw["format_version"] != FORMAT_VERSION:
            raise BundleError(
                f"format version {raw['format_version']}, this seqrec reads {FORMAT_VERSION}",
                where=str(file),
                do="export the run again, or use the seqrec that wrote it",
            )
        return BundleManifest.model_validate(raw)
    except (UnicodeDecodeError, json.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError("unreadable manifest", where=str(file), reason=reason, do="export the run again") from error


def check_files(folder: Path, manifest: BundleManifest) -> None:
    """Sees that each file is there and holds the bytes that were exported.

    Raises:
        BundleError: names the first file that is missing or differs, and how many do.
    """
    faults = {name: fault for name, file in manifest.files.items() if (fault := _fault(folder / name, file))}
    if faults:
        name, fault = next(iter(faults.items()))
        raise BundleError(
            f"`{name}` {fault}",
            where=str(folder),
            damaged=f"{len(faults)} of {len(manifest.files)} files: " + ", ".join(f"`{n}`" for n in faults),
            do="copy the bundle again, or export the run again",
        )


def _fault(path: Path, expected: BundleFile) -> str | None:
    if not path.is_file():
        return "is missing"
    if path.stat().st_size != expected.size_bytes:
        return f"has {path.stat().st_size:,} bytes, {expected.size_bytes:,} were exported"
    found = _describe(path)
    return None if found == expected else f"has the hash {found.sha256[:12]}…, {expected.sha256[:12]}… was exported"


def _describe(path: Path) -> BundleFile:
    with path.open("rb") as file:
        return BundleFile(size_bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
