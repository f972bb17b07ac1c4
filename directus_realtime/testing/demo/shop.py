"""A small shop: orders come in, are completed or cancelled."""

from __future__ import annotations

import random
from collections.abc import Callable

from directus_realtime.testing.demo.times import ago
from example_project.real_directus.directus_admin import DirectusAdmin, Item

CUSTOMERS = (
    *("Harbour Books", "Café Meridian", "B. Nakamura", "Orchard School", "L. Fontaine"),
    *("Tram Museum", "Northern Prints", "S. Adeyemi", "The Quiet Room", "Lighthouse Inn"),
)
PRICES = (12.5, 18.9, 24.0, 32.4, 45.0, 59.9, 78.0)
PAST = 120  # completed orders that are there from the start
SPAN = 28 * 60  # seconds over which they are spread; the plot shows 30 minutes
OPEN = 3  # orders that are there and open


def first_orders(chance: random.Random | None = None) -> list[Item]:
    """Return the orders that are there from the start, the newest last."""
    chance = chance or random.Random()
    moments = sorted((chance.uniform(60, SPAN) for _ in range(PAST)), reverse=True)
    done = [
        {
            **_order(chance),
            "status": "completed",
            "date_created": ago(moment + 60),
            "completed_at": ago(moment),
        }
        for moment in moments
    ]
    return [*done, *(_order(chance) for _ in range(OPEN))]


class Shop:
    """Customers, and somebody who works on their orders.

    Args:
        directus: A Directus with the collections of the demonstration.
        chance: What to decide with; give a seeded one to repeat a run.
    """

    def __init__(self, directus: DirectusAdmin, chance: random.Random | None = None) -> None:
        self._directus = directus
        self._chance = chance or random.Random()

    def make_change(self) -> None:
        """Place, complete or cancel one order.

        Raises:
            DirectusAdminError: Directus refused it, or could not be reached.
        """
        waiting = self._directus.read_items(
            "orders",
            **{"filter[status][_eq]": "pending"},
            fields="id",
            sort="id",
            limit="20",
        )
        steps: dict[Callable[[list[Item]], None], int] = {
            self._place: 1 if len(waiting) > OPEN else 6,
            self._complete: 6 if waiting else 0,
            self._cancel: 1 if waiting else 0,
        }
        self._chance.choices(list(steps), list(steps.values()))[0](waiting)

    def _place(self, waiting: list[Item]) -> None:
        self._directus.create_item("orders", _order(self._chance))

    def _complete(self, waiting: list[Item]) -> None:
        done = {"status": "completed", "completed_at": ago(0)}
        self._directus.update_item("orders", waiting[0]["id"], done)

    def _cancel(self, waiting: list[Item]) -> None:
        self._directus.update_item("orders", waiting[-1]["id"], {"status": "cancelled"})


def _order(chance: random.Random) -> Item:
    total = round(sum(chance.choices(PRICES, k=chance.randint(1, 3))), 2)
    return {"customer": chance.choice(CUSTOMERS), "total": total, "status": "pending"}
