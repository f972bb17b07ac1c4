"""Joins Channels groups and prints their messages, one JSON object a line."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandParser


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("groups", nargs="+")

    def handle(self, *args: Any, **options: Any) -> None:
        asyncio.run(self.print_messages(options["groups"]))

    async def print_messages(self, groups: list[str]) -> None:
        layer = get_channel_layer()
        channel = await layer.new_channel()
        for group in groups:
            await layer.group_add(group, channel)
        self.stdout.write("joined")
        self.stdout.flush()
        while True:
            message = await layer.receive(channel)
            self.stdout.write(json.dumps(message))
            self.stdout.flush()
