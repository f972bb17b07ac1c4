"""The demonstration's content for the fake Directus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from directus_realtime.testing.demo.articles import AUTHORS, first_articles
from directus_realtime.testing.demo.chat import first_messages
from directus_realtime.testing.demo.notices import first_notifications
from directus_realtime.testing.demo.people import PEOPLE
from directus_realtime.testing.demo.schema import COLLECTIONS
from directus_realtime.testing.demo.shop import first_orders
from directus_realtime.testing.fake import FakeCollection, FakeUser
from example_project.real_directus.directus_admin import Item


def demo_content() -> dict[str, Any]:
    """Return the arguments of :class:`FakeDirectus` that make it the demonstration's."""
    return {
        "collections": _collections(),
        "users": _users(),
        "system_items": {"directus_notifications": first_notifications(_keys())},
    }


def _collections() -> list[FakeCollection]:
    """Return the collections with their first content."""
    items: Mapping[str, list[Item]] = {
        "authors": [{"name": name} for name in AUTHORS],
        "articles": first_articles(range(1, len(AUTHORS) + 1)),
        "messages": first_messages(_keys()),
        "orders": first_orders(),
    }
    return [
        FakeCollection(name, fields=fields, items=items[name])
        for name, fields in COLLECTIONS.items()
    ]


def _users() -> list[FakeUser]:
    """Return the people; none of them may log in or read anything."""
    return [
        FakeUser(each.email, password="", name=each.first_name, readable={}, id=each.id)
        for each in PEOPLE
    ]


def _keys() -> dict[str, str]:
    return {each.first_name: each.id for each in PEOPLE}
