from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    """Layout, people and commands of the example."""

    name = "example_project.site"
    label = "site"
    verbose_name = "Example site"
    default_auto_field = "django.db.models.BigAutoField"
