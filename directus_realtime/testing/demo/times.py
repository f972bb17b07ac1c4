"""Moments as Directus writes them."""

from __future__ import annotations

import datetime as dt


def ago(seconds: float) -> str:
    """Return the moment so many seconds ago, in UTC with milliseconds."""
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
