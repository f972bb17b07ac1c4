"""Each check of the chaos suite sees what it is there for, and only that."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos.checks import check_all
from tests.chaos.directus import FILES, UNLOGGED, Logged, Version
from tests.chaos.evidence import LOGS, Claim, Effect, Evidence, Stored
from tests.chaos.ledger import Entry

ALL, PUBLISHED = "articles-all", "articles-published"
ACTIONS = ["1 create", "1 update", "2 create", "2 delete", "3 create", "3 update"]


def version(number: int, key: str, action: str, of: int, status: str = "published") -> Version:
    return Version(number, "articles", key, action, of, status, f"t{of}")


def effect(subscription: str, key: str, action: str, of: int = 0, **more: object) -> Effect:
    values = {"version": of, "status": "published", "title": f"t{of}"} if of else {}
    row = ACTIONS.index(f"{key} {action}") + 1 if f"{key} {action}" in ACTIONS else None
    values = {"version": None, "status": "", "title": "", "activity_id": row, **values, **more}
    values.setdefault("digest", f"{values['version']} {values['status']} {values['title']}")
    return Effect(0, "", subscription, key, action, **values)


def stored(effect: Effect, state: str = "done") -> Stored:
    """The row of the inbox that an effect is of, received soon after the change."""
    return Stored(
        effect.event_id,
        effect.subscription,
        effect.key,
        effect.action,
        state,
        activity_id=effect.activity_id,
        received_at=(effect.activity_id or 0) + 0.5,
    )


def add(run: Evidence, effect: Effect) -> None:
    """Deliver one more event."""
    event = replace(effect, id=len(run.effects), event_id=f"event-{len(run.effects)}")
    run.effects.append(event)
    run.inbox.append(stored(event))
    run.tallies[event.subscription, event.key] = (
        run.tallies.get((event.subscription, event.key), 0) + 1
    )
    for name in LOGS:
        run.received[name][event.event_id] += 1


def evidence(effects: list[Effect]) -> Evidence:
    """Item 1 is updated and stays; 2 is deleted; 3 leaves the filter."""
    numbered = [replace(e, id=n, event_id=f"event-{n}") for n, e in enumerate(effects)]
    ids = Counter(each.event_id for each in numbered)
    return Evidence(
        entries=[Entry(0, 1, "articles", "create", ("1", "2", "3"), "confirmed")],
        activity=[
            Logged(n, line.split()[1], "articles", line.split()[0])
            for n, line in enumerate(ACTIONS, 1)
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
        first_seen={n: float(n) for n, _ in enumerate(ACTIONS, 1)},
        claims=[Claim(100, 0.5, "status")],
        inbox=[stored(e) for e in numbered],
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
    assert found(run) == {"lost": 1, "wrong final states": 1}
    add(run, effect(ALL, "2", "create", 6, status="draft", activity_id=7))
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


def test_an_event_of_a_row_that_is_not_in_the_log_is_found() -> None:
    effects = good()
    effects[1] = replace(effects[1], activity_id=70)
    assert found(evidence(effects)) == {"lost": 1, "events of no change": 1}


def test_an_event_without_a_row_tells_of_a_difference() -> None:
    run = evidence(good())
    add(run, effect(ALL, "1", "update", 2, activity_id=None, digest="of another order"))
    assert found(run) == {}
    add(run, effect(ALL, "1", "update", 2, activity_id=None, digest="of another order"))
    assert found(run) == {"events of no change": 1}


def test_a_change_that_is_not_in_the_log_is_not_owed() -> None:
    run = evidence(good())
    title = f"{UNLOGGED}1"
    run.history.append(Version(7, "articles", "1", "update", 6, "published", title))
    run.rows["articles", "1"] = (6, "published", title)
    run.entries.append(Entry(0, 1, "articles", "update", ("1",), "confirmed", is_logged=False))
    assert found(run) == {}
    states = next(r for r in check_all(run) if r.name == "wrong final states")
    assert "2 lack a last change that was not logged" in states.looked_at
    # a logged change after it is owed, and ends in the true state
    run.activity.append(Logged(7, "update", "articles", "1"))
    run.history.append(version(8, "1", "update", 7))
    run.rows["articles", "1"] = (7, "published", "t7")
    assert found(run) == {"lost": 2, "wrong final states": 2}


def test_a_delete_that_is_not_in_the_log_is_not_owed() -> None:
    run = evidence(good())
    run.history.append(version(7, "1", "delete", 2))
    del run.rows["articles", "1"]
    assert found(run) == {"wrong final states": 2}
    run.entries.append(Entry(0, 1, "articles", "delete", ("1",), "confirmed", is_logged=False))
    assert found(run) == {}


def test_an_update_of_an_item_that_was_deleted_and_made_again_later_is_not_owed() -> None:
    run = evidence(good())
    rows = ((7, "create"), (8, "delete"), (9, "update"), (10, "create"))
    run.activity += [Logged(number, action, "notes", "x") for number, action in rows]
    run.rows["notes", "x"] = (1, "draft", "t")
    run.history.append(Version(8, "notes", "x", "create", 1, "draft", "t"))
    lost = next(result for result in check_all(run) if result.name == "lost")
    assert [line.split(" of ")[0] for line in lost.problems] == ["create 10"]


def test_a_wrong_file_is_found() -> None:
    run = evidence(good())
    run.activity.append(Logged(7, "create", FILES, "a"))
    run.files["a"] = ("x.txt", 10)
    assert found(run) == {"lost": 1, "wrong final files": 1}
    add(run, effect("files-all", "a", "create", activity_id=7, title="x.txt", size=None))
    assert found(run) == {}
    assert any("1 files; 1 lack the end" in result.looked_at for result in check_all(run))
    run.files.clear()
    assert found(run) == {"wrong final files": 1}


def test_a_false_claim_of_completeness_is_found() -> None:
    run = evidence(good())
    run.claims.append(Claim(said_at=2.2, until=2.1, words="gap recovered"))
    assert found(run) == {"false claims of completeness": 1}  # row 2 was received at 2.5


def test_a_claim_over_a_lost_change_is_false() -> None:
    effects = good()
    del effects[0]
    run = evidence(effects)
    assert found(run) == {"lost": 1}
    run.claims.append(Claim(200, 150, "status"))
    assert found(run) == {"lost": 1, "false claims of completeness": 1}


def test_a_run_without_claims_is_no_good_run() -> None:
    run = evidence(good())
    run.claims.clear()
    assert found(run) == {"false claims of completeness": 1}


def test_a_gap_that_was_none_is_found() -> None:
    run = evidence(good())
    run.gaps.append("gap from 1 to 2: all")
    assert found(run) == {"gaps that were none": 1}
