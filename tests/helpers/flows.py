"""Changes made by a Flow that does not "emit events": no socket hears of them."""

from __future__ import annotations

from typing import Any

from example_project.real_directus import DirectusAdmin


def create_by_flow(admin: DirectusAdmin, collection: str, payload: dict[str, Any]) -> None:
    """Have a Flow create an item."""
    operate(admin, "item-create", {"collection": collection, "payload": payload})


def update_by_flow(
    admin: DirectusAdmin, collection: str, key: Any, payload: dict[str, Any]
) -> None:
    """Have a Flow change an item."""
    operate(admin, "item-update", {"collection": collection, "key": [key], "payload": payload})


def operate(admin: DirectusAdmin, kind: str, options: dict[str, Any]) -> None:
    """Make a Flow of one operation, run it once, and delete it."""
    flow = admin.request(
        "POST",
        "/flows",
        {
            "name": kind,
            "trigger": "webhook",
            "status": "active",
            "accountability": "all",
            "options": {"method": "POST", "return": "$trigger"},
        },
    )["id"]
    operation = admin.request(
        "POST",
        "/operations",
        {
            "flow": flow,
            "key": "operate",
            "name": "operate",
            "type": kind,
            "position_x": 1,
            "position_y": 1,
            "options": {"permissions": "$full", **options},
        },
    )["id"]
    admin.request("PATCH", f"/flows/{flow}", {"operation": operation})
    admin.request("POST", f"/flows/trigger/{flow}", {})
    admin.request("DELETE", f"/flows/{flow}")
