"""Effects of receivers in the database, once for each event, whatever dies."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from directus_realtime.testing import DirectusAdmin
from tests.helpers.site import ALIAS, Site
from tests.helpers.waiting import wait_for
from tests.sample.models import Effect

pytestmark = pytest.mark.e2e

BATCHES, BATCH, KILLS = 20, 100, 4


def is_delivered(site: Site) -> bool:
    return not site.inbox.exclude(state="done").exists()


def effects() -> Counter[str]:
    """How many effects each event has."""
    return Counter(str(pk) for pk in Effect.objects.using(ALIAS).values_list("event_id", flat=True))


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_kill_9_at_random_moments_leaves_one_effect_for_each_event(
    database: str,
    request: pytest.FixtureRequest,
    make_site: Callable[..., Site],
    directus_env: dict[str, str],
    directus: DirectusAdmin,
) -> None:
    url = request.getfixturevalue("postgres_url") if database == "postgres" else ""
    site = make_site({**directus_env, "SAMPLE_EFFECTS": "1", "SAMPLE_SLEEP": "0.001"}, url)
    site.subscribe(on_update=False, on_delete=False)
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)

    def make_changes() -> None:
        for _ in range(BATCHES):
            directus.create_items("articles", [{"title": "x"} for _ in range(BATCH)])

    listener = site.listen()
    writer = threading.Thread(target=make_changes)
    writer.start()
    for _ in range(KILLS):
        wanted = len(effects()) + chance.randrange(1, 150)
        wait_for(lambda wanted=wanted: len(effects()) >= wanted or not writer.is_alive(), 60)
        time.sleep(chance.uniform(0, 0.05))  # anywhere in a slice
        listener.kill()
        listener = site.listen()
    writer.join()
    wait_for(lambda: is_delivered(site), 60, "everything to be delivered")
    ids = Counter(str(pk) for pk in site.inbox.values_list("event_id", flat=True))
    assert len(ids) > 100
    assert effects() == ids
