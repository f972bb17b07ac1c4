"""Notifications for those people whom visitors play."""

from __future__ import annotations

import random
from collections.abc import Mapping

from directus_realtime.testing.demo.chat import user_keys
from directus_realtime.testing.demo.people import PEOPLE
from directus_realtime.testing.demo.times import ago
from example_project.real_directus.directus_admin import DirectusAdmin, Item, Key

MOST = 6  # unread ones of each person

NOTICES = (
    ("Rosa answered you", "“The cover can go to the printer as it is.”"),
    ("Your article is published", "“Letters from a lighthouse” is online since this morning."),
    ("New order", "The Tram Museum has ordered twelve copies of the winter issue."),
    ("Please have a look", "Mei has left a note in “A field guide to morning fog”."),
    ("Proofs are ready", "Pages 4 to 19 wait for your corrections until Thursday."),
    ("A reader has written", "“I have kept bees for thirty years, and you are right.”"),
    ("Meeting moved", "The editorial meeting begins at ten, in the print room."),
)


def first_notifications(people: Mapping[str, Key]) -> list[Item]:
    """Return the notifications that are there from the start, the newest last.

    Args:
        people: Keys of the users by first name.
    """
    return [
        {
            **notice(number + offset, people[each.first_name]),
            "status": status,
            "timestamp": ago(60 * minutes),
        }
        for offset, each in enumerate(person for person in PEOPLE if person.is_played)
        for number, (minutes, status) in enumerate([(170, "archived"), (52, "inbox"), (7, "inbox")])
    ]


def notice(number: int, recipient: Key) -> Item:
    """Return one of the notifications."""
    subject, message = NOTICES[number % len(NOTICES)]
    return {"recipient": recipient, "subject": subject, "message": message}


class Messenger:
    """Somebody who tells the played people the news.

    Args:
        directus: A Directus with the people of the demonstration.
        chance: What to decide with; give a seeded one to repeat a run.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._directus = directus
        self._chance = chance or random.Random()

    def make_change(self) -> None:
        """Notify everybody who is played, and clear away what nobody reads.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        for key in user_keys(self._directus, [each.email for each in PEOPLE if each.is_played]):
            unread = self._clear(key)
            # There are more of them than stay unread, so one is always new.
            new = [n for n, (subject, _) in enumerate(NOTICES) if subject not in unread]
            chosen = notice(self._chance.choice(new), key)
            self._directus.request("POST", "/notifications", chosen)

    def _clear(self, recipient: Key) -> set[str]:
        """Delete the oldest; give the subjects of what is left unread."""
        params = {
            "filter[recipient][_eq]": str(recipient),
            "fields": "id,status,subject",
            "sort": "id",
            "limit": "-1",
        }
        theirs = self._directus.request("GET", "/notifications", params=params)
        read = [each for each in theirs if each["status"] != "inbox"]
        unread = [each for each in theirs if each["status"] == "inbox"]
        for each in read[:-MOST] + unread[: -MOST + 1]:
            self._directus.request("DELETE", f"/notifications/{each['id']}")
        return {each["subject"] for each in unread[-MOST + 1 :]}
