"""The page, and the events before it was opened."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from directus_realtime.groups import event_message
from directus_realtime.models import BrowserAccess, DirectusSubscription, InboxEvent
from example_project.articles.texts import page_texts
from example_project.site.pages import render_page

COLLECTIONS = ("articles", "authors")
FEED_LENGTH = 20


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The page; its script gets the articles from the gateway."""
    return render_page(request, "articles/index.html", page_texts())


@require_safe
@never_cache
def events(request: HttpRequest) -> JsonResponse:
    """The stored events, as far as they are public."""
    offered = DirectusSubscription.objects.filter(
        collection__in=COLLECTIONS, browser_access=BrowserAccess.PUBLIC
    )
    names = list(offered.values_list("name", flat=True))
    rows = InboxEvent.objects.filter(subscription__in=names).order_by("-id")[:FEED_LENGTH]
    return JsonResponse({"events": [_event(row) for row in rows]})


def _event(row: InboxEvent) -> dict[str, Any]:
    """An event as a group message has it; a delete with the title that the item had."""
    title = _last_title(row) if row.action == "delete" else None
    return {**event_message(row.to_event()), "title": title}


def _last_title(row: InboxEvent) -> str | None:
    earlier = InboxEvent.objects.filter(
        id__lt=row.pk,
        subscription=row.subscription,
        collection=row.collection,
        key_json=row.key_json,
    )
    last = earlier.exclude(data_json="").order_by("-id").first()
    data = last.to_event().data if last else None
    return data.get("title") if data else None
