"""Users, tokens and rights of a fake Directus."""

from __future__ import annotations

import base64
import json
import secrets
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from directus_realtime.testing.fake.fake_collection import FakeCollection, Filter, Item
from directus_realtime.testing.fake.refusals import ApiError, invalid_credentials

OTHER_ACTIONS = ("create", "update", "delete", "share")


@dataclass
class FakeUser:
    """A user of a fake Directus.

    Args:
        email: The e-mail address to log in with.
        password: The password.
        name: The name to show.
        token: A static token, or None.
        readable: Collections this user may read, each with a filter for the rows (``{}`` for
            all of them). ``None`` makes an administrator. It may be changed at any time.
        fields: Readable fields by collection; all of the collections not listed.
        status: ``"active"``, or ``"suspended"`` for a refused user.
    """

    email: str
    password: str = field(repr=False)
    name: str = ""
    token: str | None = field(default=None, repr=False)
    readable: Mapping[str, Filter] | None = None
    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    status: str = "active"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return self.readable is None

    def as_item(self) -> Item:
        """Return the user as a row of ``directus_users``."""
        row = {"id": self.id, "first_name": self.name, "email": self.email}
        return {**row, "status": self.status, "policies": []}


@dataclass(frozen=True)
class Access:
    """The rights on one connection or request."""

    user: FakeUser | None = None
    unrestricted: bool = False  # everything is allowed without a user
    expires_at: float | None = None  # of the token, in seconds since 1970

    @property
    def is_admin(self) -> bool:
        """Whether everything is allowed."""
        return self.unrestricted or (self.user is not None and self.user.is_admin)

    def may_read(self, collection: str) -> bool:
        """Return whether any row of the collection may be read."""
        return self.is_admin or collection in self._readable

    def rule(self, collection: str) -> Filter:
        """Return the filter for the rows that may be read."""
        return {} if self.is_admin else self._readable.get(collection, {})

    @property
    def fields(self) -> Mapping[str, Sequence[str]]:
        """Readable fields by collection; all of those not listed."""
        return self.user.fields if self.user and not self.is_admin else {}

    def field_names(self, collection: FakeCollection) -> Sequence[str]:
        """Return the fields of a collection that may be read, in its order."""
        allowed = self.fields.get(collection.name, collection.field_names)
        return [name for name in collection.field_names if name in allowed]

    def permissions(self, collections: Iterable[str]) -> Item:
        """Return the answer to ``GET /permissions/me``."""
        allowed: Item = {}
        for name in filter(self.may_read, collections):
            scope = "partial" if self.rule(name) else "full"
            read: Item = {"access": scope, "fields": list(self.fields.get(name, ["*"]))}
            other: Item = read if self.is_admin else {"access": "none"}
            allowed[name] = {"read": read, **dict.fromkeys(OTHER_ACTIONS, other)}
        return allowed

    @property
    def _readable(self) -> Mapping[str, Filter]:
        return (self.user.readable if self.user else None) or {}


PUBLIC = Access()
# Directus 11.17.4 drops the user of a socket when its token expires, and then denies nothing.
EXPIRED = Access(unrestricted=True)


@dataclass(frozen=True)
class Tokens:
    """The answer to a login; ``expires`` is in milliseconds."""

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires: int


class Accounts:
    """The users and their tokens; access tokens live for ``ttl`` seconds."""

    def __init__(self, users: Iterable[FakeUser], ttl: float) -> None:
        self.users = list(users)
        self.ttl = ttl
        self.refusing = False
        self._issued: dict[str, tuple[FakeUser, float]] = {}
        self._refresh: dict[str, FakeUser] = {}

    def access(self, token: object) -> Access:
        """Return the rights of a static token or an access token, or refuse it."""
        if self.refusing or not isinstance(token, str) or not token:
            raise invalid_credentials()
        for user in self.users:
            if user.token == token and user.status == "active":
                return Access(user)
        if token not in self._issued:
            raise invalid_credentials()
        user, expires_at = self._issued[token]
        if expires_at <= time.time():
            raise ApiError(401, "TOKEN_EXPIRED", "Token expired.")
        return Access(user, expires_at=expires_at)

    def login(self, email: object, password: object) -> Tokens:
        """Log in with a password."""
        for user in self.users:
            known = (user.email, user.password, user.status) == (email, password, "active")
            if known and not self.refusing:
                return self._issue(user)
        raise invalid_credentials()

    def refresh(self, token: object) -> Tokens:
        """Exchange a refresh token, which becomes invalid, for new tokens."""
        if self.refusing or not isinstance(token, str) or token not in self._refresh:
            raise invalid_credentials()
        user = self._refresh.pop(token)
        if user.status != "active":
            raise invalid_credentials()
        return self._issue(user)

    def user(self, email: str) -> FakeUser:
        """Return the user with this e-mail address; raises KeyError if there is none."""
        found = next((user for user in self.users if user.email == email), None)
        if found is None:
            known = ", ".join(user.email for user in self.users)
            raise KeyError(f"{email!r} is no user of the fake; its users are {known}.")
        return found

    def expire(self) -> None:
        """Expire every issued access token; static tokens stay valid."""
        self._issued = {token: (user, 0.0) for token, (user, _) in self._issued.items()}

    def _issue(self, user: FakeUser) -> Tokens:
        expires_at = time.time() + self.ttl
        access, refresh = _token(user, expires_at), secrets.token_urlsafe(48)
        self._issued[access] = (user, expires_at)
        self._refresh[refresh] = user
        return Tokens(access, refresh, round(self.ttl * 1000))


def _token(user: FakeUser, expires_at: float) -> str:
    """Return a token in the shape of a JWT, so that a client can read its expiry."""
    head = {"alg": "HS256", "typ": "JWT"}
    body = {"id": user.id, "admin_access": user.is_admin, "iss": "directus"}
    body |= {"iat": int(time.time()), "exp": int(expires_at)}
    parts = [json.dumps(part).encode() for part in (head, body)] + [secrets.token_bytes(32)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
