from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules
from django.utils.translation import gettext_lazy as _


class DirectusRealtimeConfig(AppConfig):
    """The app; it connects nowhere and starts no thread."""

    name = "directus_realtime"
    label = "directus_realtime"
    verbose_name = _("Directus realtime")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from directus_realtime import checks  # noqa: F401 - registers itself
        from directus_realtime.declaration_sync import show_declared_after_migrate

        autodiscover_modules("directus_subscriptions")
        post_migrate.connect(show_declared_after_migrate, sender=self)
