"""The options of ``directus_listen``; what it does is tested with a server."""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from directus_realtime.exceptions import ConnectionImpossible
from directus_realtime.listener.active_listener import StopTimedOut
from directus_realtime.listener.listener import Listener
from directus_realtime.management.commands import directus_listen
from directus_realtime.management.console import valid_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9123", ("127.0.0.1", 9123)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9123", ("::1", 9123)),
    ],
)
def test_an_address(text: str, address: tuple[str, int]) -> None:
    assert valid_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["9123", ":9123", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", "::1:9123", "a:1/b", "u@h:1"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not HOST:PORT, such as"):
        valid_address(text)


@pytest.fixture(autouse=True)
def configured(settings: Any) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": "http://127.0.0.1:9", "TOKEN": "x"}}


def test_metrics_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(CommandError) as caught:
        call_command("directus_listen", metrics=("127.0.0.1", 0))
    assert str(caught.value) == (
        "Metrics need the library prometheus_client. "
        'Install it: pip install "django-directus-realtime[metrics]"'
    )


def test_metrics_at_an_address_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError) as caught:
            call_command("directus_listen", metrics=("127.0.0.1", port))
    assert str(caught.value) == (
        f"Metrics cannot be served at 127.0.0.1:{port}: Address already in use."
    )


@pytest.mark.parametrize(
    ("ended_by", "status", "said"),
    [
        (None, 0, ""),
        (ConnectionImpossible("Check TOKEN."), 1, "CommandError: Check TOKEN.\n"),
        (ImproperlyConfigured("Migrate."), 1, "CommandError: Migrate.\n"),
        (RuntimeError("a bug"), 1, "RuntimeError: a bug\n"),
    ],
    ids=["asked", "refused", "not migrated", "bug"],
)
def test_where_a_receiver_hangs_the_exit_status_still_tells_why_it_ended(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ended_by: Exception | None,
    status: int,
    said: str,
) -> None:
    class Exit(BaseException):
        pass

    async def run(self: Listener, stopping: Any) -> None:
        raise StopTimedOut(ended_by)

    def leave(status: int) -> None:
        raise Exit(status)

    monkeypatch.setattr(Listener, "run", run)
    monkeypatch.setattr(directus_listen, "tune_gc", lambda: None)
    monkeypatch.setattr("os._exit", leave)
    with pytest.raises(Exit) as caught:
        call_command("directus_listen", no_color=True)
    assert caught.value.args == (status,)
    assert capsys.readouterr().err == said
