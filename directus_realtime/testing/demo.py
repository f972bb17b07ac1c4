"""A small magazine for the fake Directus, and an editor who keeps working on it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from directus_realtime.testing.fake import FakeCollection, FakeDirectus
from directus_realtime.testing.fake.schema import Item

PERIOD = 2.0  # seconds between two changes
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


def demo_collections() -> list[FakeCollection]:
    """Return authors and articles with their first content."""
    authors = [{"name": name} for name in AUTHORS]
    fields = {"title": "string", "body": "text", "status": "string"}
    articles = FakeCollection(
        "articles",
        fields={**fields, "author": ("m2o", "authors"), "date_updated": "date-updated"},
        items=[_article(number) for number in range(INITIAL)],
    )
    return [FakeCollection("authors", fields={"name": "string"}, items=authors), articles]


class Editor:
    """Somebody who changes one article after the other.

    Args:
        fake: A fake with the collections of :func:`demo_collections`.
        chance: What to decide with; give a seeded one to repeat a run.
    """

    def __init__(self, fake: FakeDirectus, chance: random.Random | None = None) -> None:
        self._fake = fake
        self._chance = chance or random.Random()
        self._next = INITIAL

    async def work(self, period: float = PERIOD) -> None:
        """Make a change every so many seconds, for ever."""
        while True:
            await asyncio.sleep(period)
            await self.make_change()

    async def make_change(self) -> None:
        """Make one change that suits what is there."""
        count = len(self._fake.items("articles"))
        steps: dict[Callable[[], Awaitable[None]], int] = {
            self._retitle: 5,
            self._promote: 4,
            self._add: 2 if count < MOST else 0,
            self._remove: 1 if count > FEWEST else 0,
        }
        await self._chance.choices(list(steps), weights=list(steps.values()))[0]()

    async def _retitle(self) -> None:
        article = self._chance.choice(self._fake.items("articles"))
        title = article["title"]
        for ending in ENDINGS:
            title = title.removesuffix(ending)
        # Back to the plain title after every ending, so that titles never grow.
        if title == article["title"]:
            title += self._chance.choice(ENDINGS)
        await self._fake.update("articles", article["id"], {"title": title})

    async def _promote(self) -> None:
        """Bring one article a step further: draft, published, archived, draft again."""
        article = self._chance.choice(self._fake.items("articles"))
        following = {"draft": "published", "published": "archived", "archived": "draft"}
        status = following[article["status"]]
        await self._fake.update("articles", article["id"], {"status": status})

    async def _add(self) -> None:
        titles = [item["title"] for item in self._fake.items("articles")]
        # There are more articles than room for them, so one is always missing.
        while any(title.startswith(ARTICLES[self._next][0]) for title in titles):
            self._next = (self._next + 1) % len(ARTICLES)
        await self._fake.create("articles", _article(self._next))

    async def _remove(self) -> None:
        items = self._fake.items("articles")
        spare = [item for item in items if item["status"] == "archived"] or items
        await self._fake.delete("articles", self._chance.choice(spare)["id"])


def _article(number: int) -> Item:
    title, status = ARTICLES[number]
    body = f"{title}. A story for a slow afternoon, with a pot of tea within reach."
    return {"title": title, "body": body, "status": status, "author": number % len(AUTHORS) + 1}
