from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from directus_realtime import compat
from directus_realtime.settings import (
    KEYS,
    aliases,
    configured,
    connection_settings,
    find_problems,
)

GOOD = {"URL": "https://cms.example.com", "TOKEN": "s3cret"}


def test_the_smallest_setting(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": GOOD}
    connection = connection_settings()
    assert (connection.alias, connection.url) == ("default", "https://cms.example.com")
    assert connection.token == "s3cret"
    assert connection.retry_attempts == 8


def test_every_key_fills_its_attribute(settings: Any) -> None:
    values = {
        "URL": "https://cms.example.com/directus/",
        "TOKEN": "t",
        "EMAIL": "e@example.com",
        "PASSWORD": "p",
        "HEADERS": {"X-Key": "h"},
        "CA_FILE": "",
        "PROXY": "http://proxy:3128",
        "CONNECT_TIMEOUT": 1.0,
        "PING_INTERVAL": 2.0,
        "PONG_TIMEOUT": 3.0,
        "MAX_MESSAGE_SIZE": 4,
        "RETRY_ATTEMPTS": 5,
        "RETRY_BASE": 0.5,
        "RETRY_CEILING": 6.0,
        "CATCH_UP_INTERVAL": 8.0,
        "POLL_INTERVAL": 2.0,
        "HOLE_AGE": 60.0,
        "RETENTION_DAYS": 7,
        "DELIVERY": "tasks",
        "TASK_TIMEOUT": 7.0,
        "TASK_BACKEND": "slow",
        "TASK_QUEUE": "events",
        "DOOR_SECRET": "d" * 40,
        "DOOR_SIGNED": True,
    }
    assert set(values) == set(KEYS)
    settings.TASKS = {"slow": {"BACKEND": "x", "QUEUES": ["events"]}}
    settings.DIRECTUS_REALTIME = {"default": values}
    connection = connection_settings()
    for key, name in KEYS.items():
        expected = "https://cms.example.com/directus" if key == "URL" else values[key]
        assert getattr(connection, name) == expected
    options = connection.client_options()
    assert options.connect_timeout == 1.0
    assert options.ping_interval == 2.0
    assert options.pong_timeout == 3.0
    assert options.max_message_size == 4
    assert options.headers == {"X-Key": "h"}
    assert options.ssl is None
    assert options.proxy == "http://proxy:3128"


def test_settings_are_read_live(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": GOOD, "blog": {**GOOD, "URL": "http://blog"}}
    assert aliases() == ["default", "blog"]
    assert connection_settings("blog").url == "http://blog"
    settings.DIRECTUS_REALTIME = {}
    assert aliases() == []


@pytest.mark.parametrize("value", [None, [], "x"])
def test_a_setting_that_is_no_dict_configures_nothing(settings: Any, value: Any) -> None:
    settings.DIRECTUS_REALTIME = value
    assert configured() == {}


def test_a_missing_setting_configures_nothing(settings: Any) -> None:
    del settings.DIRECTUS_REALTIME
    assert configured() == {}


def test_an_unknown_alias_names_the_known_ones(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": GOOD, "blog": GOOD}
    with pytest.raises(ImproperlyConfigured, match=r"'shop' .* Configured: blog, default\."):
        connection_settings("shop")


def test_a_wrong_connection_is_named(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "https://cms"}}
    with pytest.raises(ImproperlyConfigured, match=r"DIRECTUS_REALTIME\['default'\]: There is no"):
        connection_settings()


def test_secrets_are_not_in_the_repr(settings: Any) -> None:
    values = {**GOOD, "EMAIL": "e", "PASSWORD": "p4ss", "HEADERS": {"X-Key": "h34der"}}
    values["PROXY"] = "http://user:pr0xy@proxy"
    settings.DIRECTUS_REALTIME = {"default": values}
    shown = repr(connection_settings()) + repr(connection_settings().client_options())
    assert not [secret for secret in ("s3cret", "p4ss", "h34der", "pr0xy") if secret in shown]


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        (GOOD, []),
        ({"URL": "http://localhost:8055/sub", "EMAIL": "e", "PASSWORD": "p"}, []),
        ({"TOKEN": "t"}, [2]),
        ({"URL": "", "TOKEN": "t"}, [2]),
        ({"URL": None, "TOKEN": "t"}, [2]),
        ({"URL": "cms.example.com", "TOKEN": "t"}, [3]),
        ({"URL": "ws://cms.example.com", "TOKEN": "t"}, [3]),
        ({"URL": "https://", "TOKEN": "t"}, [3]),
        ({"URL": 5, "TOKEN": "t"}, [3]),
        ({"URL": "http://[::1", "TOKEN": "t"}, [3]),
        ({"URL": "https://cms"}, [4]),
        ({"URL": "https://cms", "EMAIL": "e"}, [4]),
        ({"URL": "https://cms", "PASSWORD": "p"}, [4]),
        ({**GOOD, "URI": "x", "TOKN": "y"}, [5, 5]),
        ({**GOOD, "url": "x"}, [5]),
        ({"URL": "https://u:p@cms", "TOKEN": "t"}, [6]),
        ({"URL": "https://cms/?access_token=t", "EMAIL": "e", "PASSWORD": "p"}, [27]),
        ({"URL": "https://cms/#t", "TOKEN": "t"}, [27]),
        ({}, [2, 4]),
        ({"URL": "https://cms", "TOKEN": lambda: "t"}, []),
        ({**GOOD, "TOKEN": 5}, [20]),
        ({**GOOD, "TOKEN": "with space"}, [20]),
        ({**GOOD, "TOKEN": "line\n"}, [20]),
        ({**GOOD, "HEADERS": {}}, []),
        ({**GOOD, "HEADERS": {"CF-Access-Client-Id": "a b=c; d"}}, []),
        ({**GOOD, "HEADERS": {"X-Key": "line\n"}}, [26]),
        ({**GOOD, "HEADERS": {"X-Key": "clé"}}, [26]),
        ({**GOOD, "HEADERS": {"X-Key": 5}}, [26]),
        ({**GOOD, "HEADERS": {"X Key": "x"}}, [26]),
        ({**GOOD, "HEADERS": {5: "x"}}, [26]),
        ({**GOOD, "HEADERS": "X-Key: x"}, [26]),
        ({**GOOD, "HEADERS": None}, [26]),
        ({**GOOD, "PROXY": ""}, []),
        ({**GOOD, "PROXY": None}, []),
        ({**GOOD, "PROXY": "http://u:p@proxy:3128"}, []),
        ({**GOOD, "PROXY": "proxy:3128"}, [21]),
        ({**GOOD, "PROXY": "socks5://proxy"}, [21]),
        ({**GOOD, "PROXY": 5}, [21]),
    ],
)
def test_problems_have_numbers(values: dict[str, Any], numbers: list[int]) -> None:
    assert [problem.number for problem in find_problems(values)] == numbers


