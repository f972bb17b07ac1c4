"""The page, what it shows, and the demo's button."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import httpx
from asgiref.sync import sync_to_async
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_POST, require_safe

from directus_realtime.groups import event_message
from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent
from directus_realtime.settings import connection_settings
from example_project.articles.directus import demo_mode, read_articles
from example_project.articles.texts import page_texts

FEED_LENGTH = 20


@require_safe
@ensure_csrf_cookie
def index(request: HttpRequest) -> HttpResponse:
    """The page; its script fetches what it shows."""
    context = {"demo": demo_mode(), "texts": page_texts()}
    return render(request, "articles/index.html", context)


@require_safe
@never_cache
async def data(request: HttpRequest) -> JsonResponse:
    """Everything the page shows."""
    # Before the articles, which then are as new as the newest event, or newer.
    received = await sync_to_async(_received)()
    return JsonResponse({**received, "articles": asdict(await read_articles())})


@require_safe
@never_cache
def status(request: HttpRequest) -> JsonResponse:
    """How the connection and the subscriptions stand."""
    return JsonResponse(_status())


@require_POST
def change(request: HttpRequest) -> JsonResponse:
    """Make a random change in the demo's Directus; never in one of yours."""
    if not demo_mode():
        raise Http404
    # Late, because only the demo has the tools for tests.
    from directus_realtime.testing.demo import Editor
    from directus_realtime.testing.directus_admin import DirectusAdmin, DirectusAdminError

    connection = connection_settings()
    token = connection.token() if callable(connection.token) else connection.token
    try:
        with DirectusAdmin(connection.url, token) as directus:
            Editor(directus).make_change()
    except DirectusAdminError as error:
        if isinstance(error.__cause__, httpx.TransportError):
            text = _("Directus cannot be reached.")
        else:
            text = _("Directus refused the change: %s") % error
        return JsonResponse({"error": text}, status=502)
    return JsonResponse({"error": ""})


def _received() -> dict[str, Any]:
    """What the listener has written down."""
    rows = InboxEvent.objects.order_by("-id")[:FEED_LENGTH]
    return {**_status(), "events": [_event(row) for row in rows]}


def _event(row: InboxEvent) -> dict[str, Any]:
    """An event as a group message has it; a delete with the title that the item had."""
    title = _last_title(row) if row.action == "delete" else None
    return {**event_message(row.to_event()), "title": title}


def _last_title(row: InboxEvent) -> str | None:
    earlier = InboxEvent.objects.filter(
        id__lt=row.pk, collection=row.collection, key_json=row.key_json
    )
    last = earlier.exclude(data_json="").order_by("-id").first()
    data = last.to_event().data if last else None
    return data.get("title") if data else None


def _status() -> dict[str, Any]:
    subscriptions = DirectusSubscription.objects.filter(enabled=True)
    return {
        "connection": _connection(ConnectionStatus.objects.filter(alias="default").first()),
        "subscriptions": list(subscriptions.values("name", "state", "last_error")),
    }


def _connection(row: ConnectionStatus | None) -> dict[str, str]:
    if row is None:
        reason = _("No listener has been started yet.")
        return {"state": "disconnected", "reason": reason, "url": "", "version": ""}
    return {
        "state": row.current_state,
        "reason": row.current_reason,
        "url": row.url,
        "version": row.version,
    }
