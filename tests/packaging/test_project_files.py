"""What contributors and machines run besides the tests."""

from __future__ import annotations

import re
import subprocess
import sys

import yaml

import directus_realtime
from tests.docs.markdown import ROOT


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_version_can_be_asked_without_a_project() -> None:
    said = run("-m", "directus_realtime", "--version")
    assert said.startswith(f"django-directus-realtime {directus_realtime.__version__} (Python ")
    assert re.search(r"django \d", said)


def test_without_an_option_it_says_where_the_commands_are() -> None:
    assert "manage.py directus_listen" in run("-m", "directus_realtime")


def test_pre_commit_asks_no_other_place_for_its_hooks() -> None:
    run("-m", "pre_commit", "validate-config", ".pre-commit-config.yaml")
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert {repo["repo"] for repo in repos} == {"local"}


def test_the_workflow_does_what_ci_does() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    commands = [step.get("run", "") for step in jobs["all"]["steps"]]
    assert "bash .ci/run" in commands
    pythons = jobs["matrix"]["strategy"]["matrix"]["python"]
    assert set(pythons) == set(re.findall(r'Cell\("(\d\.\d+)"', (ROOT / "noxfile.py").read_text()))


def test_the_matrix_has_what_the_package_says_it_supports() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    cells = re.findall(r'Cell\("(\d\.\d+)", "(\d\.\d+)"', (ROOT / "noxfile.py").read_text())
    said = r":: Python :: (3\.\d+)", r":: Django :: (\d\.\d+)"
    pythons, djangos = ({*re.findall(each, project)} for each in said)
    assert {python for python, _ in cells} == pythons
    assert {django for _, django in cells} == djangos


def test_every_target_that_is_spoken_of_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    spoken = {
        (page.name, target)
        for page in pages
        for target in re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.M)
    }
    assert len(spoken) > 10
    assert {(page, target) for page, target in spoken if target not in targets} == set()
