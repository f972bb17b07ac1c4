"""What is in the sdist and in the wheel."""

from __future__ import annotations

import re
import subprocess
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import directus_realtime
from tests.docs.markdown import ROOT

#: Of the package's files, those that are no Python: each of these must be there.
NEEDED = (
    "py.typed",
    "locale/fr/LC_MESSAGES/django.mo",
    "migrations/0001_initial.py",
    "management/commands/directus_listen.py",
    "testing/pytest_plugin.py",
)
TESTING = {
    "__init__.py",
    "__main__.py",
    "demo_articles.py",
    "fake",
    "pytest_plugin.py",
    "running_listener.py",
}


def package_files() -> set[str]:
    """The files of the package that git knows."""
    listed = subprocess.run(
        ["git", "ls-files", "directus_realtime"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_the_wheel_has_every_file_of_the_package_and_no_other(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    ours = {name for name in names if ".dist-info/" not in name}
    assert package_files() <= ours
    unknown = {name for name in ours if not name.startswith("directus_realtime/")}
    assert unknown == set()
    for name in NEEDED:
        assert f"directus_realtime/{name}" in ours
    # The fake Directus, and nothing of the example or of a real Directus.
    tools = {name.split("/")[2] for name in ours if name.startswith("directus_realtime/testing/")}
    assert tools == TESTING
    assert any("/static/" in name for name in ours)


def test_the_wheel_has_its_licence_and_says_what_it_is(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    assert any(name.endswith("licenses/LICENSE") for name in archive.namelist())
    said = Parser().parsestr(archive.read(metadata).decode())
    assert said["Name"] == "django-directus-realtime"
    assert said["Version"] == directus_realtime.__version__
    assert said["Requires-Python"] == ">=3.11"
    assert "Framework :: Django :: 6.1" in said.get_all("Classifier", [])


def test_the_sdist_has_what_a_build_needs_and_no_tests(distributions: tuple[Path, Path]) -> None:
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() <= names
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE"} <= names
    assert not [
        name for name in names if name.startswith(("tests", "example_project", "docs", ".ci"))
    ]


def test_the_version_is_said_once_in_each_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == directus_realtime.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", directus_realtime.__version__)
