"""The fake Directus with the demo's content, which changes by itself, as a process."""

from __future__ import annotations

import os
import sys
from typing import Any

from directus_realtime.testing import FakeCollection, FakeUser, run_in_thread
from directus_realtime.testing.demo_articles import AUTHORS, Item, first_articles
from example_project.demo.changes import ChangeStream
from example_project.demo.content import (
    COLLECTIONS,
    PEOPLE,
    first_messages,
    first_notifications,
    first_orders,
)
from example_project.real_directus import DirectusAdmin


def demo_content() -> dict[str, Any]:
    """Return the arguments with which :class:`FakeDirectus` has the demo's content."""
    keys = {each.first_name: each.id for each in PEOPLE}
    items: dict[str, list[Item]] = {
        "authors": [{"name": name} for name in AUTHORS],
        "articles": first_articles(range(1, len(AUTHORS) + 1)),
        "messages": first_messages(keys),
        "orders": first_orders(),
    }
    collections = [
        FakeCollection(name, fields=fields, items=items[name])
        for name, fields in COLLECTIONS.items()
    ]
    # None of the people may log in or read anything.
    users = [
        FakeUser(each.email, password="", name=each.first_name, readable={}, id=each.id)
        for each in PEOPLE
    ]
    notifications = {"directus_notifications": first_notifications(keys)}
    return {"collections": collections, "users": users, "system_items": notifications}


def main(port: int) -> None:
    """Run it on a port of 127.0.0.1 with the token of ``DIRECTUS_TOKEN`` until stopped."""
    token = os.environ["DIRECTUS_TOKEN"]
    with (
        run_in_thread(token=token, port=port, **demo_content()) as fake,
        DirectusAdmin(fake.url, token) as directus,
    ):
        print(f"Fake Directus on {fake.url}", flush=True)
        ChangeStream(directus).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
