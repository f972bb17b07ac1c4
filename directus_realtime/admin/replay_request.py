"""Replays that are requested on a page of the admin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.translation import gettext as _

from directus_realtime.exceptions import DirectusRealtimeError
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.listener.replay import Replay, Replayed, Selection
from directus_realtime.models import DirectusSubscription
from directus_realtime.settings import connection_settings
from directus_realtime.utils.redaction import redact

#: Maximum number of changes, because a browser waits for the page; more take the command.
MOST_CHANGES = 2000
#: Maximum number of rows of the activity log that are read for them.
MOST_ROWS = 50_000


@dataclass
class Outcome:
    """Result of a replay.

    Attributes:
        events: Number of events put into the inbox, by subscription.
        problems: Errors, as sentences.
    """

    events: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def replay(
    rows: Iterable[DirectusSubscription], *, since: Any, until: Any = None, key: str = ""
) -> Outcome:
    """Replay the changes of subscriptions; those of one collection are replayed together.

    Args:
        rows: Enabled subscriptions.
        since: Begin of the span; aware.
        until: End of the span; ``None`` for now.
        key: Key of a single item; empty for all.
    """
    outcome = Outcome()
    ordered = sorted(rows, key=_place)
    for (alias, collection), group in groupby(ordered, key=_place):
        wanted = [DesiredSubscription.of(row) for row in group]
        selection = Selection(collection, since, until, key or None)
        try:
            outcome.events.update(_replay(alias, wanted, selection, outcome))
        except (DirectusRealtimeError, ImproperlyConfigured) as error:
            outcome.problems.append(f"{collection}: {redact(str(error))}")
    return outcome


def _place(row: DirectusSubscription) -> tuple[str, str]:
    return row.connection, row.collection


def _replay(
    alias: str, wanted: list[DesiredSubscription], selection: Selection, outcome: Outcome
) -> dict[str, int]:
    settings = connection_settings(alias)
    try:
        # Counted first: a page that takes too long would be aborted by the web server.
        counting = Replay(settings, wanted, selection, dry_run=True, on_progress=_refuse_too_many)
        changes = async_to_sync(counting.run)().changes
    except _TooMany:
        outcome.problems.append(_command_instead(alias, selection))
        return {}
    if not changes:
        return dict.fromkeys((each.name for each in wanted), 0)
    return async_to_sync(Replay(settings, wanted, selection).run)().events


class _TooMany(Exception):
    """The replay is too large for a page."""


def _refuse_too_many(replayed: Replayed) -> None:
    if replayed.changes > MOST_CHANGES or replayed.done > MOST_ROWS:
        raise _TooMany


def _command_instead(alias: str, selection: Selection) -> str:
    text = _(
        "%(collection)s: this is more than a page can wait for (%(most)d changes). Run: "
        "python manage.py directus_replay --connection %(alias)s --collection %(collection)s "
        "--since %(since)s"
    )
    since = timezone.localtime(selection.since).isoformat(timespec="seconds")
    values = {"collection": selection.collection, "alias": alias, "since": since}
    return text % {**values, "most": MOST_CHANGES}
