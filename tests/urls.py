from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("directus/", include("directus_realtime.gateway.urls")),
    path("directus/door/", include("directus_realtime.door.urls")),
    path("sdk/", include("tests.sdk_page")),
]
