"""The demo's people, collections and first content, for the fake Directus and a real one."""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from directus_realtime.testing import demo_articles
from directus_realtime.testing.demo_articles import Item, Key, Kind


@dataclass(frozen=True)
class Person:
    """A user of Directus without a login, with messages and notifications.

    Attributes:
        first_name: The first name.
        last_name: The last name.
        is_played: Whether visitors of the demo act as this person; the others act by themselves.
    """

    first_name: str
    last_name: str
    is_played: bool = False

    @property
    def email(self) -> str:
        """The e-mail address, the same in Django and Directus."""
        return f"{self.first_name}.{self.last_name}@example.com".lower()

    @property
    def username(self) -> str:
        """The user name in Django."""
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

#: Fields by collection; the primary key of each is the integer ``id``.
COLLECTIONS: Mapping[str, Mapping[str, Kind]] = {
    **demo_articles.COLLECTIONS,
    "messages": {
        "content": "text",
        "author": ("m2o", "directus_users"),
        "date_created": "date-created",
    },
    "orders": {
        "customer": "string",
        "total": "decimal",
        "status": "string",
        "date_created": "date-created",
        "completed_at": "timestamp",
    },
}

MESSAGES = (
    (47, "Ada", "Good morning! Who has the key to the archive?"),
    (44, "Mei", "It hangs behind the door of the print room."),
    (12, "Jonas", "The cover is back from the printer, and it looks lovely."),
    (9, "Rosa", "Bring it along, I am making coffee."),
)
NOTIFICATIONS = (
    ("Rosa answered you", "“The cover can go to the printer as it is.”"),
    ("Your article is published", "“Letters from a lighthouse” is online since this morning."),
    ("New order", "The Tram Museum has ordered twelve copies of the winter issue."),
    ("Please have a look", "Mei has left a note in “A field guide to morning fog”."),
    ("Proofs are ready", "Pages 4 to 19 wait for your corrections until Thursday."),
    ("A reader has written", "“I have kept bees for thirty years, and you are right.”"),
    ("Meeting moved", "The editorial meeting begins at ten, in the print room."),
)
CUSTOMERS = (
    *("Harbour Books", "Café Meridian", "B. Nakamura", "Orchard School", "L. Fontaine"),
    *("Tram Museum", "Northern Prints", "S. Adeyemi", "The Quiet Room", "Lighthouse Inn"),
)
PRICES = (12.5, 18.9, 24.0, 32.4, 45.0, 59.9, 78.0)
COMPLETED_ORDERS, OPEN_ORDERS = 120, 3
ORDERS_SPAN = 28 * 60  # seconds over which the completed ones are spread; the plot shows 30 minutes


def first_messages(people: Mapping[str, Key]) -> list[Item]:
    """Return the first messages, the newest last.

    Args:
        people: Keys of the users by first name.
    """
    return [
        {"content": content, "author": people[name], "date_created": ago(60 * minutes)}
        for minutes, name, content in MESSAGES
    ]


def first_notifications(people: Mapping[str, Key]) -> list[Item]:
    """Return the first notifications of the played people, the newest last.

    Args:
        people: Keys of the users by first name.
    """
    return [
        {
            **make_notification(number + offset, people[each.first_name]),
            "status": status,
            "timestamp": ago(60 * minutes),
        }
        for offset, each in enumerate(person for person in PEOPLE if person.is_played)
        for number, (minutes, status) in enumerate([(170, "archived"), (52, "inbox"), (7, "inbox")])
    ]


def make_notification(number: int, recipient: Key) -> Item:
    """Return one of the :data:`NOTIFICATIONS`."""
    subject, message = NOTIFICATIONS[number % len(NOTIFICATIONS)]
    return {"recipient": recipient, "subject": subject, "message": message}


def first_orders(chance: random.Random | None = None) -> list[Item]:
    """Return the first orders, the newest last."""
    chance = chance or random.Random()
    ages = sorted((chance.uniform(60, ORDERS_SPAN) for _ in range(COMPLETED_ORDERS)), reverse=True)
    completed = [
        {
            **make_order(chance),
            "status": "completed",
            "date_created": ago(age + 60),
            "completed_at": ago(age),
        }
        for age in ages
    ]
    return [*completed, *(make_order(chance) for _ in range(OPEN_ORDERS))]


def make_order(chance: random.Random) -> Item:
    """Return a new order."""
    total = round(sum(chance.choices(PRICES, k=chance.randint(1, 3))), 2)
    return {"customer": chance.choice(CUSTOMERS), "total": total, "status": "pending"}


def ago(seconds: float) -> str:
    """Return a past time as Directus writes it."""
    moment = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
