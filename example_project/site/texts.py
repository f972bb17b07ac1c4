"""The words that the scripts of every page need, in the visitor's language."""

from __future__ import annotations

from django.utils.translation import gettext as _


def site_texts() -> dict[str, str]:
    """Texts by name."""
    return {
        "connected": _("Connected"),
        "reconnecting": _("Reconnecting"),
        "disconnected": _("Disconnected"),
        "reconnectingReason": _("Directus cannot be reached."),
        "disconnectedReason": _("No listener is running."),
        "offline": _("This page is not connected"),
        "offlineReason": _("The site does not answer. The page keeps trying."),
        "noNetworkReason": _("This device is not connected to a network."),
        "SERVICE_UNAVAILABLE": _("Directus cannot be read at the moment; it is tried again."),
        "FORBIDDEN": _("This collection does not exist, or it is not offered to you."),
        "refused": _("is refused:"),
        "changeFailed": _("The change could not be made."),
        "now": _("just now"),
        "dismiss": _("Dismiss"),
    }
