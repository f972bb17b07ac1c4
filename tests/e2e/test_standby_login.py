"""What a listener that stands by learns from a real Directus about its credentials."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from directus_realtime.listener.standby import login_check
from directus_realtime.listener.standby.login_check import LoginCheck
from directus_realtime.settings import ConnectionSettings
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.helpers.waiting import await_for

pytestmark = pytest.mark.e2e

TOKEN = "a-token-of-a-user-who-stands-by"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_check, "CHECK_INTERVAL", 0.1)


def create_user(directus: DirectusAdmin, **fields: str) -> str:
    """Create a user and return the id."""
    email = fields.setdefault("email", "standby-token@example.com")
    directus.create_user(**fields)
    filter_ = json.dumps({"email": {"_eq": email}})
    (user,) = directus.request("GET", "/users", params={"filter": filter_})
    return str(user["id"])


@asynccontextmanager
async def checking(settings: ConnectionSettings) -> AsyncIterator[LoginCheck]:
    check = LoginCheck([settings])
    task = asyncio.create_task(check.run())
    try:
        yield check
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_suspended_user_is_seen_and_an_active_one_again(
    directus: DirectusAdmin, directus_server: DirectusServer
) -> None:
    user = create_user(directus, token=TOKEN)
    settings = ConnectionSettings(alias="default", url=directus_server.url, token=TOKEN)
    async with checking(settings) as check:
        await asyncio.to_thread(
            directus.request, "PATCH", f"/users/{user}", {"status": "suspended"}
        )
        await await_for(lambda: check.problems)
        problem = check.problems["default"]
        assert "refused the credentials" in problem
        assert "Check TOKEN (or EMAIL and PASSWORD), and that the user is active." in problem
        assert TOKEN not in problem
        await asyncio.to_thread(directus.request, "PATCH", f"/users/{user}", {"status": "active"})
        await await_for(lambda: not check.problems)


async def test_checks_with_a_password_are_one_log_in_for_directus(
    directus: DirectusAdmin, directus_server: DirectusServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    email, password = "standby@example.com", "a-p4ssword"
    user = create_user(directus, email=email, password=password)
    settings = ConnectionSettings(
        alias="default", url=directus_server.url, email=email, password=password
    )
    checks = 0
    log_in = LoginCheck._log_in

    async def counted(self: LoginCheck, settings: ConnectionSettings) -> tuple[str, bool]:
        nonlocal checks
        found = await log_in(self, settings)
        checks += 1
        return found

    monkeypatch.setattr(LoginCheck, "_log_in", counted)
    async with checking(settings) as check:
        await await_for(lambda: checks >= 5)
        assert check.problems == {}
    filter_ = json.dumps({"user": {"_eq": user}, "action": {"_eq": "login"}})
    rows = await asyncio.to_thread(directus.request, "GET", "/activity", params={"filter": filter_})
    assert len(rows) == 1
