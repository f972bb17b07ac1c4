from __future__ import annotations

from django.apps import AppConfig


class ArticlesConfig(AppConfig):
    """Connects the receivers."""

    name = "example_project.articles"
    label = "articles"

    def ready(self) -> None:
        from example_project.articles import receivers  # noqa: F401 - they connect themselves
