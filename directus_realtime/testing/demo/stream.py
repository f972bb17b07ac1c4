"""A gentle stream of changes."""

from __future__ import annotations

import logging
import random
import threading
from typing import Protocol

from directus_realtime.testing.demo.articles import Editor
from directus_realtime.testing.demo.chat import Chatter
from directus_realtime.testing.demo.notices import Messenger
from directus_realtime.testing.demo.shop import Shop
from example_project.real_directus.directus_admin import DirectusAdmin, DirectusAdminError

logger = logging.getLogger(__name__)

PERIOD = 1.5  # seconds between two changes
#: How often something happens to each, among so many changes.
WEIGHTS = {"articles": 6, "orders": 7, "messages": 4, "notifications": 1}


class Changer(Protocol):
    """Somebody who changes something."""

    def make_change(self) -> None:
        """Make one change that suits what is there."""


class Stream:
    """Everybody who changes something, one after the other.

    Args:
        directus: A Directus with the collections of the demonstration.
        chance: What to decide with; give a seeded one to repeat a run.

    Attributes:
        changers: Who changes what, by the name that :data:`WEIGHTS` has.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._chance = chance or random.Random()
        self.changers: dict[str, Changer] = {
            "articles": Editor(directus, chance),
            "orders": Shop(directus, chance),
            "messages": Chatter(directus, chance),
            "notifications": Messenger(directus, chance),
        }

    def work(self, stopped: threading.Event | None = None, period: float = PERIOD) -> None:
        """Make a change every so many seconds.

        Args:
            stopped: Ends the work once it is set; without one it goes on for ever.
            period: The seconds.
        """
        stopped = stopped or threading.Event()
        while not stopped.wait(period):
            try:
                self.make_change()
            except DirectusAdminError as error:
                # Somebody else may have deleted the item since it was read.
                logger.warning(
                    "No change this time: %s",
                    error,
                    extra={"event": "demo-change-failed", "error": str(error)},
                )

    def make_change(self) -> None:
        """Make one change.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        [name] = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        self.changers[name].make_change()
