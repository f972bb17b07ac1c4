"""The pages of the admin, as a browser asks for them and posts to them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from directus_realtime.models import DirectusSubscription, ParkedChange


def subscription(name: str = "all", **values: Any) -> DirectusSubscription:
    return DirectusSubscription.objects.create(**{"name": name, "collection": "articles", **values})


def parked_change(state: str = "unexplained", **values: Any) -> ParkedChange:
    row = DirectusSubscription.objects.first() or subscription()
    given = {"connection": "default", "subscription": row, "activity_id": 1, "state": state}
    given |= {"collection": "articles", "key_json": "42", "action": "update", **values}
    now = timezone.now()
    return ParkedChange.objects.create(**{"changed_at": now, "parked_at": now, **given})


def url(model: str, page: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:directus_realtime_{model}_{page}", args=args)


def form(**values: Any) -> dict[str, Any]:
    """What a browser posts for a subscription."""
    given = {
        "name": "new",
        "enabled": "on",
        "connection": "default",
        "collection": "articles",
        "on_create": "on",
        "on_update": "on",
        "on_delete": "on",
        "filter": "{}",
        "fields": "[]",
        "item": "",
        "group": "",
        "debounce": "0",
        "debounce_by": "item",
        "browser_access": "nobody",
        "browser_permission": "",
        "browser_first_load": "0",
    }
    return {name: value for name, value in {**given, **values}.items() if value is not None}


def said(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def run_action(client: Client, model: str, action: str, *rows: Any) -> Any:
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(url(model), data, follow=True)


def user_who_may(*codenames: str) -> User:
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user
