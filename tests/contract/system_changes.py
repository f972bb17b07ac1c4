"""How an item of each system collection is made and changed, by its own address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from example_project.real_directus import DirectusAdmin
from tests.contract.servers import Server

NAMES = (
    *("users", "folders", "files", "notifications", "roles", "shares", "versions", "presets"),
    *("dashboards", "panels", "flows", "operations", "translations", "policies", "comments"),
)


@dataclass(frozen=True)
class Change:
    """How an item of a system collection is made, and what is changed of it."""

    new: dict[str, Any]
    change: dict[str, Any]


def system_changes(server: Server, admin: DirectusAdmin) -> dict[str, Change]:
    """The changes by the collection's name without ``directus_``; those that the server has."""
    admin.request("PATCH", "/collections/articles", {"meta": {"versioning": True}})
    user = admin.request("GET", "/users/me")["id"]
    article = str(admin.create_item("articles", {"title": "of the system"})["id"])
    role = admin.request("POST", "/roles", {"name": "of the system"})["id"]
    note = {"type": "note", "position_x": 1, "position_y": 1, "width": 1, "height": 1}
    place = {"position_x": 1, "position_y": 1}
    dashboard = admin.request("POST", "/dashboards", {"name": "holder"})["id"]
    flow = admin.request("POST", "/flows", {"name": "holder", "status": "inactive"})["id"]
    about = {"collection": "articles", "item": article}
    made = {
        "users": Change({"email": "system@example.com"}, {"title": "x"}),
        "folders": Change({"name": "x"}, {"name": "y"}),
        "files": Change({}, {"title": "y"}),
        "notifications": Change({"recipient": user, "subject": "x"}, {"status": "archived"}),
        "roles": Change({"name": "x"}, {"name": "y"}),
        "shares": Change({"name": "x", "role": role, **about}, {"name": "y"}),
        "versions": Change({"key": "x", "name": "x", **about}, {"name": "y"}),
        "presets": Change({"collection": "articles"}, {"search": "y"}),
        "dashboards": Change({"name": "x"}, {"name": "y"}),
        "panels": Change({"dashboard": dashboard, **note}, {"name": "y"}),
        "flows": Change({"name": "x", "status": "inactive"}, {"name": "y"}),
        "operations": Change(
            {"flow": flow, "key": "x", "name": "x", "type": "log", **place}, {"name": "y"}
        ),
        "translations": Change({"language": "en-US", "key": "x", "value": "x"}, {"value": "y"}),
    }
    if server.major >= 11:
        made["policies"] = Change({"name": "x"}, {"name": "y"})
        made["comments"] = Change({"comment": "x", **about}, {"comment": "y"})
    return made


def permission_change(server: Server) -> Change:
    """Right to read ``notes``, of a new policy; on Directus 10, of a new role."""
    if server.major >= 11:
        owner = {"policy": server.admin.request("POST", "/policies", {"name": "p"})["id"]}
    else:
        owner = {"role": server.admin.request("POST", "/roles", {"name": "p"})["id"]}
    # Directus 12 without a licence accepts a rule only whole.
    rule = {"collection": "notes", "permissions": {}, "fields": ["*"]}
    return Change({**rule, **owner, "action": "read"}, {**rule, "action": "delete"})


def upload(server: Server) -> Any:
    """A file with its content, as people make one; returns its key."""
    answer = httpx.post(
        f"{server.url}/files",
        headers={"Authorization": f"Bearer {server.token}"},
        files={"file": ("x.txt", b"x", "text/plain")},
    )
    return answer.json()["data"]["id"]
