"""Tells in the log how a connection stands."""

from __future__ import annotations

import logging
from time import monotonic

from django.utils import timezone

from directus_realtime.client import ConnectionState, DirectusClient
from directus_realtime.client.connection import StateChange
from directus_realtime.utils.logs import Repetitions

logger = logging.getLogger("directus_realtime.listener")

#: Seconds until the log says for the first time that there still is no connection; each time it
#: is twice as long, up to the second number.
REMINDER, _SELDOM = 60.0, 900.0


class ConnectionLog:
    """One line for each change of the state, and a reminder while there is no connection.

    Args:
        alias: Of the connection.
        client: Whose states they are.
    """

    def __init__(self, alias: str, client: DirectusClient) -> None:
        self._alias = alias
        self._client = client
        self._pause = REMINDER
        self._repetitions = Repetitions()
        self._next_reminder: float | None = None

    def tell(self, change: StateChange) -> None:
        """A state has begun."""
        is_reconnecting = change.state is ConnectionState.RECONNECTING
        self._pause = REMINDER
        self._next_reminder = monotonic() + REMINDER if is_reconnecting else None
        if change.state is ConnectionState.CONNECTED:
            self._tell_connected()
        elif is_reconnecting:
            logger.warning(
                "%s  reconnecting: %s",
                self._alias,
                change.reason,
                extra={
                    "event": "reconnecting",
                    "connection": self._alias,
                    "reason": change.reason,
                },
            )
        elif change.reason:
            logger.error(
                "%s  disconnected: %s",
                self._alias,
                change.reason,
                extra={
                    "event": "disconnected",
                    "connection": self._alias,
                    "reason": change.reason,
                },
            )

    def tell_socket(self, interval: float, log_problem: str) -> None:
        """Log that the socket announces changes, or how soon they are found without it.

        Args:
            interval: Seconds between two looks at the activity log without a socket.
            log_problem: Why the log cannot be read, as a sentence without a full stop; empty
                where it can.
        """
        problem = self._client.socket_problem
        if not problem:
            logger.info(
                "%s  the WebSocket announces changes",
                self._alias,
                extra={"event": "socket-open", "connection": self._alias},
            )
        elif self._repetitions.first_within(problem):
            found = f"so the activity log is read every {interval:g} s"
            if log_problem:
                found = f"so changes are not found ({log_problem})"
            logger.warning(
                "%s  no WebSocket, %s: %s",
                self._alias,
                found,
                problem,
                extra={
                    "event": "socket-closed",
                    "connection": self._alias,
                    "seconds": interval,
                    "reason": problem,
                },
            )

    def remind(self) -> None:
        """Say that there is no connection yet, where it is time to; it goes on being tried."""
        if self._next_reminder is None or monotonic() < self._next_reminder:
            return
        self._pause = min(2 * self._pause, _SELDOM)
        self._next_reminder = monotonic() + self._pause
        seconds = (timezone.now() - self._client.changed_at).total_seconds()
        logger.warning(
            "%s  still reconnecting after %.0f s: %s",
            self._alias,
            seconds,
            self._client.reason,
            extra={
                "event": "still-reconnecting",
                "connection": self._alias,
                "seconds": seconds,
                "reason": self._client.reason,
            },
        )

    def _tell_connected(self) -> None:
        server = self._client.server
        logger.info(
            "%s  connected to %s (Directus %s) as %s",
            self._alias,
            self._client.url,
            (server and server.version) or "of an unknown version",
            self._client.identity,
            extra={
                "event": "connected",
                "connection": self._alias,
                "url": self._client.url,
                "version": server.version if server else "",
                "identity": self._client.identity,
            },
        )
