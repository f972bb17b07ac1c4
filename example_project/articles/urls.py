from __future__ import annotations

from django.urls import path

from example_project.articles import views

app_name = "articles"
urlpatterns = [
    path("", views.index, name="index"),
    path("events/", views.events, name="events"),
]
