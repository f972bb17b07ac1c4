"""``DIRECTUS_REALTIME``: the configured Directus servers, by alias."""

from __future__ import annotations

import math
import os
import ssl
from collections.abc import Callable, Mapping
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

__all__ = ["ConnectionSettings", "connection_settings"]

#: Name of the Django setting.
SETTING = "DIRECTUS_REALTIME"
#: Alias that is used where none is named.
DEFAULT_ALIAS = "default"
#: Values of ``DELIVERY``: receivers run in the listener, or in workers of ``django.tasks``.
INLINE, TASKS = "inline", "tasks"


@dataclass(frozen=True)
class ConnectionSettings:
    """One Directus server, as configured.

    Attributes:
        alias: Key in ``DIRECTUS_REALTIME``.
        url: Address of Directus; without user and password.
        token: Static token of a Directus user, or a callable that returns it.
        email: E-mail address to log in with, where there is no token.
        password: Password to that address.
        headers: Extra headers of every request.
        ca_file: File with the certificates of a private CA.
        proxy: URL of an HTTP proxy; else the environment's.
        connect_timeout: Seconds for each step of connecting.
        ping_interval: Seconds between pings.
        pong_timeout: Seconds of silence after a ping until the connection counts as dead.
        max_message_size: Bytes; a larger message is left out and reported.
        retry_attempts: How often a failing receiver is tried before the event is dead.
        retry_base: Seconds; doubled with each try, it is the longest delay before the next.
        retry_ceiling: Seconds; no delay between two tries is longer.
        catch_up_interval: Seconds between two polls of the activity log while the WebSocket
            announces changes; what it announces is polled for at once.
        poll_interval: Seconds between two polls while there is no WebSocket.
        hole_age: Seconds after which an id of the activity log that never became visible is
            given up; longer than any transaction of Directus takes.
        retention_days: Days after which events that are through are deleted; 0 keeps them.
        delivery: Where receivers run: ``inline``, in the listener, or in ``tasks``.
        task_timeout: Seconds after which a task counts as lost and is made anew.
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

    def client_options(self, socket: Literal["required", "optional"] = "required") -> ClientOptions:
        """Return what the client takes of it.

        Args:
            socket: Whether there is no connection without a WebSocket.

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
    ) -> DirectusClient:
        """Return a client of this connection, not connected yet.

        Args:
            on_error: Called with errors that belong to no subscription.
            socket: Whether there is no connection without a WebSocket.
            on_socket: Called where a WebSocket is open, or is no longer.
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
        )


#: Keys of one connection in the setting, and the attribute each one fills.
KEYS = {name.upper(): name for name in ConnectionSettings.__dataclass_fields__ if name != "alias"}


_NUMBERS = (
    "CONNECT_TIMEOUT",
    "PING_INTERVAL",
    "PONG_TIMEOUT",
    "MAX_MESSAGE_SIZE",
    "RETRY_ATTEMPTS",
    "RETRY_BASE",
    "RETRY_CEILING",
    "CATCH_UP_INTERVAL",
    "POLL_INTERVAL",
    "HOLE_AGE",
    "TASK_TIMEOUT",
)
#: Three centuries in seconds: of a longer span, there is no date any more.
MOST_SECONDS = 10**10


def configured() -> dict[str, Any]:
    """The setting as it stands; empty where it is missing or not a dict."""
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


def aliases() -> list[str]:
    """The configured aliases."""
    return list(configured())


@dataclass(frozen=True)
class Problem:
    """A mistake in the settings of one connection.

    Attributes:
        number: Last part of the system check's id.
        message: What is wrong.
        hint: What to do.
    """

    number: int
    message: str
    hint: str


def find_problems(values: Mapping[str, Any]) -> list[Problem]:
    """The mistakes in the settings of one connection, the worst first."""
    problems = [*_url_problems(values.get("URL"))]
    if not values.get("TOKEN") and not (values.get("EMAIL") and values.get("PASSWORD")):
        problems.append(
            Problem(
                4,
                "There is no TOKEN, and no EMAIL with PASSWORD.",
                "Create a user for Django in Directus and set TOKEN to its static token.",
            )
        )
    problems += _token_problems(values.get("TOKEN"))
    problems += _header_problems(values.get("HEADERS", {}))
    problems += _number_problems(values)
    problems += _proxy_problems(values.get("PROXY"))
    problems += _ca_problems(values.get("CA_FILE"))
    problems += _retention_problems(values)
    problems += _delivery_problems(values.get("DELIVERY", INLINE))
    for key in sorted(set(values) - set(KEYS)):
        problems.append(Problem(5, f"{key!r} is not a known key.", f"Known: {', '.join(KEYS)}."))
    return problems


def _url_problems(url: object) -> list[Problem]:
    if not url:
        return [
            Problem(2, "There is no URL.", "Set URL to Directus, such as https://cms.example.com.")
        ]
    parts = split_url(url)
    has_blanks = any(map(str.isspace, str(url)))
    is_http = parts is not None and parts.scheme in {"http", "https"}
    if parts is None or not is_http or not parts.hostname or has_blanks:
        return [
            Problem(
                3,
                f"URL {_shown(url)!r} is not an http(s) URL.",
                "Give the address of Directus itself, such as https://cms.example.com; "
                "the WebSocket's address is found from it.",
            )
        ]
    if parts.query or parts.fragment:
        return [
            Problem(
                27,
                "URL has something behind ? or #.",
                "Give the address of Directus alone, such as https://cms.example.com; a token "
                "belongs into TOKEN, since a URL ends up in logs.",
            )
        ]
    if parts.username or parts.password:
        return [
            Problem(
                6,
                "URL contains a user name or a password.",
                "Put them into EMAIL and PASSWORD, or use TOKEN: a URL ends up in logs.",
            )
        ]
    return []


def _token_problems(token: object) -> list[Problem]:
    if not token or callable(token) or not (problem := token_problem(token)):
        return []
    return [
        Problem(
            20,
            f"TOKEN is wrong. {problem}",
            "Give the static token of a Directus user, or a callable that returns it.",
        )
    ]


def _header_problems(headers: object) -> list[Problem]:
    if not (problem := header_problem(headers)):
        return []
    return [
        Problem(
            26,
            f"HEADERS cannot be sent. {problem}",
            "Give a dict of names and plain texts; what is read from a file ends with a line "
            "break, unless it is stripped.",
        )
    ]


def _proxy_problems(proxy: object) -> list[Problem]:
    if not proxy:
        return []
    try:
        if not isinstance(proxy, str):
            raise ValueError(f"It is a {type(proxy).__name__}, not a text.")
        parse_proxy(proxy)
    except ValueError as error:
        hint = "Give the URL of an HTTP proxy; without PROXY, the environment's is used."
        return [Problem(21, f"PROXY is wrong. {error}", hint)]
    return []


def _ca_problems(path: object) -> list[Problem]:
    if not path or isinstance(path, str | os.PathLike):
        return []
    hint = "Give the path of a file with the certificates of a private CA."
    return [Problem(28, f"CA_FILE is {path!r}, not a path.", hint)]


def split_url(url: object) -> SplitResult | None:
    """The parts of a URL; ``None`` where it has none, or a port that there is not."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
        return parts if parts is None or parts.port != 0 else None
    except ValueError:
        return None


