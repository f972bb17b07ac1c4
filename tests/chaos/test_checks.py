"""Each check of the chaos suite sees what it is there for, and only that."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.checks import check_all
from tests.chaos.directus import Logged, Version
from tests.chaos.evidence import LOGS, Effect, Evidence, Stored
from tests.chaos.writers import Entry

ALL, PUBLISHED = "articles-all", "articles-published"


def version(number: int, key: str, action: str, of: int, status: str = "published") -> Version:
    return Version(number, "articles", key, action, of, status, f"t{of}")


def effect(subscription: str, key: str, action: str, of: int = 0, **more: object) -> Effect:
    values = {"version": of, "status": "published", "title": f"t{of}"} if of else {}
    values = {"version": None, "status": "", "title": "", **values, **more}
    return Effect(0, "", subscription, key, action, **values)


def evidence(effects: list[Effect]) -> Evidence:
    """Item 1 is updated and stays; 2 is deleted; 3 leaves the filter."""
    actions = ["1 create", "1 update", "2 create", "2 delete", "3 create", "3 update"]
    numbered = [replace(e, id=n, event_id=f"event-{n}") for n, e in enumerate(effects)]
    ids = Counter(each.event_id for each in numbered)
    return Evidence(
        entries=[Entry(0, 1, "articles", "create", ("1", "2", "3"), "confirmed")],
        activity=[
            Logged(n, line.split()[1], "articles", line.split()[0])
            for n, line in enumerate(actions, 1)
        ],
        history=[
            version(1, "1", "create", 1),
            version(2, "1", "update", 2),
            version(3, "2", "create", 3),
            version(4, "2", "delete", 3),
            version(5, "3", "create", 4),
            version(6, "3", "update", 5, "draft"),
        ],
        rows={("articles", "1"): (2, "published", "t2"), ("articles", "3"): (5, "draft", "t5")},
        effects=numbered,
        tallies=dict(Counter((each.subscription, each.key) for each in numbered)),
        inbox=[Stored(e.event_id, e.subscription, e.key, e.action, "done") for e in numbered],
        received={name: Counter(ids) for name in LOGS},
    )


def good() -> list[Effect]:
    """What should be delivered."""
    of_all = [
        effect(ALL, "1", "create", 1),
        effect(ALL, "1", "update", 2),
        effect(ALL, "2", "create", 3),
        effect(ALL, "2", "delete"),
        effect(ALL, "3", "create", 4),
        effect(ALL, "3", "update", 5, status="draft"),
    ]
    of_published = [
        effect(PUBLISHED, "1", "create", 1),
        effect(PUBLISHED, "1", "update", 2),
        effect(PUBLISHED, "2", "create", 3),
        effect(PUBLISHED, "2", "delete"),
        effect(PUBLISHED, "3", "create", 4),
        effect(PUBLISHED, "3", "update", 5, status="draft", left_filter=True),
    ]
    return of_all + of_published


def found(evidence: Evidence) -> dict[str, int]:
    """How many problems each check has, where it has any."""
    return {r.name: len(r.problems) for r in check_all(evidence) if r.problems}


def test_a_run_in_order_is_found_to_be_so() -> None:
    assert found(evidence(good())) == {}


def test_what_was_gone_when_it_was_read_is_not_owed() -> None:
    effects = [e for e in good() if (e.key, e.action) not in {("2", "create"), ("3", "create")}]
    # item 3 of the filtered subscription was never in it, as far as it knows
    effects = [e for e in effects if not e.left_filter]
    effects.insert(2, effect(ALL, "3", "create", 5, status="draft"))
    assert found(evidence(effects)) == {}


@pytest.mark.parametrize(
    ("left_out", "problems"),
    [
        (0, {"lost": 1}),
        (1, {"lost": 1, "wrong final states": 1}),
        (3, {"lost": 1, "wrong final states": 1}),
        (5, {"lost": 1, "wrong final states": 1}),
        (7, {"lost": 1, "wrong final states": 1}),
        (9, {"wrong final states": 1}),
        (11, {"wrong final states": 1}),
    ],
)
def test_a_lost_event_is_found(left_out: int, problems: dict[str, int]) -> None:
    effects = good()
    del effects[left_out]
    assert found(evidence(effects)) == problems


def test_a_second_effect_of_an_event_is_found() -> None:
    run = evidence(good())
    run.effects.append(replace(run.effects[1]))
    assert found(run) == {"duplicated effects": 2}  # by its id, and by the receiver's own count


def test_a_change_under_two_ids_is_found() -> None:
    effects = good()
    effects.insert(2, effects[1])
    assert found(evidence(effects)) == {"duplicated effects": 1}


def test_a_step_back_is_found() -> None:
    effects = good()
    effects[0], effects[1] = effects[1], effects[0]
    assert found(evidence(effects)) == {"order violations": 1, "wrong final states": 1}


def test_a_resurrection_is_found() -> None:
    effects = good()
    effects[2], effects[3] = effects[3], effects[2]
    assert found(evidence(effects)) == {"order violations": 1, "wrong final states": 1}


def test_a_second_life_is_none() -> None:
    run = evidence(good())
    run.activity.append(Logged(7, "create", "articles", "2"))
    run.history.append(version(7, "2", "create", 6, "draft"))
    run.rows["articles", "2"] = (6, "draft", "t6")
    assert found(run) == {"wrong final states": 1}
    late = effect(ALL, "2", "create", 6, status="draft")
    run.effects.append(replace(late, id=12, event_id="event-12"))
    run.inbox.append(Stored("event-12", ALL, "2", "create", "done"))
    run.tallies[ALL, "2"] += 1
    for name in LOGS:
        run.received[name]["event-12"] += 1
    assert found(run) == {}


def test_made_up_data_is_found() -> None:
    effects = good()
    effects[0] = replace(effects[0], title="of another row")
    assert found(evidence(effects)) == {"states that never were": 1}


def test_an_item_outside_the_filter_is_found() -> None:
    effects = good()
    effects[11] = replace(effects[11], left_filter=False)
    assert found(evidence(effects)) == {"states that never were": 1, "wrong final states": 1}


def test_a_dead_letter_is_found() -> None:
    run = evidence(good())
    run.inbox.append(Stored("event-x", ALL, "1", "update", "dead"))
    assert found(run) == {"dead or stuck events": 1}


@pytest.mark.parametrize("receiver", LOGS)
def test_a_receiver_that_was_left_out_is_found(receiver: str) -> None:
    run = evidence(good())
    del run.received[receiver]["event-4"]
    assert found(run) == {"events a receiver did not get": 1}


def test_an_event_without_an_effect_is_found() -> None:
    run = evidence(good())
    run.inbox.append(Stored("event-x", ALL, "1", "update", "done"))
    assert found(run) == {"events a receiver did not get": 4}


def test_a_change_that_directus_forgot_is_found() -> None:
    run = evidence(good())
    run.entries.append(Entry(0, 1, "articles", "create", ("9",), "confirmed"))
    run.entries.append(Entry(0, 1, "articles", "create", ("8",), "unknown"))
    assert found(run) == {"confirmed, not in Directus's log": 1}


def test_a_listener_that_ended_by_itself_is_found() -> None:
    run = evidence(good())
    run.troubles.append("listener 1 ended by itself, status 1")
    assert found(run) == {"troubles beside": 1}
