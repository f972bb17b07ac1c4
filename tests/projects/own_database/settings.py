"""The app's tables in a database of their own, by a router; another branch sets ``NEWS_NAME``."""

from __future__ import annotations

from tests.projects.base import *  # noqa: F403
from tests.projects.base import DATABASES as _DATABASES
from tests.projects.base import INSTALLED_APPS as _COMMON
from tests.projects.base import sqlite

INSTALLED_APPS = [*_COMMON, "tests.projects.declarations.news"]
DATABASES = {**_DATABASES, "directus": sqlite("directus")}
DATABASE_ROUTERS = ["tests.projects.own_database.routers.Router"]
NEWS_NAME = "published"
NEWS_STATUS = "published"
