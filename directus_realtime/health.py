"""Health of the connections, from the database alone: for ``directus_status`` and the admin.

Sentences are in the active language; the command deactivates translations, so that it prints the
same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext, gettext_noop, ngettext

from directus_realtime.health_facts import (
    SOCKET_ONLY,
    ConnectionHealth,
    HealthLevel,
    HealthThresholds,
    age_of,
    read_facts,
    settings_of,
)

#: Seconds without a complete read of the log after which the connection is degraded. Without
#: problems, it is read at least every 30 s.
_SLOW_READ = 120.0

_NOT_CONNECTED = {
    "reconnecting": gettext_noop("The connection has been reconnecting since %(since)s."),
    "disconnected": gettext_noop("The connection has been disconnected since %(since)s."),
}
_NEVER_CONNECTED = gettext_noop("The connection is disconnected.")

_Finding = tuple[HealthLevel, str]
_SEVERITY = tuple(HealthLevel)


def gather(aliases: Sequence[str], limits: HealthThresholds) -> list[ConnectionHealth]:
    """Return the health of connections, with their problems."""
    found = read_facts(aliases, limits)
    for health in found:
        findings = list(_findings(health, limits))
        health.problems = [sentence for _level, sentence in findings]
        health.level = max([HealthLevel.OK, *(level for level, _ in findings)], key=_SEVERITY.index)
        health.notes = list(_notes(health, limits))
    return found


def _findings(health: ConnectionHealth, limits: HealthThresholds) -> Iterator[_Finding]:
    yield from _connection_findings(health)
    yield from _log_findings(health, limits)
    yield from _subscription_findings(health)
    yield from _gap_findings(health)
    yield from _unexplained_findings(health)
    yield from _delivery_findings(health, limits)
    for listener, error in health.standby_problems.items():
        text = gettext(
            "The listener %(listener)s stands by and could not log in, so it cannot take over: "
            "%(error)s"
        )
        yield HealthLevel.DEGRADED, text % {"listener": listener, "error": gettext(error)}


def _connection_findings(health: ConnectionHealth) -> Iterator[_Finding]:
    if health.state == "connected":
        return
    text = gettext(_NOT_CONNECTED.get(health.state, f"The connection is {health.state}."))
    if health.since is None:
        text = gettext(_NEVER_CONNECTED)
    else:
        text = text % {"since": _shown(health.since)}
    yield HealthLevel.FAILED, f"{text} {health.reason}".rstrip()


# The activity log


def _log_findings(health: ConnectionHealth, limits: HealthThresholds) -> Iterator[_Finding]:
    if health.state != "connected" or health.since is None or not health.subscribed:
        return
    if health.catch_up is not None and health.catch_up.problem:
        yield _log_problem(health, health.catch_up.problem)
        return
    read_at = health.catch_up.read_at if health.catch_up else None
    since = max(read_at or health.since, health.since)  # it could not be read before
    age = age_of(since)
    if age <= min(_SLOW_READ, limits.catch_up_age):
        return
    text = gettext(
        "The activity log was last read to its end %(seconds)s s ago, at %(since)s; %(most)s s "
        "are allowed. Changes are not delivered meanwhile. The log of directus_listen says why."
    )
    level = HealthLevel.FAILED if age > limits.catch_up_age else HealthLevel.DEGRADED
    values = {
        "seconds": f"{age:.0f}",
        "since": _shown(read_at),
        "most": f"{limits.catch_up_age:g}",
    }
    yield level, text % values


def _log_problem(health: ConnectionHealth, problem: str) -> _Finding:
    if health.socket_problem:
        text = gettext(
            "No changes are received. The activity log cannot be read: %(log)s "
            "The WebSocket does not announce changes: %(socket)s Allow the token to read "
            "directus_activity: directus_check --explain-permissions."
        )
        values = {"log": _sentence(gettext(problem)), "socket": _sentence(health.socket_problem)}
        return HealthLevel.FAILED, text % values
    text = gettext(
        "All subscriptions are socket only: changes that the WebSocket does not bring are lost. "
        "The activity log cannot be read: %(log)s Allow the token to read directus_activity: "
        "directus_check --explain-permissions."
    )
    return HealthLevel.DEGRADED, text % {"log": _sentence(gettext(problem))}


# Subscriptions


def _subscription_findings(health: ConnectionHealth) -> Iterator[_Finding]:
    for name, error in health.refused.items():
        text = gettext(
            "The subscription %(name)s is refused: %(error)s Run directus_check for the details."
        )
        yield HealthLevel.FAILED, text % {"name": name, "error": _sentence(error)}
    for name, error in health.behind.items():
        text = gettext("The subscription %(name)s: %(error)s Run directus_check for the details.")
        yield HealthLevel.DEGRADED, text % {"name": name, "error": _sentence(error)}
    for name in health.orphaned:
        text = gettext(
            "The subscription %(name)s is no longer declared: it is not followed, and keeps its "
            "place in the log. Declare it again, or remove it: in the admin, or directus_prune "
            "--connection %(alias)s --orphaned"
        )
        yield HealthLevel.DEGRADED, text % {"name": name, "alias": health.alias}
    if health.catch_up is None or not health.catch_up.problem:  # else it is said of all of them
        yield from _socket_only_findings(health)


def _socket_only_findings(health: ConnectionHealth) -> Iterator[_Finding]:
    for name, error in health.socket_only.items():
        values = {"name": name, "error": _sentence(error.removeprefix(SOCKET_ONLY))}
        if health.socket_problem:
            text = gettext(
                "The subscription %(name)s receives no changes: it is socket only (%(error)s), and "
                "the WebSocket does not announce changes: %(socket)s"
            )
            values["error"] = values["error"].rstrip(".")
            values["socket"] = _sentence(health.socket_problem)
            yield HealthLevel.FAILED, text % values
        else:
            text = gettext(
                "The subscription %(name)s is socket only: changes that the WebSocket does not "
                "bring are lost. %(error)s Run directus_check for the details."
            )
            yield HealthLevel.DEGRADED, text % values


# Changes


def _gap_findings(health: ConnectionHealth) -> Iterator[_Finding]:
    gap = health.gap
    if gap is None or not gap.is_unresolved:
        return
    text = gettext(
        "Changes of %(collections)s between %(since)s and %(until)s may have been missed: "
        "%(reason)s Load the items again (directus_load), or replay what the activity log has "
        "(directus_replay); then "
        "acknowledge the gap: on the page of the connection in the admin, or directus_status "
        "--connection %(alias)s --acknowledge-gap"
    )
    values = {
        "collections": ", ".join(gap.collections) or gettext("all collections"),
        "since": _shown(gap.since),
        "until": _shown(gap.until, "…"),
        "reason": _sentence(gettext(gap.reason) if gap.reason else gettext("reason unknown")),
        "alias": health.alias,
    }
    yield HealthLevel.DEGRADED, text % values


def _unexplained_findings(health: ConnectionHealth) -> Iterator[_Finding]:
    if not health.unexplained:
        return
    text = ngettext(
        "%(count)d logged change is unexplained, the oldest since %(since)s: the item was not "
        "found, and no delete is in the activity log. Check the rights of the token, and whether "
        "a cascade or SQL deleted the item; then delete the entry in the admin (Parked changes).",
        "%(count)d logged changes are unexplained, the oldest since %(since)s: the items were not "
        "found, and no deletes are in the activity log. Check the rights of the token, and whether "
        "cascades or SQL deleted the items; then delete the entries in the admin (Parked changes).",
        health.unexplained,
    )
    values = {"count": health.unexplained, "since": _shown(health.unexplained_since)}
    yield HealthLevel.DEGRADED, text % values


def _delivery_findings(health: ConnectionHealth, limits: HealthThresholds) -> Iterator[_Finding]:
    if health.inbox.lag > limits.lag:
        text = gettext(
            "The oldest pending event has waited for %(seconds)s s; %(most)s s are allowed. "
            "Look for a slow or hanging receiver, or a missing worker."
        )
        values = {"seconds": f"{health.inbox.lag:.0f}", "most": f"{limits.lag:g}"}
        yield HealthLevel.DEGRADED, text % values
    if health.inbox.dead > limits.dead:
        text = gettext("Dead letters: %(dead)d; %(most)d are allowed. See the inbox in the admin.")
        yield HealthLevel.DEGRADED, text % {"dead": health.inbox.dead, "most": limits.dead}


def _notes(health: ConnectionHealth, limits: HealthThresholds) -> Iterator[str]:
    if health.socket_problem and health.state == "connected" and not _needs_socket(health):
        text = gettext(
            "The WebSocket does not announce changes: %(reason)s They are found by reading the "
            "activity log every %(seconds)s s."
        )
        settings = settings_of(health.alias)
        has_door = "door" in health.doorbells
        seconds = settings.catch_up_interval if has_door else settings.poll_interval
        yield text % {"reason": _sentence(health.socket_problem), "seconds": f"{seconds:g}"}
    if health.door is not None and health.door.problem and health.state == "connected":
        text = gettext(
            "The door does not announce changes: %(reason)s If that stays so, see "
            "directus_doorbell check."
        )
        yield text % {"reason": _sentence(health.door.problem)}
    if health.catch_up is not None and health.catch_up.rows_done < health.catch_up.rows_total:
        text = gettext("Catching up: %(done)d of %(total)d rows of the activity log are read.")
        yield text % {"done": health.catch_up.rows_done, "total": health.catch_up.rows_total}
    if 0 < health.inbox.dead <= limits.dead:
        yield gettext("Dead letters: %(dead)d. See the inbox in the admin.") % {
            "dead": health.inbox.dead
        }
    if health.parked:
        text = ngettext(
            "%(count)d logged change is parked: its item was not found, and its delete may still "
            "appear in the activity log.",
            "%(count)d logged changes are parked: their items were not found, and their deletes "
            "may still appear in the activity log.",
            health.parked,
        )
        yield text % {"count": health.parked}
    if health.dropped:
        text = ngettext(
            "%(count)d id of the activity log never became visible and was given up, as after a "
            "transaction that was rolled back.",
            "%(count)d ids of the activity log never became visible and were given up, as after a "
            "transaction that was rolled back.",
            health.dropped,
        )
        yield text % {"count": health.dropped}


def _needs_socket(health: ConnectionHealth) -> bool:
    """Whether a lost socket is a problem, and already reported as one."""
    has_log_problem = health.catch_up is not None and bool(health.catch_up.problem)
    return has_log_problem and bool(health.subscribed)


def _sentence(text: str) -> str:
    """Return a text with a full stop."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _shown(moment: datetime | None, missing: str = "–") -> str:
    return f"{timezone.localtime(moment):%Y-%m-%d %H:%M:%S}" if moment else missing
