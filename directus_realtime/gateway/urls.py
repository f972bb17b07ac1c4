"""The gateway over HTTP: ``path("directus/", include("directus_realtime.gateway.urls"))``."""

from __future__ import annotations

from django.urls import path

from directus_realtime.gateway import sse

app_name = "directus_realtime"
urlpatterns = [path("events/", sse.events, name="events")]
