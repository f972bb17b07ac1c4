"""A chat, and people in it who talk by themselves."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from directus_realtime.testing.demo.people import PEOPLE
from directus_realtime.testing.demo.times import ago
from example_project.real_directus.directus_admin import DirectusAdmin, Item, Key

MOST = 12  # messages of those who talk by themselves
CORRECTED = " (sorry, typo)"

FIRST = (
    ("Ada", "Good morning! Who has the key to the archive?"),
    ("Mei", "It hangs behind the door of the print room."),
    ("Jonas", "The cover is back from the printer, and it looks lovely."),
    ("Rosa", "Bring it along, I am making coffee."),
)
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


def first_messages(people: Mapping[str, Key]) -> list[Item]:
    """Return the messages that are there from the start, the newest last.

    Args:
        people: Keys of the users by first name.
    """
    return [
        {"content": content, "author": people[name], "date_created": ago(60 * minutes)}
        for minutes, (name, content) in zip((47, 44, 12, 9), FIRST, strict=True)
    ]


class Chatter:
    """Those people who are not played by visitors, talking to each other.

    Args:
        directus: A Directus with the collections of the demonstration.
        chance: What to decide with; give a seeded one to repeat a run.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._directus = directus
        self._chance = chance or random.Random()

    def make_change(self) -> None:
        """Say something, correct it or take it back; what visitors wrote is left alone.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        people = user_keys(self._directus, [each.email for each in PEOPLE if not each.is_played])
        said = self._directus.read_items(
            "messages",
            **{"filter[author][_in]": ",".join(map(str, people))},
            fields="id,content",
            sort="id",
            limit="-1",
        )
        steps: dict[Callable[[list[Item], list[Key]], None], int] = {
            self._say: 6 if len(said) < MOST else 0,
            self._correct: 2 if said else 0,
            self._take_back: 1 if len(said) < MOST else 8,
        }
        if not said:
            self._say(said, people)
        else:
            self._chance.choices(list(steps), list(steps.values()))[0](said, people)

    def _say(self, said: list[Item], people: list[Key]) -> None:
        taken = {each["content"].removesuffix(CORRECTED) for each in said}
        free = [text for text in SMALL_TALK if text not in taken] or list(SMALL_TALK)
        content, author = self._chance.choice(free), self._chance.choice(people)
        self._directus.create_item("messages", {"content": content, "author": author})

    def _correct(self, said: list[Item], people: list[Key]) -> None:
        chosen = said[-1]
        content = chosen["content"]
        plain = content.removesuffix(CORRECTED)
        changed = plain if plain != content else content + CORRECTED
        self._directus.update_item("messages", chosen["id"], {"content": changed})

    def _take_back(self, said: list[Item], people: list[Key]) -> None:
        self._directus.delete_item("messages", said[0]["id"])


def user_keys(directus: DirectusAdmin, emails: Sequence[str]) -> list[Key]:
    """Return the keys of the users with these addresses, as far as there are such."""
    params = {"filter[email][_in]": ",".join(emails), "fields": "id", "limit": "-1"}
    users: list[Item] = directus.request("GET", "/users", params=params)
    return [user["id"] for user in users]
