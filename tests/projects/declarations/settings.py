"""Two apps, each with a declaration."""

from __future__ import annotations

from tests.projects.base import *  # noqa: F403
from tests.projects.base import INSTALLED_APPS as _COMMON

INSTALLED_APPS = [
    *_COMMON,
    "tests.projects.declarations.news",
    "tests.projects.declarations.shop",
]
NEWS_NAME = "published"
NEWS_STATUS = "published"
