"""An editor for the demo: makes one small, sensible change after the other."""

from __future__ import annotations

import random

from directus_realtime.testing.demo import ARTICLES, AUTHORS, ENDINGS, FEWEST, MOST
from example_project.articles.directus import Directus, Item

NEXT_STATUS = {"draft": "published", "published": "archived", "archived": "draft"}


def make_change(directus: Directus, chance: random.Random | None = None) -> None:
    """Retitle, promote, add or delete one article.

    Args:
        directus: A Directus with the demo's articles.
        chance: What to decide with; give a seeded one to repeat a run.
    """
    chance = chance or random.Random()
    articles = directus.read("articles", fields="id,title,status", limit=-1)
    weights = {
        _retitle: 5 if articles else 0,
        _promote: 4 if articles else 0,
        _add: 2 if len(articles) < MOST else 0,
        _remove: 1 if len(articles) > FEWEST else 0,
    }
    chance.choices(list(weights), list(weights.values()))[0](directus, articles, chance)


def article(number: int, authors: list[int | str]) -> Item:
    """One of the demo's articles, written by one of the authors given by key."""
    title, status = ARTICLES[number]
    body = f"{title}. A story for a slow afternoon, with a pot of tea within reach."
    author = authors[number % len(authors)] if authors else None
    return {"title": title, "body": body, "status": status, "author": author}


def plain_title(title: str) -> str:
    """A title without what retitling has put behind it."""
    for ending in ENDINGS:
        title = title.removesuffix(ending)
    return title


def _retitle(directus: Directus, articles: list[Item], chance: random.Random) -> None:
    chosen = chance.choice(articles)
    title = plain_title(chosen["title"])
    # Back to the plain title after every ending, so that titles never grow.
    if title == chosen["title"]:
        title += chance.choice(ENDINGS)
    directus.update("articles", chosen["id"], {"title": title})


def _promote(directus: Directus, articles: list[Item], chance: random.Random) -> None:
    chosen = chance.choice(articles)
    status = NEXT_STATUS.get(chosen["status"], "draft")
    directus.update("articles", chosen["id"], {"status": status})


def _add(directus: Directus, articles: list[Item], chance: random.Random) -> None:
    taken = {plain_title(each["title"]) for each in articles}
    free = [number for number, (title, _) in enumerate(ARTICLES) if title not in taken]
    authors = [each["id"] for each in directus.read("authors", fields="id", limit=len(AUTHORS))]
    number = chance.choice(free or range(len(ARTICLES)))
    directus.create("articles", article(number, authors))


def _remove(directus: Directus, articles: list[Item], chance: random.Random) -> None:
    spare = [each for each in articles if each["status"] == "archived"] or articles
    directus.delete("articles", chance.choice(spare)["id"])
