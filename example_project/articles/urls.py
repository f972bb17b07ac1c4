from __future__ import annotations

from django.urls import path

from example_project.articles import views

app_name = "articles"
urlpatterns = [
    path("", views.index, name="index"),
    path("data/", views.data, name="data"),
    path("status/", views.status, name="status"),
    path("change/", views.change, name="change"),
]
