"""Random changes of the demo's content over REST, in the fake Directus or a real one."""

from __future__ import annotations

import logging
import os
import random
import threading
from collections.abc import Callable, Mapping

from directus_realtime.testing.demo_articles import DemoChange, Item, Key, next_article_change
from example_project.demo.content import (
    NOTIFICATIONS,
    OPEN_ORDERS,
    PEOPLE,
    ago,
    make_notification,
    make_order,
)
from example_project.real_directus import DirectusAdmin, DirectusAdminError

logger = logging.getLogger(__name__)

PERIOD = 1.5  # seconds between two changes
MOST_MESSAGES = 12  # of the unplayed people
MOST_UNREAD = 6  # notifications of each played person
CORRECTION = " (sorry, typo)"
SMALL_TALK = (
    "The tram is late again, start without me.",
    "I found three old maps of the harbour.",
    "Could somebody read my piece about fog?",
    "The photographs of the orchard are up.",
    "Lunch at half past twelve, as ever?",
    "Who moved the kettle?",
    "The bees are doing well, by the way.",
    "I would cut the second paragraph, honestly.",
    "Proofs are on your desk.",
    "It is snowing in the north, fitting for the issue.",
    "The library has sent its boat timetable.",
    "Two letters to the editor, both kind.",
)

#: Reads the items and returns changes that suit them.
Planner = Callable[[DirectusAdmin, random.Random], list[DemoChange]]


class ChangeStream:
    """A stream of random changes.

    Args:
        directus: A Directus with the demo's collections.
        chance: Source of randomness; a seeded one repeats a run.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._directus = directus
        self._chance = chance or random.Random()

    def run(self, stopped: threading.Event | None = None, period: float = PERIOD) -> None:
        """Make one change after the other.

        Args:
            stopped: Ends the stream once it is set; without one it never ends.
            period: Seconds between two changes.
        """
        stopped = stopped or threading.Event()
        while not stopped.wait(period):
            try:
                self.make_change()
            except DirectusAdminError as error:
                # A visitor may have deleted the item since it was read.
                logger.warning(
                    "No change this time: %s",
                    error,
                    extra={"event": "demo-change-failed", "error": str(error)},
                )

    def make_change(self, name: str | None = None) -> None:
        """Make one change, and notify all played people where it is a notification.

        Args:
            name: One of :data:`PLANNERS`; a random one if not given.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        if name is None:
            weights = [weight for weight, _ in PLANNERS.values()]
            [name] = self._chance.choices(list(PLANNERS), weights)
        _, plan = PLANNERS[name]
        for change in plan(self._directus, self._chance):
            self._apply(change)

    def _apply(self, change: DemoChange) -> None:
        is_system = change.collection == "notifications"
        path = "/notifications" if is_system else f"/items/{change.collection}"
        if change.key is None:
            self._directus.request("POST", path, change.data)
        else:
            method = "DELETE" if change.data is None else "PATCH"
            self._directus.request(method, f"{path}/{change.key}", change.data)


def plan_article(directus: DirectusAdmin, chance: random.Random) -> list[DemoChange]:
    """Change, create or delete an article."""
    articles = directus.read_items("articles", fields="id,title,status", limit="-1")
    authors = directus.read_items("authors", fields="id", sort="id", limit="-1")
    return [next_article_change(articles, [author["id"] for author in authors], chance)]


def plan_message(directus: DirectusAdmin, chance: random.Random) -> list[DemoChange]:
    """Write, correct or delete a message; those of visitors stay unchanged."""
    authors = _user_keys(directus, is_played=False)
    messages = directus.read_items(
        "messages",
        **{"filter[author][_in]": ",".join(map(str, authors))},
        fields="id,content",
        sort="id",
        limit="-1",
    )
    has_room = len(messages) < MOST_MESSAGES
    weights = {"create": 6 * has_room, "update": 2 * bool(messages)}
    weights["delete"] = (1 if has_room else 8) * bool(messages)
    kind = _choose(weights, chance)
    if kind == "create":
        used = {each["content"].removesuffix(CORRECTION) for each in messages}
        free = [text for text in SMALL_TALK if text not in used] or list(SMALL_TALK)
        data = {"content": chance.choice(free), "author": chance.choice(authors)}
        return [DemoChange("messages", data=data)]
    if kind == "delete":
        return [DemoChange("messages", messages[0]["id"])]
    content = messages[-1]["content"]
    plain = content.removesuffix(CORRECTION)
    changed = plain if plain != content else content + CORRECTION
    return [DemoChange("messages", messages[-1]["id"], {"content": changed})]


def plan_order(directus: DirectusAdmin, chance: random.Random) -> list[DemoChange]:
    """Place, complete or cancel an order."""
    query = {"filter[status][_eq]": "pending", "fields": "id", "sort": "id", "limit": "20"}
    pending = directus.read_items("orders", **query)
    weights = {"create": 1 if len(pending) > OPEN_ORDERS else 6}
    weights |= {"complete": 6 * bool(pending), "cancel": 1 * bool(pending)}
    kind = _choose(weights, chance)
    if kind == "create":
        return [DemoChange("orders", data=make_order(chance))]
    if kind == "cancel":
        return [DemoChange("orders", pending[-1]["id"], {"status": "cancelled"})]
    done = {"status": "completed", "completed_at": ago(0)}
    return [DemoChange("orders", pending[0]["id"], done)]


def plan_notifications(directus: DirectusAdmin, chance: random.Random) -> list[DemoChange]:
    """Notify each played person, and delete the oldest notifications of each."""
    changes = []
    for recipient in _user_keys(directus, is_played=True):
        params = {"filter[recipient][_eq]": str(recipient), "fields": "id,status,subject"}
        params |= {"sort": "id", "limit": "-1"}
        existing: list[Item] = directus.request("GET", "/notifications", params=params)
        read = [each for each in existing if each["status"] != "inbox"]
        unread = [each for each in existing if each["status"] == "inbox"]
        old = read[:-MOST_UNREAD] + unread[: 1 - MOST_UNREAD]
        changes += [DemoChange("notifications", each["id"]) for each in old]
        # There are more of them than stay unread, so one is always new.
        kept = {each["subject"] for each in unread[1 - MOST_UNREAD :]}
        new = [number for number, (subject, _) in enumerate(NOTIFICATIONS) if subject not in kept]
        data = make_notification(chance.choice(new), recipient)
        changes.append(DemoChange("notifications", data=data))
    return changes


#: Relative frequency and planner of each kind of content.
PLANNERS: Mapping[str, tuple[int, Planner]] = {
    "articles": (6, plan_article),
    "orders": (7, plan_order),
    "messages": (4, plan_message),
    "notifications": (1, plan_notifications),
}


def _choose(weights: Mapping[str, int], chance: random.Random) -> str:
    [kind] = chance.choices(list(weights), list(weights.values()))
    return kind


def _user_keys(directus: DirectusAdmin, *, is_played: bool) -> list[Key]:
    emails = [each.email for each in PEOPLE if each.is_played is is_played]
    params = {"filter[email][_in]": ",".join(emails), "fields": "id", "limit": "-1"}
    users: list[Item] = directus.request("GET", "/users", params=params)
    return [user["id"] for user in users]


def main() -> None:
    """Change the Directus of the environment until stopped."""
    with DirectusAdmin(os.environ["DIRECTUS_URL"], os.environ["DIRECTUS_DEMO_TOKEN"]) as directus:
        ChangeStream(directus).run()


if __name__ == "__main__":
    main()
