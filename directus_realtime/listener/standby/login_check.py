"""Regular check, while standing by, that this process could log in to its connections."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import ConnectionFailed, ConnectionImpossible
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.redaction import storable

logger = logging.getLogger("directus_realtime.listener")

#: Seconds between two checks.
CHECK_INTERVAL = 60.0
#: Seconds between a failure that may heal by itself and the check that confirms it.
CONFIRM_INTERVAL = 5.0
#: Seconds that one log-in may take.
LOGIN_TIMEOUT = 20.0


class LoginCheck:
    """Logs in to each connection over REST, as it would have to after a takeover.

    One client is kept for each connection: with a new one for each check, Directus would log a
    log-in by password every minute.

    Args:
        connections: The settings of the connections.

    Attributes:
        problems: Why a connection could not be logged in to, by alias.
    """

    def __init__(self, connections: Collection[ConnectionSettings]) -> None:
        self.problems: dict[str, str] = {}
        self._connections = list(connections)
        self._clients: dict[str, DirectusClient] = {}

    async def run(self) -> None:
        """Check each connection regularly until cancelled."""
        try:
            async with asyncio.TaskGroup() as checks:
                for settings in self._connections:
                    checks.create_task(self._check_regularly(settings))
        finally:
            clients, self._clients = self._clients, {}
            for client in clients.values():
                await client.disconnect()

    async def _check_regularly(self, settings: ConnectionSettings) -> NoReturn:
        while True:
            problem, may_heal = await self._log_in(settings)
            if problem and may_heal:
                await asyncio.sleep(CONFIRM_INTERVAL)
                problem, _ = await self._log_in(settings)
            self._note(settings.alias, problem)
            await asyncio.sleep(CHECK_INTERVAL)

    async def _log_in(self, settings: ConnectionSettings) -> tuple[str, bool]:
        """Return why a log-in failed, and whether that may heal by itself."""
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT):
                await self._client(settings).log_in()
        except (ConnectionImpossible, ImproperlyConfigured) as error:
            return storable(str(error)), False
        except ConnectionFailed as error:
            return storable(str(error)), True
        except TimeoutError:
            return f"{settings.url} did not answer within {LOGIN_TIMEOUT:g} s.", True
        except Exception as error:  # whose text may hold a secret
            return f"An unexpected error ({type(error).__name__}).", True
        return "", False

    def _client(self, settings: ConnectionSettings) -> DirectusClient:
        if settings.alias not in self._clients:
            self._clients[settings.alias] = settings.make_client()
        return self._clients[settings.alias]

    def _note(self, alias: str, problem: str) -> None:
        before = self.problems.pop(alias, "")
        if problem:
            self.problems[alias] = problem
        if problem == before:
            return
        if problem:
            logger.warning(
                "%s  This listener stands by and could not log in, so it cannot take over: %s",
                alias,
                problem,
                extra={"event": "standby-login-failed", "connection": alias, "reason": problem},
            )
        else:
            logger.info(
                "%s  This listener stands by and can log in again.",
                alias,
                extra={"event": "standby-login-restored", "connection": alias},
            )
