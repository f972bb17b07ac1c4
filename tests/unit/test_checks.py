from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, Error, Warning, run_checks

from directus_realtime.checks import (
    check_channel_layer,
    check_connections,
    check_database,
    check_door,
)

TOKEN = {"TOKEN": "s3cret"}
KNOWN = (
    "Known: URL, TOKEN, EMAIL, PASSWORD, HEADERS, CA_FILE, PROXY, CONNECT_TIMEOUT, PING_INTERVAL, "
    "PONG_TIMEOUT, MAX_MESSAGE_SIZE, RETRY_ATTEMPTS, RETRY_BASE, RETRY_CEILING, "
    "CATCH_UP_INTERVAL, POLL_INTERVAL, HOLE_AGE, RETENTION_DAYS, DELIVERY, TASK_TIMEOUT, "
    "TASK_BACKEND, TASK_QUEUE, DOOR_SECRET, DOOR_SIGNED."
)
LAYER_HINT = (
    'Set CHANNEL_LAYERS["default"]["BACKEND"] to '
    '"directus_realtime.layers.InboxChannelLayer" (no server needed) '
    'or "channels_redis.pubsub.RedisPubSubChannelLayer".'
)


def error(message: str, hint: str, number: str) -> Error:
    page = f"See docs/checks.md#{number.lower()}."
    return Error(message, hint=f"{hint} {page}", id=f"directus_realtime.{number}")


def warning(message: str, hint: str, number: str) -> Warning:
    page = f"See docs/checks.md#{number.lower()}."
    return Warning(message, hint=f"{hint} {page}", id=f"directus_realtime.{number}")


@pytest.mark.parametrize("value", [None, [], "https://cms", {"default": "https://cms"}])
def test_e001_the_setting_is_no_dict_of_connections(settings: Any, value: Any) -> None:
    settings.DIRECTUS_REALTIME = value
    assert check_connections() == [
        error(
            "DIRECTUS_REALTIME must be a dict of connections by alias.",
            'Set DIRECTUS_REALTIME = {"default": {"URL": "https://cms.example.com", "TOKEN": …}}.',
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


@pytest.mark.parametrize(
    "url",
    [
        "https://cms.example.com\n",
        " https://cms.example.com",
        "https://cms.example.com ",
        "https://cms.example.com:99999",
        "https://cms.example.com:0",
        "https://cms.example.com:x",
    ],
)
def test_e003_a_url_that_leads_nowhere(settings: Any, url: str) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": url, **TOKEN}}
    assert [found.id for found in check_connections()] == ["directus_realtime.E003"]


UNSENDABLE = "contains a character that no header has, such as a line break at its end."


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ("X-Tenant: shop", "They are a str, not a dict of texts."),
        (None, "They are a NoneType, not a dict of texts."),
        ({"X-Shard": 1}, "The value of X-Shard is a int, not a text."),
        ({"X-Tenant": "s3cret\n"}, f"The value of X-Tenant {UNSENDABLE}"),
        ({"X-Tenant": "dépôt"}, f"The value of X-Tenant {UNSENDABLE}"),
        (
            {"X Tenant": "shop"},
            "A name contains a character that no header's name has, or is no text.",
        ),
    ],
)
def test_e026_headers(settings: Any, headers: Any, problem: str) -> None:
    values = {"URL": "https://cms.example.com", **TOKEN, "HEADERS": headers}
    settings.DIRECTUS_REALTIME = {"default": values}
    hint = (
        "Give a dict of names and plain texts; what is read from a file ends with a line break, "
        "unless it is stripped."
    )
    text = f"DIRECTUS_REALTIME['default']: HEADERS cannot be sent. {problem}"
    assert check_connections() == [error(text, hint, "E026")]


def test_e028_a_file_of_certificates(settings: Any) -> None:
    values = {"URL": "https://cms.example.com", **TOKEN, "CA_FILE": Path("ca.pem")}
    settings.DIRECTUS_REALTIME = {"default": values}
    assert check_connections() == []
    values["CA_FILE"] = 3
    assert check_connections() == [
        error(
            "DIRECTUS_REALTIME['default']: CA_FILE is 3, not a path.",
            "Give the path of a file with the certificates of a private CA.",
            "E028",
        )
    ]


