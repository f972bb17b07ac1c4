"""Rendering of the pages, and answers to their scripts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from example_project.site.models import directus_user_of
from example_project.site.texts import site_texts


def render_page(
    request: HttpRequest, template: str, texts: Mapping[str, str], **context: Any
) -> HttpResponse:
    """A page in the site's layout.

    Args:
        request: The visitor's.
        template: Extends ``site/base.html``.
        texts: Texts of the page's scripts, besides the shared ones.
        **context: Further values for the template.
    """
    common = {
        "demo": demo_mode(),
        "me": directus_user_of(request.user),
        "texts": {**site_texts(), **texts},
    }
    return render(request, template, {**common, **context})


def demo_mode() -> str:
    """``fake`` or ``directus`` where the demo runs, else empty."""
    return str(getattr(settings, "DEMO", ""))


def demo_token() -> str:
    """A token that may do everything in the demo's Directus. Secret."""
    return str(getattr(settings, "DIRECTUS_DEMO_TOKEN", ""))


def done() -> JsonResponse:
    """The answer to a change that was made."""
    return JsonResponse({"error": ""})


def failed(error: object, status: int = 502) -> JsonResponse:
    """The answer to a change that was not made, with a sentence for the visitor."""
    return JsonResponse({"error": str(error)}, status=status)
