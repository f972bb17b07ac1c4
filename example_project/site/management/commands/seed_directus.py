"""``python manage.py seed_directus``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from directus_realtime.settings import configured
from example_project.demo.content import COLLECTIONS
from example_project.real_directus.directus_admin import DirectusAdmin, DirectusAdminError
from example_project.site.demo_users import link_people
from example_project.site.env_files import read_env_file, write_env_file
from example_project.site.seeding import ACCOUNTS, Seeder

TOKEN_VARIABLE = "DIRECTUS_ADMIN_TOKEN"  # noqa: S105 - the name of a variable
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1"}


class Command(BaseCommand):
    """Creates the pages' content in a Directus; keeps existing content, and may run again."""

    help = (
        "Create in Directus what the example's pages show: the collections "
        f"{', '.join(COLLECTIONS)}, some people and content, and two users for Django with "
        "no more rights than they need. What is there already is left alone."
    )

    # Without a token in the settings yet, they would find fault with that.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--url", metavar="URL", default="", help="of Directus (DIRECTUS_URL of the settings)"
        )
        parser.add_argument(
            "--token-env",
            metavar="NAME",
            default=TOKEN_VARIABLE,
            help="environment variable with an administrator's token (%(default)s)",
        )
        parser.add_argument(
            "--env-file",
            metavar="PATH",
            type=Path,
            help="write the two users' tokens there, for its owner only, instead of printing them",
        )
        parser.add_argument(
            "--new-tokens",
            action="store_true",
            help="give the two users new tokens where theirs are not known here",
        )
        parser.add_argument(
            "--remote",
            action="store_true",
            help="do not ask before a server is changed that is not on this machine",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        url = _url(options["url"])
        token = os.environ.get(options["token_env"], "")
        if not token:
            raise CommandError(
                f"Set the environment variable {options['token_env']} to the static token of an "
                "administrator of Directus."
            )
        self._confirm(url, options["remote"])
        try:
            with DirectusAdmin(url, token) as directus:
                tokens = self._seed(Seeder(directus, self.stdout.write), options)
        except DirectusAdminError as error:
            raise CommandError(f"Directus at {url}: {error}") from None
        self._hand_over({"DIRECTUS_URL": url, **tokens}, options["env_file"])

    def _confirm(self, url: str, is_confirmed: bool) -> None:
        host = urlsplit(url).hostname or ""
        if host in LOCAL_HOSTS or is_confirmed:
            return
        if not sys.stdin.isatty():
            raise CommandError(
                f"{host} is not this machine. Add --remote if collections, users and content "
                "shall be created there."
            )
        question = f"Create collections, users and content on {host}? Type its name to go on: "
        if input(question).strip() != host:
            raise CommandError("Nothing was changed.")

    def _seed(self, seeder: Seeder, options: dict[str, Any]) -> dict[str, str]:
        seeder.make_collections()
        people = seeder.make_people()
        seeder.fill(people)
        known = read_env_file(options["env_file"])
        tokens = {}
        for account in ACCOUNTS:
            token = seeder.make_account(
                account, known.get(account.variable, ""), renew=options["new_tokens"]
            )
            if token is not None:
                tokens[account.variable] = token
        names = ", ".join(link_people(people))
        self.stdout.write(f"Users of this site: {names or 'none'} can be chosen in the demo.")
        return tokens

    def _hand_over(self, values: dict[str, str], path: Path | None) -> None:
        if path is not None:
            write_env_file(path, values)
            self.stdout.write(f"The tokens are in {path}.")
        elif len(values) > 1:
            self.stdout.write("\nFor .env (shown only now):")
            for name, value in values.items():
                self.stdout.write(f"{name}={value}")


def _url(given: str) -> str:
    url = given or str(configured().get("default", {}).get("URL", ""))
    url = url or os.environ.get("DIRECTUS_URL", "")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandError("Say which Directus: set DIRECTUS_URL, or give --url.")
    return url.rstrip("/")
