"""The figures of the dashboard, aggregated by Directus."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from directus_realtime.client import DirectusClient

COLLECTION = "orders"
#: Bars of the plot, one for each minute.
MINUTES = 30
_MINUTE = timedelta(minutes=1)


@dataclass
class Bar:
    """The orders completed in one minute."""

    at: str
    revenue: float = 0.0
    orders: int = 0


async def read_figures(client: DirectusClient) -> dict[str, Any]:
    """Count and revenue of the completed orders, how many wait, and the last minutes.

    Raises:
        RequestRefused: Directus answered with an error.
        ConnectionFailed: Directus could not be reached.
    """
    now = datetime.now(UTC)
    groups = await client.read_items(
        COLLECTION, aggregate={"count": "*", "sum": "total"}, groupBy=["status"]
    )
    begin = now.replace(second=0, microsecond=0) - (MINUTES - 1) * _MINUTE
    recent = await client.read_items(
        COLLECTION,
        filter={"status": {"_eq": "completed"}, "completed_at": {"_gte": _as_directus(begin)}},
        fields=["total", "completed_at"],
    )
    by_status = {group["status"]: group for group in groups}
    completed = _count(by_status.get("completed"))
    revenue = _revenue(by_status.get("completed"))
    return {
        "at": now.isoformat(),
        "completed": completed,
        "revenue": float(revenue),
        "average": float(revenue / completed) if completed else None,
        "pending": _count(by_status.get("pending")),
        "bars": [asdict(bar) for bar in make_bars(begin, recent)],
    }


def make_bars(begin: datetime, orders: Iterable[dict[str, Any]]) -> list[Bar]:
    """The revenue of each minute.

    Args:
        begin: The first minute; aware.
        orders: Rows with ``total`` and ``completed_at``.
    """
    bars = [Bar((begin + number * _MINUTE).isoformat()) for number in range(MINUTES)]
    for order in orders:
        moment = datetime.fromisoformat(order["completed_at"])
        number = (moment - begin) // _MINUTE
        if 0 <= number < MINUTES:
            bars[number].revenue += float(order["total"] or 0)
            bars[number].orders += 1
    return bars


def _count(group: dict[str, Any] | None) -> int:
    return int(group["count"]) if group else 0


def _revenue(group: dict[str, Any] | None) -> Decimal:
    # Some databases give decimals as text.
    total = group["sum"]["total"] if group else None
    return Decimal(str(total or 0)).quantize(Decimal("0.01"))


def _as_directus(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
