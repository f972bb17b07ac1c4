"""The servers of the contract suite: the fake and real ones, behind one small interface."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from directus_realtime.testing import FakeCollection, FakeUser, ThreadedFakeDirectus, run_in_thread
from example_project.real_directus import DirectusAdmin, DirectusServer
from tests.conftest import own_database
from tests.helpers.flows import create_by_flow
from tests.helpers.writes import WRITES

FAKE = "fake"
LIKE_FAKE = "11.17.4"  # the version that the fake imitates
DATABASE = os.environ.get("CONTRACT_DATABASE", "sqlite")  # or postgres, mariadb

#: Collections: type of the key, and the fields.
COLLECTIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "authors": ("integer", {"name": "string"}),
    "articles": (
        "integer",
        {"title": "string", "status": "string", "author": "integer"},
    ),
    "notes": ("uuid", {"title": "string"}),
    "labels": ("string", {"title": "string"}),
    "nodes": ("integer", {"title": "string", "parent": "integer"}),
    "secrets": ("integer", {"title": "string"}),
}
#: What the activity log has of their changes, where it is not all.
ACCOUNTABILITY: Mapping[str, Literal["activity"] | None] = {"labels": "activity", "secrets": None}
#: Fields that name an item, and of which collection.
RELATIONS: Mapping[str, str] = {"author": "authors", "parent": "nodes"}
PUBLISHED = {"status": {"_eq": "published"}}
PASSWORD = "contract-password"

#: Seconds an access token lasts on a tuned server.
TOKEN_LIFE = 3
#: Seconds between the pings of a tuned server, which ends a socket that was silent in between.
HEARTBEAT = 3
#: ``QUERY_LIMIT_MAX`` of a tuned server.
QUERY_LIMIT = 50
#: ``WEBSOCKETS_REST_PATH`` of a tuned server.
OTHER_PATH = "/realtime"


@dataclass(frozen=True)
class Profile:
    """Settings of a server: those of a real one, and the same for the fake."""

    name: str
    env: Mapping[str, str] = field(default_factory=dict)
    fake: Mapping[str, Any] = field(default_factory=dict)
    rate_limit: tuple[int, int] | None = None


PLAIN = Profile("plain")
TUNED = Profile(
    "tuned",
    env={
        "ACCESS_TOKEN_TTL": f"{TOKEN_LIFE}s",
        "QUERY_LIMIT_MAX": str(QUERY_LIMIT),
        "WEBSOCKETS_HEARTBEAT_PERIOD": str(HEARTBEAT),
        "WEBSOCKETS_REST_PATH": OTHER_PATH,
    },
    fake={
        "access_token_ttl": TOKEN_LIFE,
        "query_limit_max": QUERY_LIMIT,
        "heartbeat_period": HEARTBEAT,
        "websocket_path": OTHER_PATH,
    },
)
RATE_LIMITED = Profile(
    "rate limited and strict",
    env={
        "WEBSOCKETS_REST_AUTH": "strict",
        "RATE_LIMITER_ENABLED": "true",
        "RATE_LIMITER_POINTS": "20",
        "RATE_LIMITER_DURATION": "2",
    },
    fake={"auth_mode": "strict"},
    rate_limit=(20, 2),
)
QUIET = Profile(
    "cached and without a heartbeat",
    env={"CACHE_ENABLED": "true", "WEBSOCKETS_HEARTBEAT_ENABLED": "false"},
    fake={"cache": True, "heartbeat_period": 0},
)
NO_WEBSOCKETS = Profile(
    "without WebSockets", env={"WEBSOCKETS_ENABLED": "false"}, fake={"websockets": False}
)
PUBLIC = Profile("public", env={"WEBSOCKETS_REST_AUTH": "public"}, fake={"auth_mode": "public"})


class Server(ABC):
    """A Directus with the collections above, an administrator and a limited reader.

    The reader may read ``articles`` (only published ones, except on Directus 12, which
    wants a licence for such a rule) and nothing else.

    Attributes:
        version: ``fake`` or the version of a real server.
        profile: Its settings.
        url: Its address.
        websocket_url: The address of its WebSocket.
        admin: REST access with all rights.
        token: The administrator's static token.
        reader_token: The reader's static token.
        email: The administrator's; for a log-in with ``password``.
    """

    version: str
    profile: Profile
    url: str
    websocket_url: str
    admin: DirectusAdmin
    token: str
    reader_token: str
    reader_email: str
    email: str
    password: str

    @property
    def is_fake(self) -> bool:
        return self.version == FAKE

    @property
    def is_strict(self) -> bool:
        """Whether the token comes with the upgrade."""
        return self.profile.fake.get("auth_mode") == "strict"

    @property
    def major(self) -> int:
        """The major version that it behaves like."""
        return int((LIKE_FAKE if self.is_fake else self.version).partition(".")[0])

    @property
    def errors_name_the_subscription(self) -> bool:
        """T9: Directus 10 and 11 leave the uid out of most errors."""
        return self.major >= 12

    @abstractmethod
    def kill(self) -> None:
        """End it without a word; the port is closed from now on."""

    @abstractmethod
    def start(self) -> None:
        """Come back after :meth:`kill`, at the same address and with the same data."""

    @abstractmethod
    def freeze(self) -> None:
        """Answer nothing, with all connections open."""

    @abstractmethod
    def thaw(self) -> None:
        """End :meth:`freeze`."""

    @abstractmethod
    def change_silently(self, title: str) -> None:
        """Create an article as a Flow does whose operation does not emit events."""


class FakeServer(Server):
    """The fake in a thread of its own."""

    version = FAKE
    email = "editor@example.com"
    password = PASSWORD
    reader_email = "reader@example.com"

    def __init__(self, fake: ThreadedFakeDirectus, profile: Profile, reader_token: str) -> None:
        self.fake = fake
        self.profile = profile
        self.url = fake.url
        self.websocket_url = fake.websocket_url
        self.token = fake.token
        self.reader_token = reader_token
        self.admin = DirectusAdmin(self.url, self.token)

    def kill(self) -> None:
        self.fake.call(lambda fake: fake.stop_listening())

    def start(self) -> None:
        self.fake.call(lambda fake: fake.resume_listening())

    def freeze(self) -> None:
        self.fake.call(lambda fake: fake.freeze())

    def thaw(self) -> None:
        self.fake.call(lambda fake: fake.thaw())

    def change_silently(self, title: str) -> None:
        self.fake.call(lambda fake: fake.create("articles", {"title": title}, emit=False))

    @contextlib.contextmanager
    def holding_changes(self) -> Iterator[None]:
        """Creates and updates are told when the block has ended; deletes at once (T5)."""
        self.fake.call(lambda fake: fake.hold_changes())
        try:
            yield
        finally:
            self.fake.call(lambda fake: fake.release_changes())

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message to every socket."""
        self.fake.call(lambda fake: fake.send_raw(json.dumps(message)))


