from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks

from directus_realtime.checks import check_channel_layer, check_connections, check_sqlite

TOKEN = {"TOKEN": "s3cret"}
KNOWN = (
    "Known: URL, TOKEN, EMAIL, PASSWORD, HEADERS, CA_FILE, PROXY, CONNECT_TIMEOUT, PING_INTERVAL, "
    "PONG_TIMEOUT, MAX_MESSAGE_SIZE, RETRY_ATTEMPTS, RETRY_BASE, RETRY_CEILING, "
    "CATCH_UP_INTERVAL, RETENTION_DAYS, DELIVERY, TASK_TIMEOUT."
)
LAYER_HINT = (
    'Set CHANNEL_LAYERS["default"]["BACKEND"] to '
    '"directus_realtime.layers.InboxChannelLayer" (no server needed) '
    'or "channels_redis.pubsub.RedisPubSubChannelLayer".'
)


def error(message: str, hint: str, number: str) -> Error:
    return Error(message, hint=hint, id=f"directus_realtime.{number}")


def warning(message: str, hint: str, number: str) -> Warning:
    return Warning(message, hint=hint, id=f"directus_realtime.{number}")


@pytest.mark.parametrize("value", [None, [], "https://cms", {"default": "https://cms"}])
def test_e001_the_setting_is_no_dict_of_connections(settings: Any, value: Any) -> None:
    settings.DIRECTUS_REALTIME = value
    assert check_connections() == [
        error(
            "DIRECTUS_REALTIME must be a dict of connections by alias.",
            'DIRECTUS_REALTIME = {"default": {"URL": "https://cms.example.com", "TOKEN": …}}',
            "E001",
        )
    ]


def test_e001_the_setting_is_missing(settings: Any) -> None:
    del settings.DIRECTUS_REALTIME
    assert [found.id for found in check_connections()] == ["directus_realtime.E001"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"URL": "https://cms.example.com", **TOKEN}, []),
        ({"URL": "https://cms.example.com", **TOKEN, "RETENTION_DAYS": 0}, []),
        ({"URL": "https://cms.example.com", **TOKEN, "RETENTION_DAYS": 0.5}, []),
        *(
            (
                {"URL": "https://cms.example.com", **TOKEN, "RETENTION_DAYS": days},
                [
                    error(
                        f"DIRECTUS_REALTIME['default']: RETENTION_DAYS is {days!r}, "
                        "which is not a number of days.",
                        "Give a number such as 14, or 0 to keep every event.",
                        "E011",
                    )
                ],
            )
            for days in ("14", -1, False, None)
        ),
        ({"URL": "http://localhost:8055", **TOKEN}, []),
        ({"URL": "http://127.0.0.1:8055", **TOKEN}, []),
        ({"URL": "http://[::1]:8055", **TOKEN}, []),
        (
            {**TOKEN},
            [
                error(
                    "DIRECTUS_REALTIME['default']: There is no URL.",
                    "Set URL to Directus, such as https://cms.example.com.",
                    "E002",
                )
            ],
        ),
        (
            {"URL": "wss://cms.example.com", **TOKEN},
            [
                error(
                    "DIRECTUS_REALTIME['default']: URL 'wss://cms.example.com' is not an "
                    "http(s) URL.",
                    "Give the address of Directus itself, such as https://cms.example.com; "
                    "the WebSocket's address is found from it.",
                    "E003",
                )
            ],
        ),
        (
            {"URL": "https://cms.example.com"},
            [
                error(
                    "DIRECTUS_REALTIME['default']: There is no TOKEN, and no EMAIL with PASSWORD.",
                    "Create a user for Django in Directus and set TOKEN to its static token.",
                    "E004",
                )
            ],
        ),
        (
            {"URL": "https://cms.example.com", **TOKEN, "URI": "x"},
            [error("DIRECTUS_REALTIME['default']: 'URI' is not a known key.", KNOWN, "E005")],
        ),
        (
            {"URL": "https://user:p4ss@cms.example.com", **TOKEN},
            [
                error(
                    "DIRECTUS_REALTIME['default']: URL contains a user name or a password.",
                    "Put them into EMAIL and PASSWORD, or use TOKEN: a URL ends up in logs.",
                    "E006",
                )
            ],
        ),
        (
            {"URL": "http://cms.example.com", **TOKEN},
            [
                warning(
                    "DIRECTUS_REALTIME['default']: URL is http, so the token travels unencrypted.",
                    "Use https, unless the network between the two is private.",
                    "W001",
                )
            ],
        ),
    ],
)
def test_connections(settings: Any, values: Any, expected: list[CheckMessage]) -> None:
    settings.DIRECTUS_REALTIME = {"default": values}
    assert check_connections() == expected


