"""How many events of each subscription came in within each minute, for the admin's pictures."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.utils import timezone

from directus_realtime.listener.incoming import Tally
from directus_realtime.models import DirectusSubscription, EventCount

#: How long the counts are kept.
KEPT = timedelta(hours=6)


def count_by_minute(tallies: Mapping[str, Tally]) -> None:
    """Add what came in since the last call, by the name of the subscription.

    All of a tally is put to the minute of its last event: it is two seconds long, so that
    nothing has to be counted by the minute while events come in. A handful of queries,
    however many subscriptions there are. The caller holds the lease of the connections, in
    a transaction.
    """
    if not tallies:
        return
    rows = DirectusSubscription.objects.filter(name__in=tallies)
    connections = dict(rows.values_list("name", "connection"))
    minutes = {
        name: _minute(tally.last_event_at)
        for name, tally in tallies.items()
        if name in connections and tally.last_event_at is not None
    }
    begun = {
        (each.subscription, each.minute): each
        for each in EventCount.objects.filter(
            minute__in=set(minutes.values()), subscription__in=minutes
        )
    }
    new = []
    for name, minute in minutes.items():
        if (count := begun.get((name, minute))) is None:
            count = EventCount(subscription=name, connection=connections[name], minute=minute)
            new.append(count)
        count.events += tallies[name].events
    EventCount.objects.bulk_update(begun.values(), ["events"])
    if new:
        # MariaDB takes a name for the same as before where only its case was changed; the
        # pictures can do without that minute.
        EventCount.objects.bulk_create(new, ignore_conflicts=True)
        EventCount.objects.filter(minute__lt=timezone.now() - KEPT).delete()


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
