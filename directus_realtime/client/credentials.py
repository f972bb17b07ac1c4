"""Credentials for Directus: a token, static or from a callable, or an e-mail and a password."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from directus_realtime.client.rest_messages import data_of, taken_apart
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    RequestRefused,
)
from directus_realtime.utils.system_clock import SystemClock

# Answers to a wrong password; with any other the server is not ready.
_REFUSALS = frozenset({400, 401, 403})
#: The share of a token's life after which it is renewed.
RENEW_AFTER = 0.6
#: Seconds for a callable to return the token.
CALL_TIMEOUT = 10.0

#: Refused log-ins in a row before the next one is delayed. Directus 10, 11 and 12 suspend a user
#: after 25, and refuse the right password from then on.
LOG_INS_AT_ONCE = 3
#: First delay in seconds, doubled each time, and its limit.
LOG_IN_PAUSE, LONGEST_PAUSE = 3600.0, 86400.0

#: A static token, or a callable without arguments that returns the current one.
Token = str | Callable[[], str]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for REST and for the socket.

    Attributes:
        value: Never shown in a repr.
        renew_at: Time of the monotonic clock at which to renew it; ``None`` for never.
    """

    value: str = field(repr=False)
    renew_at: float | None = None


class Credentials:
    """Source of the current access token."""

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """Return the token, fetched or renewed if necessary.

        Raises:
            CredentialsRefused: Directus does not accept the credentials.
            ConnectionFailed: No token is available now.
            httpx.TransportError: Directus could not be reached; :class:`RestClient` explains it.
        """
        raise NotImplementedError

    def begin(self) -> None:
        """Drop what may have changed outside; an attempt to connect begins."""

    def forget(self) -> bool:
        """Drop the token, which the server refuses.

        Returns:
            Whether another one is available.
        """
        return False


class StaticToken(Credentials):
    """A static token of a Directus user; it does not expire."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken(token)

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """Return the token."""
        return self._token


class CalledToken(Credentials):
    """A static token that may change: a callable returns it for each attempt to connect.

    The callable may read a file or query a vault, so it runs in a thread.

    Args:
        read: Returns the current token.
        timeout: Seconds for it to return.
    """

    def __init__(self, read: Callable[[], str], timeout: float = CALL_TIMEOUT) -> None:
        self._read = read
        self._timeout = timeout
        self._token: AccessToken | None = None
        self._reading = asyncio.Lock()

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """Return the token of this attempt, and call the callable once for it."""
        async with self._reading:
            if self._token is None:
                token = await self._call()
                if problem := token_problem(token):
                    raise ConnectionImpossible(f"The callable of TOKEN: {problem}")
                self._token = AccessToken(str(token))
            return self._token

    def begin(self) -> None:
        """Call the callable again for the next token."""
        self._token = None
        self._reading = asyncio.Lock()  # the event loop may be another one by now

    def forget(self) -> bool:
        """Call the callable again for the next token."""
        self._token = None
        return True

    async def _call(self) -> object:
        try:
            async with asyncio.timeout(self._timeout):
                token, failure = await _call_in_thread(self._read)
        except TimeoutError:
            token, failure = None, f"did not return within {self._timeout:g} s"
        if failure:
            raise ConnectionFailed(f"There is no token: the callable of TOKEN {failure}.")
        if asyncio.iscoroutine(token):
            token.close()  # refused as any other object that is not a text
        return token


async def _call_in_thread(function: Callable[[], object]) -> tuple[object, str]:
    """Return the result of a function, or how it failed.

    Unlike :func:`asyncio.to_thread`, a function that hangs does not keep the process alive.
    The text of an exception may contain a secret, so only its type is named.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[object, str]] = loop.create_future()

    def settle(outcome: tuple[object, str]) -> None:
        if not future.done():  # else the call was cancelled
            future.set_result(outcome)

    def work() -> None:
        try:
            outcome = function(), ""
        except BaseException as error:  # SystemExit, for example, must not end the loop
            outcome = None, f"raised {type(error).__name__}"
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name="directus-token", daemon=True).start()
    return await future


@dataclass(slots=True)
class _Refusals:
    """Refused log-ins of a user in a row, by all clients of this process.

    A changed password must not suspend its user by endless attempts.
    """

    count: int = 0
    next_at: float = 0.0
    reason: str = ""

    def note(self, error: RequestRefused, now: float) -> str:
        """Count a refusal, and return the reason as a sentence."""
        self.reason = (
            f"Directus refused the log-in ({error.message.rstrip('.')}). "
            "Check EMAIL and PASSWORD, and that the user is active."
        )
        if error.code:  # else it was not Directus that refused it
            self.count += 1
        if self.count >= LOG_INS_AT_ONCE:
            pause = min(LOG_IN_PAUSE * 2 ** (self.count - LOG_INS_AT_ONCE), LONGEST_PAUSE)
            self.next_at = now + pause
            self.reason += (
                f" The next try comes after {pause / 3600:g} h, since Directus suspends a user "
                "after 25 refusals; a restart tries at once."
            )
        return self.reason


