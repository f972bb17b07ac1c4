from __future__ import annotations

from django.urls import path

from example_project.dashboard import views

app_name = "dashboard"
urlpatterns = [
    path("", views.index, name="index"),
    path("figures/", views.figures, name="figures"),
]
