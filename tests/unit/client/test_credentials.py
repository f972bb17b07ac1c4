from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from directus_realtime.client.credentials import (
    CalledToken,
    StaticToken,
    make_credentials,
    token_problem,
)
from directus_realtime.exceptions import ConnectionFailed, ConnectionImpossible

SECRET = "s3cret"


@pytest.fixture
async def http() -> Any:
    async with httpx.AsyncClient() as client:
        yield client


def counting(*tokens: str) -> Callable[[], str]:
    return functools.partial(next, iter(tokens))


async def test_a_callable_is_asked_once_for_an_attempt(http: httpx.AsyncClient) -> None:
    credentials = CalledToken(counting("a", "b", "c"))
    first = await credentials.access_token(http)
    assert await credentials.access_token(http) is first
    assert first.value == "a"
    assert "'a'" not in repr(first)
    credentials.begin()
    assert (await credentials.access_token(http)).value == "b"
    assert credentials.forget()
    assert (await credentials.access_token(http)).value == "c"


async def test_those_who_ask_together_share_one_call(http: httpx.AsyncClient) -> None:
    credentials = CalledToken(counting("a", "b"))
    found = await asyncio.gather(*(credentials.access_token(http) for _ in range(5)))
    assert {token.value for token in found} == {"a"}


async def test_a_callable_runs_beside_the_loop(http: httpx.AsyncClient) -> None:
    threads: list[threading.Thread] = []

    def read() -> str:
        threads.append(threading.current_thread())
        return "a"

    await CalledToken(read).access_token(http)
    assert threads[0] is not threading.main_thread()
    assert threads[0].daemon


def failing(error: BaseException) -> Callable[[], str]:
    def read() -> str:
        raise error

    return read


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (failing(KeyError(SECRET)), "raised KeyError"),
        (failing(TimeoutError(SECRET)), "raised TimeoutError"),
        (failing(StopIteration(SECRET)), "raised StopIteration"),
        (failing(SystemExit(SECRET)), "raised SystemExit"),
    ],
)
async def test_what_a_callable_raises_is_not_shown(
    http: httpx.AsyncClient, read: Callable[[], str], reason: str
) -> None:
    with pytest.raises(ConnectionFailed, match=reason) as caught:
        await CalledToken(read).access_token(http)
    assert not isinstance(caught.value, ConnectionImpossible)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_callable_that_hangs_is_given_up(http: httpx.AsyncClient) -> None:
    release = threading.Event()

    def read() -> str:
        release.wait(10)
        return "late"

    with pytest.raises(ConnectionFailed, match=r"did not return within 0\.05 s"):
        await CalledToken(read, timeout=0.05).access_token(http)
    release.set()


async def coroutine() -> str:
    return SECRET


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("", "is empty"),
        (None, "is a NoneType, not a text"),
        (b"s3cret", "is a bytes, not a text"),
        ("s3cret\n", "a character that no token has"),
        ("Bearer s3cret", "a character that no token has"),
    ],
)
async def test_what_a_callable_returns_is_checked_like_a_static_token(
    http: httpx.AsyncClient, returned: Any, problem: str
) -> None:
    with pytest.raises(ConnectionImpossible, match=f"callable of TOKEN: It.*{problem}") as caught:
        await CalledToken(lambda: returned).access_token(http)
    assert SECRET not in str(caught.value)
    assert token_problem(returned) in str(caught.value)


async def test_an_async_callable_is_refused(http: httpx.AsyncClient) -> None:
    read: Any = coroutine
    with pytest.raises(ConnectionImpossible, match="is a coroutine, not a text"):
        await CalledToken(read).access_token(http)


def test_a_callable_makes_other_credentials_than_a_text() -> None:
    assert isinstance(make_credentials(lambda: "a"), CalledToken)
    assert isinstance(make_credentials("a"), StaticToken)
