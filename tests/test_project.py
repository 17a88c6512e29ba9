"""The repository as a project: constraints, licence, links, sizes, and what the wheel carries."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("launch/*.md")])


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_constraints_pin_a_version_of_everything_that_the_project_names() -> None:
    project = PROJECT["project"]
    pinned = {canonicalize_name(name): version for name, version in constraints().items()}
    wanted = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["dev"]]]
    assert len(wanted) > 20
    for requirement in wanted:
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


def test_constraints_hold_plain_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.!]+", line)] == []


def test_the_changelog_begins_with_the_version() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0].startswith(PROJECT["project"]["version"])


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert text.split()[:5] == ["Apache", "License", "Version", "2.0,", "January"]
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("folder", ["seqrec", "tests", "docs", "recipes", "launch"])
def test_no_file_is_longer_than_400_lines(folder: str) -> None:
    files = [path for kind in ("py", "sh", "yaml") for path in (ROOT / folder).rglob(f"*.{kind}")]
    assert files
    assert [str(path) for path in files if len(path.read_text().splitlines()) > 400] == []


def test_the_recipe_reference_is_up_to_date() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "reference.py"))
    assert script["PAGE"].read_text() == script["reference"](), "run `make docs`"
    assert script["SUPPORT_PAGE"].read_text() == script["support"](), "run `make docs`"


def test_the_wheel_carries_recipes_and_launchers(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("seqrec-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("recipes", "launch"):
        ours = {f"seqrec/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*") if path.is_file()}
        assert ours
        assert ours <= names
    assert "seqrec/simulate/words.json" in names
    assert "seqrec/evaluation/report.html.j2" in names
    assert not {name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))}
