"""The promises, as questions to the evidence of a run.

Each check says how much it looked at and names what is wrong; none of them knows the
product, only what Directus did and what the receivers were given.

For each row of the activity log, one event of each subscription to its collection is owed.
A later row of the item makes it void: where the item was gone when it was read, its delete
alone makes an event; a delete of an item that was created again makes none. With a filter,
an event is owed where the item was in the filter from then on, and where it left it.

Changes that are not in the log are delivered at most once, so their absence is counted and
is no problem: unlogged writes, the second half of an upload, and the neighbours of an item
that ``/utils/sort`` moved, whose order no check looks at.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from tests.chaos.directus import FILES, UNLOGGED, Logged, Version
from tests.chaos.evidence import LOGS, SUBSCRIPTIONS, Effect, Evidence

#: Subscription and key.
Item = tuple[str, str]


@dataclass
class Result:
    """What a check found.

    Attributes:
        name: Of the promise.
        looked_at: How many things were checked, and what they are.
        problems: A line for each that is wrong.
    """

    name: str
    looked_at: str
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [f"{self.name:34}{len(self.problems):6}   of {self.looked_at}"]
        lines += [f"    {problem}" for problem in self.problems[:8]]
        if len(self.problems) > 8:
            lines.append(f"    and {len(self.problems) - 8} more")
        return "\n".join(lines)


class Run:
    """The evidence, sorted by item.

    Attributes:
        evidence: The evidence.
        logged: The rows of the activity log of each item.
        versions: The states of each item.
        effects: The effects of each item of each subscription.
        unlogged_deletes: Items that were deleted without a row in the log, for ever.
    """

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.logged: dict[tuple[str, str], list[Logged]] = defaultdict(list)
        for row in evidence.activity:
            self.logged[row.collection, row.key].append(row)
        self.versions: dict[tuple[str, str], list[Version]] = defaultdict(list)
        for version in evidence.history:
            self.versions[version.collection, version.key].append(version)
        self.effects: dict[Item, list[Effect]] = defaultdict(list)
        for effect in evidence.effects:
            self.effects[effect.subscription, effect.key].append(effect)
        self.unlogged_deletes = {
            (entry.collection, key)
            for entry in evidence.entries
            if entry.action == "delete" and not entry.is_logged and entry.outcome != "refused"
            for key in entry.keys
        }

    def items(self) -> Iterator[tuple[Item, tuple[str, str], str | None]]:
        """Each item of each subscription, with its collection and key, and the status asked for.

        Without files, which have no history.
        """
        keys: dict[str, set[str]] = {name: set() for name, _ in SUBSCRIPTIONS.values()}
        for collection, key in [*self.logged, *self.versions]:
            keys[collection].add(key)
        for subscription, key in self.effects:
            keys[SUBSCRIPTIONS[subscription][0]].add(key)
        for subscription, (collection, status) in SUBSCRIPTIONS.items():
            if collection != FILES:
                for key in sorted(keys[collection]):
                    yield (subscription, key), (collection, key), status

    def is_there(self, row: tuple[str, str]) -> bool:
        """Whether the item exists at the end."""
        return row in self.evidence.rows or (row[0] == FILES and row[1] in self.evidence.files)

    def owed_rows(self) -> Iterator[tuple[Item, Logged]]:
        """The rows that make an event of a subscription without a filter."""
        names = {name: each for each, (name, status) in SUBSCRIPTIONS.items() if status is None}
        for row, logged in self.logged.items():
            if row in self.unlogged_deletes:
                continue
            for each in self._not_void(row, logged):
                yield (names[row[0]], row[1]), each

    def _not_void(self, row: tuple[str, str], logged: list[Logged]) -> Iterable[Logged]:
        if self.is_there(row):
            return _since_first(_after_last(logged, "delete"), "create")
        # An update of an item that is just being deleted is logged behind the delete.
        ended = _after_last(logged, "create")
        return [each for each in ended if each.action == "delete"]

    def owed_by_filter(self, row: tuple[str, str], status: str) -> Counter[str]:
        """The events since the item entered the filter for good, by action."""
        stayed: Counter[str] = Counter()
        if row not in self.evidence.rows:
            return stayed
        for version in reversed(self.versions[row]):
            if version.action == "delete" or version.status != status:
                break
            if not version.title.startswith(UNLOGGED):
                stayed[version.action] += 1
        return stayed

    def ended_unlogged(self, row: tuple[str, str]) -> bool:
        """Whether the last change of the item is not in the log."""
        if row in self.unlogged_deletes:
            return True
        versions = self.versions[row]
        return bool(versions) and versions[-1].title.startswith(UNLOGGED)

    def describe(self, item: Item, row: tuple[str, str]) -> str:
        """What happened to an item, in short."""
        happened = " ".join(f"{each.action[0]}{each.id}" for each in self.logged[row][-12:])
        got = " ".join(
            f"{e.action[0]}{'L' if e.left_filter else ''}{e.version or ''}"
            f"/{e.origin[0]}{e.activity_id or ''}"
            for e in self.effects[item][-12:]
        )
        return f"{item[0]} {item[1]}: log [{happened}] effects [{got}]"


def _since_first(logged: list[Logged], action: str) -> list[Logged]:
    """The rows from that on, where there is one: updates before it are of an item that was none."""
    first = next((n for n, row in enumerate(logged) if row.action == action), 0)
    return logged[first:]


def _after_last(logged: list[Logged], action: str) -> list[Logged]:
    last = max((n for n, row in enumerate(logged) if row.action == action), default=-1)
    return logged[last + 1 :]


def check_ledger(run: Run) -> Result:
    """Every change that the server confirmed to a writer is in the activity log."""
    logged = Counter((row.collection, row.key, row.action) for row in run.evidence.activity)
    confirmed = Counter(
        (entry.collection, key, entry.action)
        for entry in run.evidence.entries
        if entry.outcome == "confirmed" and entry.is_logged
        for key in entry.keys
    )
    result = Result("confirmed, not in Directus's log", f"{confirmed.total()} confirmed changes")
    for (collection, key, action), count in confirmed.items():
        # An update may be confirmed while somebody else deletes the item.
        was_deleted = logged[collection, key, "delete"] > 0
        was_deleted |= (collection, key) in run.unlogged_deletes
        if logged[collection, key, action] < count and not (action == "update" and was_deleted):
            result.problems.append(f"{action} {collection} {key}: {count} confirmed")
    return result


def check_lost(run: Run) -> Result:
    """Nothing is lost: every event that is owed was delivered."""
    result = Result("lost", "")
    total = 0
    delivered = {(e.subscription, e.activity_id) for e in run.evidence.effects}
    for item, row in run.owed_rows():
        total += 1
        if (item[0], row.id) not in delivered:
            line = f"{row.action} {row.id} of {run.describe(item, (row.collection, row.key))}"
            result.problems.append(line)
    for item, row, status in run.items():
        if status is not None and row not in run.unlogged_deletes:
            owed = run.owed_by_filter(row, status)
            total += owed.total()
            got = Counter(e.action for e in run.effects[item] if e.activity_id is not None)
            for action, count in (owed - got).items():
                line = f"{count} × {action} of {run.describe(item, row)}"
                result.problems += [line] * count
    result.looked_at = f"{total} owed events"
    return result


def check_duplicates(run: Run) -> Result:
    """Effects happen exactly once, and no change is delivered under two ids."""
    effects = run.evidence.effects
    result = Result("duplicated effects", f"{len(effects)} effects")
    for event_id, count in Counter(effect.event_id for effect in effects).items():
        result.problems += [f"event {event_id} had {count} effects"] * (count - 1)
    changes = {(e.subscription, e.activity_id, e.event_id) for e in effects}
    for (name, row), count in Counter((name, row) for name, row, _ in changes).items():
        if row is not None:
            line = f"row {row} of the log made {count} events of {name}"
            result.problems += [line] * (count - 1)
    counted = Counter((effect.subscription, effect.key) for effect in effects)
    for item in counted.keys() | run.evidence.tallies.keys():
        tally = run.evidence.tallies.get(item, 0)
        if tally != counted[item]:
            result.problems.append(f"{item}: {counted[item]} effects, but counted {tally}")
    return result


def check_rows(run: Run) -> Result:
    """Each event belongs to a row of its item in the log; one without a row tells of a change."""
    effects = run.evidence.effects
    result = Result("events of no change", f"{len(effects)} effects")
    rows = {(row.id, row.collection, row.key) for row in run.evidence.activity}
    for (subscription, key), of_item in run.effects.items():
        before: Effect | None = None
        collection = SUBSCRIPTIONS[subscription][0]
        for e in _first_runs(of_item):
            if e.activity_id is None:
                if before is not None and _state(e) == _state(before):
                    line = run.describe((subscription, key), (collection, key))
                    result.problems.append(f"without a row and a difference: {line}")
            elif (e.activity_id, collection, key) not in rows:
                result.problems.append(f"{e.action} {subscription} {key}: row {e.activity_id}")
            before = e
    without = sum(effect.activity_id is None for effect in effects)
    result.looked_at += f", {without} of them without a row of the log"
    return result


def _state(effect: Effect) -> tuple[object, ...]:
    is_gone = effect.action == "delete" or effect.left_filter
    return (is_gone, effect.digest)


def check_order(run: Run) -> Result:
    """An item never goes back to an older state, nor comes back after its delete."""
    result = Result("order violations", "")
    pairs = 0
    for item, row, _ in run.items():
        lives = _lives(run.versions[row])
        # Deletes of what was not there have a row in the log, and no end of a life.
        idle = max(0, _count(run.logged[row], "delete") - _count(run.versions[row], "delete"))
        newest, deletes = 0, 0
        for effect in _first_runs(run.effects[item]):
            pairs += 1
            if effect.action == "delete":
                deletes += 1
            elif effect.version is not None:
                if effect.version < newest:
                    result.problems.append(f"back to {effect.version}: {run.describe(item, row)}")
                elif lives.get(effect.version, 0) < deletes - idle:
                    line = f"alive at {effect.version} after its delete: {run.describe(item, row)}"
                    result.problems.append(line)
                newest = max(newest, effect.version)
    result.looked_at = f"{pairs} effects"
    return result


def _first_runs(effects: Iterable[Effect]) -> list[Effect]:
    """Without the second effects of an event, which another check counts."""
    firsts: dict[str, Effect] = {}
    for effect in effects:
        firsts.setdefault(effect.event_id, effect)
    return list(firsts.values())


def _lives(versions: list[Version]) -> dict[int, int]:
    """How often the item had been deleted at each of its versions."""
    lives, deletes = {}, 0
    for version in versions:
        if version.action == "delete":
            deletes += 1
        else:
            lives[version.version] = deletes
    return lives


def _count(rows: Iterable[Logged] | Iterable[Version], action: str) -> int:
    return sum(row.action == action for row in rows)


def check_states(run: Run) -> Result:
    """A mirror that follows the events ends with the rows that Directus has."""
    result = Result("wrong final states", "")
    total, unlogged = 0, 0
    for item, row, status in run.items():
        total += 1
        now = run.evidence.rows.get(row)
        wanted = now if now and status in (None, now[1]) else None
        mirrored = _mirrored(run.effects[item])
        if mirrored == wanted:
            continue
        if run.ended_unlogged(row):
            unlogged += 1
        else:
            line = f"has {mirrored}, Directus {now}: {run.describe(item, row)}"
            result.problems.append(line)
    result.looked_at = f"{total} items; {unlogged} lack a last change that was not logged"
    return result


def check_files(run: Run) -> Result:
    """A mirror of the files ends with those that Directus has."""
    result = Result("wrong final files", "")
    (subscription,) = (name for name, (of, _) in SUBSCRIPTIONS.items() if of == FILES)
    files = run.evidence.files
    keys = {key for name, key in run.effects if name == subscription} | files.keys()
    unfinished = 0
    for key in sorted(keys):
        effects = run.effects[subscription, key]
        is_gone = not effects or effects[-1].action == "delete"
        now = files.get(key)
        if is_gone != (now is None) or (now is not None and effects[-1].title != now[0]):
            line = run.describe((subscription, key), (FILES, key))
            result.problems.append(f"Directus {now}: {line}")
        elif now is not None:
            unfinished += effects[-1].size != now[1]
    result.looked_at = f"{len(keys)} files; {unfinished} lack the end of their upload"
    return result


def _mirrored(effects: list[Effect]) -> tuple[int, str, str] | None:
    if not effects or effects[-1].action == "delete" or effects[-1].left_filter:
        return None
    return effects[-1].version or 0, effects[-1].status, effects[-1].title


def check_data(run: Run) -> Result:
    """What was delivered is a state that the row really had, and that matches the filter."""
    result = Result("states that never were", f"{len(run.evidence.effects)} effects")
    for item, row, status in run.items():
        states = {(v.version, v.status, v.title) for v in run.versions[row]}
        for e in run.effects[item]:
            has_data = e.action != "delete" and not e.left_filter
            if has_data and (e.version or 0, e.status, e.title) not in states:
                result.problems.append(f"{e.version} {e.title}: {run.describe(item, row)}")
            elif has_data and status is not None and e.status != status:
                result.problems.append(f"is {e.status}: {run.describe(item, row)}")
    return result


def check_letters(run: Run) -> Result:
    """No event is dead or stuck."""
    result = Result("dead or stuck events", f"{len(run.evidence.inbox)} events in the inbox")
    for row in run.evidence.inbox:
        if row.state not in ("done", "merged"):
            why = row.failures if row.state in ("dead", "failed") else ""
            line = f"{row.subscription} {row.key} {row.action} {row.event_id}: {row.state} {why}"
            result.problems.append(line[:600])
    return result


def check_receivers(run: Run) -> Result:
    """Every receiver had every event of the inbox, the logging ones at least once."""
    done = {row.event_id for row in run.evidence.inbox if row.state == "done"}
    seen: dict[str, Iterable[str]] = {
        "effect": (effect.event_id for effect in run.evidence.effects),
        **{name: run.evidence.received.get(name, Counter()) for name in LOGS},
    }
    result = Result("events a receiver did not get", f"{len(done)} events × {len(seen)} receivers")
    for name, ids in seen.items():
        got = set(ids)
        result.problems += [f"{name} did not get {event_id}" for event_id in done - got]
        if name == "effect":
            result.problems += [f"{e} is not done, and had an effect" for e in got - done]
    return result


def check_claims(run: Run) -> Result:
    """While a change was missing, nothing said that none was."""
    claims = run.evidence.claims
    result = Result("false claims of completeness", f"{len(claims)} claims")
    if not claims:
        result.problems.append("no claim was sampled")
    ordered = sorted(claims, key=lambda claim: claim.said_at)
    said = [claim.said_at for claim in ordered]
    # The widest claim so far, at the moment of each.
    widest = list(accumulate(ordered, lambda a, b: max(a, b, key=lambda claim: claim.until)))
    stored = {
        (event.subscription, event.activity_id): event.received_at for event in run.evidence.inbox
    }
    for item, row in run.owed_rows():
        seen = run.evidence.first_seen.get(row.id)
        received = stored.get((item[0], row.id), float("inf"))
        earlier = bisect_left(said, received)
        # A row that is not in the samples became visible after the last of them.
        if seen is not None and earlier and widest[earlier - 1].until > seen:
            words = widest[earlier - 1].words
            result.problems.append(f"{words}: without {row.action} {row.id} of {item[0]} {item[1]}")
    return result


def check_gaps(run: Run) -> Result:
    """No changes were given up: the log had all of them."""
    return Result("gaps that were none", "the announced gaps", list(run.evidence.gaps))


def check_processes(run: Run) -> Result:
    """No process ended by itself, no writer gave up."""
    return Result("troubles beside", "the processes of the run", list(run.evidence.troubles))


CHECKS: list[Callable[[Run], Result]] = [
    check_ledger,
    check_lost,
    check_duplicates,
    check_rows,
    check_order,
    check_states,
    check_files,
    check_data,
    check_letters,
    check_receivers,
    check_claims,
    check_gaps,
    check_processes,
]


def check_all(evidence: Evidence) -> list[Result]:
    """The results of every check."""
    run = Run(evidence)
    return [check(run) for check in CHECKS]
