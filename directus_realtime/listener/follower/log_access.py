"""What the token may read: the activity log, and how much of each collection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from django.utils.translation import gettext_noop

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import ACTIVITY, FIELDS
from directus_realtime.client.rest import Accountability
from directus_realtime.client.schema import Right

logger = logging.getLogger("directus_realtime.listener")

# Stored and logged in English; the admin translates them.
_PROBLEMS = {
    "none": gettext_noop("The token may not read directus_activity"),
    "partial": gettext_noop("The token may read only a part of directus_activity"),
}


class LogAccess:
    """Asks Directus after each connect what the log can say.

    Args:
        client: To ask with.
        say: Called with each problem, as a sentence; else it is logged.

    Attributes:
        access: How much of the log the token may read: ``full``, ``partial`` or ``none``.
        problem: Why the log cannot be used, as a sentence without a full stop; empty where it
            can.
    """

    def __init__(self, client: DirectusClient, say: Callable[[str], object] | None = None) -> None:
        self._client = client
        self._say = say or self._log
        self._logged: dict[str, Accountability] = {}
        self._rights: dict[str, Right] | None = None
        self._said: set[str] = set()
        self.access = ""
        self.problem = ""

    async def learn(self) -> None:
        """Ask for the rights again, and forget what is logged of the collections.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        self._rights = await self._client.rights.of_collections()
        if self._rights is None:
            self.access, missing = await self._client.read_access(ACTIVITY), []
        else:
            right = self._rights.get(ACTIVITY, Right())
            self.access, missing = right.access, right.lacks(FIELDS)
        self.problem = _problem(self.access, missing)
        if self.problem:
            self._say_once(
                f"{self.problem}: only changes that the socket brings are delivered, at most "
                "once. Allow the token to read directus_activity."
            )
        self._logged = {}

    async def ask(self, collection: str) -> None:
        """Ask what is logged of one collection.

        Raises:
            RequestRefused: Directus is not ready to answer.
            ConnectionFailed: Directus could not be reached.
        """
        is_log = collection == ACTIVITY  # its own rows are its changes
        logged = "all" if is_log else await self._client.accountability(collection)
        self._logged[collection] = logged
        if logged == "none":
            self._say_once(
                f"Directus does not log the changes of {collection} (its accountability is off): "
                "only changes that the socket brings are delivered, at most once."
            )
        elif logged == "unknown":
            self._say_once(
                f"Whether Directus logs the changes of {collection} is unknown: allow the token "
                "to read directus_collections."
            )

    def knows(self, collection: str) -> bool:
        """Return whether Directus was asked about a collection."""
        return collection in self._logged

    def accountability(self, collection: str) -> Accountability:
        """Return what Directus logs of a collection's changes, as far as it was asked."""
        return self._logged.get(collection, "unknown")

    def is_logged(self, collection: str) -> bool:
        """Return whether changes of a collection may be in the log."""
        return not self.problem and self.accountability(collection) != "none"

    def is_certain(self, collection: str) -> bool:
        """Return whether changes of a collection are known to be in the log."""
        return not self.problem and self.accountability(collection) in {"all", "activity"}

    def is_partial(self, collection: str) -> bool:
        """Return whether a rule hides some items of a collection from the token."""
        rights = self._rights or {}
        return collection in rights and rights[collection].access == "partial"

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)

    def _log(self, sentence: str) -> None:
        logger.warning(
            "%s  %s",
            self._client.name,
            sentence,
            extra={
                "event": "log-unusable",
                "connection": self._client.name,
                "reason": sentence,
            },
        )


def _problem(access: str, missing: Collection[str]) -> str:
    """Why the log cannot be used, as a sentence without a full stop."""
    if access != "full":
        return _PROBLEMS.get(access, _PROBLEMS["none"])
    if missing:
        return f"The token may not read {', '.join(missing)} of directus_activity"
    return ""