def test_a_wrong_url_is_shown_without_its_password() -> None:
    (problem,) = find_problems({"URL": "ftp://user:p4ss@cms", "TOKEN": "t"})
    assert problem.message == "URL 'cms' is not an http(s) URL."


def test_a_wrong_token_or_proxy_is_not_shown() -> None:
    wrong = {"TOKEN": "s3cret\n", "PROXY": "ftp://user:s3cret@proxy"}
    token, proxy = find_problems({**GOOD, **wrong})
    assert token.message == (
        "TOKEN is wrong. It contains a character that no token has, such as a line break or a "
        "space."
    )
    assert proxy.message == (
        "PROXY is wrong. 'proxy' is not a URL such as http://proxy.example.com:3128."
    )


def test_a_token_may_be_a_callable(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {**GOOD, "TOKEN": lambda: "s3cret"}}
    connection = connection_settings()
    assert callable(connection.token)
    assert "s3cret" not in repr(connection)
    assert connection.make_client().url == "https://cms.example.com"


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_read_is_named(
    settings: Any, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    settings.DIRECTUS_REALTIME = {"default": {**GOOD, "CA_FILE": str(path)}}
    with pytest.raises(ImproperlyConfigured, match=r"CA_FILE"):
        connection_settings().client_options()


@pytest.mark.parametrize("key", ["PING_INTERVAL", "CONNECT_TIMEOUT", "RETRY_ATTEMPTS"])
def test_a_number_as_text_is_a_problem(key: str) -> None:
    # What os.environ gives.
    (problem,) = find_problems({**GOOD, key: "15"})
    assert key in problem.message


def test_an_unknown_delivery_is_named() -> None:
    values = {"URL": "https://cms.example.com", "TOKEN": "x", "DELIVERY": "celery"}
    (problem,) = find_problems(values)
    assert (problem.number, problem.message) == (22, "DELIVERY is 'celery'.")


def test_tasks_without_a_tasks_framework_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"URL": "https://cms.example.com", "TOKEN": "x", "DELIVERY": "tasks"}
    assert find_problems(values) == []
    monkeypatch.setattr(compat, "find_task", lambda: None)
    (problem,) = find_problems(values)
    assert problem.number == 23
    assert "pip install django-tasks" in problem.hint


TASKS = {"default": {"BACKEND": "x", "QUEUES": ["mails"]}, "free": {"BACKEND": "x", "QUEUES": []}}


@pytest.mark.parametrize(
    ("values", "number", "hint"),
    [
        ({}, 30, "Set TASK_QUEUE to one of: mails."),
        ({"TASK_BACKEND": "other"}, 29, "Set TASK_BACKEND to one of: default, free."),
        ({"TASK_QUEUE": "mails"}, None, ""),
        ({"TASK_BACKEND": "free", "TASK_QUEUE": "any"}, None, ""),
        ({"DELIVERY": "inline", "TASK_BACKEND": "other"}, None, ""),
    ],
)
def test_the_backend_and_the_queue_of_tasks_are_checked_against_the_project(
    values: dict[str, Any], number: int | None, hint: str, settings: Any
) -> None:
    settings.TASKS = TASKS
    found = find_problems({**GOOD, "DELIVERY": "tasks", **values})
    assert [(each.number, each.hint) for each in found] == ([(number, hint)] if number else [])


def test_without_delivery_by_tasks_the_tasks_framework_is_not_imported() -> None:
    code = (
        "import sys, django; django.setup();"
        "from directus_realtime.listener import listener;"
        "sys.exit('django.tasks' in sys.modules or 'django_tasks' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