def _delivery_problems(delivery: object) -> list[Problem]:
    if delivery not in (INLINE, TASKS):
        return [
            Problem(
                22,
                f"DELIVERY is {delivery!r}.",
                'Use "inline", to have receivers run in directus_listen, or "tasks", to have '
                "them run in the workers of django.tasks.",
            )
        ]
    if delivery == TASKS and compat.task is None:
        return [
            Problem(
                23,
                'DELIVERY is "tasks", and there is no tasks framework.',
                "Use Django 6, or pip install django-tasks on Django 5.2, and configure TASKS "
                "with a backend that has workers, such as django_tasks_db.DatabaseBackend.",
            )
        ]
    return []


def _number_problems(values: Mapping[str, Any]) -> list[Problem]:
    given = {key: values[key] for key in _NUMBERS if key in values}
    return [_number_problem(key, value) for key, value in given.items() if not _is_number(value)]


def _number_problem(key: str, value: object) -> Problem:
    problem = "which is not a number above 0"
    hint = "Give a number; a value from the environment is a text and must be converted."
    if _is_number(value, most=math.inf):
        problem, hint = "which is too large", f"Give a number up to {MOST_SECONDS}."
    return Problem(8, f"{key} is {value!r}, {problem}.", hint)


def _retention_problems(values: Mapping[str, Any]) -> list[Problem]:
    days = values.get("RETENTION_DAYS", 0)
    if _is_number(days) or (days == 0 and isinstance(days, int | float) and days is not False):
        return []
    return [
        Problem(
            11,
            f"RETENTION_DAYS is {days!r}, which is not a number of days.",
            "Give a number such as 14, or 0 to keep every event.",
        )
    ]


def _is_number(value: object, most: float = MOST_SECONDS) -> bool:
    """Whether a value is a number above 0, and no larger than dates can have it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 < value <= most


def _shown(url: object) -> str:
    """A wrong URL without what may be a password."""
    text = str(url)
    return text.rpartition("@")[2] if "@" in text else text
