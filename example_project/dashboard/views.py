"""The page, and its figures."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from example_project.dashboard.figures import MINUTES, read_figures
from example_project.site.directus import DirectusProblem, directus
from example_project.site.pages import render_page


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    """The page; its script fetches the figures."""
    texts = {"orders": _("orders")}
    return render_page(request, "dashboard/index.html", texts, minutes=MINUTES)


@require_safe
@never_cache
async def figures(request: HttpRequest) -> JsonResponse:
    """The figures, or the sentence that says why there are none."""
    try:
        async with directus() as client:
            return JsonResponse({**await read_figures(client), "error": ""})
    except DirectusProblem as problem:
        return JsonResponse({"error": str(problem)})
