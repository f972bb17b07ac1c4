"""Each stored event is a line at DEBUG, which ``directus_listen --verbosity 2`` prints."""

from __future__ import annotations

import logging

import pytest

from directus_realtime.database import DatabaseThread
from directus_realtime.events import Event
from directus_realtime.listener.inbox import Inbox
from directus_realtime.listener.inbox_entry import InboxEntry
from directus_realtime.models import InboxEvent

LOGGER = "directus_realtime.listener.events"


@pytest.mark.django_db(transaction=True)
async def test_a_stored_event_is_logged_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, LOGGER)
    event = Event(
        connection="default",
        subscription="all",
        collection="articles",
        action="update",
        key=42,
        data={"id": 42},
    )
    database = DatabaseThread("inbox")
    inbox = Inbox(database, lambda: None)
    inbox.put([InboxEntry(InboxEvent.from_event(event))])
    await inbox.flush()
    await database.aclose()

    (record,) = [each for each in caplog.records if each.name == LOGGER]
    assert record.levelname == "DEBUG"
    assert record.getMessage() == "default  update articles 42 (all)"
    assert vars(record)["event_id"] == event.id
    assert vars(record)["key"] == 42