#: By server, e-mail and hash of the password.
_refusals: dict[tuple[str, str, int], _Refusals] = {}


class PasswordLogin(Credentials):
    """Logs in over REST, and renews the access token by the refresh token.

    A log-in over the socket would return neither an access token nor its lifetime.
    """

    def __init__(self, email: str, password: str, clock: SystemClock | None = None) -> None:
        self._email = email
        self._password = password
        self._clock = clock or SystemClock()
        self._token: AccessToken | None = None
        self._refresh_token = ""
        self._renewing = asyncio.Lock()
        self._failure: Exception | None = None
        self._failed_at = 0.0

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """Return the current token, or a new one where the current one expires soon."""
        asked_at = self._clock.monotonic()
        async with self._renewing:  # a refresh token can be used once
            if self._failure is not None and self._failed_at >= asked_at:
                raise self._failure  # for the calls that waited for this attempt, too
            token = self._token
            if token is None or (token.renew_at or 0) <= self._clock.monotonic():
                token = self._token = await self._renew_or_note(http)
            return token

    def begin(self) -> None:
        """Keep the log-in."""
        self._renewing = asyncio.Lock()  # the event loop may be another one by now

    def forget(self) -> bool:
        """Log in, or refresh, at the next call."""
        self._token = None
        return True

    async def _renew_or_note(self, http: httpx.AsyncClient) -> AccessToken:
        try:
            token = await self._renew(http)
        except Exception as error:
            self._failure, self._failed_at = error, self._clock.monotonic()
            raise
        self._failure = None
        return token

    async def _renew(self, http: httpx.AsyncClient) -> AccessToken:
        if self._refresh_token:
            try:
                return await self._request(
                    http, "/auth/refresh", {"refresh_token": self._refresh_token, "mode": "json"}
                )
            except RequestRefused:
                # Used by a request whose answer was lost, or too old: log in again.
                self._refresh_token = ""
        return await self._log_in(http)

    async def _log_in(self, http: httpx.AsyncClient) -> AccessToken:
        user = str(http.base_url), self._email, hash(self._password)
        refused = _refusals.get(user)
        if refused is not None and self._clock.monotonic() < refused.next_at:
            raise CredentialsRefused(refused.reason)
        try:
            token = await self._request(
                http, "/auth/login", {"email": self._email, "password": self._password}
            )
        except RequestRefused as error:
            if error.status not in _REFUSALS:
                raise
            refused = _refusals.setdefault(user, _Refusals())
            reason = refused.note(error, self._clock.monotonic())
            raise CredentialsRefused(reason) from None
        _refusals.pop(user, None)
        return token

    async def _request(
        self, http: httpx.AsyncClient, path: str, body: dict[str, str]
    ) -> AccessToken:
        asked_at = self._clock.monotonic()
        data: Any = data_of(await http.post(path, json=body))
        with taken_apart(path):
            token, lifetime = data["access_token"], data["expires"] / 1000
            if token_problem(token) or not 0 <= lifetime < math.inf:
                raise ValueError("Neither to be sent nor to be renewed.")
            self._refresh_token = data["refresh_token"]
            return AccessToken(token, asked_at + lifetime * RENEW_AFTER)


def token_problem(token: object) -> str:
    """Return the defect of a token, as a sentence that does not show it; ``""`` for none."""
    if not isinstance(token, str):
        return f"It is a {type(token).__name__}, not a text."
    if not token:
        return "It is empty."
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "It contains a character that no token has, such as a line break or a space."
    return ""


def make_credentials(
    token: Token | None = None,
    email: str | None = None,
    password: str | None = None,
    clock: SystemClock | None = None,
) -> Credentials:
    """Return the configured credentials.

    Raises:
        ConnectionImpossible: Neither a token nor an e-mail with a password was given, or the
            token cannot be sent.
    """
    if callable(token):
        return CalledToken(token)
    if token:
        if problem := token_problem(token):
            raise ConnectionImpossible(f"The token is wrong. {problem} Check TOKEN.")
        return StaticToken(token)
    if email and password:
        return PasswordLogin(email, password, clock)
    raise ConnectionImpossible("Give a token, or an email and a password.")
