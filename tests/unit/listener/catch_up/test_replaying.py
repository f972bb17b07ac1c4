"""Replayed events in the inbox."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from directus_realtime.listener.catch_up import replaying
from directus_realtime.models import InboxEvent
from tests.unit.listener.conftest import make_event, store_event

pytestmark = pytest.mark.django_db


def test_a_replayed_event_takes_the_place_of_an_older_one_that_waits_for_its_window() -> None:
    read_at = timezone.now()
    end = read_at + timedelta(seconds=60)
    for key, seconds in ((1, -1), (2, 1)):
        received_at = read_at + timedelta(seconds=seconds)
        store_event(key, action="delete", data=None, received_at=received_at, next_attempt_at=end)
    replaying._store([make_event(key, origin="replay") for key in (1, 2)], "", read_at)
    assert list(InboxEvent.objects.order_by("id").values_list("key_json", "action", "state")) == [
        ("1", "delete", "merged"),
        ("2", "delete", "pending"),  # came in while the item was read
        ("1", "update", "pending"),
        ("2", "update", "pending"),
    ]
