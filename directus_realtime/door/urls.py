"""The door over HTTP: ``path("directus/door/", include("directus_realtime.door.urls"))``."""

from __future__ import annotations

from django.urls import path

from directus_realtime.door.door import knock

app_name = "directus_door"
urlpatterns = [
    path("", knock, name="door"),
    path("<str:alias>/", knock, name="door_of_connection"),
]
