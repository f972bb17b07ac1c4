"""Who we are for Directus: a static token, or an e-mail and a password."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from directus_realtime.client.responses import data_of
from directus_realtime.exceptions import ConnectionImpossible, CredentialsRefused, RequestRefused

# What a wrong password is answered with; anything else is a server that is not ready.
_REFUSALS = frozenset({400, 401, 403})
#: The share of a token's life after which it is renewed.
RENEW_AFTER = 0.6


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
            httpx.TransportError: Directus could not be reached.
        """
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

    def forget(self) -> bool:
        """There is no other."""
        return False


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

    async def access_token(self, http: httpx.AsyncClient) -> AccessToken:
        """The current token, or a new one where the current one nears its end."""
        token = self._token
        if token is None or (token.renew_at or 0) <= time.monotonic():
            token = self._token = await self._renew(http)
        return token

    def forget(self) -> bool:
        """Log in, or refresh, at the next call."""
        self._token = None
        return True

    async def _renew(self, http: httpx.AsyncClient) -> AccessToken:
        if self._refresh_token:
            try:
                return await self._request(
                    http, "/auth/refresh", {"refresh_token": self._refresh_token, "mode": "json"}
                )
            except RequestRefused:
                # Used up by a request whose answer got lost, or too old: log in anew.
                self._refresh_token = ""
        try:
            return await self._request(
                http, "/auth/login", {"email": self._email, "password": self._password}
            )
        except RequestRefused as error:
            if error.status not in _REFUSALS:
                raise
            raise CredentialsRefused(
                f"Directus refused the log-in ({error.message.rstrip('.')}). "
                "Check EMAIL and PASSWORD, and that the user is active."
            ) from None

    async def _request(
        self, http: httpx.AsyncClient, path: str, body: dict[str, str]
    ) -> AccessToken:
        asked_at = time.monotonic()
        data: Any = data_of(await http.post(path, json=body))
        self._refresh_token = data["refresh_token"]
        lifetime = data["expires"] / 1000
        return AccessToken(data["access_token"], asked_at + lifetime * RENEW_AFTER)


def make_credentials(
    token: str | None = None, email: str | None = None, password: str | None = None
) -> Credentials:
    """Credentials from what was configured.

    Raises:
        ConnectionImpossible: Neither a token nor an e-mail with a password was given, or
            the token cannot be sent.
    """
    if token:
        if not (token.isascii() and token.isprintable()) or " " in token:
            raise ConnectionImpossible(
                "The token contains a character that no token has, such as a line break or a "
                "space. Check TOKEN."
            )
        return StaticToken(token)
    if email and password:
        return PasswordLogin(email, password)
    raise ConnectionImpossible("Give a token, or an email and a password.")
