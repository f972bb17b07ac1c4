"""The promises, as questions to the evidence of a run.

Each check says how much it looked at and names what is wrong; none of them knows the
product, only what Directus did and what the receivers were given.

What is owed for a row of the activity log is one event of each subscription to its
collection. Where the item was gone, or was out of the filter, when it was read, a create or
an update makes none; the row that tells of that end makes one. A delete of an item that was
there again when it was read makes none, either. An item that left its filter makes an
update, whichever row told of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.directus import Logged, Version
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
    """The evidence, sorted by item."""

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

    def items(self) -> Iterator[tuple[Item, tuple[str, str], str | None]]:
        """Each item of each subscription, with its collection and key, and the status asked for."""
        keys = {name: set() for name, _ in SUBSCRIPTIONS.values()}  # type: dict[str, set[str]]
        for collection, key in [*self.logged, *self.versions]:
            keys[collection].add(key)
        for subscription, key in self.effects:
            keys[SUBSCRIPTIONS[subscription][0]].add(key)
        for subscription, (collection, status) in SUBSCRIPTIONS.items():
            for key in sorted(keys[collection]):
                yield (subscription, key), (collection, key), status

    def owed(self, row: tuple[str, str], status: str | None) -> Counter[str]:
        """The events that no reader can have missed, by action.

        Without a filter: what came after the last delete, or of an item that is gone, the
        deletes after it was there for the last time. With a filter: what came since the item
        entered it for good.
        """
        logged = self.logged[row]
        if status is None:
            if row in self.evidence.rows:
                return Counter(each.action for each in _after_last(logged, "delete"))
            # An update of an item that is just being deleted is logged behind the delete.
            ended = _after_last(logged, "create")
            return Counter(each.action for each in ended if each.action == "delete")
        if row not in self.evidence.rows:
            return Counter()
        stayed: Counter[str] = Counter()
        for version in reversed(self.versions[row]):
            if version.action == "delete" or version.status != status:
                break
            stayed[version.action] += 1
        return stayed

    def describe(self, item: Item, row: tuple[str, str]) -> str:
        """What happened to an item, in short."""
        happened = " ".join(f"{each.action[0]}{each.id}" for each in self.logged[row][-12:])
        got = " ".join(
            f"{e.action[0]}{'L' if e.left_filter else ''}{e.version or ''}"
            f"/{e.origin[0]}{e.activity_id or ''}"
            for e in self.effects[item][-12:]
        )
        return f"{item[0]} {item[1]}: log [{happened}] effects [{got}]"


def _after_last(logged: list[Logged], action: str) -> Iterable[Logged]:
    last = max((n for n, row in enumerate(logged) if row.action == action), default=-1)
    return logged[last + 1 :]


def check_ledger(run: Run) -> Result:
    """Every change that the server confirmed to a writer is in the activity log."""
    logged = Counter((row.collection, row.key, row.action) for row in run.evidence.activity)
    confirmed = Counter(
        (entry.collection, key, entry.action)
        for entry in run.evidence.entries
        if entry.outcome == "confirmed"
        for key in entry.keys
    )
    result = Result("confirmed, not in Directus's log", f"{confirmed.total()} confirmed changes")
    for (collection, key, action), count in confirmed.items():
        # An update may be confirmed while somebody else deletes the item.
        was_deleted = logged[collection, key, "delete"] > 0
        if logged[collection, key, action] < count and not (action == "update" and was_deleted):
            result.problems.append(f"{action} {collection} {key}: {count} confirmed")
    return result


def check_lost(run: Run) -> Result:
    """Nothing is lost: every event that is owed was delivered."""
    result = Result("lost", "")
    total = 0
    for item, row, status in run.items():
        got = Counter(effect.action for effect in run.effects[item])
        owed = run.owed(row, status)
        total += owed.total()
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
    for item, row, _ in run.items():
        has_left = any(effect.left_filter for effect in run.effects[item])
        kinds = dict.fromkeys(("create", "update"), "create or update") if has_left else {}
        logged = Counter(kinds.get(each.action, each.action) for each in run.logged[row])
        ids = {(kinds.get(e.action, e.action), e.event_id) for e in run.effects[item]}
        for action, count in (Counter(action for action, _ in ids) - logged).items():
            result.problems += [f"{count} × {action} too many of {run.describe(item, row)}"] * count
    counted = Counter((effect.subscription, effect.key) for effect in effects)
    for item in counted.keys() | run.evidence.tallies.keys():
        tally = run.evidence.tallies.get(item, 0)
        if tally != counted[item]:
            result.problems.append(f"{item}: {counted[item]} effects, but counted {tally}")
    return result


def check_order(run: Run) -> Result:
    """An item never goes back to an older state, nor comes back after its delete."""
    result = Result("order violations", "")
    pairs = 0
    for item, row, _ in run.items():
        lives = _lives(run.versions[row])
        # Deletes of what was not there have a row in the log, and no end of a life.
        idle = _count(run.logged[row], "delete") - _count(run.versions[row], "delete")
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
    total = 0
    for item, row, status in run.items():
        total += 1
        now = run.evidence.rows.get(row)
        wanted = now if now and status in (None, now[1]) else None
        mirrored = _mirrored(run.effects[item])
        if mirrored != wanted:
            line = f"has {mirrored}, Directus {now}: {run.describe(item, row)}"
            result.problems.append(line)
    result.looked_at = f"{total} items"
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


def check_processes(run: Run) -> Result:
    """No process ended by itself, no writer gave up."""
    return Result("troubles beside", "the processes of the run", list(run.evidence.troubles))


CHECKS: list[Callable[[Run], Result]] = [
    check_ledger,
    check_lost,
    check_duplicates,
    check_order,
    check_states,
    check_data,
    check_letters,
    check_receivers,
    check_processes,
]


def check_all(evidence: Evidence) -> list[Result]:
    """The results of every check."""
    run = Run(evidence)
    return [check(run) for check in CHECKS]
