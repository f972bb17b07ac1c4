"""The options of ``directus_listen``; what it does is tested with a server."""

from __future__ import annotations

import argparse
import socket
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from directus_realtime.management.arguments import valid_address


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
