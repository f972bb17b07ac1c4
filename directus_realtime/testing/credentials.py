"""The administrator of a Directus started for tests."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE_NAME = "credentials.json"


@dataclass(frozen=True)
class Credentials:
    """Who may do everything on one test server. Secrets stay out of the repr."""

    email: str
    password: str = field(repr=False)
    token: str = field(repr=False)
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> Credentials:
        """Return new random credentials."""
        return cls(
            email=f"admin-{secrets.token_hex(4)}@example.com",
            password=secrets.token_urlsafe(18),
            token=secrets.token_urlsafe(24),
            secret=secrets.token_urlsafe(32),
        )

    @classmethod
    def load(cls, folder: Path) -> Credentials:
        """Read what :meth:`save` wrote into the folder."""
        return cls(**json.loads((folder / FILE_NAME).read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        """Write into the folder, readable by the owner only."""
        handle = os.open(folder / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file)

    def mask(self, text: str) -> str:
        """Return the text with every secret replaced by stars."""
        for secret in (self.password, self.token, self.secret):
            text = text.replace(secret, "***")
        return text
