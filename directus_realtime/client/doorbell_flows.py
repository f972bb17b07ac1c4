"""Flows of Directus that call a door when items change, managed over REST."""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from directus_realtime.client.rest import RestClient
from directus_realtime.client.rest_messages import taken_apart

_ITEM_EVENTS = ("items.create", "items.update", "items.delete")
#: Key of the operation that calls the door.
_OPERATION = "ring"
#: Content of a knock. The variables are those that each event has.
_BODY = '{"event":"{{$trigger.event}}","collection":"{{$trigger.collection}}"}'
#: Event of the knock that :meth:`DoorbellFlows.ring` asks for.
TEST_EVENT = "doorbell.test"
_TEST_BODY = f'{{"event":"{TEST_EVENT}","collection":"directus_flows"}}'
#: Directus logs the reason of a call that failed, and gives an empty result.
_NOT_REACHED = (
    "Directus could not call the address. Where it leads to the host of Directus itself, take "
    "0.0.0.0 out of IMPORT_IP_DENY_LIST of Directus; else see the log of Directus."
)
_FIELDS = ["id", "status", "trigger", "accountability", "options", "operations.*"]


@dataclass(frozen=True)
class DoorbellFlow:
    """A Flow that calls a door when items of some collections change.

    Attributes:
        name: Name of the Flow, by which it is found again.
        url: Address of the door, as Directus reaches it.
        secret: Secret of the door.
        collections: The collections, each of them by name.
        header: Header for the secret.
    """

    name: str
    url: str
    secret: str = field(repr=False)
    collections: Sequence[str]
    header: str

    @property
    def trigger(self) -> dict[str, Any]:
        """The Flow, without its operation.

        Without accountability, no ring writes rows into the activity log.
        """
        scope = [*_ITEM_EVENTS, "items.sort"]
        if "directus_files" in self.collections:
            scope.append("files.upload")
        return {
            "name": self.name,
            "icon": "doorbell",
            "status": "active",
            "trigger": "event",
            "accountability": None,
            "options": {"type": "action", "scope": scope, "collections": list(self.collections)},
        }

    def operation(self, flow_id: str, body: str = _BODY) -> dict[str, Any]:
        """Return the operation that calls the door.

        Args:
            flow_id: Id of the Flow.
            body: Content of the request.
        """
        return {
            "flow": flow_id,
            "name": "Ring",
            "key": _OPERATION,
            "type": "request",
            "position_x": 20,
            "position_y": 1,
            "options": {
                "method": "POST",
                "url": self.url,
                "headers": [
                    {"header": "Content-Type", "value": "application/json"},
                    {"header": self.header, "value": self.secret},
                ],
                "body": body,
            },
        }


@dataclass(frozen=True)
class FlowReport:
    """A Flow as it is in Directus.

    Attributes:
        flow_id: Its id; empty where there is none.
        url: Address that it calls.
        differences: Sentences that say how it differs from the expected Flow.
    """

    flow_id: str = ""
    url: str = ""
    differences: tuple[str, ...] = ()


