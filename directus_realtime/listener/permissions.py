"""Permissions that the Directus user of a connection needs, has, and lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from directus_realtime.client.activity_log import ACTIVITY, FIELDS, USER
from directus_realtime.client.schema import Relations, Right, Rights
from directus_realtime.listener.desired_subscriptions import DesiredSubscription
from directus_realtime.protocol.queries import LOGICAL_OPERATORS, Query

#: Collections that the listener always reads: fields, and the purpose.
SYSTEM_NEEDS = {
    "directus_activity": (sorted([*FIELDS, USER]), "which items changed"),
    "directus_collections": (["accountability", "collection"], "whether changes are logged"),
    "directus_fields": (["collection", "field"], "names and types of primary keys"),
}
#: Collections that must be readable completely, or changes are missed without notice.
_WHOLE = frozenset({ACTIVITY})
#: Optional fields of a collection, and the consequence of their absence.
_OPTIONAL = {ACTIVITY: {USER: "Without the field user, changed_by of events is None."}}
#: Name of the proposed policy.
POLICY_NAME = "django-directus-realtime"


@dataclass
class Need:
    """Fields of one collection that must be readable.

    Attributes:
        collection: Name of the collection.
        fields: Names; ``*`` for all.
        reasons: Names of subscriptions, or a sentence.
        missing: Fields that are known to be unreadable; ``*`` for all.
        note: A further sentence; or empty.
    """

    collection: str
    fields: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    note: str = ""

    def add(self, name: str, reason: str) -> None:
        """Add a field and the reason for it."""
        if name not in self.fields:
            self.fields.append(name)
        if reason not in self.reasons:
            self.reasons.append(reason)


@dataclass
class Permissions:
    """The permissions of a connection's user.

    Attributes:
        is_known: Whether Directus reports the permissions of the user; Directus 10 does not.
        is_admin: Whether the user may do everything.
        needs: By collection.
        unknown: Sentences about collections that could not be determined.
    """

    is_known: bool = True
    is_admin: bool = False
    needs: list[Need] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def is_enough(self) -> bool:
        """Whether nothing is known to be missing."""
        return not any(need.missing for need in self.needs)

    def policy(self) -> dict[str, Any]:
        """Return the smallest sufficient policy, as the body of ``POST /policies``."""
        permissions = [
            {
                "collection": need.collection,
                "action": "read",
                "permissions": {},
                "fields": ["*"] if "*" in need.fields else need.fields,
            }
            for need in self.needs
        ]
        return {
            "name": POLICY_NAME,
            "icon": "bolt",
            "description": "What the listener of the Django project reads.",
            "admin_access": False,
            "app_access": False,
            "permissions": permissions,
        }


async def explain_permissions(
    rights: Rights, desired: Iterable[DesiredSubscription]
) -> Permissions:
    """Determine the permissions that the user needs for some subscriptions, and those missing.

    Args:
        rights: Queries Directus as the user.
        desired: The subscriptions.

    Raises:
        RequestRefused: Directus is not ready to answer.
        ConnectionFailed: Directus could not be reached.
    """
    found = Permissions()
    needs = _Needs(rights)
    for each in desired:
        await needs.add_query(each.query, each.name)
    needs.add_system()
    found.needs, found.unknown = needs.sorted(), needs.unknown
    had = await rights.of_collections()
    found.is_known, found.is_admin = had is not None, await rights.is_admin()
    if had is not None and not found.is_admin:
        for need in found.needs:
            _compare(need, had.get(need.collection, Right()))
    return found


def _compare(need: Need, right: Right) -> None:
    """Set the missing fields and the note of a need."""
    if right.access == "none":
        need.missing = ["*"]
        return
    lacking = right.lacks(name for name in need.fields if name != "*")
    optional = _OPTIONAL.get(need.collection, {})
    need.missing = [name for name in lacking if name not in optional]
    if right.access == "partial" and need.collection in _WHOLE:
        need.missing = ["*"]
        need.note = "The user sees only a part of its rows: remove the rule, and app access."
    elif right.access == "partial":
        need.note = "A rule leaves out items: what changes of those is not seen."
    elif notes := [optional[name] for name in lacking if name in optional]:
        need.note = " ".join(notes)
    elif "*" in need.fields and "*" not in right.fields:
        need.note = f"All fields are asked for; events carry {', '.join(sorted(right.fields))}."


class _Needs:
    """Collector of needs, which follows fields into related collections."""

    def __init__(self, rights: Rights) -> None:
        self._rights = rights
        self._by_collection: dict[str, Need] = {}
        self._relations: Relations | None = None
        self._has_asked = False
        self._foreign_keys: dict[str, Mapping[str, str]] = {}
        self.unknown: list[str] = []

    def sorted(self) -> list[Need]:
        """Return the needs, those of the system collections last."""
        needs = self._by_collection.values()
        return sorted(needs, key=lambda n: (n.collection in SYSTEM_NEEDS, n.collection))

    def add_system(self) -> None:
        """Add the needs of the listener itself."""
        for collection, (fields, reason) in SYSTEM_NEEDS.items():
            for name in fields:
                self._add(collection, name, reason)

    async def add_query(self, query: Query, reason: str) -> None:
        """Add the needs of a subscription."""
        self._add(query.collection, await self._rights.primary_key(query.collection), reason)
        if query.events == ("delete",):
            return  # Directus sends the keys alone, to every user
        for path in [*(query.fields or ("*",)), *filter_paths(query.filter)]:
            await self._add_path([query.collection], path.split("."), reason)

    async def _add_path(self, collections: Iterable[str], path: list[str], reason: str) -> None:
        name, *rest = path
        name, _, scope = _plain(name).partition(":")
        for collection in collections:
            self._add(collection, name, reason)
            if rest and name == "*":
                await self._add_all_related(collection, rest, reason)
            elif rest:
                related = (scope,) if scope else await self._related(collection, name)
                await self._add_path(related, rest, reason)

    async def _add_all_related(self, collection: str, rest: list[str], reason: str) -> None:
        relations = await self._all_relations()
        if relations is None:
            self._note_unknown(f"“*.{'.'.join(rest)}” of {collection} leads to")
        for (owner, _), targets in (relations or {}).items():
            if owner == collection:
                await self._add_path(targets, rest, reason)

    async def _related(self, collection: str, name: str) -> tuple[str, ...]:
        """Return the collections that a field leads to; none where relations are hidden."""
        relations = await self._all_relations() or {}
        if found := relations.get((collection, name)):
            return found
        if collection not in self._foreign_keys:
            self._foreign_keys[collection] = await self._rights.foreign_keys(collection)
        if table := self._foreign_keys[collection].get(name):
            return (table,)
        self._note_unknown(f"the field {name} of {collection} leads to")
        return ()

    async def _all_relations(self) -> Relations | None:
        if not self._has_asked:
            self._relations = await self._rights.relations()
            self._has_asked = True
        return self._relations

    def _note_unknown(self, path: str) -> None:
        sentence = (
            f"The collections that {path} may not be seen by this user, and are needed, too. "
            "Run this once with an administrator's token to have them named."
        )
        if sentence not in self.unknown:
            self.unknown.append(sentence)

    def _add(self, collection: str, name: str, reason: str) -> None:
        self._by_collection.setdefault(collection, Need(collection)).add(name, reason)


def _plain(name: str) -> str:
    """Return a field without the function around it: ``year(date)`` reads ``date``."""
    _, bracket, inner = name.partition("(")
    return inner.rstrip(")") if bracket else name


def filter_paths(condition: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """The fields of a Directus filter, with dots for relations."""
    for name, value in condition.items():
        if name in LOGICAL_OPERATORS:
            for entry in value:
                yield from filter_paths(entry, path)
        elif not name.startswith("_"):
            yield from filter_paths(value, f"{path}.{name}" if path else name)
        elif isinstance(value, Mapping):  # _some, _none
            yield from filter_paths(value, path)
        elif path:
            yield path
