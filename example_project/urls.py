from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("", include("example_project.articles.urls")),
    path("chat/", include("example_project.chat.urls")),
    path("notifications/", include("example_project.notifications.urls")),
    path("dashboard/", include("example_project.dashboard.urls")),
    path("", include("example_project.site.urls")),
    path("directus/", include("directus_realtime.gateway.urls")),
    path("directus/door/", include("directus_realtime.door.urls")),
    path("admin/", admin.site.urls),
]
