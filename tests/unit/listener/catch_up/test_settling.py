"""What a listener knows of the changes that were caught up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from directus_realtime.listener.catch_up.settling import Settler
from tests.unit.listener.conftest import store_event

pytestmark = pytest.mark.django_db(transaction=True)


class AtOnce:
    """An inbox in which nothing waits."""

    async def run_in_order(self, function: Callable[[], Any]) -> Any:
        return await sync_to_async(function)()


async def test_a_new_listener_knows_what_the_one_before_it_caught_up() -> None:
    await sync_to_async(store_event)(1, origin="catch-up", activity_id=7)
    await sync_to_async(store_event)(2, activity_id=8)
    client: Any = None
    inbox: Any = AtOnce()
    settler = Settler("default", client, inbox)
    await settler.recall()
    assert settler.caught_up.current() == settler.doubts.current() == {("all", "1")}
