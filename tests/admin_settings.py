"""Settings of the sites whose admin a browser opens: the tests' own, as strict as can be."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from tests.settings import *  # noqa: F403
from tests.settings import DIRECTUS_REALTIME, INSTALLED_APPS, MIDDLEWARE

DEBUG = True  # runserver then serves the static files
INSTALLED_APPS = ["daphne", *INSTALLED_APPS]
MIDDLEWARE = [
    "tests.admin_settings.content_security_policy",
    *MIDDLEWARE,
    "django.middleware.csrf.CsrfViewMiddleware",
]
ASGI_APPLICATION = "tests.asgi.application"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
# An event that fails is a dead letter within a second or two.
DIRECTUS_REALTIME["default"].update(RETRY_ATTEMPTS=2, RETRY_BASE=0.2, RETRY_CEILING=600.0)

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def content_security_policy(get_response):
    """Nothing inline, nothing from elsewhere."""

    def middleware(request):
        response = get_response(request)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    return middleware
