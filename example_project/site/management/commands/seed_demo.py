"""``python manage.py seed_demo``."""

from __future__ import annotations

import os
import secrets
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandParser

from directus_realtime.models import ConnectionStatus, DirectusSubscription, InboxEvent

USERNAME = "admin"
PASSWORD_VARIABLE = "DEMO_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable

_ARTICLE_FIELDS = ["id", "title", "status", "date_updated", "author.name"]
SUBSCRIPTIONS: list[dict[str, Any]] = [
    {
        "name": "all-articles",
        "collection": "articles",
        "fields": _ARTICLE_FIELDS,
        "browser_access": "public",
        "browser_first_load": 50,
    },
    {
        "name": "drafts",
        "collection": "articles",
        "fields": _ARTICLE_FIELDS,
        "filter": {"status": {"_eq": "draft"}},
        "on_delete": False,
        "browser_access": "public",
    },
    {"name": "authors", "collection": "authors", "browser_access": "public"},
]
# Of a Directus that we do not know, only the collection's name is guessed.
PLAIN_SUBSCRIPTIONS: list[dict[str, Any]] = [
    {
        "name": "all-articles",
        "collection": "articles",
        "browser_access": "public",
        "browser_first_load": 50,
    }
]


class Command(BaseCommand):
    """Fills the site's own database; changes nothing in Directus, and runs as often as you like."""

    help = "Create the user “admin” and some subscriptions, unless they are there."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--plain",
            action="store_true",
            help="One subscription without fields and filter, for a Directus of your own.",
        )
        parser.add_argument(
            "--forget-events",
            action="store_true",
            help="Empty the inbox; the fake Directus starts anew each time, too.",
        )

        parser.add_argument(
            "--people",
            action="store_true",
            help="Also users for the demo's people, whom Directus must have.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["forget_events"]:
            InboxEvent.objects.all().delete()
            ConnectionStatus.objects.all().delete()
        self._create_user()
        self._create_subscriptions(PLAIN_SUBSCRIPTIONS if options["plain"] else SUBSCRIPTIONS)
        if options["people"]:
            self._link_people()

    def _create_user(self) -> None:
        users = get_user_model().objects
        if users.filter(username=USERNAME).exists():
            self.stdout.write(f"User {USERNAME}: there already; the password is as it was.")
            return
        given = os.environ.get(PASSWORD_VARIABLE, "")
        password = given or secrets.token_urlsafe(12)
        users.create_superuser(USERNAME, email="", password=password)
        shown = f"is that of {PASSWORD_VARIABLE}" if given else f"{password} (shown only now)"
        self.stdout.write(f"User {USERNAME}: created; the password {shown}.")

    def _link_people(self) -> None:
        # Late, because only the demo has the tools for tests.
        from example_project.site.demo_users import link_people, read_directus_users

        names = link_people(async_to_sync(read_directus_users)())
        self.stdout.write(f"People: {', '.join(names) or 'none of them is in Directus'}.")

    def _create_subscriptions(self, wanted: list[dict[str, Any]]) -> None:
        if DirectusSubscription.objects.filter(declared_in="").exists():
            self.stdout.write("Subscriptions: there already.")
            return
        for values in wanted:
            DirectusSubscription.objects.create(**values)
        names = ", ".join(values["name"] for values in wanted)
        self.stdout.write(f"Subscriptions: created {names}.")
