from __future__ import annotations

import pytest

from directus_realtime.client.client_subscription import Debouncer
from directus_realtime.events import Action, Event
from tests.helpers.waiting import await_for

Step = tuple[Action, bool]

CREATE: Step = ("create", False)
UPDATE: Step = ("update", False)
LEFT: Step = ("update", True)


@pytest.mark.parametrize(
    ("steps", "last"),
    [
        ([CREATE, UPDATE], CREATE),
        ([UPDATE, LEFT], LEFT),
        ([CREATE, LEFT], LEFT),
        ([LEFT, UPDATE], UPDATE),
        ([LEFT, CREATE], CREATE),
    ],
)
async def test_the_last_state_of_an_item_is_handed_on(steps: list[Step], last: Step) -> None:
    handed: list[Event] = []
    debouncer = Debouncer(0.01, "item", handed.append)
    for number, (action, left_filter) in enumerate(steps):
        debouncer.put(
            Event(
                connection="c",
                subscription="s",
                collection="articles",
                action=action,
                key=1,
                data={"id": 1, "number": number},
                left_filter=left_filter,
            )
        )
    await await_for(lambda: handed)
    (event,) = handed
    assert (event.action, event.left_filter) == last
    assert event.data == {"id": 1, "number": len(steps) - 1}
