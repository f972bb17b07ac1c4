"""Whether the session that said who a browser is still says so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from django.utils.crypto import constant_time_compare


def unwrapped(value: Any) -> Any:
    """What Channels put behind a lazy object."""
    return getattr(value, "_wrapped", value)


def is_signed_in(session: Any) -> bool:
    """Whether somebody signed in with a session; ``None`` where there is none."""
    return session is not None and SESSION_KEY in session


def ended_sessions(sessions: Iterable[Any]) -> set[str | None]:
    """Keys of those that are gone: signed out, or over.

    Only sessions in the database can be asked for; uses it.
    """
    kept = [each for each in map(unwrapped, sessions) if isinstance(each, SessionStore)]
    if not kept:
        return set()
    keys = {session.session_key for session in kept}
    rows = kept[0].model.objects.filter(pk__in=keys, expire_date__gt=timezone.now())
    return keys - set(rows.values_list("pk", flat=True))


def has_same_password(session: Any, user: Any) -> bool:
    """Whether the session was made with the user's password, as Django checks it."""
    made_with = session.get(HASH_SESSION_KEY) or ""
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(made_with, current) for current in hashes)


def still_stands_for(session: Any, user: Any) -> bool:
    """Whether a session still says that a browser is a user; uses the database.

    One that nobody signed in with has no say: a middleware of the site has.
    """
    if not is_signed_in(session):
        return True
    return not ended_sessions([session]) and has_same_password(session, user)
