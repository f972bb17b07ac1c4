"""Regular check, while standing by, that this process could log in to its connections."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

from directus_realtime.client import DirectusClient
from directus_realtime.exceptions import ConnectionFailed, ConnectionImpossible
from directus_realtime.settings import ConnectionSettings
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import storable
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.listener")

#: Seconds between two checks.
CHECK_INTERVAL = 60.0
#: Seconds between a failure that may be temporary and the check that confirms it.
CONFIRM_INTERVAL = 5.0
#: Seconds that one log-in may take.
LOGIN_TIMEOUT = 20.0


class LoginCheck:
    """Logs in to each connection over REST, as after a takeover.

    One client is kept for each connection: with a new one for each check, Directus would log a
    log-in by password every minute.

    Args:
        connections: Settings of the connections.
        clock: The clock.

    Attributes:
        problems: Reasons why a log-in failed, by alias.
    """

    def __init__(
        self, connections: Collection[ConnectionSettings], clock: SystemClock | None = None
    ) -> None:
        self.problems: dict[str, str] = {}
        self._connections = list(connections)
        self._clients: dict[str, DirectusClient] = {}
        self._clock = clock or SystemClock()

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
            problem, is_temporary = await self._log_in(settings)
            if problem and is_temporary:
                await self._clock.sleep(CONFIRM_INTERVAL)
                problem, _ = await self._log_in(settings)
            self._update(settings.alias, problem)
            await self._clock.sleep(CHECK_INTERVAL)

    async def _log_in(self, settings: ConnectionSettings) -> tuple[str, bool]:
        """Return why a log-in failed, and whether that may be temporary."""
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT):
                if settings.alias not in self._clients:
                    self._clients[settings.alias] = settings.make_client()
                await self._clients[settings.alias].log_in()
        except (ConnectionImpossible, ImproperlyConfigured) as error:
            return storable(str(error)), False
        except ConnectionFailed as error:
            return storable(str(error)), True
        except TimeoutError:
            return f"{settings.url} did not answer within {LOGIN_TIMEOUT:g} s.", True
        except Exception as error:  # its text may hold a secret
            return f"An unexpected error ({type(error).__name__}).", True
        return "", False

    def _update(self, alias: str, problem: str) -> None:
        if problem == self.problems.get(alias, ""):
            return
        if problem:
            self.problems[alias] = problem
            logger.warning(
                "standby-login-failed",
                "%s  This listener stands by and could not log in, so it cannot take over: %s",
                alias,
                problem,
                connection=alias,
                reason=problem,
            )
        else:
            del self.problems[alias]
            logger.info(
                "standby-login-restored",
                "%s  This listener stands by and can log in again.",
                alias,
                connection=alias,
            )
