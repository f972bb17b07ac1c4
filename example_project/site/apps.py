from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SiteConfig(AppConfig):
    """Layout, people and commands of the example."""

    name = "example_project.site"
    label = "site"
    verbose_name = _("Example site")
    default_auto_field = "django.db.models.BigAutoField"
