"""``DIRECTUS_REALTIME``: the configured Directus servers, by alias."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from directus_realtime import compat
from directus_realtime.client import ClientOptions, DirectusClient
from directus_realtime.client.client_subscription import ErrorCallback
from directus_realtime.client.credentials import Token, token_problem
from directus_realtime.client.options import header_problem, parse_proxy
from directus_realtime.utils.system_clock import SystemClock

__all__ = ["ConnectionSettings", "connection_settings"]

#: Name of the Django setting.
SETTING = "DIRECTUS_REALTIME"
#: Alias of the default connection.
DEFAULT_ALIAS = "default"
#: Values of ``DELIVERY``: receivers run in the listener, or in workers of ``django.tasks``.
INLINE, TASKS = "inline", "tasks"


@dataclass(frozen=True)
class ConnectionSettings:
    """One Directus server, as configured.

    Attributes:
        alias: Key in ``DIRECTUS_REALTIME``.
        url: Address of Directus, without user and password.
        token: Static token of a Directus user, or a callable that returns it.
        email: E-mail address of the login, where there is no token.
        password: Password of the login.
        headers: Extra headers of every request.
        ca_file: File with the certificates of a private CA.
        proxy: URL of an HTTP proxy; by default the environment's.
        connect_timeout: Seconds for each step of connecting.
        ping_interval: Seconds between pings.
        pong_timeout: Seconds without an answer to a ping until the connection counts as dead.
        max_message_size: Bytes; a larger message is skipped and reported.
        retry_attempts: Attempts of a failing receiver before the event is a dead letter.
        retry_base: Seconds; maximum of the first backoff, doubled with each attempt.
        retry_ceiling: Seconds; maximum of every backoff.
        catch_up_interval: Seconds between two polls of the activity log while the WebSocket
            announces changes, which are polled for at once.
        poll_interval: Seconds between two polls while there is no WebSocket.
        hole_age: Seconds after which an id of the activity log that never became visible is
            given up; longer than any transaction of Directus takes.
        retention_days: Days after which processed events are deleted; 0 keeps them.
        delivery: Where receivers run: ``inline``, in the listener, or in ``tasks``.
        task_timeout: Seconds after which a task counts as lost and is enqueued again.
        task_backend: Alias in ``TASKS`` of the backend that gets the tasks.
        task_queue: Name of the queue for the tasks.
        door_secret: Secret of the door, which a Flow in Directus sends; without one, the door of
            the connection is closed.
        door_signed: Whether the door accepts signed knocks only.
    """

    alias: str
    url: str
    token: Token = field(default="", repr=False)
    email: str = ""
    password: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_file: str = ""
    proxy: str = field(default="", repr=False)
    connect_timeout: float = ClientOptions.connect_timeout
    ping_interval: float = ClientOptions.ping_interval
    pong_timeout: float = ClientOptions.pong_timeout
    max_message_size: int = ClientOptions.max_message_size
    retry_attempts: int = 8
    retry_base: float = 1.0
    retry_ceiling: float = 300.0
    catch_up_interval: float = 30.0
    poll_interval: float = 1.0
    hole_age: float = 3600.0
    retention_days: float = 14
    delivery: str = INLINE
    task_timeout: float = 600.0
    task_backend: str = "default"
    task_queue: str = "default"
    door_secret: str = field(default="", repr=False)
    door_signed: bool = False

    def client_options(self, socket: Literal["required", "optional"] = "required") -> ClientOptions:
        """Return the options of the client.

        Args:
            socket: Whether a connection requires a WebSocket.

        Raises:
            ImproperlyConfigured: The file of ``CA_FILE`` cannot be read.
        """
        return ClientOptions(
            connect_timeout=self.connect_timeout,
            ping_interval=self.ping_interval,
            pong_timeout=self.pong_timeout,
            max_message_size=self.max_message_size,
            headers=self.headers,
            ssl=self._own_ca() if self.ca_file else None,
            proxy=self.proxy,
            socket=socket,
        )

    def _own_ca(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or "it holds no certificate"
            raise ImproperlyConfigured(
                f"CA_FILE {self.ca_file!r} of {self.alias!r} cannot be used: {reason}."
            ) from None

    def make_client(
        self,
        on_error: ErrorCallback | None = None,
        *,
        socket: Literal["required", "optional"] = "required",
        on_socket: Callable[[], None] | None = None,
        clock: SystemClock | None = None,
    ) -> DirectusClient:
        """Return a client of this connection, not connected yet.

        Args:
            on_error: Called with errors that belong to no subscription.
            socket: Whether a connection requires a WebSocket.
            on_socket: Called when a WebSocket was opened or closed.
            clock: Gives the time.
        """
        return DirectusClient(
            self.url,
            token=self.token,
            email=self.email,
            password=self.password,
            name=self.alias,
            options=self.client_options(socket),
            on_error=on_error,
            on_socket=on_socket,
            clock=clock,
        )


#: Keys of one connection in the setting, and the attribute each one fills.
KEYS = {name.upper(): name for name in ConnectionSettings.__dataclass_fields__ if name != "alias"}

_NUMBERS = (
    *("CONNECT_TIMEOUT", "PING_INTERVAL", "PONG_TIMEOUT", "MAX_MESSAGE_SIZE"),
    *("RETRY_ATTEMPTS", "RETRY_BASE", "RETRY_CEILING"),
    *("CATCH_UP_INTERVAL", "POLL_INTERVAL", "HOLE_AGE", "TASK_TIMEOUT"),
)
#: Three centuries in seconds: dates cannot represent much longer spans.
MOST_SECONDS = 10**10
#: Characters of the shortest secret of a door.
_SECRET_LENGTH = 32


def configured() -> dict[str, Any]:
    """The value of the setting; empty where it is missing or not a dict."""
    value = getattr(settings, SETTING, None)
    return value if isinstance(value, dict) else {}


def connection_settings(alias: str = DEFAULT_ALIAS) -> ConnectionSettings:
    """The settings of one connection.

    Raises:
        ImproperlyConfigured: There is no such alias, or its settings are wrong.
    """
    values = configured().get(alias)
    if not isinstance(values, dict):
        known = ", ".join(sorted(configured())) or "none"
        raise ImproperlyConfigured(
            f"There is no connection {alias!r} in {SETTING}. Configured: {known}."
        )
    if problems := find_problems(values):
        raise ImproperlyConfigured(f"{SETTING}[{alias!r}]: {problems[0].message}")
    known_values = {KEYS[key]: value for key, value in values.items()}
    return ConnectionSettings(alias=alias, **{**known_values, "url": values["URL"].rstrip("/")})


def task_route(alias: str) -> dict[str, str]:
    """Return the backend and the queue for the tasks of a connection, as arguments of a task."""
    values = configured().get(alias, {})
    return {
        "backend": values.get("TASK_BACKEND", ConnectionSettings.task_backend),
        "queue_name": values.get("TASK_QUEUE", ConnectionSettings.task_queue),
    }


def default_task_route() -> dict[str, str]:
    """Return the backend and the queue of the first connection that uses tasks."""
    by_tasks = (alias for alias, values in configured().items() if values.get("DELIVERY") == TASKS)
    return task_route(next(by_tasks, DEFAULT_ALIAS))


def aliases() -> list[str]:
    """The configured aliases."""
    return list(configured())


@dataclass(frozen=True)
class Problem:
    """A mistake in the settings of one connection.

    Attributes:
        number: Last part of the system check's id.
        message: Description of the mistake.
        hint: Remedy.
    """

    number: int
    message: str
    hint: str


def find_problems(values: Mapping[str, Any]) -> list[Problem]:
    """Return the mistakes in the settings of one connection, the worst first."""
    return [
        *_url_problems(values.get("URL")),
        *_login_problems(values),
        *_header_problems(values.get("HEADERS", {})),
        *_number_problems(values),
        *_proxy_problems(values.get("PROXY")),
        *_ca_problems(values.get("CA_FILE")),
        *_retention_problems(values.get("RETENTION_DAYS", 0)),
        *_delivery_problems(values),
        *_door_problems(values),
        *(
            Problem(5, f"{key!r} is not a known key.", f"Known: {', '.join(KEYS)}.")
            for key in sorted(set(values) - set(KEYS))
        ),
    ]


def _url_problems(url: object) -> Iterator[Problem]:
    parts = split_url(url)
    has_blanks = any(map(str.isspace, str(url)))
    if not url:
        yield Problem(
            2, "There is no URL.", "Set URL to Directus, such as https://cms.example.com."
        )
    elif parts is None or parts.scheme not in {"http", "https"} or not parts.hostname or has_blanks:
        # Without a part that may be a password.
        yield Problem(
            3,
            f"URL {str(url).rpartition('@')[2]!r} is not an http(s) URL.",
            "Give the address of Directus itself, such as https://cms.example.com; "
            "the WebSocket's address is found from it.",
        )
    elif parts.query or parts.fragment:
        yield Problem(
            27,
            "URL has something behind ? or #.",
            "Give the address of Directus alone, such as https://cms.example.com; a token "
            "belongs into TOKEN, since a URL ends up in logs.",
        )
    elif parts.username or parts.password:
        yield Problem(
            6,
            "URL contains a user name or a password.",
            "Put them into EMAIL and PASSWORD, or use TOKEN: a URL ends up in logs.",
        )


def split_url(url: object) -> SplitResult | None:
    """Return the parts of a URL; ``None`` for an invalid URL or port."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts if parts is None or parts.port != 0 else None
    except ValueError:
        return None


