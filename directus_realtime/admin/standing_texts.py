"""How a connection stands, in words."""

from __future__ import annotations

from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from directus_realtime.admin.shared import to_the_second
from directus_realtime.health import ConnectionHealth
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
    """Why the state is so, and what a person should look at, a line for each."""
    # That it is not connected, which the first one says, is told by the state.
    problems = health.problems[health.state != "connected" :]
    return "\n".join(filter(None, [health.reason, *problems]))


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
    return to_the_second(catch_up.caught_up_at) if catch_up and catch_up.caught_up_at else "–"


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
    """When events may last have been missed, and whether they were recovered."""
    catch_up = health.catch_up
    if catch_up is None or catch_up.gap_since is None:
        return "–"
    verdicts = {True: _("recovered"), False: _("not recovered"), None: _("not recovered yet")}
    until = to_the_second(catch_up.gap_until) if catch_up.gap_until else "…"
    span = f"{to_the_second(catch_up.gap_since)} – {until}"
    return f"{span}: {verdicts[catch_up.gap_recovered]}"


def active_of(health: ConnectionHealth) -> str:
    """Which listener has the connection."""
    if not health.active:
        return "–"
    return gettext("%(listener)s (fencing number %(number)d)") % {
        "listener": health.active,
        "number": health.fencing_number,
    }


def standing_by_of(health: ConnectionHealth) -> str:
    """Which listeners would take over."""
    return ", ".join(health.standing_by) or "–"
