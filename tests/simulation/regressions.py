"""Plans that broke a promise once, shortened, each with what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation.plan import Plan, Step

#: Settings with which nothing is wrong by itself.
CALM: dict[str, Any] = {
    "listeners": 1,
    "same_host": True,
    "aheads": [0.0, 0.0],
    "rates": [1.0, 1.0],
    "directus_ahead": 0.0,
    "has_cache": False,
    "has_socket": False,
    "poll_interval": 1.0,
    "hole_age": 150.0,
}


def write(at: float, action: str, takes: float = 0.0, collection: str = "articles") -> Step:
    """Return a transaction with one change."""
    values = {
        "changes": [(action, collection, 0, "published")],
        "takes": takes,
        "is_rolled_back": False,
        "way": "",
    }
    return Step(at, "write", values)


def plan(steps: Sequence[Step], **settings: Any) -> Plan:
    """Return a plan that ends soon after its last step."""
    return Plan(1, steps[-1].at + 20, {**CALM, **settings}, tuple(steps))


@dataclass(frozen=True)
class Regression:
    """A plan that must never fail again.

    Attributes:
        name: Its name.
        was_wrong: What was wrong in the product, as a sentence.
        plan: The plan.
    """

    name: str
    was_wrong: str
    plan: Plan


REGRESSIONS = (
    Regression(
        "late-row",
        "A row of a longer transaction was delivered after a later row of its item, because its "
        "hole was not queried together with the new rows.",
        plan(
            [
                write(6, "create", takes=12),
                write(9, "create", collection="notes"),
                Step(10, "clock", {"listener": 0, "seconds": 83.0}),
                write(19, "update"),
            ]
        ),
    ),
    Regression(
        "no-pause",
        "The follower worked without a pause where the token lost the activity log while holes "
        "were due.",
        plan(
            [
                write(3, "create", takes=30),
                write(5, "create"),
                Step(8, "rights-lost", {"collection": "directus_activity", "seconds": 10}),
            ]
        ),
    ),
    Regression(
        "failed-query",
        "A hole whose query failed counted as read: changes were said to be complete up to a "
        "time when one was missing.",
        plan(
            [
                write(3, "create", takes=14),
                write(4, "create"),
                Step(12, "freeze", {"listener": 0, "seconds": 12}),
                Step(20, "garbled", {"answers": 1}),
            ]
        ),
    ),
)
