"""The people of the demonstration, as users of Directus who cannot log in there."""

from __future__ import annotations

import uuid
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Somebody who writes messages and gets notifications.

    Attributes:
        first_name: The first name.
        last_name: The last name.
        is_played: Whether visitors of the demonstration act in this name; the others act
            by themselves.
    """

    first_name: str
    last_name: str
    is_played: bool = False

    @property
    def email(self) -> str:
        """Says who it is, in Django and in Directus."""
        return f"{self.first_name}.{self.last_name}@example.com".lower()

    @property
    def username(self) -> str:
        """The name in Django."""
        return self.first_name.lower()

    @property
    def id(self) -> str:
        """The key in the fake Directus, the same in each run."""
        return str(uuid.uuid5(uuid.NAMESPACE_DNS, self.email))


PEOPLE = (
    Person("Ada", "Okafor", is_played=True),
    Person("Jonas", "Lindqvist", is_played=True),
    Person("Mei", "Tanaka"),
    Person("Rosa", "Delgado"),
)
