"""How a connection stands, in words."""

from __future__ import annotations

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.base_admin import to_the_second
from directus_realtime.health_facts import ConnectionHealth
from directus_realtime.models import InboxState

STATE_LABELS: dict[str, Any] = {
    "connected": _("connected"),
    "reconnecting": _("reconnecting"),
    "disconnected": _("disconnected"),
}


def state_label(state: str) -> str:
    """A connection's state."""
    return str(STATE_LABELS.get(state, state))


def attention_of(health: ConnectionHealth) -> str:
    """The reason of the state, and the problems with their remedies, a line for each."""
    # The first problem of one that is not connected repeats the state.
    problems = health.problems[health.state != "connected" :]
    return "\n".join(filter(None, [health.reason, *problems]))


def notes_of(health: ConnectionHealth) -> str:
    """Notes that are no problem, a line for each."""
    return "\n".join(health.notes) or "–"


def socket_of(health: ConnectionHealth) -> str:
    """Whether the WebSocket announces changes."""
    if health.state != "connected":
        return "–"
    return health.socket_problem or gettext("announces changes")


def holes_of(health: ConnectionHealth) -> str:
    """Ids of the activity log that are not visible yet."""
    if not health.holes.ids:
        return "–"
    text = ngettext("%(ids)s id since %(since)s", "%(ids)s ids since %(since)s", health.holes.ids)
    since = to_the_second(health.holes.since) if health.holes.since else "–"
    return text % {"ids": number_format(health.holes.ids, force_grouping=True), "since": since}


def parked_of(health: ConnectionHealth) -> str:
    """Logged changes whose item was not found."""
    if not health.parked and not health.unexplained:
        return "–"
    text = gettext("%(parked)d parked, %(unexplained)d unexplained")
    return text % {"parked": health.parked, "unexplained": health.unexplained}


def dropped_of(health: ConnectionHealth) -> str:
    """Ids of the activity log that were given up."""
    return number_format(health.dropped, force_grouping=True) if health.dropped else "–"


def lag_of(health: ConnectionHealth) -> str:
    """How long the oldest pending event waits."""
    return gettext("%(seconds)s s") % {"seconds": number_format(health.inbox.lag, 1)}


def counts_of(health: ConnectionHealth) -> str:
    """What is in the inbox, by state; states without any are left out."""
    counts = health.inbox.counts.items()
    text = gettext("%(state)s: %(count)d")
    found = [{"state": InboxState(state).label, "count": n} for state, n in counts if n]
    return ", ".join(text % each for each in found) or "–"


def caught_up_of(health: ConnectionHealth) -> str:
    """When the activity log was last worked through."""
    catch_up = health.catch_up
    return to_the_second(catch_up.read_at) if catch_up and catch_up.read_at else "–"


def rows_of(health: ConnectionHealth) -> str:
    """How far the activity log is worked through, while a gap is caught up."""
    if health.catch_up is None or not health.catch_up.rows_total:
        return "–"
    done, total = health.catch_up.rows_done, health.catch_up.rows_total
    text = ngettext("%(done)s of %(total)s row", "%(done)s of %(total)s rows", total)
    return text % {"done": done, "total": total}


def problem_of(health: ConnectionHealth) -> str:
    """What keeps the activity log from being read."""
    problem = health.catch_up and health.catch_up.problem
    # As the listener has stored it, in English.
    return gettext(problem) if problem else "–"


def gap_of(health: ConnectionHealth) -> str:
    """The last gap: its span, what became of it, and the collections."""
    gap = health.gap
    if gap is None:
        return "–"
    verdicts = {True: _("recovered"), False: _("not recovered"), None: _("not recovered yet")}
    until = to_the_second(gap.until) if gap.until else "…"
    text = f"{to_the_second(gap.since)} – {until}: {verdicts[gap.recovered]}"
    if gap.acknowledged_at is not None:
        acknowledged = gettext("acknowledged %(at)s")
        text += ", " + acknowledged % {"at": to_the_second(gap.acknowledged_at)}
    # As the listener has stored it, in English.
    reason = gettext(gap.reason) if gap.reason else ""
    return "\n".join(filter(None, [text, ", ".join(gap.collections), reason]))


def active_of(health: ConnectionHealth) -> str:
    """Which listener has the connection."""
    if not health.active:
        return "–"
    return gettext("%(listener)s (fencing token %(token)d)") % {
        "listener": health.active,
        "token": health.fencing_token,
    }


def standing_by_of(health: ConnectionHealth) -> str:
    """Which listeners would take over."""
    return ", ".join(health.standing_by) or "–"