def _login_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    token = values.get("TOKEN")
    if not token and not (values.get("EMAIL") and values.get("PASSWORD")):
        yield Problem(
            4,
            "There is no TOKEN, and no EMAIL with PASSWORD.",
            "Create a user for Django in Directus and set TOKEN to its static token.",
        )
    if token and not callable(token) and (problem := token_problem(token)):
        yield Problem(
            20,
            f"TOKEN is wrong. {problem}",
            "Give the static token of a Directus user, or a callable that returns it.",
        )


def _header_problems(headers: object) -> Iterator[Problem]:
    if problem := header_problem(headers):
        yield Problem(
            26,
            f"HEADERS cannot be sent. {problem}",
            "Give a dict of names and plain texts; what is read from a file ends with a line "
            "break, unless it is stripped.",
        )


def _number_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    for key in _NUMBERS:
        if key not in values or _is_number(value := values[key]):
            continue
        problem = "which is not a number above 0"
        hint = "Give a number; a value from the environment is a text and must be converted."
        if _is_number(value, most=math.inf):
            problem, hint = "which is too large", f"Give a number up to {MOST_SECONDS}."
        yield Problem(8, f"{key} is {value!r}, {problem}.", hint)


def _is_number(value: object, most: float = MOST_SECONDS) -> bool:
    """Whether a value is a number above 0 and up to a limit."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= most


def _proxy_problems(proxy: object) -> Iterator[Problem]:
    if not proxy:
        return
    try:
        if not isinstance(proxy, str):
            raise ValueError(f"It is a {type(proxy).__name__}, not a text.")
        parse_proxy(proxy)
    except ValueError as error:
        hint = "Give the URL of an HTTP proxy; without PROXY, the environment's is used."
        yield Problem(21, f"PROXY is wrong. {error}", hint)


def _ca_problems(path: object) -> Iterator[Problem]:
    if path and not isinstance(path, str | os.PathLike):
        hint = "Give the path of a file with the certificates of a private CA."
        yield Problem(28, f"CA_FILE is {path!r}, not a path.", hint)


def _retention_problems(days: object) -> Iterator[Problem]:
    is_zero = type(days) in (int, float) and days == 0
    if not is_zero and not _is_number(days):
        yield Problem(
            11,
            f"RETENTION_DAYS is {days!r}, which is not a number of days.",
            "Give a number such as 14, or 0 to keep every event.",
        )


def _delivery_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    delivery = values.get("DELIVERY", INLINE)
    if delivery not in (INLINE, TASKS):
        yield Problem(
            22,
            f"DELIVERY is {delivery!r}.",
            'Use "inline", to have receivers run in directus_listen, or "tasks", to have '
            "them run in the workers of django.tasks.",
        )
    elif delivery == TASKS and compat.find_task() is None:
        yield Problem(
            23,
            'DELIVERY is "tasks", and there is no tasks framework.',
            "Use Django 6, or pip install django-tasks on Django 5.2, and configure TASKS "
            "with a backend that has workers, such as django_tasks_db.DatabaseBackend.",
        )
    elif delivery == TASKS:
        yield from _task_problems(values)


def _task_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    """Find a backend or a queue that the setting ``TASKS`` does not have."""
    backends = getattr(settings, "TASKS", None) or {"default": {}}
    backend = values.get("TASK_BACKEND", ConnectionSettings.task_backend)
    queue = values.get("TASK_QUEUE", ConnectionSettings.task_queue)
    if backend not in backends:
        yield Problem(
            29,
            f"TASK_BACKEND is {backend!r}, which is not in TASKS.",
            f"Set TASK_BACKEND to one of: {', '.join(sorted(backends))}.",
        )
        return
    queues = backends[backend].get("QUEUES", ["default"])
    if queues and queue not in queues:
        yield Problem(
            30,
            f"TASK_QUEUE is {queue!r}, which is no queue of the backend {backend!r} in TASKS.",
            f"Set TASK_QUEUE to one of: {', '.join(sorted(queues))}.",
        )


def _door_problems(values: Mapping[str, Any]) -> Iterator[Problem]:
    secret, is_signed = values.get("DOOR_SECRET", ""), values.get("DOOR_SIGNED", False)
    if problem := _secret_problem(secret, (values.get("TOKEN"), values.get("PASSWORD"))):
        hint = "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        yield Problem(31, f"DOOR_SECRET {problem}", hint)
    if not isinstance(is_signed, bool) or (is_signed and not secret):
        yield Problem(
            32,
            f"DOOR_SIGNED is {is_signed!r}" + ("." if secret else ", and there is no DOOR_SECRET."),
            "Give True or False, and DOOR_SECRET, the key of the signatures.",
        )


def _secret_problem(secret: object, others: tuple[object, ...]) -> str:
    if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable():
        return "is not a text of ASCII characters."
    if secret and len(secret) < _SECRET_LENGTH:
        return f"has {len(secret)} characters; {_SECRET_LENGTH} are the fewest."
    if secret and secret in others:
        return "is the token or the password of the connection, and is stored in Directus."
    return ""