@pytest.mark.parametrize("alias", ["my blog", "my-blog", "ä", "x" * 41, "", "a\n", 5])
def test_e007_an_alias_that_cannot_be_part_of_a_group_name(settings: Any, alias: Any) -> None:
    settings.DIRECTUS_REALTIME = {alias: {"URL": "https://cms.example.com", **TOKEN}}
    assert check_connections() == [
        error(
            f"The alias {alias!r} in DIRECTUS_REALTIME cannot be part of a group name.",
            "Use up to 40 letters, digits and underscores.",
            "E007",
        )
    ]


def test_a_malformed_url_is_a_check_and_no_crash(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://[::1", **TOKEN}}
    assert [found.id for found in check_connections()] == ["directus_realtime.E003"]


def test_every_connection_is_checked(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {**TOKEN}, "blog": {**TOKEN}}
    assert [found.msg for found in check_connections()] == [
        "DIRECTUS_REALTIME['default']: There is no URL.",
        "DIRECTUS_REALTIME['blog']: There is no URL.",
    ]


def test_no_secret_is_shown(settings: Any) -> None:
    wrong = {"URL": "ws://user:p4ss@cms", "TOKEN": "s3cret", "PASSWORD": "w0rd", "X": "y3s"}
    settings.DIRECTUS_REALTIME = {"default": wrong}
    shown = " ".join(f"{found.msg} {found.hint}" for found in check_connections())
    assert not [secret for secret in ("p4ss", "s3cret", "w0rd", "y3s") if secret in shown]


def test_w002_there_is_no_channel_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {}
    assert check_channel_layer() == [
        warning("There is no channel layer, so no group messages are sent.", LAYER_HINT, "W002")
    ]


def test_w003_the_in_memory_layer(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    assert check_channel_layer() == [
        warning(
            "The in-memory channel layer does not reach from the listener to the web process.",
            LAYER_HINT,
            "W003",
        )
    ]


def test_a_layer_that_reaches_the_web_process(settings: Any) -> None:
    backend = "directus_realtime.layers.InboxChannelLayer"
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend}}
    assert check_channel_layer() == []


@pytest.fixture
def database(settings: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The default database's settings, to be changed in place."""
    database = {"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}}
    monkeypatch.setitem(settings.DATABASES, "default", database)
    return database


W004 = warning(
    "SQLite is used without IMMEDIATE transactions, so the listener and the web "
    'process will meet "database is locked".',
    'Set DATABASES["default"]["OPTIONS"]["transaction_mode"] = "IMMEDIATE".',
    "W004",
)


def test_w004_sqlite_without_immediate_transactions(database: dict[str, Any]) -> None:
    assert check_sqlite() == [W004]
    database["OPTIONS"]["transaction_mode"] = "DEFERRED"
    assert check_sqlite() == [W004]
    database["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
    assert check_sqlite() == []


def test_w004_is_not_about_other_databases(database: dict[str, Any]) -> None:
    database["ENGINE"] = "django.db.backends.postgresql"
    assert check_sqlite() == []


@pytest.mark.django_db  # Django 6 looks at the database in a plain check
def test_w004_is_seen_by_a_plain_check(database: dict[str, Any]) -> None:
    # Checks of the tag "database" run only with --database and in migrate.
    assert W004 in run_checks()


@pytest.mark.django_db  # Django 6 looks at the database in a plain check
def test_the_checks_are_registered(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = None
    settings.CHANNEL_LAYERS = {}
    found = {message.id for message in run_checks()}
    assert {"directus_realtime.E001", "directus_realtime.W002"} <= found
