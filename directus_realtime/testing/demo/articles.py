"""A small magazine, and an editor who keeps working on it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from example_project.real_directus.directus_admin import DirectusAdmin, Item, Key

FEWEST, MOST = 5, 12  # articles

AUTHORS = ("Ada Okafor", "Jonas Lindqvist", "Mei Tanaka", "Rosa Delgado")
ARTICLES = (
    ("The orchard behind the station", "published"),
    ("How the town got its clock back", "published"),
    ("Bread that needs no oven", "published"),
    ("Letters from a lighthouse", "published"),
    ("A field guide to morning fog", "draft"),
    ("The last tram to the harbour", "draft"),
    ("Why rivers wander", "draft"),
    ("Winter markets of the north", "archived"),
    ("Three bridges, one ferry", "draft"),
    ("The library that moved by boat", "draft"),
    ("Learning to listen to bees", "draft"),
    ("A map of quiet places", "draft"),
    ("The weather in old paintings", "draft"),
    ("Notes on mending a kite", "draft"),
)
INITIAL = 8  # of the articles above; the others come later
ENDINGS = (" (revised)", ": a second look", ", told again", ", now with pictures")
NEXT_STATUS = {"draft": "published", "published": "archived", "archived": "draft"}


def first_articles(authors: Sequence[Key]) -> list[Item]:
    """Return the articles that are there from the start."""
    return [article(number, authors) for number in range(INITIAL)]


def article(number: int, authors: Sequence[Key]) -> Item:
    """Return one of the articles, written by one of the authors given by key."""
    title, status = ARTICLES[number]
    body = f"{title}. A story for a slow afternoon, with a pot of tea within reach."
    author = authors[number % len(authors)] if authors else None
    return {"title": title, "body": body, "status": status, "author": author}


def plain_title(title: str) -> str:
    """Return a title without what the editor has put behind it."""
    for ending in ENDINGS:
        title = title.removesuffix(ending)
    return title


class Editor:
    """Somebody who changes one article after the other, in the fake Directus or a real one.

    Args:
        directus: A Directus with the collections of the demonstration.
        chance: What to decide with; give a seeded one to repeat a run.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._directus = directus
        self._chance = chance or random.Random()

    def make_change(self) -> None:
        """Make one change that suits what is there.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        articles = self._directus.read_items("articles", fields="id,title,status", limit="-1")
        steps: dict[Callable[[list[Item]], None], int] = {
            self._retitle: 5 if articles else 0,
            self._promote: 4 if articles else 0,
            self._add: 2 if len(articles) < MOST else 0,
            self._remove: 1 if len(articles) > FEWEST else 0,
        }
        self._chance.choices(list(steps), list(steps.values()))[0](articles)

    def _retitle(self, articles: list[Item]) -> None:
        chosen = self._chance.choice(articles)
        title = plain_title(chosen["title"] or "Untitled")
        # Back to the plain title after every ending, so that titles never grow.
        if title == chosen["title"]:
            title += self._chance.choice(ENDINGS)
        self._directus.update_item("articles", chosen["id"], {"title": title})

    def _promote(self, articles: list[Item]) -> None:
        """Bring one article a step further: draft, published, archived, draft again."""
        chosen = self._chance.choice(articles)
        status = NEXT_STATUS.get(chosen["status"], "draft")
        self._directus.update_item("articles", chosen["id"], {"status": status})

    def _add(self, articles: list[Item]) -> None:
        taken = {plain_title(each["title"] or "") for each in articles}
        # There are more titles than room for articles, so one is always free.
        free = [number for number, (title, _) in enumerate(ARTICLES) if title not in taken]
        authors = self._directus.read_items("authors", fields="id", sort="id", limit="-1")
        made = article(self._chance.choice(free), [author["id"] for author in authors])
        self._directus.create_item("articles", made)

    def _remove(self, articles: list[Item]) -> None:
        spare = [each for each in articles if each["status"] == "archived"] or articles
        self._directus.delete_item("articles", self._chance.choice(spare)["id"])
