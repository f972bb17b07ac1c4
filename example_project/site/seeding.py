"""Creates the pages' content in a Directus, and keeps existing content."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from directus_realtime.testing.demo_articles import AUTHORS, Item, Key, Kind, first_articles
from example_project.demo.content import (
    COLLECTIONS,
    PEOPLE,
    first_messages,
    first_notifications,
    first_orders,
)
from example_project.real_directus import DirectusAdmin, DirectusAdminError

#: Note of each collection created here: only those are filled.
MARK = "Made by seed_directus of django-directus-realtime."

_READ = "read"
_FIELDS: Mapping[str, Item] = {
    "date-created": {"type": "timestamp", "meta": {"special": ["date-created"]}},
    "date-updated": {"type": "timestamp", "meta": {"special": ["date-updated"]}},
    "decimal": {"type": "decimal", "schema": {"numeric_precision": 10, "numeric_scale": 2}},
}
_USER_RELATION: Item = {"type": "uuid"}


@dataclass(frozen=True)
class Account:
    """A user of Directus with a static token and no more rights than it needs.

    Attributes:
        variable: The setting that holds its token.
        email: Identifies it.
        policy: The name of its policy.
        permissions: Collection, action and fields of each right.
    """

    variable: str
    email: str
    policy: str
    permissions: Sequence[tuple[str, str, Sequence[str]]]


_NOTIFICATION_FIELDS = ("id", "timestamp", "status", "recipient", "subject", "message")
ACCOUNTS = (
    Account(
        "DIRECTUS_TOKEN",
        "django-listener@example.com",
        "Django listener",
        [
            ("authors", _READ, ["id", "name"]),
            ("articles", _READ, ["id", "title", "status", "author", "date_updated"]),
            ("messages", _READ, ["id", "content", "author", "date_created"]),
            ("orders", _READ, ["id", "status", "total", "completed_at"]),
            ("directus_notifications", _READ, _NOTIFICATION_FIELDS),
            ("directus_users", _READ, ["id", "first_name"]),
            # To follow the changes.
            (
                "directus_activity",
                _READ,
                ["action", "collection", "id", "item", "timestamp", "user"],
            ),
            ("directus_collections", _READ, ["accountability", "collection"]),
            ("directus_fields", _READ, ["collection", "field"]),
        ],
    ),
    Account(
        "DIRECTUS_WRITE_TOKEN",
        "django-site@example.com",
        "Django site",
        [
            *(("messages", action, ["*"]) for action in ("create", "read", "update", "delete")),
            ("directus_notifications", _READ, ["id", "status", "recipient"]),
            ("directus_notifications", "update", ["status"]),
        ],
    ),
)


class Seeder:
    """Creates missing parts; it may run repeatedly.

    Args:
        directus: With the rights of an administrator, on Directus 11 or newer.
        say: Takes a line for the person at the terminal.

    Every method raises :exc:`DirectusAdminError` if Directus refuses.
    """

    def __init__(self, directus: DirectusAdmin, say: Callable[[str], None]) -> None:
        self._directus = directus
        self._say = say

    # Collections

    def make_collections(self) -> None:
        """Create the collections, and missing fields of those that this class created."""
        notes = self._notes()
        for name, fields in COLLECTIONS.items():
            if name not in notes:
                self._make_collection(name, fields)
                self._say(f"Collection {name}: created.")
            elif notes[name] == MARK:
                self._add_missing_fields(name, fields)
                self._say(f"Collection {name}: there already.")
            else:
                missing = ", ".join(sorted(fields.keys() - self._field_names(name)))
                lacks = f" It lacks what the pages show: {missing}." if missing else ""
                self._say(f"Collection {name}: there already, and not ours; left alone.{lacks}")

    def _notes(self) -> dict[str, str]:
        found = self._directus.request("GET", "/collections")
        return {each["collection"]: (each["meta"] or {}).get("note") or "" for each in found}

    def _make_collection(self, name: str, fields: Mapping[str, Kind]) -> None:
        described = {field: _described(kind) for field, kind in fields.items()}
        self._directus.create_collection(name, described, note=MARK)
        self._relate(name, fields)

    def _add_missing_fields(self, name: str, fields: Mapping[str, Kind]) -> None:
        for field in sorted(fields.keys() - self._field_names(name)):
            body = {"field": field, "schema": {}, "meta": {}, **_described(fields[field])}
            self._directus.request("POST", f"/fields/{name}", body)
            self._say(f"Collection {name}: the field {field} added.")
        # A run that was interrupted may have made the field without it.
        self._relate(name, fields)

    def _relate(self, name: str, fields: Mapping[str, Kind]) -> None:
        found = self._directus.request("GET", f"/relations/{name}")
        known = {each["field"] for each in found}
        for field, kind in fields.items():
            if isinstance(kind, tuple) and field not in known:
                self._directus.create_relation(name, field, kind[1])

    def _field_names(self, name: str) -> set[str]:
        return {each["field"] for each in self._directus.request("GET", f"/fields/{name}")}

    # People

    def make_people(self) -> dict[str, str]:
        """Make the people as users without a password, and return their keys by e-mail."""
        made = []
        keys = self._user_keys([each.email for each in PEOPLE])
        for person in PEOPLE:
            if person.email in keys:
                continue
            user = {
                "email": person.email,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email_notifications": False,
            }
            keys[person.email] = self._directus.request("POST", "/users", user)["id"]
            made.append(person.first_name)
        self._say(f"People: created {', '.join(made)}." if made else "People: there already.")
        return keys

    def _user_keys(self, emails: Sequence[str]) -> dict[str, str]:
        params = {
            "filter[email][_in]": ",".join(emails),
            "fields": "id,email",
            "limit": "-1",
        }
        users = self._directus.request("GET", "/users", params=params)
        return {user["email"]: user["id"] for user in users}

    # Content

    def fill(self, people: Mapping[str, str]) -> None:
        """Fill the empty collections that this class created, and notify the people.

        Args:
            people: Keys of the users by e-mail address.
        """
        keys = {each.first_name: people[each.email] for each in PEOPLE}
        notes = self._notes()
        ours = [name for name in COLLECTIONS if notes.get(name) == MARK]
        empty = [name for name in ours if not self._directus.read_items(name, limit="1")]
        if "authors" in empty:
            self._directus.create_items("authors", [{"name": name} for name in AUTHORS])
        if "articles" in empty and "authors" in ours:
            authors = self._directus.read_items("authors", fields="id", sort="id")
            items = first_articles([author["id"] for author in authors])
            self._directus.create_items("articles", items)
        for name, items in (("messages", first_messages(keys)), ("orders", first_orders())):
            if name in empty:
                self._create_with_past(name, items)
        self._say(f"Content: added to {', '.join(empty)}." if empty else "Content: there already.")
        self._notify(keys)

    def _notify(self, keys: Mapping[str, Key]) -> None:
        played = [str(keys[each.first_name]) for each in PEOPLE if each.is_played]
        params = {"filter[recipient][_in]": ",".join(played), "limit": "1"}
        if self._directus.request("GET", "/notifications", params=params):
            self._say("Notifications: there already.")
            return
        for notification in first_notifications(keys):
            self._directus.request("POST", "/notifications", notification)
        self._say("Notifications: created.")

    def _create_with_past(self, name: str, items: list[Item]) -> None:
        """Directus says when an item was created; that it was earlier, an update can say."""
        made = self._directus.create_items(name, items)
        past = [
            {"id": row["id"], "date_created": item["date_created"]}
            for row, item in zip(made, items, strict=True)
            if "date_created" in item
        ]
        self._directus.request("PATCH", f"/items/{name}", past)

    # Accounts

    def make_account(
        self, account: Account, known_token: str = "", *, renew: bool = False
    ) -> str | None:
        """Make a user with its policy, and give it a token.

        Args:
            account: Which.
            known_token: Its token, if known.
            renew: Give it a new token also where it has one that is not known.

        Returns:
            The token; ``None`` where it has one that is not known.
        """
        policy = self._make_policy(account)
        key = self._user_keys([account.email]).get(account.email)
        if key is None:
            self._say(f"User {account.email}: created.")
            return self._make_user(account, policy)
        self._attach(key, policy)
        if known_token and self._is_token_of(known_token, key):
            self._say(f"User {account.email}: there already, with the token that is known.")
            return known_token
        if not renew:
            self._say(
                f"User {account.email}: there already, with a token that is not known here. "
                "--new-tokens gives it another one."
            )
            return None
        token = secrets.token_urlsafe(24)
        self._directus.request("PATCH", f"/users/{key}", {"token": token})
        self._say(f"User {account.email}: there already; it has a new token.")
        return token

    def _make_policy(self, account: Account) -> str:
        params = {"filter[name][_eq]": account.policy, "fields": "id", "limit": "1"}
        found = self._directus.request("GET", "/policies", params=params)
        if not found:
            body = {"name": account.policy, "admin_access": False, "app_access": False}
            body |= {"description": MARK}
            found = [self._directus.request("POST", "/policies", body)]
        policy = str(found[0]["id"])
        self._add_missing_rights(account, policy)
        return policy

    def _add_missing_rights(self, account: Account, policy: str) -> None:
        params = {
            "filter[policy][_eq]": policy,
            "fields": "collection,action",
            "limit": "-1",
        }
        found = self._directus.request("GET", "/permissions", params=params)
        known = {(each["collection"], each["action"]) for each in found}
        for collection, action, fields in account.permissions:
            if (collection, action) in known:
                continue
            right: dict[str, Any] = {"policy": policy, "collection": collection, "action": action}
            right |= {"permissions": {}, "fields": list(fields)}
            self._directus.request("POST", "/permissions", right)

    def _make_user(self, account: Account, policy: str) -> str:
        token = secrets.token_urlsafe(24)
        user = {
            "email": account.email,
            "first_name": account.policy,
            "token": token,
            "policies": [{"policy": policy}],
        }
        self._directus.request("POST", "/users", user)
        return token

    def _attach(self, user: str, policy: str) -> None:
        params = {"fields": "policies.policy"}
        found = self._directus.request("GET", f"/users/{user}", params=params)
        if policy not in {each["policy"] for each in found["policies"] or []}:
            added = {"policies": {"create": [{"policy": policy}]}}
            self._directus.request("PATCH", f"/users/{user}", added)

    def _is_token_of(self, token: str, key: str) -> bool:
        with DirectusAdmin(self._directus.url, token) as known:
            try:
                return bool(known.request("GET", "/users/me", params={"fields": "id"})["id"] == key)
            except DirectusAdminError:
                return False


def _described(kind: Kind) -> Item:
    if isinstance(kind, tuple):
        return _USER_RELATION if kind[1].startswith("directus_") else {"type": "integer"}
    return _FIELDS.get(kind, {"type": kind})
