from __future__ import annotations

import logging

import pytest

from directus_realtime.utils.logs import INTERVAL, EventLogger
from tests.helpers.manual_clock import ManualClock

NAME = "directus_realtime.listener"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def _every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, NAME)


def test_a_record_has_its_event_its_fields_and_the_place_of_the_call(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    logger = EventLogger(NAME, clock=clock, connection="blog").bind(collection="articles")
    logger.info("caught-up", "%s  caught up: %s rows", "blog", 3, rows=3)
    (record,) = caplog.records
    found = vars(record)
    assert (found["event"], found["connection"], found["collection"]) == (
        "caught-up",
        "blog",
        "articles",
    )
    assert (found["rows"], record.getMessage()) == (3, "blog  caught up: 3 rows")
    assert (record.levelname, record.name, record.filename) == ("INFO", NAME, "test_logs.py")


def test_each_level_has_a_method(caplog: pytest.LogCaptureFixture, clock: ManualClock) -> None:
    logger = EventLogger(NAME, clock=clock)
    for method in (logger.debug, logger.info, logger.warning, logger.error, logger.exception):
        method("event-stored", "a sentence")
    levels = ["DEBUG", "INFO", "WARNING", "ERROR", "ERROR"]
    assert [record.levelname for record in caplog.records] == levels


def test_an_exception_has_its_traceback(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    logger = EventLogger(NAME, clock=clock)
    try:
        raise LookupError("gone")
    except LookupError:
        logger.exception("lookup-failed", "The lookup failed.")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def test_a_cause_is_a_warning_once_a_minute(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    logger = EventLogger(NAME, clock=clock)
    logger.repeated("refused", "read-failed", "first")
    logger.repeated("refused", "read-failed", "again")
    logger.repeated("time-out", "read-failed", "another cause")
    logger.repeated("refused", "write-failed", "another event")
    clock.advance(INTERVAL)
    logger.repeated("refused", "read-failed", "a minute later")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "first"),
        ("DEBUG", "again"),
        ("WARNING", "another cause"),
        ("WARNING", "another event"),
        ("WARNING", "a minute later"),
    ]


def test_only_so_many_causes_are_remembered(clock: ManualClock) -> None:
    logger = EventLogger(NAME, clock=clock)
    for number in range(1000):
        assert logger.is_new("read-failed", str(number))
    assert not logger.is_new("read-failed", "999")
    assert logger.is_new("read-failed", "0")


def test_nothing_is_logged_below_the_level_of_the_logger(
    caplog: pytest.LogCaptureFixture, clock: ManualClock
) -> None:
    caplog.set_level(logging.WARNING, NAME)
    EventLogger(NAME, clock=clock).info("caught-up", "not shown")
    assert caplog.records == []


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_a_handler_that_raises_disturbs_no_caller(
    error: BaseException, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    handler = Handler()
    logging.getLogger(NAME).addHandler(handler)
    try:
        EventLogger(NAME, clock=clock).warning("caught-up", "caught up")
    finally:
        logging.getLogger(NAME).removeHandler(handler)
    assert "Logging error, record caught-up" in capsys.readouterr().err
