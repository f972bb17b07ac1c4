"""The words that the page's script needs, in the visitor's language."""

from __future__ import annotations

from django.utils.translation import gettext as _


def page_texts() -> dict[str, str]:
    """Texts by name."""
    return {
        "connected": _("Connected"),
        "reconnecting": _("Reconnecting"),
        "disconnected": _("Disconnected"),
        "offline": _("This page is not connected"),
        "offlineReason": _("The site does not answer. The page keeps trying."),
        "create": _("created"),
        "update": _("updated"),
        "delete": _("deleted"),
        "untitled": _("Untitled"),
        "replayed": _("replayed"),
        "caughtUp": _("caught up"),
        "refused": _("is refused:"),
        "changeFailed": _("The change could not be made."),
        "now": _("just now"),
    }
