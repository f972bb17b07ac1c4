from __future__ import annotations

from django.urls import path

from example_project.chat import views

app_name = "chat"
urlpatterns = [
    path("", views.index, name="index"),
    path("messages/", views.send, name="send"),
    path("messages/<int:key>/edit/", views.edit, name="edit"),
    path("messages/<int:key>/delete/", views.delete, name="delete"),
]
