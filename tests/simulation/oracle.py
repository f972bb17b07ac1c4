"""The promises, checked at every write and at the end; nothing here knows how they are kept."""

from __future__ import annotations

import bisect
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.simulation import clock
from tests.simulation.directus import ARTICLES, NOTES
from tests.simulation.loop import Machine
from tests.simulation.receivers import Book
from tests.simulation.truth import Item, Logged, Truth

Query = Callable[..., list[tuple[Any, ...]]]

#: Lines of the oracle, each with what it says.
LINES = {
    "lost": "Every logged change is delivered, or made void by a later one of its item.",
    "twice": "No event has its effects twice, and no row of the log makes two events.",
    "order": "The events of an item come in the order of the log, and no state comes back.",
    "state": "The last event of an item carries the state that Directus has.",
    "never": "No event carries a state that was never committed, or is of no change.",
    "effects": "The effects of the receivers of a transaction are the same, and counted once.",
    "fence": "Only the holder of the lease writes.",
    "claim": "While a change is missing, nothing says that none is.",
    "silent": "What the log lost before it was read is announced as a gap.",
    "replay": "A replay that is complete has made an event of each change that it replays.",
    "gap": "No gap is announced where the log has every change.",
    "stuck": "After everything is repaired, everything is delivered, and nothing is dead.",
    "crash": "No listener ends by an error of its own.",
    "spin": "Nothing works again and again without a pause.",
    "health": "Healthy is said only while changes are stored, and in the end it is no failure.",
    "memory": "What a listener keeps in memory is bounded.",
}


#: Tasks of one listener beyond which something is not bounded.
_MOST_TASKS = 300
#: Seconds within which the log is read while the connection is healthy, and some more.
_HEALTHY_AGE = 130.0


@dataclass(frozen=True)
class Violation:
    """A broken promise.

    Attributes:
        line: Name of the line of the oracle.
        words: What was found.
        at: True second at which it was found.
    """

    line: str
    words: str
    at: float

    def __str__(self) -> str:
        return f"{self.line}: {self.words} (at {self.at:.3f} s)"


@dataclass(frozen=True)
class Followed:
    """A subscription of the simulation.

    Attributes:
        name: Its name.
        collection: The collection.
        status: The status that its filter asks for; ``None`` for no filter.
        debounce: Seconds of its windows.
    """

    name: str
    collection: str
    status: str | None = None
    debounce: float = 0.0


#: What an operator appends to the name of a subscription.
RENAMED = "'"

SUBSCRIPTIONS = (
    Followed("all articles", ARTICLES),
    Followed("all notes", NOTES),
    Followed("published articles", ARTICLES, "published"),
    Followed("calm articles", ARTICLES, debounce=3.0),
)


@dataclass
class _Begun:
    """From where on rows are owed to a subscription."""

    number: int
    at: float


@dataclass
class Effect:
    """A run of a receiver that was committed."""

    event_id: str
    receiver: str
    subscription: str
    item: Item
    action: str
    version: int | None
    status: str | None
    left_filter: bool
    origin: str
    activity_id: int | None
    machine: str
    at: float

    def __str__(self) -> str:
        left = " left" if self.left_filter else ""
        row = f"row {self.activity_id}" if self.activity_id else "no row"
        return f"{self.action}{left} v{self.version} {row} {self.origin} by {self.machine}"


