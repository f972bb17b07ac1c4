from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import Style, color_style, no_style
from django.utils import timezone

from directus_realtime.client import socket_driver
from directus_realtime.listener.replay import Replayed, Selection
from directus_realtime.management.commands.directus_replay import Command
from directus_realtime.management.console import counted, print_logs

logger = logging.getLogger("directus_realtime.listener")
event_logger = logging.getLogger("directus_realtime.listener.events")


package = logging.getLogger("directus_realtime")


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0 days"), (1, "1 day"), (1.0, "1 day"), (1.5, "1.5 days"), (2345678, "2345678 days")],
)
def test_what_is_counted_has_its_number(number: float, shown: str) -> None:
    assert counted(number, "day", "days") == shown


def test_a_replay_of_one_change_is_told_in_the_singular() -> None:
    output = StringIO()
    selection = Selection("articles", timezone.now())
    command = Command(stdout=output)  # type: ignore[arg-type]
    command._report(Replayed(changes=1, events={"all": 1}), selection, dry_run=False)
    assert output.getvalue().startswith("1 change of articles since ")
    assert output.getvalue().endswith("\n  all: 1 event put into the inbox\n")


@pytest.fixture
def output() -> StringIO:
    return StringIO()


@contextlib.contextmanager
def printing(
    output: StringIO, verbosity: int, style: Style | None = None, handlers: tuple[Any, ...] = ()
) -> Iterator[None]:
    """Print logs in a project whose own logging has only these handlers."""
    with pytest.MonkeyPatch.context() as patch:
        # In the test itself, because pytest puts its own handlers there before each one.
        patch.setattr(package, "propagate", False)
        patch.setattr(package, "handlers", list(handlers))
        with print_logs(OutputWrapper(output), style or no_style(), verbosity):
            yield
        assert package.handlers == list(handlers)


def say() -> None:
    event_logger.debug("an event")
    logger.info("connected")
    logger.warning("reconnecting")
    logger.error("refused")


@pytest.mark.parametrize(
    ("verbosity", "said"),
    [
        (0, ["reconnecting", "refused"]),
        (1, ["connected", "reconnecting", "refused"]),
        (2, ["an event", "connected", "reconnecting", "refused"]),
        (3, ["an event", "connected", "reconnecting", "refused"]),
    ],
)
def test_verbosity(output: StringIO, verbosity: int, said: list[str]) -> None:
    with printing(output, verbosity):
        say()
    lines = output.getvalue().splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == said
    assert all(line[2] == line[5] == ":" for line in lines)


def test_afterwards_everything_is_as_before(output: StringIO) -> None:
    before = (list(package.handlers), package.level, package.propagate)
    with contextlib.suppress(RuntimeError), printing(output, 2):
        assert package.level == logging.DEBUG
        raise RuntimeError
    assert (package.handlers, package.level, package.propagate) == before


def test_handlers_of_the_project_are_left_to_do_it(output: StringIO) -> None:
    own = StringIO()
    with printing(output, 1, handlers=(logging.StreamHandler(own),)):
        logger.error("refused")
    assert output.getvalue() == ""
    assert own.getvalue() == "refused\n"


def test_the_token_of_the_wire_is_not_printed_at_any_verbosity(
    output: StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "directus_realtime.wire")  # put back at the end
    with printing(output, 3):
        wire_logger = socket_driver._wire_logger  # what websockets gets
        wire_logger.logger.setLevel(logging.DEBUG)  # as a configuration of logging may
        wire_logger.debug("> TEXT access_token")
    assert output.getvalue() == ""


def test_warnings_and_errors_are_coloured(
    output: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DJANGO_COLORS", "dark")
    with printing(output, 1, color_style(force_color=True)):
        say()
    info, warning, error = output.getvalue().splitlines()
    assert "\x1b[" not in info
    assert "\x1b[" in warning
    assert "\x1b[" in error
    assert warning.split("m")[0] != error.split("m")[0]


def test_a_record_that_cannot_be_printed_raises_nothing(
    output: StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    with printing(output, 1):
        logger.info("%d", "no number")
        logger.info("next")
    assert output.getvalue().endswith("next\n")
    assert "Logging error" in capsys.readouterr().err
