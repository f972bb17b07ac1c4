from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from example_project.site.models import DirectusProfile

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[DirectusProfile]
else:
    _Admin = admin.ModelAdmin


@admin.register(DirectusProfile)
class DirectusProfileAdmin(_Admin):
    """Ties users of this site to users of Directus."""

    list_display = ["user", "directus_user"]
    list_select_related = ["user"]
