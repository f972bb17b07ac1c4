from __future__ import annotations

from django.urls import path

from example_project.notifications import views

app_name = "notifications"
urlpatterns = [
    path("", views.index, name="index"),
    path("archive/", views.archive, name="archive"),
]
