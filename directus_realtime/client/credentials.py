"""Who we are for Directus: a token, static or asked for, or an e-mail and a password."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from directus_realtime.client.rest_messages import data_of, taken_apart
from directus_realtime.exceptions import (
    ConnectionFailed,
    ConnectionImpossible,
    CredentialsRefused,
    RequestRefused,
)

# What a wrong password is answered with; anything else is a server that is not ready.
_REFUSALS = frozenset({400, 401, 403})
#: The share of a token's life after which it is renewed.
RENEW_AFTER = 0.6
#: Seconds for a callable to return the token.
CALL_TIMEOUT = 10.0

#: Log-ins that are refused in a row before the next one waits. Directus suspends a user after 25
#: (10, 11 and 12 do), and refuses the right password from then on.
LOG_INS_AT_ONCE = 3
#: Seconds that the next one waits; the one after that twice as long, and so on.
LOG_IN_PAUSE, LONGEST_PAUSE = 3600.0, 86400.0

#: A static token, or a callable without arguments that returns the one of now.
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


class Credentials(Protocol):
    """Gives the access token that is valid now."""

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """The token; fetched or renewed when it must be.

        Raises:
            CredentialsRefused: Directus does not accept the credentials.
            ConnectionFailed: There is no token to be had now.
            httpx.TransportError: Directus could not be reached; :class:`RestClient` explains it.
        """
        ...

    def begin(self) -> None:
        """An attempt to connect begins: what may have been changed outside is asked anew."""
        ...

    def forget(self) -> bool:
        """The server says that the token has ended before its time.

        Returns:
            Whether another one can be had.
        """
        ...


class StaticToken:
    """A static token of a Directus user; it has no end."""

    def __init__(self, token: str) -> None:
        self._token = AccessToken(token)

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """The token as given."""
        return self._token

    def begin(self) -> None:
        """Nothing can have changed."""

    def forget(self) -> bool:
        """There is no other."""
        return False


class CalledToken:
    """A static token that may change: a callable is asked for each attempt to connect.

    The callable may read a file or ask a vault, so it runs in a thread.

    Args:
        read: Returns the token of now.
        timeout: Seconds for it to return.
    """

    def __init__(self, read: Callable[[], str], timeout: float = CALL_TIMEOUT) -> None:
        self._read = read
        self._timeout = timeout
        self._token: AccessToken | None = None
        self._reading = asyncio.Lock()

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """The token of this attempt; the callable is asked where there is none yet."""
        async with self._reading:
            if self._token is None:
                token = await self._call()
                if problem := token_problem(token):
                    raise ConnectionImpossible(f"The callable of TOKEN: {problem}")
                self._token = AccessToken(str(token))
            return self._token

    def begin(self) -> None:
        """Ask again at the next call."""
        self._token = None
        self._reading = asyncio.Lock()  # the event loop may be another one by now

    def forget(self) -> bool:
        """Ask again at the next call."""
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
    """What a function returns, or how it failed.

    Unlike :func:`asyncio.to_thread`, a function that hangs does not keep the process alive.
    What it raises may hold a secret, so only its kind is told.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[object, str]] = loop.create_future()

    def settle(outcome: tuple[object, str]) -> None:
        if not future.done():  # else nobody waits any more
            future.set_result(outcome)

    def work() -> None:
        try:
            outcome = function(), ""
        except BaseException as error:  # such as SystemExit: not for the loop to obey
            outcome = None, f"raised {type(error).__name__}"
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(settle, outcome)

    threading.Thread(target=work, name="directus-token", daemon=True).start()
    return await future


@dataclass(slots=True)
class _Refusals:
    """Log-ins of a user that were refused in a row, by all clients of this process.

    A password that was changed must not suspend its user by being tried for ever.
    """

    count: int = 0
    next_at: float = 0.0
    reason: str = ""

    def note(self, error: RequestRefused) -> str:
        """Count one, and give the reason in words."""
        self.reason = (
            f"Directus refused the log-in ({error.message.rstrip('.')}). "
            "Check EMAIL and PASSWORD, and that the user is active."
        )
        if error.code:  # else it was not Directus that refused it
            self.count += 1
        if self.count >= LOG_INS_AT_ONCE:
            pause = min(LOG_IN_PAUSE * 2 ** (self.count - LOG_INS_AT_ONCE), LONGEST_PAUSE)
            self.next_at = time.monotonic() + pause
            self.reason += (
                f" The next try comes after {pause / 3600:g} h, since Directus suspends a user "
                "after 25 refusals; a restart tries at once."
            )
        return self.reason