@pytest.mark.parametrize(
    ("value", "problem", "hint"),
    [
        *(
            (
                value,
                "which is not a number above 0.",
                "Give a number; a value from the environment is a text and must be converted.",
            )
            for value in ("5", 0, -1, True, None, float("nan"))
        ),
        *(
            (value, "which is too large.", "Give a number up to 10000000000.")
            for value in (float("inf"), 1e300, 10**400)
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_e008_a_number(settings: Any, value: Any, problem: str, hint: str) -> None:
    settings.DIRECTUS_REALTIME = {
        "default": {"URL": "https://cms.example.com", **TOKEN, "TASK_TIMEOUT": value}
    }
    text = f"DIRECTUS_REALTIME['default']: TASK_TIMEOUT is {value!r}, {problem}"
    assert check_connections() == [error(text, hint, "E008")]


SAME = {"URL": "https://cms.example.com", **TOKEN}


def same_token() -> str:
    return "s3cret"


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        (SAME, {**SAME, "URL": "https://CMS.example.com:443/"}, True),
        (SAME, {**SAME, "TOKEN": "another"}, False),
        (SAME, {**SAME, "URL": "https://cms.example.com/blog"}, False),
        (SAME, {**SAME, "URL": "https://cms.example.com:8055"}, False),
        (SAME, {**SAME, "URL": "https://cms.example.com:x"}, False),
        ({**SAME, "TOKEN": same_token}, {**SAME, "TOKEN": same_token}, True),
        ({**SAME, "TOKEN": same_token}, SAME, False),
        (
            {"URL": SAME["URL"], "EMAIL": "a@example.com", "PASSWORD": "1"},
            {"URL": SAME["URL"], "EMAIL": "A@example.com", "PASSWORD": "1"},
            True,
        ),
    ],
)
def test_w005_the_same_user_on_the_same_server_twice(
    settings: Any, one: Any, other: Any, is_same: bool
) -> None:
    settings.DIRECTUS_REALTIME = {"default": one, "blog": other}
    found = warning(
        "DIRECTUS_REALTIME['blog'] is the same user on the same server as 'default', so what is "
        "subscribed on both comes twice.",
        "Make subscriptions of one connection; they share its socket. For two connections on "
        "purpose, give each a user of its own in Directus.",
        "W005",
    )
    about_both = [each for each in check_connections() if each.id == found.id]
    assert about_both == ([found] if is_same else [])


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
    wrong["HEADERS"] = {"X-Key": "h34der\n"}  # type: ignore[assignment]
    settings.DIRECTUS_REALTIME = {"default": wrong}
    shown = " ".join(f"{found.msg} {found.hint}" for found in check_connections())
    assert not [secret for secret in ("p4ss", "s3cret", "w0rd", "y3s", "h34der") if secret in shown]


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
    assert check_database() == [W004]
    database["OPTIONS"]["transaction_mode"] = "DEFERRED"
    assert check_database() == [W004]
    database["OPTIONS"]["transaction_mode"] = "IMMEDIATE"
    assert check_database() == []


def test_w004_is_not_about_other_databases(database: dict[str, Any]) -> None:
    database["ENGINE"] = "django.db.backends.postgresql"
    assert check_database() == []


def test_e024_aliases_that_the_database_takes_for_one(
    database: dict[str, Any], settings: Any
) -> None:
    one = {"URL": "https://cms.example.com", "TOKEN": "a"}
    settings.DIRECTUS_REALTIME = {"blog": one, "Blog": one, "shop": one}
    database["ENGINE"] = "django.db.backends.postgresql"
    assert check_database() == []
    database["ENGINE"] = "django.db.backends.mysql"
    assert check_database() == [
        error(
            "DIRECTUS_REALTIME['Blog'] differs from 'blog' in case only, and the database takes "
            "the two for one.",
            "Rename one of them.",
            "E024",
        )
    ]


def test_e025_times_without_a_zone(database: dict[str, Any], settings: Any) -> None:
    database["ENGINE"] = "django.db.backends.postgresql"
    settings.USE_TZ = False
    message = "USE_TZ is False: times of Directus have a zone, and could not be stored."
    assert check_database() == [error(message, "Set USE_TZ = True.", "E025")]


@pytest.mark.parametrize("age", [60, None])
def test_w006_kept_connections_that_nobody_checks(database: dict[str, Any], age: Any) -> None:
    database.update(ENGINE="django.db.backends.postgresql", CONN_MAX_AGE=age)
    assert check_database() == [
        warning(
            f'DATABASES["default"]: CONN_MAX_AGE is {age!r} without CONN_HEALTH_CHECKS, so after '
            "a restart of the database the first query on each connection fails.",
            'Set DATABASES["default"]["CONN_HEALTH_CHECKS"] = True.',
            "W006",
        )
    ]
    database["CONN_HEALTH_CHECKS"] = True
    assert check_database() == []


def test_w007_kept_connections_under_asgi(database: dict[str, Any], settings: Any) -> None:
    database.update(ENGINE="django.db.backends.mysql", CONN_MAX_AGE=60, CONN_HEALTH_CHECKS=True)
    settings.ASGI_APPLICATION = "shop.asgi.application"
    assert check_database() == [
        warning(
            'DATABASES["default"]: CONN_MAX_AGE is 60 in a project that serves ASGI, where '
            "threads come and go and leave their connections open.",
            'Set DATABASES["default"]["CONN_MAX_AGE"] = 0 (directus_listen keeps its '
            "connections all the same), and use a pool if connecting takes long.",
            "W007",
        )
    ]
    database["CONN_MAX_AGE"] = 0
    assert check_database() == []


@pytest.mark.parametrize(
    ("pool", "size"),
    [
        (True, 4),
        ({"min_size": 2}, 2),
        ({"min_size": 2, "max_size": 6}, 6),
        ({"max_size": 7}, None),
        (False, None),
    ],
)
def test_w008_a_pool_that_is_too_small(database: dict[str, Any], pool: Any, size: Any) -> None:
    database.update(ENGINE="django.db.backends.postgresql", OPTIONS={"pool": pool})
    expected = warning(
        f'DATABASES["default"]: the pool has at most {size} connections, and directus_listen '
        "uses up to 7 at the same time.",
        'Set DATABASES["default"]["OPTIONS"]["pool"] = {"max_size": 8} or more.',
        "W008",
    )
    assert check_database() == ([expected] if size else [])


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


DOOR = "s3cret-of-the-door-0123456789abcdef"
CONNECTION = {"URL": "https://cms.example.com", **TOKEN}


@pytest.mark.parametrize(
    ("values", "number"),
    [
        ({"DOOR_SECRET": DOOR}, None),
        ({"DOOR_SECRET": ""}, None),
        ({"DOOR_SECRET": DOOR, "DOOR_SIGNED": True}, None),
        ({"DOOR_SECRET": DOOR[:31]}, "E031"),
        ({"DOOR_SECRET": 42}, "E031"),
        ({"DOOR_SECRET": "é" * 40}, "E031"),
        ({"DOOR_SECRET": DOOR, "TOKEN": DOOR}, "E031"),
        ({"DOOR_SIGNED": True}, "E032"),
        ({"DOOR_SECRET": DOOR, "DOOR_SIGNED": "False"}, "E032"),
    ],
)
def test_e029_and_e030_the_secret_of_a_door(
    settings: Any, values: dict[str, Any], number: str | None
) -> None:
    settings.DIRECTUS_REALTIME = {"default": CONNECTION | values}
    found = check_connections()
    assert [each.id for each in found] == ([f"directus_realtime.{number}"] if number else [])
    assert DOOR not in str(found)


def test_w009_a_door_without_an_address(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": CONNECTION | {"DOOR_SECRET": DOOR}}
    assert check_door() == []
    settings.ROOT_URLCONF = "tests.sdk_page"
    assert check_door() == [
        warning(
            "DIRECTUS_REALTIME['default']: there is a DOOR_SECRET, and no URL leads to the door.",
            'Add path("directus/door/", include("directus_realtime.door.urls")) to the URLs.',
            "W010",
        )
    ]
    settings.DIRECTUS_REALTIME = {"default": CONNECTION}
    assert check_door() == []
