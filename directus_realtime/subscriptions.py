"""Subscriptions declared in code.

In ``<app>/directus_subscriptions.py``, which is imported automatically::

    from django.db.models import Q
    from directus_realtime import Subscription, register

    register(
        Subscription(
            "published-articles",
            collection="articles",
            filter=Q(status="published"),
            fields=["id", "title", "author.name"],
        )
    )
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from django.db.models import Q

from directus_realtime.events import Action, Key
from directus_realtime.filters import to_directus_filter
from directus_realtime.groups import is_legal_group_name
from directus_realtime.protocol.messages import ACTIONS
from directus_realtime.protocol.queries import Query, listed

if TYPE_CHECKING:
    from directus_realtime.protocol.queries import BrowserQuery

#: Decides whether a user may have the query of a browser, or returns one that replaces it.
Permit = Callable[[Any, "Subscription", "BrowserQuery"], "bool | BrowserQuery"]
#: The items that a user may see, as a Directus filter or a ``Q``; ``{}`` for all of them.
Rows = Callable[[Any], "dict[str, Any] | Q"]

PUBLIC = "public"
SIGNED_IN = "signed-in"

_PERMISSION = re.compile(r"[A-Za-z_]\w*\.\S+")
# What fits into the column of the table.
_MAX_FIRST_LOAD = 2**31 - 1


@dataclass(frozen=True)
class Browsers:
    """Access of browsers to a subscription; without it, browsers have none.

    Args:
        allow: ``"public"`` for all users, ``"signed-in"`` for active users, a Django permission
            such as ``"articles.view_article"``, or a function of the user, the subscription and
            the browser's query. The function returns ``True``, ``False``, or a query that
            replaces the browser's, for example ``dataclasses.replace(query, fields=("id",))``.
        rows: A function of the user that returns the items that this user may see, as a
            Directus filter or a ``Q`` over the subscription's fields. Both functions are
            ``def`` and may use the database.
        first_load: Number of items, the newest, that are sent when a browser subscribes.

    Raises:
        ValueError: An argument is invalid; the message names it.
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
        """The required Django permission, or ``""``."""
        return str(self.allow) if self.access == "permission" else ""


def is_permission_name(name: str) -> bool:
    """Return whether a text has the form of a Django permission: ``articles.view_article``."""
    return _PERMISSION.fullmatch(name) is not None


def _check_function(what: str, given: object) -> None:
    if not callable(given):
        raise ValueError(f"The {what} of Browsers must be a function, not {given!r}.")
    if inspect.iscoroutinefunction(given):
        raise ValueError(
            f"The {what} of Browsers must be a plain function: {given!r} is async. "
            "It is called in a thread, where it may use the database."
        )


#: Characters of a name, and of a collection's.
MAX_NAME_LENGTH = 100

__all__ = [
    "Browsers",
    "Permit",
    "Rows",
    "Subscription",
    "declared",
    "declared_at",
    "is_permission_name",
    "register",
]


class Subscription:
    """A declared subscription to a collection.

    Args:
        name: Unique name; in each event's ``subscription``.
        collection: Name of the collection, for example ``articles`` or ``directus_users``.
        events: Any of ``create``, ``update``, ``delete``.
        filter: A Directus filter or a Django ``Q``. Directus does not apply it to deletes.
        fields: Field names with dots for relations; empty for all of the item's own.
        item: Key of the only item.
        group: Own Channels group instead of the collection's.
        connection: Alias of the Directus server.
        snapshot: Deliver all items that match once, as updates with the origin ``snapshot``,
            and again whenever the collection, the filter or the fields change.
        debounce: Seconds in which only the last state of each item is delivered.
        debounce_by: ``item``, or ``subscription`` for one window for all of its items.
        browsers: Access of browsers through the gateway; none by default. A text such as
            ``"public"`` is short for ``Browsers("public")``.

    Raises:
        ValueError: An argument is invalid; the message names it.
    """

    def __init__(
        self,
        name: str,
        *,
        collection: str,
        events: Iterable[Action] = ACTIONS,
        filter: Q | dict[str, Any] | None = None,
        fields: Iterable[str] = (),
        item: Key | None = None,
        group: str = "",
        connection: str = "default",
        snapshot: bool = False,
        debounce: float = 0,
        debounce_by: Literal["item", "subscription"] = "item",
        browsers: Browsers | str | None = None,
    ) -> None:
        self.name = name
        self.connection = connection
        self.group = group
        self.snapshot = snapshot
        self.debounce = debounce
        self.debounce_by = debounce_by
        self.browsers = Browsers(browsers) if isinstance(browsers, str) else browsers
        events = listed(f"The events of {name!r}", events)
        if unknown := [event for event in events if event not in ACTIONS]:
            raise ValueError(f"{unknown[0]!r} is no event; choose from {', '.join(ACTIONS)}.")
        for what, text in (("name", name), ("collection", collection)):
            if not 0 < len(text) <= MAX_NAME_LENGTH:
                raise ValueError(
                    f"The {what} {text!r} must have 1 to {MAX_NAME_LENGTH} characters."
                )
        self.query = Query(
            collection=collection,
            events=tuple(event for event in ACTIONS if event in events),
            filter=to_directus_filter(filter),
            fields=listed(f"The fields of {name!r}", fields),
            item=item,
        )
        if not self.query.events:
            raise ValueError(f"The subscription {name!r} asks for none of {', '.join(ACTIONS)}.")
        if not 0 <= debounce <= 3600:
            raise ValueError(f"The debounce of {name!r} must be between 0 and 3600 seconds.")
        if debounce_by not in {"item", "subscription"}:
            raise ValueError(f"debounce_by is {debounce_by!r}; use 'item' or 'subscription'.")
        if not isinstance(self.browsers, Browsers | None):
            raise ValueError(
                f"The browsers of {name!r} must be Browsers(…) or a text, not {browsers!r}."
            )
        if group and not is_legal_group_name(group):
            raise ValueError(
                f"The group name {group!r} is not legal: use fewer than 100 "
                "letters, digits, hyphens, underscores and dots."
            )

    def __repr__(self) -> str:
        return f"<Subscription {self.name!r} of {self.query.collection}>"


_declared: dict[str, tuple[Subscription, str]] = {}
_places: dict[str, str] = {}


def register(subscription: Subscription) -> Subscription:
    """Declare a subscription for the listener and the admin.

    Raises:
        ValueError: Another module has declared one with its name.
    """
    # The admin shows the caller's module as the place of the declaration.
    caller = sys._getframe(1)
    module = caller.f_globals.get("__name__", "")
    known = _declared.get(subscription.name)
    if known is not None and known[1] != module:
        raise ValueError(
            f"A subscription named {subscription.name!r} is declared in {known[1]} already."
        )
    _declared[subscription.name] = (subscription, module)
    file = _relative_file(caller.f_code.co_filename, module)
    _places[subscription.name] = f"{file}:{caller.f_lineno}"
    return subscription


def declared() -> dict[str, tuple[Subscription, str]]:
    """Return the declared subscriptions by name, each with the module that declares it."""
    return dict(_declared)


def declared_at(name: str) -> str:
    """Return file and line of a declaration, for example ``news/directus_subscriptions.py:12``.

    Args:
        name: Name of the subscription.

    Returns:
        Empty if this process has no such declaration.
    """
    return _places.get(name, "")


def _relative_file(filename: str, module: str) -> str:
    """Return the path of a module's file below the folder that it is imported from."""
    path = PurePath(filename)
    levels = module.count(".") + 1 + (path.stem == "__init__")
    return PurePath(*path.parts[-levels:]).as_posix()
