"""Status of the subscriptions: state, events of the last hour, dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from directus_realtime.admin.base_admin import list_url, state_html
from directus_realtime.models import (
    DirectusSubscription,
    EventCount,
    InboxEvent,
    InboxState,
    SubscriptionState,
)

NO_LISTENER = _("No listener is running. Start it: python manage.py directus_listen")
ORPHANED = _(
    "It is not followed, and keeps its place in the log: declare it again in code, or delete it."
)

#: Bars of the chart of the last hour, and minutes of each.
BARS, MINUTES = 12, 5
#: Height of the chart, and width of a bar with the gap after it.
_HEIGHT, _STEP = 16, 4
_NONE = ' class="directus-bar-none"'


@dataclass(frozen=True)
class SubscriptionStatus:
    """Counts of a subscription that its row does not hold.

    Attributes:
        bars: Events of the last hour, by spans of five minutes, the oldest first.
        dead: Number of dead letters.
        dead_url: Address of their list; empty for users who may not see the inbox.
    """

    bars: Sequence[int] = (0,) * BARS
    dead: int = 0
    dead_url: str = ""


def attach_statuses(request: HttpRequest, rows: Sequence[DirectusSubscription]) -> None:
    """Set the attribute ``status`` of each row; two queries for all of them."""
    names = [row.name for row in rows]
    bars, dead = _bars(names, timezone.now()), _dead(names)
    may_see = request.user.has_perm("directus_realtime.view_inboxevent")
    for row in rows:
        query = {"state__exact": InboxState.DEAD.value, "subscription__exact": row.name}
        url = list_url("inboxevent", **query) if may_see else ""
        row.status = SubscriptionStatus(  # type: ignore[attr-defined]
            bars.get(row.name, SubscriptionStatus.bars), dead[row.name], url
        )


def _bars(names: Sequence[str], now: datetime) -> dict[str, list[int]]:
    """Events by name and span; the last span is the current one."""
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    since = end - timedelta(minutes=BARS * MINUTES)
    found: dict[str, list[int]] = {}
    counts = EventCount.objects.filter(minute__gte=since, minute__lt=end, subscription__in=names)
    for name, minute, events in counts.values_list("subscription", "minute", "events"):
        spans = found.setdefault(name, [0] * BARS)
        spans[int((minute - since).total_seconds() // 60) // MINUTES] += events
    return found


def _dead(names: Sequence[str]) -> Counter[str]:
    dead = InboxEvent.objects.filter(state=InboxState.DEAD, subscription__in=names).order_by()
    counts = dead.values_list("subscription").annotate(count=Count("pk"))
    return Counter(dict(counts))


def subscription_state(row: Any) -> tuple[str, Any, Any]:
    """The current state, its label and the reason."""
    if row.orphaned_at is not None:
        return "refused", _("no longer declared"), ORPHANED
    if not row.enabled:
        return "paused", _("paused"), ""
    if not getattr(row, "has_listener", False):
        return "waiting", _("no listener"), NO_LISTENER
    return row.state, SubscriptionState(row.state).label, row.last_error


def subscription_state_html(row: DirectusSubscription) -> SafeString:
    """The state as a coloured dot with words, and the reason below."""
    state, label, reason = subscription_state(row)
    shown = state_html(state, label)
    if reason:
        shown += format_html('<span class="directus-reason" title="{}">{}</span>', reason, reason)
    return shown


def hour_html(status: SubscriptionStatus) -> SafeString:
    """The number of events of the last hour, and a bar chart."""
    total, most = sum(status.bars), max([1, *status.bars])
    # A span with any events is visible.
    heights = [max(round(n / most * _HEIGHT), 2) if n else 1 for n in status.bars]
    # Numbers alone, so nothing is to be escaped; a list has hundreds of them.
    bars = "".join(
        f'<rect x="{number * _STEP}" y="{_HEIGHT - height}" width="{_STEP - 1}" '
        f'height="{height}"{_NONE if height == 1 else ""}/>'
        for number, height in enumerate(heights)
    )
    text = ngettext(
        "%(count)d event in the last hour", "%(count)d events in the last hour", total
    ) % {"count": total}
    return format_html(
        '<span class="directus-hour" title="{}"><svg class="directus-bars" width="{}" '
        'height="{}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
        '<span aria-hidden="true">{}</span></span>',
        text,
        BARS * _STEP,
        _HEIGHT,
        BARS * _STEP,
        _HEIGHT,
        text,
        SafeString(bars),
        total,
    )


def dead_html(status: SubscriptionStatus) -> SafeString:
    """The number of dead letters, with a link to them."""
    if not status.dead:
        return SafeString("–")
    if not status.dead_url:
        return format_html("{}", status.dead)
    text = ngettext("%(count)d dead letter", "%(count)d dead letters", status.dead)
    return format_html(
        '<a class="directus-dead" href="{}" title="{}">{}</a>',
        status.dead_url,
        text % {"count": status.dead},
        status.dead,
    )
