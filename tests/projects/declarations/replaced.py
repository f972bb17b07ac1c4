"""A deploy that gives a declaration another name and another filter."""

from __future__ import annotations

from tests.projects.declarations.renamed import *  # noqa: F403

NEWS_STATUS = "draft"