class RealServer(Server):
    """A Directus from npm."""

    reader_email = "reader@example.com"

    def __init__(self, server: DirectusServer, profile: Profile, reader_token: str) -> None:
        path = profile.env.get("WEBSOCKETS_REST_PATH", "/websocket")
        self.server = server
        self.profile = profile
        self.version = server.version
        self.url = server.url
        self.websocket_url = f"{server.url.replace('http', 'ws', 1)}{path}"
        self.token = server.admin_token
        self.email = server.admin_email
        self.password = server.admin_password
        self.reader_token = reader_token
        self.admin = server.admin()

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()

    def freeze(self) -> None:
        self.server.pause()

    def thaw(self) -> None:
        self.server.resume()

    def change_silently(self, title: str) -> None:
        create_by_flow(self.admin, "articles", {"title": title})


@contextlib.contextmanager
def run_fake(profile: Profile) -> Iterator[Server]:
    """The fake, set up."""
    reader_token = secrets.token_urlsafe(16)
    users = [
        FakeUser(FakeServer.email, PASSWORD, name="Editor"),
        FakeUser(
            FakeServer.reader_email,
            PASSWORD,
            token=reader_token,
            readable={"articles": PUBLISHED},
        ),
    ]
    with run_in_thread(collections=_fake_collections(), users=users, **profile.fake) as fake:
        if profile.rate_limit is not None:
            limit = profile.rate_limit
            fake.call(lambda each: each.rate_limit(*limit))
        server = FakeServer(fake, profile, reader_token)
        with server.admin:
            yield server


@contextlib.contextmanager
def run_real(version: str, profile: Profile) -> Iterator[Server]:
    """A real server, set up.

    Raises:
        DirectusUnavailable: It cannot be had here.
    """
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(own_database(DATABASE))
        directus = stack.enter_context(
            DirectusServer(version, database=database, env=profile.env, extensions=[WRITES])
        )
        with directus.admin() as admin:
            _make_collections(admin)
            token = _make_reader(admin, RealServer.reader_email, version)
        server = RealServer(directus, profile, token)
        stack.enter_context(server.admin)
        yield server


def _fake_collections() -> list[FakeCollection]:
    made = []
    for name, (key_type, fields) in COLLECTIONS.items():
        described: dict[str, Any] = dict(fields)
        for field_name in RELATIONS.keys() & described.keys():
            described[field_name] = ("m2o", RELATIONS[field_name])
        items = [{"name": "Annie"}] if name == "authors" else []
        made.append(
            FakeCollection(
                name,
                key_type=key_type,
                fields=described,
                items=items,
                accountability=ACCOUNTABILITY.get(name, "all"),
            )
        )
    return made


def _make_collections(admin: DirectusAdmin) -> None:
    for name, (key_type, fields) in COLLECTIONS.items():
        admin.create_collection(name, fields, key_type)
        if name in ACCOUNTABILITY:
            meta = {"accountability": ACCOUNTABILITY[name]}
            admin.request("PATCH", f"/collections/{name}", {"meta": meta})
    admin.create_relation("articles", "author", "authors")
    admin.create_relation("nodes", "parent", "nodes")
    admin.create_item("authors", {"name": "Annie"})


def _make_reader(admin: DirectusAdmin, email: str, version: str) -> str:
    """A user with read on articles; Directus 10 keeps rights with roles, not policies."""
    major = int(version.partition(".")[0])
    rule = {} if major >= 12 else PUBLISHED
    read = {"collection": "articles", "action": "read", "permissions": rule, "fields": ["*"]}
    if major >= 11:
        policy = {
            "name": "reader",
            "admin_access": False,
            "app_access": False,
            "permissions": [read],
        }
        return admin.create_user([policy], email=email, password=PASSWORD)
    role = {"name": "reader", "admin_access": False, "app_access": False}
    role_id = admin.request("POST", "/roles", role)["id"]
    admin.request("POST", "/permissions", {**read, "role": role_id})
    token = secrets.token_urlsafe(24)
    user = {"email": email, "password": PASSWORD, "token": token, "role": role_id}
    admin.request("POST", "/users", user)
    return token