#: By server, e-mail and hash of the password; those that were refused last.
_refusals: dict[tuple[str, str, int], _Refusals] = {}


class PasswordLogin:
    """Logs in over REST and keeps the access token fresh by the refresh token.

    The login is made over REST and not over the socket because the socket tells
    neither an access token nor when it ends.
    """

    def __init__(self, email: str, password: str) -> None:
        self._email = email
        self._password = password
        self._token: AccessToken | None = None
        self._refresh_token = ""
        self._renewing = asyncio.Lock()
        self._failure: Exception | None = None
        self._failed_at = 0.0

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """The current token, or a new one where the current one nears its end."""
        asked_at = time.monotonic()
        async with self._renewing:  # a refresh token is good for one who asks
            if self._failure is not None and self._failed_at >= asked_at:
                raise self._failure  # and who waited meanwhile need not fail anew
            token = self._token
            if token is None or (token.renew_at or 0) <= time.monotonic():
                token = self._token = await self._renew_or_note(http)
            return token

    def begin(self) -> None:
        """A log-in is good until its end."""
        self._renewing = asyncio.Lock()  # the event loop may be another one by now

    def forget(self) -> bool:
        """Log in, or refresh, at the next call."""
        self._token = None
        return True

    async def _renew_or_note(self, http: httpx.AsyncClient) -> AccessToken:
        try:
            token = await self._renew(http)
        except Exception as error:
            self._failure, self._failed_at = error, time.monotonic()
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
                # Used up by a request whose answer got lost, or too old: log in anew.
                self._refresh_token = ""
        return await self._log_in(http)

    async def _log_in(self, http: httpx.AsyncClient) -> AccessToken:
        user = str(http.base_url), self._email, hash(self._password)
        refused = _refusals.get(user)
        if refused is not None and time.monotonic() < refused.next_at:
            raise CredentialsRefused(refused.reason)
        try:
            token = await self._request(
                http, "/auth/login", {"email": self._email, "password": self._password}
            )
        except RequestRefused as error:
            if error.status not in _REFUSALS:
                raise
            refused = _refusals.setdefault(user, _Refusals())
            raise CredentialsRefused(refused.note(error)) from None
        _refusals.pop(user, None)
        return token

    async def _request(
        self, http: httpx.AsyncClient, path: str, body: dict[str, str]
    ) -> AccessToken:
        asked_at = time.monotonic()
        data: Any = data_of(await http.post(path, json=body))
        with taken_apart(path):
            token, lifetime = data["access_token"], data["expires"] / 1000
            if token_problem(token) or not 0 <= lifetime < math.inf:
                raise ValueError("Neither to be sent nor to be renewed.")
            self._refresh_token = data["refresh_token"]
            return AccessToken(token, asked_at + lifetime * RENEW_AFTER)


def token_problem(token: object) -> str:
    """What is wrong with a token, as a sentence that does not show it; ``""`` for nothing."""
    if not isinstance(token, str):
        return f"It is a {type(token).__name__}, not a text."
    if not token:
        return "It is empty."
    if not (token.isascii() and token.isprintable()) or " " in token:
        return "It contains a character that no token has, such as a line break or a space."
    return ""


def make_credentials(
    token: Token | None = None, email: str | None = None, password: str | None = None
) -> Credentials:
    """Credentials from what was configured.

    Raises:
        ConnectionImpossible: Neither a token nor an e-mail with a password was given, or
            the token cannot be sent.
    """
    if callable(token):
        return CalledToken(token)
    if token:
        if problem := token_problem(token):
            raise ConnectionImpossible(f"The token is wrong. {problem} Check TOKEN.")
        return StaticToken(token)
    if email and password:
        return PasswordLogin(email, password)
    raise ConnectionImpossible("Give a token, or an email and a password.")
