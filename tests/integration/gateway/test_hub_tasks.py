from __future__ import annotations

from typing import Any

import pytest
from django.db import ProgrammingError

from directus_realtime.gateway import access_recheck
from directus_realtime.gateway.offers import Offer, load_offers
from tests.helpers.waiting import await_for
from tests.integration.gateway.browsers import browsing, deliver, event, offer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def failing_offers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Errors, with which as many reads of the offers end."""
    errors: list[Any] = []

    def load() -> list[Offer]:
        if errors:
            raise errors.pop()
        return load_offers()

    monkeypatch.setattr(access_recheck, "load_offers", load)
    return errors


async def test_offers_that_could_not_be_read_at_first_are_read_for_the_next_browser(
    failing_offers: list[Any],
) -> None:
    failing_offers.append(ProgrammingError("no such column"))
    await offer()
    async with browsing() as browser:
        if (answer := await browser.subscribe()).get("event") != "init":
            assert answer["error"]["code"] == "INTERNAL_SERVER_ERROR"
            assert (await browser.subscribe())["event"] == "init"
        await deliver(told := event(1))
        assert (await browser.next())["id"] == told.id


@pytest.mark.usefixtures("often", "lossy_layer")
async def test_chores_go_on_where_the_beginning_has_failed(
    failing_offers: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    failing_offers += [ProgrammingError("no such column")] * 3
    await offer()
    async with browsing() as browser:
        await await_for(lambda: not failing_offers)
        await browser.subscribe()
        await deliver(swept := event(1))
        assert (await browser.next())["id"] == swept.id
    assert "A chore of the gateway failed." in caplog.text
