"""A deploy that renames a declaration."""

from __future__ import annotations

from tests.projects.declarations.settings import *  # noqa: F403

NEWS_NAME = "news-on-the-front-page"
