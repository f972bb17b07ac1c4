"""What is said of a subscription when it is saved."""

from __future__ import annotations

from django.utils.translation import gettext, ngettext

from directus_realtime.admin.standing import NO_LISTENER
from directus_realtime.models import ConnectionStatus, DirectusSubscription

#: Other subscriptions that are named.
_NAMED = 3


def listener_advice(connection: str) -> str:
    """What happens next with a saved subscription, as a sentence."""
    status = ConnectionStatus.objects.filter(alias=connection).first()
    if status is not None and status.has_listener:
        return gettext("The listener takes it up within 2 seconds.")
    return str(NO_LISTENER)


def others_note(row: DirectusSubscription) -> str:
    """Which others bring the same changes to the same receivers; empty where none does."""
    same = DirectusSubscription.objects.filter(
        connection=row.connection, collection=row.collection, enabled=True
    )
    others = [
        other.name
        for other in same.exclude(pk=row.pk).order_by("name")
        if set(other.actions) & set(row.actions)
    ]
    if not row.enabled or not others:
        return ""
    text = ngettext(
        "Another subscription has this collection, too: %(names)s. The receivers of "
        "%(collection)s are called for each of them that wants a change; event.subscription "
        "tells a receiver which one it is.",
        "Other subscriptions have this collection, too: %(names)s. The receivers of "
        "%(collection)s are called for each of them that wants a change; event.subscription "
        "tells a receiver which one it is.",
        len(others),
    )
    names = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
    return text % {"names": names, "collection": row.collection}
