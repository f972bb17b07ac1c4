from __future__ import annotations

import io

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command

from directus_realtime.events import Event
from directus_realtime.models import DirectusSubscription, InboxEvent
from example_project.site.management.commands.seed_demo import Command

pytestmark = pytest.mark.django_db


def seed(**options: bool) -> str:
    output = io.StringIO()
    call_command(Command(), stdout=output, **options)
    return output.getvalue()


def names() -> list[str]:
    rows = DirectusSubscription.objects.filter(declared_in="").order_by("name")
    return list(rows.values_list("name", flat=True))


def test_seed__twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEMO_ADMIN_PASSWORD", raising=False)
    assert "shown only now" in seed()
    user = get_user_model().objects.get(username="admin")
    assert user.is_superuser
    assert "the password is as it was" in seed()
    assert get_user_model().objects.get(username="admin").password == user.password
    assert names() == ["all-articles", "authors", "drafts"]


def test_seed__valid_subscriptions() -> None:
    seed()
    for subscription in DirectusSubscription.objects.all():
        subscription.full_clean()


def test_seed__given_password_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_ADMIN_PASSWORD", "from-the-environment")
    assert "from-the-environment" not in seed()
    assert get_user_model().objects.get(username="admin").check_password("from-the-environment")


def test_seed__plain() -> None:
    seed(plain=True)
    assert names() == ["all-articles"]


def test_seed__forget_events() -> None:
    event = Event(
        connection="default", subscription="all", collection="articles", action="delete", key=1
    )
    InboxEvent.from_event(event).save()
    seed(forget_events=True)
    assert not InboxEvent.objects.exists()
