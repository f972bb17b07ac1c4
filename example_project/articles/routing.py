from __future__ import annotations

from django.urls import path

from example_project.articles.consumers import ArticlesConsumer

websocket_urlpatterns = [path("ws/articles/", ArticlesConsumer.as_asgi())]  # type: ignore[no-untyped-call]
