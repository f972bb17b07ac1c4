"""The page, and marking as read."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST, require_safe

from example_project.site.directus import DirectusProblem, directus
from example_project.site.models import directus_user_of
from example_project.site.pages import done, failed, render_page

COLLECTION = "directus_notifications"


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The page; its script gets the notifications from the gateway."""
    return render_page(request, "notifications/index.html", {})


@require_POST
async def archive(request: HttpRequest) -> JsonResponse:
    """Mark one notification as read, or all of them; only ever one's own."""
    recipient = await sync_to_async(directus_user_of)(await request.auser())
    if not recipient:
        raise PermissionDenied
    wanted: dict[str, Any] = {"recipient": {"_eq": recipient}, "status": {"_eq": "inbox"}}
    if key := request.POST.get("id"):
        wanted["id"] = {"_eq": key}
    try:
        async with directus(to_write=True) as client:
            for row in await client.read_items(COLLECTION, filter=wanted, fields=["id"]):
                await client.update_item(
                    COLLECTION, row["id"], {"status": "archived"}, fields=["id"]
                )
    except DirectusProblem as problem:
        return failed(problem)
    return done()
