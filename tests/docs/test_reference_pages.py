"""The reference names all there is, and nothing that is not."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from directus_realtime import signals
from directus_realtime.settings import KEYS, ConnectionSettings
from tests.docs.markdown import DOCS, ROOT


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def sections(text: str) -> dict[str, str]:
    """What stands below each heading of the second level that is code."""
    parts = re.split(r"^## `([^`]+)`$", text, flags=re.M)
    return {
        name: re.split(r"^## ", rest, flags=re.M)[0]
        for name, rest in zip(parts[1::2], parts[2::2], strict=True)
    }


API = sections(page("reference/api.md"))


@pytest.mark.parametrize("module", API)
def test_the_public_names_of_a_module_are_listed(module: str) -> None:
    listed = re.findall(r"^\| `(\w+)`", API[module], re.M)
    found = import_module(module)
    assert sorted(listed) == sorted(found.__all__)
    for name in listed:
        getattr(found, name)


def test_the_list_has_the_modules_that_people_import() -> None:
    assert len(API) == 13


def test_every_signal_is_explained() -> None:
    named = set(re.findall(r"`(directus_\w+)`", page("reference/signals.md")))
    assert {name for name in signals.__all__ if name.startswith("directus_")} <= named


def test_every_key_is_in_the_settings_with_its_default() -> None:
    rows = dict(re.findall(r"^\| (`[A-Z_`, ]+) \|([^|]*)\|", page("reference/settings.md"), re.M))
    named = {key: default for keys, default in rows.items() for key in re.findall(r"\w+", keys)}
    assert set(named) == set(KEYS)
    for key, default in named.items():
        value = default.strip().strip('`"')
        if value and value != "{}":
            assert value == f"{getattr(ConnectionSettings, KEYS[key]):}".removesuffix(".0"), key


OURS = sorted(name for name, app in get_commands().items() if app == "directus_realtime")


def own_options(command: BaseCommand) -> set[str]:
    def options(of: BaseCommand) -> set[str]:
        parser = of.create_parser("manage.py", "command")
        return {text for action in parser._actions for text in action.option_strings}

    return options(command) - options(BaseCommand())


def test_every_command_has_its_section() -> None:
    assert sorted(sections(page("reference/commands.md"))) == OURS


@pytest.mark.parametrize("name", OURS)
def test_the_options_of_a_command_are_listed(name: str) -> None:
    section = sections(page("reference/commands.md"))[name]
    listed = set(re.findall(r"^\| `(--[\w-]+)", section, re.M)) - {"--verbosity"}
    assert listed == own_options(load_command_class("directus_realtime", name))


ARCHITECTURE = page("architecture.md")


def test_the_files_of_the_architecture_are_there() -> None:
    named = set(re.findall(r"`(directus_realtime/[\w/.]+)`", ARCHITECTURE))
    assert len(named) > 25
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_classes_of_the_architecture_are_where_it_says() -> None:
    named = re.findall(r"`(\w+)` in\s+`(directus_realtime/[\w/]+\.py)`", ARCHITECTURE)
    assert len(named) >= 8
    for name, file in named:
        assert re.search(rf"^class {name}\b", (ROOT / file).read_text(), re.M), f"{name} in {file}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("nav:")[2]
    named = set(re.findall(r"([\w/-]+\.md)$", navigation, re.M))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert named == pages
