"""The options of ``directus_replay``; what it does is tested with a server."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

import pytest

from directus_realtime.management.commands.directus_replay import valid_time


@pytest.fixture(autouse=True)
def paris(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Paris"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20", datetime(2026, 11, 19, 23, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 7, tzinfo=UTC)),
        ("2026-11-20T08:00-05:00", datetime(2026, 11, 20, 13, tzinfo=UTC)),
        ("0002-01-01T00:00Z", datetime(2, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time(text: str, moment: datetime) -> None:
    assert valid_time(text) == moment


@pytest.mark.parametrize(
    "text", ["yesterday", "", "2026-02-30", "0001-01-01", "9999-12-31T23:59-11:00"]
)
def test_what_is_no_time_that_every_time_zone_has(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a time such as"):
        valid_time(text)
