"""``python manage.py directus_doorbell``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from directus_realtime.client.doorbell_flows import TEST_EVENT, DoorbellFlow, DoorbellFlows
from directus_realtime.declaration_sync import sync_declared
from directus_realtime.door.knocks import SECRET_HEADER
from directus_realtime.exceptions import DirectusRealtimeError, RequestRefused
from directus_realtime.listener.desired_subscriptions import desired_subscriptions
from directus_realtime.management.console import as_json, chosen_connections, require_tables
from directus_realtime.models import DoorRing
from directus_realtime.settings import DEFAULT_ALIAS, ConnectionSettings

_NO_RIGHTS = (
    "The token may not manage Flows: {error} Set DIRECTUS_TOKEN of an administrator for this "
    "command only, or create the Flow by hand: directus_doorbell print --url URL"
)
_OTHER_PROCESS = "The address answered, and no knock was counted. Does it lead to this site?"


class Command(BaseCommand):
    """Exit status: 0 where the Flow is as expected, or rang; else 1."""

    help = (
        "Print, create, check, remove or try the Flow in Directus that rings the door of this "
        "site when items change."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "action",
            choices=["print", "create", "check", "remove", "ring"],
            help="print: the requests that create the Flow, without the secret. create: create "
            "it, in place of the present one. check: compare it with the subscriptions. remove: "
            "delete it. ring: have Directus call the door once, by a temporary Flow.",
        )
        parser.add_argument(
            "--url",
            type=valid_door_url,
            help="Address of the door as Directus reaches it, such as "
            "https://www.example.com/directus/door/. check and ring use that of the Flow.",
        )
        parser.add_argument(
            "--connection",
            default=DEFAULT_ALIAS,
            metavar="ALIAS",
            help="Directus server (default: %(default)s).",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        (settings,) = chosen_connections([options["connection"]])
        action, url = options["action"], options["url"] or ""
        if action in {"print", "create"} and not url:
            raise CommandError(f"Name the address: directus_doorbell {action} --url URL")
        if not settings.door_secret:
            raise CommandError(f"{settings.alias!r} has no DOOR_SECRET in DIRECTUS_REALTIME.")
        if settings.door_signed:
            raise CommandError(
                "A Flow of Directus cannot sign its requests, and DOOR_SIGNED is True. Set it to "
                "False, or knock by a program of your own."
            )
        require_tables()
        sync_declared()
        work: Callable[..., Awaitable[bool]] = getattr(self, f"_{action}")
        rings = _rings(settings.alias)
        wanted = {each.query.collection for each in desired_subscriptions(settings.alias).values()}
        if not asyncio.run(self._connected(settings, url, wanted, work)):
            sys.exit(1)
        if action == "ring" and _rings(settings.alias) == rings:
            raise CommandError(_OTHER_PROCESS)

    async def _connected(
        self,
        settings: ConnectionSettings,
        url: str,
        collections: set[str],
        work: Callable[..., Awaitable[bool]],
    ) -> bool:
        client = settings.make_client(socket="optional")
        try:
            await client.log_in()
            flows = client.doorbell_flows
            flow = DoorbellFlow(
                f"Django door ({settings.alias})",
                url,
                settings.door_secret,
                await flows.collections(collections),
                SECRET_HEADER,
            )
            return await work(flows, flow)
        except RequestRefused as error:
            if error.status == HTTPStatus.FORBIDDEN:
                raise CommandError(_NO_RIGHTS.format(error=error)) from None
            raise CommandError(str(error)) from None
        except DirectusRealtimeError as error:
            raise CommandError(str(error)) from None
        finally:
            await client.disconnect()

    # The actions

    async def _print(self, flows: DoorbellFlows, flow: DoorbellFlow) -> bool:
        shown = DoorbellFlow(flow.name, flow.url, "<DOOR_SECRET>", flow.collections, flow.header)
        self.stdout.write(f"POST /flows\n{as_json(shown.trigger)}\n")
        operation = {"operation": shown.operation("<ID>")}
        self.stdout.write(f"PATCH /flows/<ID>, which the first answer names\n{as_json(operation)}")
        return True

    async def _create(self, flows: DoorbellFlows, flow: DoorbellFlow) -> bool:
        await flows.create(flow)
        self.stdout.write(self.style.SUCCESS(f"Created the Flow {flow.name!r}."))
        self._show(flow)
        return True

    async def _check(self, flows: DoorbellFlows, flow: DoorbellFlow) -> bool:
        report = await flows.check(flow)
        self.stdout.write(f"{flow.name}  {report.url}".rstrip())
        for difference in report.differences:
            self.stdout.write(self.style.ERROR(f"  {difference}"))
        if report.differences:
            self.stdout.write("Create it again: directus_doorbell create --url URL")
        else:
            self.stdout.write(self.style.SUCCESS("  as expected"))
            self._show(flow)
        return not report.differences

    async def _remove(self, flows: DoorbellFlows, flow: DoorbellFlow) -> bool:
        is_removed = await flows.remove(flow.name)
        self.stdout.write(f"Removed {flow.name!r}." if is_removed else "There is no such Flow.")
        return True

    async def _ring(self, flows: DoorbellFlows, flow: DoorbellFlow) -> bool:
        url = flow.url or (await flows.check(flow)).url
        if not url:
            raise CommandError("There is no Flow. Name the address: directus_doorbell ring --url")
        tried = DoorbellFlow(flow.name, url, flow.secret, flow.collections, flow.header)
        if problem := await flows.ring(tried):
            self.stdout.write(self.style.ERROR(f"{url}  did not ring. {problem}"))
            return False
        self.stdout.write(self.style.SUCCESS(f"{url}  rang ({TEST_EVENT})."))
        return True

    def _show(self, flow: DoorbellFlow) -> None:
        self.stdout.write(f"  rings for {', '.join(flow.collections) or 'no collection'}")


def _rings(alias: str) -> int:
    row = DoorRing.objects.filter(alias=alias).first()
    return row.rings if row is not None else 0


def valid_door_url(text: str) -> str:
    """Parse the address of a door."""
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        shown = text.rpartition("@")[2]
        raise argparse.ArgumentTypeError(f"{shown!r} is not the http(s) URL of a door.")
    return text
