from __future__ import annotations

from django.contrib import admin

from example_project.site.models import DirectusProfile


@admin.register(DirectusProfile)
class DirectusProfileAdmin(admin.ModelAdmin[DirectusProfile]):
    """Ties users of this site to users of Directus."""

    list_display = ["user", "directus_user"]
    list_select_related = ["user"]
