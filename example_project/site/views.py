"""How the connection stands, signing in, and the demo's button."""

from __future__ import annotations

from typing import Any

import httpx
from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.views import LoginView
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.templatetags.static import static
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import require_POST, require_safe

from directus_realtime.models import BrowserAccess, ConnectionStatus, DirectusSubscription
from directus_realtime.settings import connection_settings
from example_project.site.pages import demo_mode, demo_token, done, failed
from example_project.site.texts import site_texts


@require_safe
@never_cache
def status(request: HttpRequest) -> JsonResponse:
    """How the connection and the subscriptions stand."""
    rows = DirectusSubscription.objects.filter(enabled=True)
    subscriptions = [
        {
            "name": row.name,
            "collection": row.collection,
            "state": row.state,
            "last_error": row.last_error,
            "is_offered": row.browser_access != BrowserAccess.NOBODY,
        }
        for row in rows
    ]
    connection = _connection(ConnectionStatus.objects.filter(alias="default").first())
    return JsonResponse({"connection": connection, "subscriptions": subscriptions})


class Login(LoginView):
    """Signing in; in the demo, also as one of its people."""

    template_name = "site/login.html"

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        """With what every page has."""
        return super().get_context_data(
            **{"demo": demo_mode(), "texts": site_texts(), "me": "", **context}
        )


@require_safe
@cache_control(max_age=86_400)
def favicon(request: HttpRequest) -> HttpResponse:
    """The icon that browsers request for the admin's pages and plain answers."""
    return HttpResponseRedirect(static("site/icon.svg"))


@require_POST
def sign_in_as(request: HttpRequest) -> HttpResponse:
    """Sign in as one of the demo's people, without a password; only in the demo."""
    if not demo_mode():
        raise Http404
    # Late, because only the demo has the tools for tests.
    from example_project.site.demo_users import played_user

    user = played_user(request.POST.get("person", ""))
    if user is None:
        raise Http404
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return HttpResponseRedirect(_next_page(request))


@require_POST
def change(request: HttpRequest, what: str) -> JsonResponse:
    """Make a random change in the demo's Directus; never in one of yours."""
    if not demo_mode():
        raise Http404
    from example_project.demo.changes import PLANNERS, ChangeStream
    from example_project.real_directus import DirectusAdmin, DirectusAdminError

    if what not in PLANNERS:
        raise Http404
    try:
        with DirectusAdmin(connection_settings().url, demo_token()) as directus:
            ChangeStream(directus).make_change(what)
    except DirectusAdminError as error:
        if isinstance(error.__cause__, httpx.TransportError):
            return failed(_("Directus cannot be reached."))
        return failed(_("Directus refuses: %s") % error)
    return done()


def _next_page(request: HttpRequest) -> str:
    page = request.POST.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(page, allowed_hosts={request.get_host()})
    return page if is_ours else str(settings.LOGIN_REDIRECT_URL)


def _connection(row: ConnectionStatus | None) -> dict[str, str]:
    if row is None:
        reason = _("No listener has been started yet. Start it: python manage.py directus_listen")
        return {"state": "disconnected", "reason": reason, "url": "", "version": ""}
    return {
        "state": row.current_state,
        "reason": row.current_reason,
        "url": row.url,
        "version": row.version,
    }
