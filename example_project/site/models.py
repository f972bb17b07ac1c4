"""The Directus user of a Django user."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class DirectusProfile(models.Model):
    """The user of Directus that a user of this site is."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="directus", verbose_name=_("user")
    )
    directus_user = models.UUIDField(_("user of Directus"), unique=True)

    class Meta:
        verbose_name = _("Directus profile")
        verbose_name_plural = _("Directus profiles")

    def __str__(self) -> str:
        return str(self.user)


def directus_user_of(user: Any) -> str:
    """The key of somebody's user in Directus; empty where there is none, or no sign-in."""
    if not user.is_authenticated:
        return ""
    profile = DirectusProfile.objects.filter(user=user).first()
    return str(profile.directus_user) if profile else ""