class DoorbellFlows:
    """Creates, checks, removes and tries Flows; the token needs the rights on Flows.

    Methods raise ``RequestRefused`` where it lacks them, and ``ConnectionFailed`` where
    Directus cannot be reached.

    Args:
        rest: REST client, logged in.
    """

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest

    async def collections(self, subscribed: Iterable[str]) -> list[str]:
        """Return collections with their junctions and translations, which ring by themselves.

        Args:
            subscribed: Names of the collections.
        """
        names = set(subscribed)
        relations = await self._rest.get_fresh("/relations")
        with taken_apart("/relations"):
            for relation in relations:
                is_junction = bool((relation.get("meta") or {}).get("junction_field"))
                if is_junction and relation.get("related_collection") in names:
                    names.add(str(relation["collection"]))
        return sorted(names)

    async def check(self, wanted: DoorbellFlow) -> FlowReport:
        """Compare the Flow in Directus with the expected one.

        Args:
            wanted: The expected Flow; an empty ``url`` stands for any.
        """
        found = await self._find(wanted.name)
        if found is None:
            return FlowReport(differences=("There is no such Flow.",))
        with taken_apart("/flows"):
            operations = found["operations"] or [{}]
            options = operations[0].get("options") or {}
            differences = [*_flow_differences(found, wanted), *_call_differences(options, wanted)]
            return FlowReport(str(found["id"]), str(options.get("url", "")), tuple(differences))

    async def create(self, wanted: DoorbellFlow) -> str:
        """Create the Flow, in place of the present one.

        Args:
            wanted: The Flow.

        Returns:
            Its id.
        """
        await self.remove(wanted.name)
        return await self._create(wanted, wanted.trigger)

    async def remove(self, name: str) -> bool:
        """Delete the Flow; return whether there was one.

        Args:
            name: Name of the Flow.
        """
        is_removed = False
        while (found := await self._find(name)) is not None:
            await self._rest.request("DELETE", f"/flows/{found['id']}")
            is_removed = True
        return is_removed

    async def ring(self, wanted: DoorbellFlow) -> str:
        """Have Directus call the door once, by a temporary Flow that calls the same address.

        Args:
            wanted: The Flow to try.

        Returns:
            Why the call failed, as Directus says; empty where the door answered.
        """
        trigger = {
            **wanted.trigger,
            "name": f"{wanted.name} (test)",
            "trigger": "webhook",
            "options": {"method": "POST", "async": False, "return": "$last"},
        }
        flow_id = await self._create(wanted, trigger, _TEST_BODY)
        try:
            answer = await self._rest.run_flow(flow_id)
        finally:
            await self._rest.request("DELETE", f"/flows/{flow_id}")
        return _failure(answer)

    async def _create(
        self, wanted: DoorbellFlow, trigger: Mapping[str, Any], body: str = _BODY
    ) -> str:
        created = await self._rest.request("POST", "/flows", body=dict(trigger))
        with taken_apart("/flows"):
            flow_id = str(created["id"])
        # Nested in the Flow, Directus refuses an operation that does not name its Flow.
        operation = {"operation": wanted.operation(flow_id, body)}
        try:
            await self._rest.request("PATCH", f"/flows/{flow_id}", body=operation)
        except BaseException:
            await self._rest.request("DELETE", f"/flows/{flow_id}")
            raise
        return flow_id

    async def _find(self, name: str) -> dict[str, Any] | None:
        query = {"filter": {"name": {"_eq": name}}, "fields": _FIELDS, "limit": 1}
        found = await self._rest.search("/flows", query)
        with taken_apart("/flows"):
            return dict(found[0]) if found else None


def _flow_differences(found: Mapping[str, Any], wanted: DoorbellFlow) -> Iterable[str]:
    options = found["options"] or {}
    if found["status"] != "active":
        yield f"It is {found['status']}, not active."
    if found["trigger"] != "event" or options.get("type") != "action":
        yield "It is not triggered by events after they happened (event hook, action)."
    if found["accountability"] is not None:
        yield "It has accountability, so each ring writes rows into the activity log."
    for name, text in (("scope", "events"), ("collections", "collections")):
        missing = set(wanted.trigger["options"][name]) - set(options.get(name) or ())
        if missing:
            yield f"It does not ring for the {text} {', '.join(sorted(missing))}."


def _call_differences(options: Mapping[str, Any], wanted: DoorbellFlow) -> Iterable[str]:
    headers = {each.get("header"): str(each.get("value")) for each in options.get("headers") or ()}
    if wanted.url and options.get("url") != wanted.url:
        yield f"It calls {options.get('url')}, not {wanted.url}."
    if not hmac.compare_digest(headers.get(wanted.header, "").encode(), wanted.secret.encode()):
        yield f"Its header {wanted.header} is not the secret of the door."
    if options.get("method") != "POST" or options.get("body") != _BODY:
        yield "Its request is not the expected one."


def _failure(answer: object) -> str:
    """Return why a call failed; empty where the door answered."""
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, int):
        return _NOT_REACHED
    return "" if status < HTTPStatus.MULTIPLE_CHOICES else f"The address answered HTTP {status}."
