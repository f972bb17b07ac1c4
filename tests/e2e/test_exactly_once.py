"""Effects of receivers in the database, once for each event, whatever dies."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from example_project.real_directus import DirectusAdmin
from tests.helpers.process import Process
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
        wait_for(lambda wanted=wanted: len(effects()) >= wanted or not writer.is_alive())
        time.sleep(chance.uniform(0, 0.05))  # anywhere in a slice
        listener.kill()
        listener = site.listen()
    writer.join()
    wait_for(lambda: site.inbox.filter(state="done").count() >= BATCHES * BATCH)
    assert is_delivered(site)
    ids = Counter(str(pk) for pk in site.inbox.values_list("event_id", flat=True))
    assert len(ids) == BATCHES * BATCH
    assert effects() == ids


# Workers of django.tasks


@pytest.fixture(params=["sqlite", "postgres"])
def tasks_site(
    request: pytest.FixtureRequest, make_site: Callable[..., Site], directus_env: dict[str, str]
) -> Site:
    """A site whose receivers run in workers; a lost task is made anew after 2 s."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    tasks = {"DIRECTUS_DELIVERY": "tasks", "DIRECTUS_TASK_TIMEOUT": "2", "SAMPLE_EFFECTS": "1"}
    site = make_site({**directus_env, **tasks}, url)
    assert site.start("migrate").wait() == 0
    site.subscribe()
    site.listen()
    return site


def start_worker(site: Site) -> Process:
    worker = site.start("db_worker", "--interval", "0.05", "--no-startup-delay")
    worker.wait_for_line("Starting worker")
    return worker


def test_workers_keep_the_order_of_an_item_over_failures(
    tasks_site: Site, directus: DirectusAdmin
) -> None:
    workers = [start_worker(tasks_site) for _ in range(2)]
    # An event carries the item as it is when the change is read, so each is read alone.
    failing = directus.create_item("articles", {"title": "fail-once"})
    wait_for(lambda: tasks_site.inbox.count() == 1)
    directus.update_item("articles", failing["id"], {"title": "second"})
    wait_for(lambda: tasks_site.inbox.count() == 2)
    directus.delete_item("articles", failing["id"])
    directus.create_item("articles", {"title": "fail-always"})
    others = directus.create_items("articles", [{"title": str(n)} for n in range(10)])
    wait_for(lambda: tasks_site.inbox.filter(state="done").count() == 13)
    wait_for(lambda: tasks_site.inbox.filter(state="dead").count() == 1)
    signals = tasks_site.received()
    own = [entry["title"] for entry in signals if entry["key"] == failing["id"]]
    assert own == ["fail-once", "second", None]
    created = [entry["key"] for entry in tasks_site.received("created")]
    assert sorted(created) == sorted([failing["id"], *(item["id"] for item in others)])
    assert set(effects().values()) == {1}
    assert not any(worker.has_ended for worker in workers)


def test_kill_9_of_workers_leaves_one_effect_for_each_event(
    tasks_site: Site, directus: DirectusAdmin
) -> None:
    seed = random.randrange(10**6)
    print("seed", seed)
    chance = random.Random(seed)
    directus.create_items("articles", [{"title": "x"} for _ in range(100)])
    wait_for(lambda: tasks_site.inbox.count() == 100)
    for _ in range(KILLS):
        worker = start_worker(tasks_site)
        wanted = len(effects()) + chance.randrange(1, 15)
        wait_for(lambda wanted=wanted: len(effects()) >= wanted)
        time.sleep(chance.uniform(0, 0.02))  # anywhere in a task
        worker.kill()
    start_worker(tasks_site)
    wait_for(lambda: is_delivered(tasks_site), 60, "everything to be delivered")
    assert effects() == Counter(
        str(pk) for pk in tasks_site.inbox.values_list("event_id", flat=True)
    )
