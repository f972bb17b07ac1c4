"""What browsers have missed that come back: looked up once for all that saw the same event last.

After a restart they all come at the same time, and of a quiet subscription they all saw the same
event last; to find what came after it takes long, where much came of other subscriptions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from directus_realtime.database import DatabaseThread
from directus_realtime.gateway import resuming
from directus_realtime.gateway.offers import Offer
from directus_realtime.gateway.streams import RING, Change, LastRows, Stream

#: Of an offer, the events last seen for which it is remembered what came after them.
KEPT = 5


@dataclass(frozen=True, slots=True)
class Missed:
    """What came after an event that browsers saw last.

    Attributes:
        number: Of the event of the stream up to which it was looked for; what came after that
            one the stream remembers.
        changes: What was found.
    """

    number: int
    changes: list[Change]

    def reaches(self, stream: Stream) -> bool:
        """Whether the stream remembers everything that came after it."""
        return stream.last - self.number <= RING


class Returns:
    """Looks up what was missed, each at most once at a time.

    Args:
        database: The thread to look in.
    """

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._looking: dict[tuple[Stream, str], asyncio.Task[Missed | None]] = {}

    async def get(self, stream: Stream, event_id: str) -> Missed | None:
        """What a browser has missed; ``None`` where that is not known any more, or too much."""
        found = stream.missed.get(event_id)
        if found is None or not found.reaches(stream):
            found = await asyncio.shield(self._look_once(stream, event_id))
        return found if found is not None and found.reaches(stream) else None

    async def aclose(self) -> None:
        """Give up what is being looked for."""
        tasks = list(self._looking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _look_once(self, stream: Stream, event_id: str) -> asyncio.Task[Missed | None]:
        wanted = stream, event_id
        task = self._looking.get(wanted)
        if task is None:
            task = asyncio.create_task(self._look(stream, event_id), name="directus-gateway-look")
            self._looking[wanted] = task
            task.add_done_callback(lambda _: self._looking.pop(wanted, None))
        return task

    async def _look(self, stream: Stream, event_id: str) -> Missed | None:
        number = stream.last
        changes = await self._database.run(_missed, stream.offer, event_id)
        if changes is None:
            return None
        found = Missed(number, changes)
        stream.missed.pop(event_id, None)
        stream.missed[event_id] = found
        if len(stream.missed) > KEPT:
            stream.missed.popitem(last=False)
        return found


def _missed(offer: Offer, event_id: str) -> list[Change] | None:
    """What came after an event, from the inbox; uses the database."""
    messages = resuming.missed(offer, event_id)
    if messages is None:
        return None
    rows = LastRows(resuming.MOST)
    keys = {message["key"] for message in messages}
    for key, row in resuming.rows_before(offer, event_id, keys):
        rows.replace(key, row)
    return [Change.from_message(0, message, rows) for message in messages]
