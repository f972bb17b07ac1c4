"""A page that loads ``@directus/sdk`` as it is installed in ``SDK_FOLDER``, and its driver.

Chromium lets only a page that comes from this machine open a WebSocket to it.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.http import FileResponse, HttpRequest, HttpResponse
from django.urls import path
from django.views.static import serve

PAGE = """<!doctype html><title>The SDK</title>
<script type="module">
import * as sdk from "/sdk/dist/index.js";
import { Driver } from "/sdk/driver.mjs";
window.notes = [];
window.driver = new Driver(sdk, (note) => window.notes.push(note), WebSocket);
</script>"""
DRIVER = Path(__file__).parent / "helpers" / "sdk_driver.mjs"


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


def driver(request: HttpRequest) -> FileResponse:
    return FileResponse(DRIVER.open("rb"), content_type="text/javascript")


def dist(request: HttpRequest, name: str) -> HttpResponse:
    folder = Path(os.environ["SDK_FOLDER"], "node_modules", "@directus", "sdk", "dist")
    return serve(request, name, str(folder))


urlpatterns = [
    path("", page),
    path("driver.mjs", driver),
    path("dist/<path:name>", dist),
]
