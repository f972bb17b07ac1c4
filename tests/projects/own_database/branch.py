"""A branch with another declaration."""

from __future__ import annotations

from tests.projects.own_database.settings import *  # noqa: F403

NEWS_NAME = "renamed-on-a-branch"
NEWS_STATUS = "draft"
