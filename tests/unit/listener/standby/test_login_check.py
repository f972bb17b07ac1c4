"""Whether a listener that stands by could log in: seen before it is needed."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.listener.standby import login_check
from directus_realtime.listener.standby.candidate import Candidate
from directus_realtime.listener.standby.lease import acquire, read_leases, release
from directus_realtime.listener.standby.login_check import LoginCheck
from directus_realtime.models import ListenerProcess
from directus_realtime.settings import ConnectionSettings
from directus_realtime.testing import FakeDirectus, FakeUser
from tests.helpers.waiting import DEADLINE, POLL_INTERVAL, await_for

TOKEN, WRONG = "the-s3cret-token", "another-s3cret-token"
HOLDER = uuid.uuid4()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_check, "CHECK_INTERVAL", 0.02)
    monkeypatch.setattr(login_check, "CONFIRM_INTERVAL", 0.01)


@pytest.fixture
async def fake() -> AsyncIterator[FakeDirectus]:
    user = FakeUser("django@example.com", "the-s3cret-password", "Django", token=WRONG + "-not")
    async with FakeDirectus(token=TOKEN, users=[user]) as server:
        yield server


def settings_of(url: str, **values: Any) -> ConnectionSettings:
    return ConnectionSettings(**{"alias": "default", "url": url, "token": TOKEN, **values})


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[Any]]:
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_log_in_that_works_is_no_problem_and_opens_no_socket(fake: FakeDirectus) -> None:
    check = LoginCheck([settings_of(fake.url)])
    async with running(check.run()):
        await await_for(lambda: list(fake.requests).count("GET /users/me") >= 3)
    assert check.problems == {}
    assert fake.clients == 0


async def test_a_wrong_token_is_a_problem_that_is_logged_once(
    fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "directus_realtime")
    check = LoginCheck([settings_of(fake.url, token=WRONG)])
    async with running(check.run()):
        await await_for(lambda: len(fake.requests) >= 4)
        await await_for(lambda: check.problems)
        assert check.problems["default"] == (
            f"Directus at {fake.url} refused the credentials (Invalid user credentials). "
            "Check TOKEN (or EMAIL and PASSWORD), and that the user is active."
        )
        fake.change_token(WRONG)
        await await_for(lambda: not check.problems)
    messages = [record.message for record in caplog.records]
    assert [message.partition(":")[0] for message in messages] == [
        "default  This listener stands by and could not log in, so it cannot take over",
        "default  This listener stands by and can log in again.",
    ]
    assert WRONG not in caplog.text


async def test_each_connection_has_its_own_problem(fake: FakeDirectus) -> None:
    check = LoginCheck([settings_of(fake.url), settings_of(fake.url, alias="blog", token=WRONG)])
    async with running(check.run()):
        await await_for(lambda: check.problems and len(fake.requests) >= 10)
        assert check.problems.keys() == {"blog"}


async def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    settings = settings_of("https://cms.example.com", ca_file=str(tmp_path / "none.pem"))
    check = LoginCheck([settings])
    async with running(check.run()):
        await await_for(lambda: check.problems)
    assert "CA_FILE" in check.problems["default"]


async def test_an_error_of_the_callable_shows_no_secret() -> None:
    def read() -> str:
        raise ValueError(TOKEN)

    check = LoginCheck([settings_of("http://127.0.0.1:9", token=read)])
    async with running(check.run()):
        await await_for(lambda: check.problems)
    assert "the callable of TOKEN raised ValueError" in check.problems["default"]
    assert TOKEN not in check.problems["default"]


async def test_a_failure_that_heals_by_itself_is_no_problem(
    fake: FakeDirectus, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    def read() -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("The vault is sealed.")
        return TOKEN

    check = LoginCheck([settings_of(fake.url, token=read)])
    async with running(check.run()):
        await await_for(lambda: calls >= 3)
    assert check.problems == {}
    assert caplog.records == []


async def test_one_password_log_in_serves_all_checks(fake: FakeDirectus) -> None:
    settings = settings_of(
        fake.url, token="", email="django@example.com", password="the-s3cret-password"
    )
    check = LoginCheck([settings])
    async with running(check.run()):
        await await_for(lambda: list(fake.requests).count("GET /users/me") >= 3)
    assert list(fake.requests).count("POST /auth/login") == 1
    assert check.problems == {}


# The candidate


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition about the database is true."""
    async with asyncio.timeout(DEADLINE):
        while not await sync_to_async(condition)():  # noqa: ASYNC110 - of the database
            await asyncio.sleep(POLL_INTERVAL)


def problems() -> list[dict[str, str]]:
    return [row.problems for row in ListenerProcess.objects.all()]


@pytest.fixture
def held(db: None, transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another listener has the lease, and keeps it."""
    monkeypatch.setattr("directus_realtime.listener.standby.candidate.RENEW_INTERVAL", 0.02)
    monkeypatch.setattr("directus_realtime.listener.standby.candidate.POLL_INTERVAL", 0.02)
    assert acquire(read_leases(["default"]), HOLDER)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("held")
async def test_a_standby_writes_why_it_could_not_log_in_and_takes_over_all_the_same(
    fake: FakeDirectus,
) -> None:
    candidate = Candidate([settings_of(fake.url, token=WRONG)])
    async with running(candidate.stand_by()) as standing_by:
        await until(lambda: any(problems()))
        assert [each.keys() for each in await sync_to_async(problems)()] == [{"default"}]
        await sync_to_async(release)(["default"], HOLDER)
        async with asyncio.timeout(DEADLINE):
            fence = await standing_by
    async with running(candidate.hold(fence)):
        await until(lambda: not any(problems()))
    await candidate.leave(5)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("held")
async def test_a_server_that_hangs_keeps_no_standby_from_taking_over(fake: FakeDirectus) -> None:
    fake.freeze()
    candidate = Candidate([settings_of(fake.url)])
    async with running(candidate.stand_by()) as standing_by:
        await until(problems)
        await sync_to_async(release)(["default"], HOLDER)
        async with asyncio.timeout(DEADLINE):
            assert (await standing_by).tokens == {"default": 2}
    await candidate.leave(5)


@pytest.mark.django_db(transaction=True)
async def test_a_listener_that_is_active_at_once_checks_nothing(fake: FakeDirectus) -> None:
    candidate = Candidate([settings_of(fake.url)])
    async with asyncio.timeout(DEADLINE):
        await candidate.stand_by()
    await candidate.leave(5)
    assert not fake.requests
