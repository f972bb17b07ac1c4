"""Texts about the health of a connection."""

from __future__ import annotations

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import to_the_second
from directus_realtime.anomalies import dropped_ids, unlogged_changes
from directus_realtime.health_facts import ConnectionHealth
from directus_realtime.models import InboxState

#: Unlogged changes and ranges of dropped ids that are listed.
_LISTED = 20

_STATE_LABELS: dict[str, Any] = {
    "connected": _("connected"),
    "reconnecting": _("reconnecting"),
    "disconnected": _("disconnected"),
}


def state_label(state: str) -> str:
    """The label of a connection's state."""
    return str(_STATE_LABELS.get(state, state))


def attention(health: ConnectionHealth) -> str:
    """The reason of the state, and the problems with their remedies, a line for each."""
    # The first problem of one that is not connected repeats the state.
    problems = health.problems[health.state != "connected" :]
    return "\n".join(filter(None, [health.reason, *problems]))


def notes(health: ConnectionHealth) -> str:
    """Notes that are no problem, a line for each."""
    return "\n".join(health.notes) or "–"


def socket(health: ConnectionHealth) -> str:
    """Whether the WebSocket announces changes."""
    if health.state != "connected":
        return "–"
    return health.socket_problem or gettext("announces changes")


def holes(health: ConnectionHealth) -> str:
    """Ids of the activity log that are not visible yet."""
    if not health.holes.ids:
        return "–"
    text = ngettext("%(ids)s id since %(since)s", "%(ids)s ids since %(since)s", health.holes.ids)
    since = to_the_second(health.holes.since) if health.holes.since else "–"
    return text % {"ids": number_format(health.holes.ids, force_grouping=True), "since": since}


def parked(health: ConnectionHealth) -> str:
    """Logged changes whose item was not found."""
    if not health.parked and not health.unexplained:
        return "–"
    text = gettext("%(parked)d parked, %(unexplained)d unexplained")
    return text % {"parked": health.parked, "unexplained": health.unexplained}


def dropped(health: ConnectionHealth) -> str:
    """Ids of the activity log that were given up."""
    if not health.dropped:
        return "–"
    count = number_format(health.dropped, force_grouping=True)
    ranges = dropped_ids(health.alias, _LISTED)
    lines = [f"{to_the_second(r['dropped_at'])}: {r['first']} – {r['last']}" for r in ranges]
    return "\n".join([count, *lines])


def unlogged(health: ConnectionHealth) -> list[str]:
    """The newest changes without a row in the activity log, a line for each."""
    return [
        f"{to_the_second(row['received_at'])}: {row['collection']} {row['key']} "
        f"({row['subscription']})"
        for row in unlogged_changes(health.alias, _LISTED)
    ]


def lag(health: ConnectionHealth) -> str:
    """Age of the oldest pending event."""
    return gettext("%(seconds)s s") % {"seconds": number_format(health.inbox.lag, 1)}


def counts(health: ConnectionHealth) -> str:
    """Events of the inbox that are not processed, by state."""
    text = gettext("%(state)s: %(count)d")
    found = [
        text % {"state": InboxState(state).label, "count": count}
        for state, count in health.inbox.counts.items()
        if count
    ]
    return ", ".join(found) or "–"


def caught_up(health: ConnectionHealth) -> str:
    """Time at which the activity log was last read to its end."""
    catch_up = health.catch_up
    return to_the_second(catch_up.read_at) if catch_up and catch_up.read_at else "–"


def rows(health: ConnectionHealth) -> str:
    """Progress of reading the activity log, during a catch-up."""
    if health.catch_up is None or not health.catch_up.rows_total:
        return "–"
    done, total = health.catch_up.rows_done, health.catch_up.rows_total
    text = ngettext("%(done)s of %(total)s row", "%(done)s of %(total)s rows", total)
    return text % {"done": done, "total": total}


def problem(health: ConnectionHealth) -> str:
    """Why the activity log cannot be read."""
    text = health.catch_up and health.catch_up.problem
    # As the listener has stored it, in English.
    return gettext(text) if text else "–"


def gap(health: ConnectionHealth) -> str:
    """The last gap: its span, its outcome, and the collections."""
    last = health.gap
    if last is None:
        return "–"
    verdicts = {True: _("recovered"), False: _("not recovered"), None: _("not recovered yet")}
    until = to_the_second(last.until) if last.until else "…"
    text = f"{to_the_second(last.since)} – {until}: {verdicts[last.recovered]}"
    if last.acknowledged_at is not None:
        acknowledged = gettext("acknowledged %(at)s")
        text += ", " + acknowledged % {"at": to_the_second(last.acknowledged_at)}
    # As the listener has stored it, in English.
    reason = gettext(last.reason) if last.reason else ""
    return "\n".join(filter(None, [text, ", ".join(last.collections), reason]))


def active(health: ConnectionHealth) -> str:
    """The active listener."""
    if not health.active:
        return "–"
    return gettext("%(listener)s (fencing token %(token)d)") % {
        "listener": health.active,
        "token": health.fencing_token,
    }


def standing_by(health: ConnectionHealth) -> str:
    """The listeners that stand by."""
    return ", ".join(health.standing_by) or "–"
