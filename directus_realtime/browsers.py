"""Which browsers may have a subscription through the gateway, and what of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django.db.models import Q

    from directus_realtime.gateway.queries import BrowserQuery
    from directus_realtime.subscriptions import Subscription

#: Says whether a user may have what a browser asks for, or what it may have instead.
Permit = Callable[[Any, "Subscription", "BrowserQuery"], "bool | BrowserQuery"]
#: The items that a user may see, as a Directus filter or a ``Q``; ``{}`` for all of them.
Rows = Callable[[Any], "dict[str, Any] | Q"]

PUBLIC = "public"
SIGNED_IN = "signed-in"

_PERMISSION = re.compile(r"[A-Za-z_]\w*\.\S+")
# What fits into the column of the table.
_MAX_FIRST_LOAD = 2**31 - 1

__all__ = ["Browsers", "Permit", "Rows", "is_permission_name"]


@dataclass(frozen=True)
class Browsers:
    """Offers a subscription to browsers; without it, no browser has any part of it.

    Args:
        allow: ``"public"`` for everybody, ``"signed-in"`` for active users, a Django permission
            such as ``"articles.view_article"``, or a function of the user, the subscription and
            the browser's query. The function returns ``True``, ``False``, or a query that is
            used instead of the browser's, such as ``dataclasses.replace(query, fields=("id",))``.
        rows: A function of the user that returns which items this user may see, as a Directus
            filter or a ``Q`` over the subscription's fields. Both functions are ``def`` and
            may use the database.
        first_load: So many items, the newest, are sent when a browser subscribes; 0 for none.

    Raises:
        ValueError: A sentence that names the wrong part.
    """

    allow: str | Permit
    rows: Rows | None = None
    first_load: int = 0

    def __post_init__(self) -> None:
        allow = self.allow
        if isinstance(allow, str):
            if allow not in {PUBLIC, SIGNED_IN} and not is_permission_name(allow):
                raise ValueError(
                    f"Browsers cannot be allowed by {allow!r}: use 'public', 'signed-in', a "
                    "permission such as 'articles.view_article', or a function."
                )
        else:
            _check_function("allow", allow)
        if self.rows is not None:
            _check_function("rows", self.rows)
        size: object = self.first_load
        if type(size) is not int or not 0 <= size <= _MAX_FIRST_LOAD:
            raise ValueError(f"first_load must be a number of items, 0 for none, not {size!r}.")

    @property
    def access(self) -> str:
        """The value of the column ``browser_access``."""
        if not isinstance(self.allow, str):
            return "function"
        return {PUBLIC: "public", SIGNED_IN: "signed_in"}.get(self.allow, "permission")

    @property
    def permission(self) -> str:
        """The Django permission, or ``""`` where none decides."""
        return str(self.allow) if self.access == "permission" else ""


def is_permission_name(name: str) -> bool:
    """Whether a text has the form of a Django permission, such as ``articles.view_article``."""
    return _PERMISSION.fullmatch(name) is not None


def _check_function(what: str, given: object) -> None:
    if not callable(given):
        raise ValueError(f"The {what} of Browsers must be a function, not {given!r}.")
    if inspect.iscoroutinefunction(given):
        raise ValueError(
            f"The {what} of Browsers must be a plain function: {given!r} is async. "
            "It is called in a thread, where it may use the database."
        )
