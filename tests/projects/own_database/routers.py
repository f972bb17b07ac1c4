"""As docs/reference/settings.md offers it, with ``allow_migrate``."""

from __future__ import annotations

from typing import Any

APP = "directus_realtime"


class Router:
    """The tables of the app are in ``directus``, all others in ``default``."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """The database to read from."""
        return "directus" if model._meta.app_label == APP else None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        """The database to write to."""
        return self.db_for_read(model, **hints)

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        """Whether rows may be related."""
        return None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Whether tables of an app are in a database."""
        return db == ("directus" if app_label == APP else "default")
