"""Access of the token to the activity log, and to each collection."""

from __future__ import annotations

from collections.abc import Collection

from django.utils.translation import gettext_noop

from directus_realtime.client import DirectusClient
from directus_realtime.client.activity_log import ACTIVITY, FIELDS
from directus_realtime.client.rest import Accountability
from directus_realtime.client.schema import Right
from directus_realtime.utils.logs import EventLogger

logger = EventLogger("directus_realtime.listener")

# Stored and logged in English; the admin translates them.
_PROBLEMS = {
    "none": gettext_noop("The token may not read directus_activity"),
    "partial": gettext_noop("The token may read only a part of directus_activity"),
}


class LogAccess:
    """Access to the log, read from Directus after each connect.

    Args:
        client: Reads from Directus.
        logs: Whether problems are logged, each once.

    Attributes:
        access: Readability of the log: ``full``, ``partial`` or ``none``.
        problem: Why the log cannot be used, as a sentence without a full stop; empty where it
            can.
    """

    def __init__(self, client: DirectusClient, *, logs: bool = True) -> None:
        self._client = client
        self._log = logger.bind(connection=client.name)
        self._logs = logs
        self._logged: dict[str, Accountability] = {}
        self._rights: dict[str, Right] | None = None
        self._problems: set[str] = set()
        self.access = ""
        self.problem = ""

    async def learn(self) -> None:
        """Read the rights again, and discard the accountability of the collections."""
        self._rights = await self._client.rights.of_collections()
        if self._rights is None:
            self.access, missing = await self._client.read_access(ACTIVITY), []
        else:
            right = self._rights.get(ACTIVITY, Right())
            self.access, missing = right.access, right.lacks(FIELDS)
        self.problem = _problem(self.access, missing)
        if self.problem:
            self._log_once(
                f"{self.problem}: only changes that the socket brings are delivered, at most "
                "once. Allow the token to read directus_activity."
            )
        self._logged = {}

    async def ask(self, collection: str) -> None:
        """Read the accountability of one collection."""
        is_log = collection == ACTIVITY  # its own rows are its changes
        logged = "all" if is_log else await self._client.accountability(collection)
        self._logged[collection] = logged
        if logged == "none":
            self._log_once(
                f"Directus does not log the changes of {collection} (its accountability is off): "
                "only changes that the socket brings are delivered, at most once."
            )
        elif logged == "unknown":
            self._log_once(
                f"Whether Directus logs the changes of {collection} is unknown: allow the token "
                "to read directus_collections."
            )

    def knows(self, collection: str) -> bool:
        """Return whether the accountability of a collection was read."""
        return collection in self._logged

    def accountability(self, collection: str) -> Accountability:
        """Return the accountability of a collection, as far as it was read."""
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

    def _log_once(self, sentence: str) -> None:
        if self._logs and sentence not in self._problems:
            self._problems.add(sentence)
            self._log.warning(
                "log-unusable", "%s  %s", self._client.name, sentence, reason=sentence
            )


def _problem(access: str, missing: Collection[str]) -> str:
    """Why the log cannot be used, as a sentence without a full stop."""
    if access != "full":
        return _PROBLEMS.get(access, _PROBLEMS["none"])
    if missing:
        return f"The token may not read {', '.join(missing)} of directus_activity"
    return ""
