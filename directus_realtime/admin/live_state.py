"""What the live page shows of each connection."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.http import urlencode
from django.utils.translation import ngettext

from directus_realtime.admin import standing_texts as texts
from directus_realtime.admin.shared import to_the_second
from directus_realtime.health import gather
from directus_realtime.health_facts import ConnectionHealth, Limits
from directus_realtime.models import ConnectionStatus, EventCount, InboxState

#: Minutes of the plot; its height, and the width of a minute.
MINUTES, HEIGHT, STEP = 60, 40, 5


def connection_states(aliases: Sequence[str]) -> list[dict[str, Any]]:
    """How connections stand, as texts in the language at hand."""
    now = timezone.now()
    statuses = ConnectionStatus.objects.in_bulk(aliases)
    recent = _counts(now, minutes=2)
    return [
        _texts(health, statuses.get(health.alias), recent.get(health.alias, {}), now)
        for health in gather(aliases, Limits())
    ]


def _texts(
    health: ConnectionHealth,
    status: ConnectionStatus | None,
    counts: dict[datetime, int],
    now: datetime,
) -> dict[str, Any]:
    dead = health.inbox.counts[InboxState.DEAD]
    return {
        "alias": health.alias,
        "state": health.state,
        "level": health.level.value,
        "dead": dead,
        "texts": {
            "state": texts.state_label(health.state),
            "since": to_the_second(health.since) if health.since else "–",
            "level": str(health.level.label),
            "reason": texts.attention_of(health),
            "notes": texts.notes_of(health),
            "socket": texts.socket_of(health),
            "server": _server(status),
            "identity": (status and status.identity) or "–",
            "lag": texts.lag_of(health),
            "rate": _rate(counts, now),
            "last_event": to_the_second(health.last_event_at) if health.last_event_at else "–",
            "inbox": texts.counts_of(health),
            "caught_up": texts.caught_up_of(health),
            "rows": texts.rows_of(health),
            "problem": texts.problem_of(health),
            "holes": texts.holes_of(health),
            "parked": texts.parked_of(health),
            "dropped": texts.dropped_of(health),
            "gap": texts.gap_of(health),
            "active": texts.active_of(health),
            "standing_by": texts.standing_by_of(health),
            "dead": ngettext("%(count)d dead letter", "%(count)d dead letters", dead)
            % {"count": dead},
        },
    }


def dead_letters_url(alias: str) -> str:
    """The dead letters of a connection, in the inbox."""
    which = {"state__exact": InboxState.DEAD.value, "connection__exact": alias}
    return f"{reverse('admin:directus_realtime_inboxevent_changelist')}?{urlencode(which)}"


def _server(status: ConnectionStatus | None) -> str:
    if status is None or not status.url:
        return "–"
    return f"{status.url} (Directus {status.version})" if status.version else status.url


def _rate(counts: dict[datetime, int], now: datetime) -> str:
    """Events of the last 60 seconds: those of this minute, and a part of the minute before."""
    minute = _minute(now)
    before = counts.get(minute - timedelta(minutes=1), 0)
    share = 1 - (now - minute).total_seconds() / 60
    rate = round(counts.get(minute, 0) + before * share)
    text = ngettext("%(rate)s event per minute", "%(rate)s events per minute", rate)
    return text % {"rate": number_format(rate, force_grouping=True)}


def hour_plots(aliases: Sequence[str]) -> dict[str, dict[str, str]]:
    """The last hour of each connection: the path of its plot, and what it shows in words."""
    now = timezone.now()
    found = _counts(now, MINUTES)
    minutes = [_minute(now) - timedelta(minutes=ago) for ago in range(MINUTES - 1, -1, -1)]
    plots = {}
    for alias in aliases:
        bars = [found.get(alias, {}).get(minute, 0) for minute in minutes]
        plots[alias] = {"path": _path(bars), "text": _words(bars)}
    return plots


def _path(bars: Sequence[int]) -> str:
    """Bars as the path of an SVG; a minute with any events at all is seen."""
    most = max(bars)
    return "".join(
        f"M{number * STEP} {HEIGHT}v-{max(round(count / most * HEIGHT, 1), 1.5):g}"
        f"h{STEP - 1}V{HEIGHT}z"
        for number, count in enumerate(bars)
        if count
    )


def _words(bars: Sequence[int]) -> str:
    total = sum(bars)
    text = ngettext(
        "%(total)s event in the last hour, at most %(most)s in a minute",
        "%(total)s events in the last hour, at most %(most)s in a minute",
        total,
    )
    shown = (number_format(number, force_grouping=True) for number in (total, max(bars)))
    return text % dict(zip(("total", "most"), shown, strict=True))


def _counts(now: datetime, minutes: int) -> dict[str, dict[datetime, int]]:
    """Events of the last minutes, by connection and minute."""
    since = _minute(now) - timedelta(minutes=minutes - 1)
    rows = EventCount.objects.filter(minute__gte=since).order_by()
    sums = rows.values_list("connection", "minute").annotate(sum=Sum("events"))
    found: dict[str, dict[datetime, int]] = {}
    for alias, minute, count in sums:
        found.setdefault(alias, {})[minute] = count
    return found


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