class Oracle:
    """Watches a simulation.

    Args:
        truth: What really happened.
        book: What the receivers did outside of transactions.
        query: Asks the database.
        most_ahead: Seconds that the clock of a machine is ahead at most.

    Attributes:
        violations: What was found, each line at most a few times.
        excused: Collections of which a gap may be announced: the token could not read them.
    """

    def __init__(self, truth: Truth, book: Book, query: Query, most_ahead: float) -> None:
        self.violations: list[Violation] = []
        self.most_ahead = most_ahead
        self.excused: set[str] = set()
        self.checks: Counter[str] = Counter()
        self._truth = truth
        self._book = book
        self._query = query
        self._begun: dict[str, _Begun] = {}
        self._holders: dict[str, Machine] = {}
        self._parked: set[tuple[str, int]] = set()
        self._claimed = 0  # rows of the truth that a claim was compared with
        self._claims: dict[str, object] = {}

    def found(self, line: str, words: str) -> None:
        """Note a violation."""
        if sum(each.line == line for each in self.violations) < 4:
            self.violations.append(Violation(line, words, clock.true_seconds()))

    # After each job of a database thread

    def after_lease(self, machine: Machine) -> None:
        """Note who has the lease."""
        for (holder,) in self._query("SELECT holder FROM directus_realtime_listenerlease"):
            if holder is not None and holder not in self._holders:
                self._holders[holder] = machine

    def after_write(self, machine: Machine, thread: str, tables: set[str]) -> None:
        """Check what a machine has just committed."""
        if thread == "replay":
            return  # a command, which needs no lease
        self.checks["fence"] += 1
        holders = self._query("SELECT holder FROM directus_realtime_listenerlease")
        for (holder,) in holders:
            owner = self._holders.get(holder) if holder else None
            if owner is not machine:
                name = owner.name if owner else "nobody"
                self.found(
                    "fence",
                    f"{machine.name} wrote {', '.join(sorted(tables))} in its thread {thread} "
                    f"while {name} has the lease",
                )
        self._note_places()
        self._note_parked()
        if "directus_realtime_logposition" in tables:
            self._check_claims()

    def _note_places(self) -> None:
        rows = self._query("SELECT name, followed_from FROM directus_realtime_directussubscription")
        for written, number in rows:
            name = _plain(written)
            before = self._begun.get(name)
            if number is None:
                self._begun.pop(name, None)
            elif before is None or before.number != number:
                self._begun[name] = _Begun(number, clock.true_seconds())

    def _note_parked(self) -> None:
        """Note the changes whose item was not found, or could not be read."""
        self._parked |= {
            (_plain(name), number)
            for name, number in self._query(
                "SELECT s.name, p.activity_id FROM directus_realtime_parkedchange p"
                " JOIN directus_realtime_directussubscription s ON s.id = p.subscription_id"
            )
        }

    def _check_claims(self) -> None:
        """Compare the time up to which the log is said to be read with what is stored."""
        for (read_at,) in self._query("SELECT read_at FROM directus_realtime_logposition"):
            if read_at is not None:
                self._check_claim(read_at)

    def _check_claim(self, read_at: str) -> None:
        moment = _moment(read_at)
        until = (moment - clock.START).total_seconds() - self.most_ahead - 0.05
        rows = self._truth.rows
        end = bisect.bisect_left(rows, until, key=lambda row: row.visible_at)
        if end <= self._claimed:
            return
        claimed, self._claimed = rows[self._claimed : end], end
        self.checks["claim"] += 1
        numbers = [row.number for row in claimed]
        stored = _stored(self._query, "directus_realtime_inboxevent", numbers)
        unread = _unread(self._query)
        for each in SUBSCRIPTIONS:
            if each.status is not None:
                continue
            for row in claimed:
                if not self._is_owed_to(each, row) or _is_in(unread.get(each.name, ()), row.number):
                    continue
                is_here = (each.name, row.number) in stored or (
                    each.name,
                    row.number,
                ) in self._parked
                if not is_here and not self._may_be_void(row):
                    self.found(
                        "claim",
                        f"the log is said to be read up to {until:.2f} s, and {_row(row)}, visible "
                        f"since {row.visible_at:.2f} s, is not stored for {each.name}",
                    )

    def _is_owed_to(self, subscription: Followed, row: Logged) -> bool:
        begun = self._begun.get(subscription.name)
        if begun is None or row.item[0] != subscription.collection:
            return False
        return row.pruned_at is None and (row.number > begun.number or row.visible_at > begun.at)

    def _may_be_void(self, row: Logged) -> bool:
        later = [each for each in self._truth.by_item[row.item] if each.number > row.number]
        other = "create" if row.action == "delete" else "delete"
        return any(each.action == other for each in later)

    def after_replay(self, names: Sequence[str], rows: Sequence[Logged]) -> None:
        """Check that a replay has made events of rows that were in the log all the time."""
        self.checks["replay"] += 1
        numbers = [row.number for row in rows]
        events = {
            (_plain(name), number)
            for name, number in self._query(
                "SELECT subscription, activity_id FROM directus_realtime_inboxevent"
                " WHERE origin = 'replay'"
            )
        }
        for each in SUBSCRIPTIONS:
            if each.status is not None or each.name not in {_plain(name) for name in names}:
                continue
            for row in rows:
                is_gone = row.action != "delete" and self._truth.state(row.item) is None
                is_back = row.action == "delete" and self._truth.state(row.item) is not None
                is_there = (each.name, row.number) in events or row.pruned_at is not None
                if not (is_there or is_gone or is_back):
                    self.found("replay", f"{_row(row)} of {len(numbers)} is not replayed")

    # At the end

    def look(self, tasks: int, level: str) -> None:
        """Look at what must be true at any time.

        Args:
            tasks: Tasks of the listener that has most.
            level: What the health of the connection is said to be.
        """
        self.checks["look"] += 1
        if tasks > _MOST_TASKS:
            self.found("memory", f"a listener has {tasks} tasks")
        if level == "ok":
            self._check_health()

    def _check_health(self) -> None:
        """Compare "healthy" with what is stored: the log is read within two minutes then."""
        until = clock.true_seconds() - _HEALTHY_AGE - self.most_ahead
        rows = [row for row in self._truth.rows if row.visible_at < until]
        stored = _stored(self._query, "directus_realtime_inboxevent", [row.number for row in rows])
        for each in SUBSCRIPTIONS:
            for row in rows if each.status is None else ():
                place = each.name, row.number
                is_here = place in stored or place in self._parked or self._may_be_void(row)
                if self._is_owed_to(each, row) and not is_here:
                    self.found("health", f"{_row(row)} is not stored for {each.name}")

    def unfinished(self) -> list[str]:
        """Return what is missing until everything is delivered, as sentences."""
        delivered = {
            (_plain(name), number)
            for name, number in self._query(
                "SELECT subscription, activity_id FROM simulation_effect WHERE receiver = 'record'"
            )
        }
        found = [
            f"{_row(row)} is not delivered to {each.name}"
            for each, row in self._owed()
            if (each.name, row.number) not in delivered and not self._is_covered(each, row)
        ]
        found += [
            f"the subscription {name} is {state}, and {unread} is not read"
            for name, state, unread in self._query(
                "SELECT name, state, unread FROM directus_realtime_directussubscription"
                " WHERE enabled AND (state != 'subscribed' OR unread != '[]')"
            )
        ]
        open_rows = self._query(
            "SELECT state, subscription, key_json, failures FROM directus_realtime_inboxevent"
            " WHERE state NOT IN ('done', 'merged') LIMIT 5"
        )
        return found + [
            f"the event of {row[1]} {row[2]} is {row[0]}: {row[3]}" for row in open_rows
        ]

    def _is_covered(self, subscription: Followed, row: Logged) -> bool:
        """Say whether a later change has told of an item that could not be read at first."""
        later = [each for each in self._truth.by_item[row.item] if each.number > row.number]
        return bool(later) and (subscription.name, row.number) in self._parked

    def _owed(self) -> Iterable[tuple[Followed, Logged]]:
        """The rows that are not void, for subscriptions that get each of them."""
        for each in SUBSCRIPTIONS:
            if each.status is not None or each.debounce:
                continue
            for item, rows in self._truth.by_item.items():
                if item[0] == each.collection:
                    for row in _not_void(sorted(rows, key=lambda row: row.number)):
                        if self._is_owed_to(each, row):
                            yield each, row

    def finish(self, level: str) -> None:
        """Check everything that can be said at the end only.

        Args:
            level: What the health of the connection is said to be.
        """
        if level == "failed":
            self.found("health", "everything is repaired, and the connection has failed")
        effects = _effects(self._query)
        by_item: dict[tuple[str, Item], list[Effect]] = defaultdict(list)
        for effect in effects:
            if effect.receiver == "record":
                by_item[effect.subscription, effect.item].append(effect)
        for line in self.unfinished()[:4]:
            self.found("lost" if "is not delivered" in line else "stuck", line)
        self._check_twice(effects)
        self._check_effects(effects, by_item)
        states = {(row.item, row.version, row.status) for row in self._truth.rows if row.version}
        states |= self._truth.unlogged
        for (name, item), of_item in by_item.items():
            subscription = next(each for each in SUBSCRIPTIONS if each.name == name)
            self._check_order(subscription, item, of_item)
            self._check_never(subscription, item, of_item, states)
        for each in SUBSCRIPTIONS:
            self._check_states(each, by_item)
        self._check_gaps()
        self._check_silence()

    def _check_twice(self, effects: Sequence[Effect]) -> None:
        for (event_id, receiver), count in Counter(
            (each.event_id, each.receiver) for each in effects
        ).items():
            if count > 1:
                self.found("twice", f"{receiver} had {count} effects of the event {event_id}")
        events = {
            (each.subscription, each.activity_id, each.event_id)
            for each in effects
            if each.origin != "replay"
        }
        for (name, number), count in Counter((name, row) for name, row, _ in events).items():
            if number is not None and count > 1:
                self.found("twice", f"row {number} made {count} events of {name}")

    def _check_effects(
        self, effects: Sequence[Effect], by_item: dict[tuple[str, Item], list[Effect]]
    ) -> None:
        by_receiver: dict[str, set[str]] = defaultdict(set)
        for effect in effects:
            by_receiver[effect.receiver].add(effect.event_id)
        done = {
            event_id
            for (event_id,) in self._query(
                "SELECT event_id FROM directus_realtime_inboxevent WHERE state = 'done'"
            )
        }
        by_receiver["outside"] = set(self._book.outside)
        for receiver in ("record", "flaky", "outside"):
            got = {each.replace("-", "") for each in by_receiver[receiver]}
            if missing := done - got:
                self.found("effects", f"{receiver} did not get {len(missing)} events that are done")
            if receiver != "outside" and (extra := got - done):
                self.found("effects", f"{receiver} had {len(extra)} events that are not done")
        counts: Counter[tuple[str, str]] = Counter()
        for name, item, count in self._query(
            "SELECT subscription, item, count FROM simulation_tally"
        ):
            counts[_plain(name), item] += count
        for (name, item), of_item in by_item.items():
            if counts.get((name, item[1]), 0) != len(of_item):
                self.found("effects", f"{name} {item}: {len(of_item)} effects, counted otherwise")

    def _check_order(self, subscription: Followed, item: Item, effects: Sequence[Effect]) -> None:
        newest = number = 0
        for effect in effects:
            if effect.origin in {"live", "catch-up"} and effect.activity_id is not None:
                if effect.activity_id < number and not subscription.debounce:
                    self.found("order", _story(subscription, item, effects))
                    return
                number = max(number, effect.activity_id)
            if effect.version is not None and effect.version < newest:
                self.found(
                    "order", f"back to v{effect.version}: {_story(subscription, item, effects)}"
                )
                return
            newest = max(newest, effect.version or 0)

    def _check_never(
        self,
        subscription: Followed,
        item: Item,
        effects: Sequence[Effect],
        states: set[tuple[Item, int, str]],
    ) -> None:
        rows = {row.number: row for row in self._truth.by_item[item]}
        for effect in effects:
            has_state = effect.action != "delete" and effect.version is not None
            if has_state and (item, effect.version, effect.status) not in states:
                self.found("never", f"v{effect.version}: {_story(subscription, item, effects)}")
                return
            is_wrong = has_state and not effect.left_filter
            if is_wrong and subscription.status not in {None, effect.status}:
                self.found("never", f"outside of the filter: {_story(subscription, item, effects)}")
                return
            if effect.activity_id is not None and effect.activity_id not in rows:
                self.found("never", f"of no row: {_story(subscription, item, effects)}")
                return

    def _check_states(
        self, subscription: Followed, by_item: dict[tuple[str, Item], list[Effect]]
    ) -> None:
        begun = self._begun.get(subscription.name)
        if begun is None:
            return
        for item, rows in self._truth.by_item.items():
            if item[0] != subscription.collection:
                continue
            effects = by_item.get((subscription.name, item), [])
            if not self._is_owed_to(subscription, max(rows, key=lambda row: row.number)):
                continue
            state = self._truth.state(item)
            if state and (item, state["version"], state["status"]) in self._truth.unlogged:
                continue  # such a change is delivered at most once
            is_inside = state is not None and subscription.status in {None, state["status"]}
            last = effects[-1] if effects else None
            says = None if last is None or last.action == "delete" or last.left_filter else last
            if is_inside and state is not None:
                if says is None or says.version != state["version"]:
                    words = f"Directus has v{state['version']}: "
                    self.found("state", words + _story(subscription, item, effects))
            elif says is not None:
                self.found("state", f"Directus has none: {_story(subscription, item, effects)}")

    def _check_silence(self) -> None:
        """Check that rows which were pruned before they were read are in an announced gap."""
        numbers = [row.number for row in self._truth.rows if row.pruned_at is not None]
        stored = _stored(self._query, "directus_realtime_inboxevent", numbers)
        announced = {
            name
            for _, _, gap in self._book.gaps
            if not gap["recovered"]
            for name in gap["collections"]
        }
        for each in SUBSCRIPTIONS:
            begun = self._begun.get(each.name)
            if each.status is not None or begun is None:
                continue
            for row in self._truth.rows:
                is_owed = row.pruned_at is not None and row.item[0] == each.collection
                is_owed = is_owed and row.number > begun.number
                place = each.name, row.number
                is_here = place in stored or place in self._parked or self._may_be_void(row)
                if is_owed and not is_here and each.collection not in announced:
                    self.found("silent", f"{_row(row)} was pruned before it was read")

    def _check_gaps(self) -> None:
        for at, machine, gap in self._book.gaps:
            has_pruned = any(row.pruned_at is not None for row in self._truth.rows)
            if has_pruned:
                continue
            if not gap["recovered"] and not self.excused.issuperset(gap["collections"]):
                names = ", ".join(gap["collections"])
                self.found("gap", f"{machine} announced a gap of {names} at {at:.2f} s")


