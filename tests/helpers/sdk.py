"""``@directus/sdk``, unchanged, doing what a test says."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path
from typing import Any

from example_project.real_directus.npm import node
from tests.helpers.npm import installed
from tests.helpers.waiting import wait_for

SDK_VERSION = "26.0.0"
DRIVER = Path(__file__).with_name("sdk_driver.mjs")

Note = dict[str, Any]


def install_sdk() -> Path:
    """The folder with the SDK, installed once into the cache."""
    # Node 20 has no WebSocket of its own; the SDK's documentation names ws.
    modules = installed(f"sdk-{SDK_VERSION}", f"@directus/sdk@{SDK_VERSION}", "ws@8")
    return modules.parent


class Sdk:
    """What the driver has told so far."""

    def notes(self) -> list[Note]:
        """All of it."""
        raise NotImplementedError

    def call(self, name: str, *arguments: Any) -> None:
        """Have the driver do something."""
        raise NotImplementedError

    def having(self, **values: Any) -> list[Note]:
        """The notes that have these values."""
        return [
            note
            for note in self.notes()
            if all(note.get(name) == value for name, value in values.items())
        ]

    def messages(self, name: str) -> list[Note]:
        """What the iterator of a subscription gave."""
        return [note["message"] for note in self.having(what="item", name=name)]

    def wait_for(self, count: int = 1, **values: Any) -> Note:
        """Wait for so many notes with these values; the last of them."""

        def found() -> list[Note]:
            hits = self.having(**values)
            return hits if len(hits) >= count else []

        try:
            return wait_for(found, what=f"{count} × {values}")[-1]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.notes()}") from None

    def wait_for_message(self, name: str, count: int) -> Note:
        """Wait for so many messages of a subscription; the last of them."""
        message: Note = self.wait_for(count, what="item", name=name)["message"]
        return message

    def events(self, name: str) -> list[str]:
        """The events of those messages."""
        return [message["event"] for message in self.messages(name)]

    def wait_for_event(self, name: str, event: str, key: int) -> Note:
        """Wait for an event of an item; its message."""

        def found() -> list[Note]:
            messages = [m for m in self.messages(name) if m["event"] == event]
            return [m for m in messages if str(_key(m["data"][0])) == str(key)]

        try:
            return wait_for(found, what=f"{event} of {key}")[-1]
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.notes()}") from None


def _key(entry: Any) -> Any:
    return entry["id"] if isinstance(entry, dict) else entry


class NodeSdk(Sdk):
    """The SDK in a process of Node.

    Args:
        cookie: Sent with the upgrade, as a browser does.
    """

    def __init__(self, cookie: str = "") -> None:
        self._notes: list[Note] = []
        self._process = subprocess.Popen(
            [node(), str(DRIVER.with_name("sdk_node.mjs"))],
            env={
                "PATH": os.environ.get("PATH", ""),
                "SDK_FOLDER": str(install_sdk()),
                "COOKIE": cookie,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def notes(self) -> list[Note]:
        return list(self._notes)

    def call(self, name: str, *arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._notes.append(json.loads(line))
