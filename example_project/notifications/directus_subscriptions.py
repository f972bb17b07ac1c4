"""All notifications; each user may read their own."""

from __future__ import annotations

from typing import Any

from directus_realtime import Browsers, Subscription, register
from example_project.site.models import directus_user_of


def own_rows(user: Any) -> dict[str, Any]:
    """The filter for the notifications of a user of this site."""
    # No user has an empty key, so without a profile there are no rows.
    return {"recipient": {"_eq": directus_user_of(user)}}


register(
    Subscription(
        "my-notifications",
        collection="directus_notifications",
        fields=["id", "timestamp", "status", "recipient", "subject", "message"],
        browsers=Browsers("signed-in", rows=own_rows, first_load=200),
    )
)
