"""Articles for a demo, and random changes of them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Item = dict[str, Any]
Key = int | str
#: A Directus type, ``date-created``, ``date-updated``, or ``("m2o", collection)``.
Kind = str | tuple[str, str]

#: Fields by collection; the primary key of each is the integer ``id``.
COLLECTIONS: Mapping[str, Mapping[str, Kind]] = {
    "authors": {"name": "string"},
    "articles": {
        "title": "string",
        "body": "text",
        "status": "string",
        "author": ("m2o", "authors"),
        "date_updated": "date-updated",
    },
}
AUTHORS = ("Ada Okafor", "Jonas Lindqvist", "Mei Tanaka", "Rosa Delgado")
TITLES = (
    *("The orchard behind the station", "How the town got its clock back"),
    *("Bread that needs no oven", "Letters from a lighthouse", "A field guide to morning fog"),
    *("The last tram to the harbour", "Why rivers wander", "Winter markets of the north"),
    *("Three bridges, one ferry", "The library that moved by boat", "Learning to listen to bees"),
    *("A map of quiet places", "The weather in old paintings", "Notes on mending a kite"),
)
FIRST_STATUSES = (*["published"] * 4, *["draft"] * 3, "archived")
NEXT_STATUS = {"draft": "published", "published": "archived", "archived": "draft"}
ENDINGS = (" (revised)", ": a second look", ", told again", ", now with pictures")
FEWEST, MOST = 5, 12  # articles


@dataclass(frozen=True)
class DemoChange:
    """A change to make in Directus: without ``key`` a create, without ``data`` a delete."""

    collection: str
    key: Key | None = None
    data: Item | None = None


def first_articles(authors: Sequence[Key]) -> list[Item]:
    """Return the articles that exist from the start, written by the authors with these keys."""
    return [make_article(number, authors, each) for number, each in enumerate(FIRST_STATUSES)]


def make_article(number: int, authors: Sequence[Key], status: str = "draft") -> Item:
    """Return the article with one of the :data:`TITLES`."""
    body = f"{TITLES[number]}. A story for a slow afternoon, with a pot of tea within reach."
    author = authors[number % len(authors)] if authors else None
    return {"title": TITLES[number], "body": body, "status": status, "author": author}


def plain_title(title: str) -> str:
    """Return a title without the ending that a change has added."""
    for ending in ENDINGS:
        title = title.removesuffix(ending)
    return title


def next_article_change(
    articles: Sequence[Item], authors: Sequence[Key], chance: random.Random
) -> DemoChange:
    """Return a random change of the articles, whose ``id``, ``title`` and ``status`` are given."""
    weights = {"title": 5 * bool(articles), "status": 4 * bool(articles)}
    weights |= {"create": 2 * (len(articles) < MOST), "delete": 1 * (len(articles) > FEWEST)}
    [kind] = chance.choices(list(weights), list(weights.values()))
    if kind == "create":
        used = {plain_title(each["title"] or "") for each in articles}
        # There are more titles than articles, so one is always free.
        free = [number for number, title in enumerate(TITLES) if title not in used]
        return DemoChange("articles", data=make_article(chance.choice(free), authors))
    archived = [each for each in articles if each["status"] == "archived"]
    chosen = chance.choice(archived if kind == "delete" and archived else articles)
    if kind == "delete":
        return DemoChange("articles", chosen["id"])
    if kind == "status":
        data = {"status": NEXT_STATUS.get(chosen["status"], "draft")}
        return DemoChange("articles", chosen["id"], data)
    title = plain_title(chosen["title"] or "Untitled")
    # Every second change restores the plain title, so that titles do not grow.
    if title == chosen["title"]:
        title += chance.choice(ENDINGS)
    return DemoChange("articles", chosen["id"], {"title": title})
