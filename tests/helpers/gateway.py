"""A site with its gateway, and a user of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core import signing
from django.utils import timezone

from tests.conftest import free_port
from tests.helpers.process import Process
from tests.helpers.site import ALIAS, Site
from tests.helpers.web import start_web

APPLICATION = "tests.gateway_asgi:application"
_BACKEND = "django.contrib.auth.backends.ModelBackend"


@dataclass
class Gateway:
    """The gateway of a site on daphne, with articles for users who are signed in.

    Attributes:
        site: Whose gateway it is.
        port: Of daphne, also after a restart.
        web: The process of daphne.
        token: Of the user ``ada``.
        session: Her session's key.
    """

    site: Site
    port: int
    web: Process
    token: str
    session: str

    @classmethod
    def start(cls, site: Site, heartbeat: float = 30.0, listen: bool = True) -> Gateway:
        """Offer the articles, start daphne, and listen to Directus.

        Args:
            site: Without subscriptions.
            heartbeat: Seconds between two pings. The SDK loses what comes together with one.
            listen: Whether a Directus is there to listen to.
        """
        site.env["GATEWAY_LIMITS"] = json.dumps({"heartbeat": heartbeat})
        site.subscribe(
            "articles",
            fields=["id", "title", "status"],
            browser_access="signed_in",
            browser_first_load=50,
        )
        user = get_user_model().objects.db_manager(ALIAS).create_user("ada")
        port = free_port()
        web = start_web(site, APPLICATION, "daphne", port)
        if listen:
            site.listen()
        return cls(site, port, web, signing.dumps("ada"), _sign_in(user))

    @property
    def origin(self) -> str:
        """The site."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where browsers go by their session."""
        return f"ws://127.0.0.1:{self.port}/directus/"

    @property
    def token_url(self) -> str:
        """Where they go by their token."""
        return f"ws://127.0.0.1:{self.port}/token/"

    def stop(self) -> None:
        """Kill daphne."""
        self.web.kill()

    def start_again(self) -> None:
        """Start it again, on the same port."""
        self.web = start_web(self.site, APPLICATION, "daphne", self.port)


def _sign_in(user: Any) -> str:
    """A session in the site's database."""
    key = "a" * 32
    values = {
        SESSION_KEY: str(user.pk),
        BACKEND_SESSION_KEY: _BACKEND,
        HASH_SESSION_KEY: user.get_session_auth_hash(),
    }
    Session.objects.using(ALIAS).create(
        session_key=key,
        session_data=SessionStore().encode(values),
        expire_date=timezone.now() + timedelta(days=1),
    )
    return key
