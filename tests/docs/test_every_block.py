"""No code block of the documentation is left to chance, and no link leads nowhere."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from django.core.management import load_command_class

from tests.docs.markdown import DOCS, ROOT, Block, blocks_of
from tests.docs.test_plain_pages import PLAIN

PAGES = sorted(DOCS.rglob("*.md"))
OTHERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
#: Where the Python of a page is run: in a module beside this one, or below ``tests``.
RUN_BY = {
    "admin.md": "docs/test_admin_page.py",
    "browsers.md": "docs/test_browsers_page.py",
    "client.md": "docs/test_client_page.py",
    "fr/depuis-fcs-directus.md": "docs/test_client_page.py",
    "least-privilege.md": "e2e/test_least_privilege.py",
    "logging.md": "docs/test_logging_page.py",
    "operations.md": "docs/test_operations_page.py",
    "testing.md": "docs/test_testing_page.py",
    "tutorial.md": "packaging/test_walks.py",
}
#: Languages that say nothing which could be run: what a screen shows, and pictures.
SHOWN = {"console", "text"}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix() if page.is_relative_to(DOCS) else page.name


BLOCKS = [
    pytest.param(page, block, id=f"{name_of(page)}:{block.line}")
    for page in [*PAGES, *OTHERS]
    for block in blocks_of(page)
]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_its_python_is_run_by_a_test(page: Path) -> None:
    name = name_of(page)
    if not any(block.language == "python" for block in blocks_of(page)):
        return
    if name in PLAIN or name.startswith("how-to/"):
        return
    assert name in RUN_BY, f"no test runs the Python of {name}"
    assert page.name in (ROOT / "tests" / RUN_BY[name]).read_text(encoding="utf-8")


def test_every_how_to_is_run() -> None:
    source = (ROOT / "tests" / "docs" / "test_how_to_pages.py").read_text(encoding="utf-8")
    for page in DOCS.glob("how-to/*.md"):
        assert f'follow("{page.name}")' in source or f')("{page.name}")' in source


@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_it_is_of_a_language_and_right_in_it(page: Path, block: Block) -> None:
    match block.language:
        case "json":
            json.loads(block.code.replace("…", ""))
        case "yaml":
            list(yaml.safe_load_all(block.code))
        case "toml":
            tomllib.loads(block.code)
        case "sh":
            check("bash", "-n", "-c", block.code)
        case "js" | "html":
            if shutil.which("node"):
                check("node", "--check", "--input-type=module", text=script_of(block))
        case "python":
            compile(block.code, name_of(page), "exec", flags=0x2000)  # with await at the top
        case "promql" | "ini" | "dockerfile":
            pass  # the tests of its page read it
        case other:
            assert other in SHOWN, f"a block needs a language; {other!r} is none of those known"


def script_of(block: Block) -> str:
    if block.language == "js":
        return block.code
    return "".join(re.findall(r"<script>(.*?)</script>", block.code, re.S))


def check(*command: str, text: str = "") -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


def commands() -> list[object]:
    """Each of our commands that a block shows, with its arguments."""
    found = []
    for page in [*PAGES, *OTHERS]:
        for block in blocks_of(page):
            if block.language not in {"sh", "console"}:
                continue
            for line in re.findall(r"manage\.py (directus_\w+[^\n#|&]*)", block.code):
                found.append(pytest.param(line.strip(), id=f"{name_of(page)}: {line.strip()}"))
    return found


@pytest.mark.parametrize("line", commands())
def test_the_command_takes_its_arguments(line: str) -> None:
    name, *arguments = shlex.split(line)
    parser = load_command_class("directus_realtime", name).create_parser("manage.py", name)
    parser.parse_args(arguments)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=name_of)
def test_its_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name_of(page)} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors_of(file), f"{name_of(page)} links to {target}"


def anchors_of(page: Path) -> set[str]:
    """What its headings are called in a link."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in headings}
