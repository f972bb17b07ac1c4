"""``seed_directus``: what it asks before, and the file of tokens; the rest is in ``tests/e2e``."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from example_project.site.env_files import read_env_file, write_env_file
from example_project.site.management.commands.seed_directus import Command


def test_a_remote_server_needs_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTUS_ADMIN_TOKEN", "secret")
    with pytest.raises(CommandError, match=r"cms\.example\.com is not this machine\. Add --remote"):
        call_command(Command(), url="https://cms.example.com")


@pytest.mark.parametrize("answer", ["yes", "", "example.com"])
def test_a_remote_server_is_named_to_confirm(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    monkeypatch.setenv("DIRECTUS_ADMIN_TOKEN", "secret")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: answer)
    with pytest.raises(CommandError, match="Nothing was changed"):
        call_command(Command(), url="https://cms.example.com")


def test_a_token_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DIRECTUS_ADMIN_TOKEN", raising=False)
    with pytest.raises(CommandError, match="Set the environment variable DIRECTUS_ADMIN_TOKEN"):
        call_command(Command(), url="http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["ftp://x", "cms.example.com"])
def test_an_address_is_needed(url: str) -> None:
    with pytest.raises(CommandError, match="Say which Directus"):
        call_command(Command(), url=url)


def test_a_server_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIRECTUS_ADMIN_TOKEN", "secret")
    with pytest.raises(CommandError, match="GET /collections failed") as refusal:
        call_command(Command(), url="http://127.0.0.1:9")
    assert "secret" not in str(refusal.value)


def test_env_file__keeps_what_else_is_in_it(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("# mine\nDEBUG=true\nDIRECTUS_TOKEN=old\n")
    write_env_file(path, {"DIRECTUS_TOKEN": "new", "DIRECTUS_URL": "http://x"})
    assert path.read_text() == "# mine\nDEBUG=true\nDIRECTUS_TOKEN=new\nDIRECTUS_URL=http://x\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert read_env_file(path)["DIRECTUS_TOKEN"] == "new"
    assert read_env_file(tmp_path / "none") == {}