def _not_void(rows: Sequence[Logged]) -> Sequence[Logged]:
    """Rows of an item, in the order of ids, without those that later ones make void."""
    last_delete = max((n for n, row in enumerate(rows) if row.action == "delete"), default=-1)
    if last_delete < len(rows) - 1:
        return rows[last_delete + 1 :]
    return rows[last_delete:]


def _moment(text: str) -> Any:
    from datetime import UTC, datetime

    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _stored(query: Query, table: str, numbers: Sequence[int]) -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for start in range(0, len(numbers), 500):
        some = numbers[start : start + 500]
        marks = ", ".join("?" * len(some))
        sql = f"SELECT subscription, activity_id FROM {table} WHERE activity_id IN ({marks})"
        found |= {(_plain(name), number) for name, number in query(sql, some)}
    return found


def _unread(query: Query) -> dict[str, list[tuple[int, int | None]]]:
    rows = query("SELECT name, unread FROM directus_realtime_directussubscription")
    return {
        _plain(name): [(first, last) for first, last in json.loads(text)] for name, text in rows
    }


def _is_in(ranges: Iterable[tuple[int, int | None]], number: int) -> bool:
    return any(first <= number and (last is None or number <= last) for first, last in ranges)


def _effects(query: Query) -> list[Effect]:
    rows = query(
        "SELECT event_id, receiver, subscription, collection, item, action, version, status,"
        " left_filter, origin, activity_id, machine, at FROM simulation_effect ORDER BY id"
    )
    return [
        Effect(
            row[0],
            row[1],
            _plain(row[2]),
            (row[3], row[4]),
            row[5],
            row[6],
            row[7],
            bool(row[8]),
            *row[9:],
        )
        for row in rows
    ]


def _plain(name: str) -> str:
    """Return the first name of a subscription."""
    return name.rstrip(RENAMED)


def _row(row: Logged) -> str:
    state = f" v{row.version}" if row.version else ""
    return f"row {row.number} ({row.action} {row.item[0]} {row.item[1]}{state})"


def _story(subscription: Followed, item: Item, effects: Sequence[Effect]) -> str:
    got = "; ".join(str(effect) for effect in effects[-8:])
    return f"{subscription.name}, {item[0]} {item[1]} got [{got}]"
