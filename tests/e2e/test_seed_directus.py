"""``seed_directus`` on a real Directus that has something already."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from example_project.real_directus import DirectusAdmin, DirectusServer
from example_project.real_directus.directus_admin import DirectusAdminError
from example_project.site.env_files import read_env_file
from example_project.site.management.commands.seed_directus import Command
from example_project.site.models import DirectusProfile
from example_project.site.seeding import ACCOUNTS

pytestmark = [pytest.mark.e2e, pytest.mark.django_db]

OURS = ("authors", "messages", "orders")


def test_makes_what_is_missing_and_leaves_alone_what_is_there(
    directus_server: DirectusServer,
    directus: DirectusAdmin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The collection ``articles`` of the other tests is somebody else's."""
    monkeypatch.setenv("DIRECTUS_ADMIN_TOKEN", directus_server.admin_token)
    path = tmp_path / "tokens.env"
    before = snapshot(directus, "articles")

    def seed(**options: Any) -> str:
        output = io.StringIO()
        call_command(Command(), url=directus_server.url, stdout=output, **options)
        return output.getvalue()

    try:
        said = seed(env_file=path)
        assert "articles: there already, and not ours; left alone." in said
        assert "It lacks what the pages show: author, date_updated." in said
        tokens = read_env_file(path)
        assert not any(token in said for name, token in tokens.items() if "TOKEN" in name)
        assert DirectusProfile.objects.count() == 2
        made = [snapshot(directus, name) for name in OURS]
        assert all(rows for _, rows in made)

        # Again, and nothing changes.
        seed(env_file=path)
        assert read_env_file(path) == tokens
        assert [snapshot(directus, name) for name in OURS] == made
        assert snapshot(directus, "articles") == before

        # What is known nowhere is not taken from anybody unasked.
        assert "--new-tokens gives it another one" in seed()
        check_rights(directus_server.url, tokens)
        assert "DIRECTUS_TOKEN=" in seed(new_tokens=True)
        with DirectusAdmin(directus_server.url, tokens["DIRECTUS_TOKEN"]) as old:
            assert not can(old, "GET", "/items/messages")
    finally:
        clean(directus)


def check_rights(url: str, tokens: dict[str, str]) -> None:
    """No token may do more than its page needs."""
    with DirectusAdmin(url, tokens["DIRECTUS_TOKEN"]) as listener:
        assert can(listener, "GET", "/items/messages")
        assert can(listener, "GET", "/activity")
        assert not can(listener, "POST", "/items/messages", {"content": "x"})
        assert not can(listener, "GET", "/users?fields=email")
        assert not can(listener, "GET", "/items/orders?fields=customer")
        assert not can(listener, "GET", "/items/notes")
    with DirectusAdmin(url, tokens["DIRECTUS_WRITE_TOKEN"]) as writer:
        assert can(writer, "POST", "/items/messages", {"content": "x"})
        assert not can(writer, "POST", "/items/orders", {"total": 1})
        assert not can(writer, "POST", "/notifications", {"subject": "x"})
        assert not can(writer, "GET", "/users")


def can(directus: DirectusAdmin, method: str, path: str, body: Any = None) -> bool:
    try:
        directus.request(method, path, body)
    except DirectusAdminError as error:
        if "FORBIDDEN" in str(error) or "INVALID_CREDENTIALS" in str(error):
            return False
        raise
    return True


def snapshot(directus: DirectusAdmin, name: str) -> tuple[Any, Any]:
    fields = directus.request("GET", f"/fields/{name}")
    rows = directus.read_items(name, limit="-1", sort="id")
    return [each["field"] for each in fields], rows


def clean(directus: DirectusAdmin) -> None:
    for name in ("orders", "messages", "authors"):
        directus.delete_collection(name)
    emails = [account.email for account in ACCOUNTS]
    params = {"filter[email][_ends_with]": "@example.com", "fields": "id,email", "limit": "-1"}
    users = directus.request("GET", "/users", params=params)
    people = ("ada.okafor", "jonas.lindqvist", "mei.tanaka", "rosa.delgado")
    for user in users:
        if user["email"] in emails or user["email"].startswith(people):
            directus.request("DELETE", f"/users/{user['id']}")
