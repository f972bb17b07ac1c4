"""The page, and its writes: Django checks the rights, and Directus stores the messages."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from directus_realtime.client import DirectusClient
from example_project.site.directus import DirectusProblem, directus
from example_project.site.models import directus_user_of
from example_project.site.pages import done, failed, render_page

COLLECTION = "messages"
MAX_LENGTH = 2000  # characters


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The page; its script gets the messages from the gateway."""
    texts = {"somebody": _("Somebody")}
    return render_page(request, "chat/index.html", texts, max_length=MAX_LENGTH)


@require_POST
async def send(request: HttpRequest) -> JsonResponse:
    """Add a message of the signed-in person."""
    author = await _author(request)
    content = _content(request)
    if not content:
        return failed(_("Write something first."), status=400)
    try:
        async with directus(to_write=True) as client:
            message = {"content": content, "author": author}
            await client.create_item(COLLECTION, message, fields=["id"])
    except DirectusProblem as problem:
        return failed(problem)
    return done()


@require_POST
async def edit(request: HttpRequest, key: int) -> JsonResponse:
    """Change one's own message."""
    author = await _author(request)
    content = _content(request)
    if not content:
        return failed(_("Write something first."), status=400)
    try:
        async with directus(to_write=True) as client:
            await _check_author(client, key, author)
            await client.update_item(COLLECTION, key, {"content": content}, fields=["id"])
    except DirectusProblem as problem:
        return failed(problem)
    return done()


@require_POST
async def delete(request: HttpRequest, key: int) -> JsonResponse:
    """Delete one's own message."""
    author = await _author(request)
    try:
        async with directus(to_write=True) as client:
            await _check_author(client, key, author)
            await client.delete_item(COLLECTION, key)
    except DirectusProblem as problem:
        return failed(problem)
    return done()


async def _author(request: HttpRequest) -> str:
    """The user of Directus that the visitor is; never one that the browser names."""
    author = await sync_to_async(directus_user_of)(await request.auser())
    if not author:
        raise PermissionDenied
    return author


def _content(request: HttpRequest) -> str:
    return request.POST.get("content", "").strip()[:MAX_LENGTH]


async def _check_author(client: DirectusClient, key: int, author: str) -> None:
    """Directus asks only whether the site may write; whose message it is, is asked here."""
    message = await client.read_item(COLLECTION, key, fields=["author"])
    if message["author"] != author:
        raise PermissionDenied
