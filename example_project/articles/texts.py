"""The words that the page's script needs, in the visitor's language."""

from __future__ import annotations

from django.utils.translation import gettext as _


def page_texts() -> dict[str, str]:
    """Texts by name."""
    return {
        "create": _("created"),
        "update": _("updated"),
        "delete": _("deleted"),
        "status-published": _("published"),
        "status-draft": _("draft"),
        "status-archived": _("archived"),
        "untitled": _("Untitled"),
        "replayed": _("replayed"),
        "caughtUp": _("caught up"),
    }
