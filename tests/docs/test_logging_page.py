"""docs/logging.md lists every record, and its recipe makes JSON of them."""

from __future__ import annotations

import ast
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import directus_realtime
from tests.docs.markdown import DOCS, python_blocks

PACKAGE = Path(directus_realtime.__file__).parent
PAGE = (DOCS / "logging.md").read_text(encoding="utf-8")
LEVELS = {"debug": "DEBUG", "info": "INFO", "warning": "WARNING", "error": "ERROR"}
LEVELS["exception"] = "ERROR"
RESERVED = vars(logging.makeLogRecord({})).keys() | {"message", "asctime", "taskName"}


@dataclass(frozen=True)
class Record:
    """A place that logs.

    Attributes:
        place: File and line.
        logger: Name of the logger.
        levels: Every level that it may have.
        extra: The keys of ``extra``.
        events: The values of ``event``; ``{…}`` in them stands for anything.
    """

    place: str
    logger: str
    levels: frozenset[str]
    extra: frozenset[str]
    events: frozenset[str]


def records() -> Iterator[Record]:
    """Every place in the package that logs."""
    for file in sorted(PACKAGE.rglob("*.py")):
        # The fake runs in no production; the logger itself logs what others say.
        if "testing" in file.parts or file.name == "logs.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        loggers = _loggers(tree)
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            found = loggers.get(ast.unparse(node.func.value))
            if found is not None and node.func.attr in METHODS:
                place = f"{file.relative_to(PACKAGE)}:{node.lineno}"
                make = _event_record if found.is_event_logger else _record
                yield make(place, found, node, node.func.attr)


METHODS = {*LEVELS, "log", "critical", "repeated"}


@dataclass(frozen=True)
class Logger:
    """A logger of a module, or one that is bound to fields.

    Attributes:
        name: Name of the logger; ``__name__`` where it is named after its module.
        is_event_logger: Whether it is an ``EventLogger``.
        fields: Fields that are bound to it.
    """

    name: str
    is_event_logger: bool
    fields: frozenset[str] = frozenset()


def _loggers(tree: ast.Module) -> dict[str, Logger]:
    """The loggers of a module, by the expression that stands for each."""
    found: dict[str, Logger] = {}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        call, target = node.value, ast.unparse(node.targets[0])
        called = ast.unparse(call.func)
        keys = frozenset(k.arg for k in call.keywords if k.arg and k.arg != "clock")
        if called == "logging.getLogger":
            found[target] = Logger(_name(call), False)
        elif called == "EventLogger":
            found[target] = Logger(_name(call), True, keys)
        elif called.endswith(".bind") and called.removesuffix(".bind") in found:
            base = found[called.removesuffix(".bind")]
            found[target] = Logger(base.name, True, base.fields | keys)
    return found


def _name(call: ast.Call) -> str:
    argument = call.args[0]
    return str(argument.value) if isinstance(argument, ast.Constant) else "__name__"


def _event_record(place: str, logger: Logger, call: ast.Call, method: str) -> Record:
    event = call.args[1 if method == "repeated" else 0]
    levels = {"WARNING", "DEBUG"} if method == "repeated" else {LEVELS[method]}
    keys = {"event", *logger.fields, *(k.arg for k in call.keywords if k.arg)} - {"exc_info"}
    return Record(
        place, logger.name, frozenset(levels), frozenset(keys), frozenset({_value(event)})
    )


def _record(place: str, logger: Logger, call: ast.Call, method: str) -> Record:
    extra = next((k.value for k in call.keywords if k.arg == "extra"), None)
    assert isinstance(extra, ast.Dict), f"{place} has no extra"
    keys = [ast.literal_eval(key) for key in extra.keys if key]
    event = extra.values[keys.index("event")]
    if method == "log":
        names = [n.attr for n in ast.walk(call.args[0]) if isinstance(n, ast.Attribute)]
        levels = frozenset(names) & set(LEVELS.values())
    else:
        levels = frozenset({LEVELS[method]})
    return Record(place, logger.name, levels, frozenset(keys), frozenset({_value(event)}))


def _value(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
    return str(ast.literal_eval(node))


RECORDS = list(records())


def documented() -> dict[str, tuple[str, set[str], set[str]]]:
    """Logger, levels and keys of each ``event`` in the page's table."""
    found = {}
    for name, logger, levels, keys in re.findall(
        r"^\| `([\w-]+)` \| `\.?([\w.]+)` \| ([A-Z, ]+) \|([^|]*)\|", PAGE, re.M
    ):
        found[name] = (logger, set(levels.split(", ")), set(re.findall(r"`(\w+)`", keys)))
    return found


def in_source() -> dict[str, tuple[str, set[str], set[str]]]:
    found: dict[str, tuple[str, set[str], set[str]]] = {}
    for record in RECORDS:
        for event in record.events:
            names = [event.format(kind) for kind in ("frame", "event", "client")]
            for name in dict.fromkeys(names):
                logger = record.logger.removeprefix("directus_realtime.")
                known = found.get(name, (logger, set(), set()))
                keys = known[2] | (record.extra - {"event"})
                found[name] = (known[0], known[1] | record.levels, keys)
    return found


def test_the_table_is_what_is_logged() -> None:
    assert documented() == in_source()


def test_extra_never_hides_what_a_record_has() -> None:
    assert [(r.place, r.extra & RESERVED) for r in RECORDS if r.extra & RESERVED] == []


def test_nothing_of_a_single_event_is_above_debug_unless_it_came_to_grief() -> None:
    """Records that name an event are about a failure, or below INFO."""
    for record in RECORDS:
        if "event_id" in record.extra and not record.levels & {"WARNING", "ERROR"}:
            assert record.levels == {"DEBUG"}, record.place


def test_every_logger_is_documented() -> None:
    loggers = set(re.findall(r"^\| `(directus_realtime[\w.]*)` \|", PAGE, re.M))
    assert {record.logger for record in RECORDS if record.logger != "__name__"} <= loggers


PROGRAM = """
import logging
import django
django.setup()
logger = logging.getLogger("directus_realtime.listener")
logger.warning("%s  reconnecting", "blog", extra={"event": "reconnecting", "connection": "blog"})
logger.debug("an event")
try:
    raise ValueError("no")
except ValueError:
    logger.exception("failed", extra={"event": "unexpected", "at": object})
"""


def test_the_recipe_makes_json(tmp_path: Path) -> None:
    formatter, setting = (block.code for block in python_blocks("logging.md"))
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "logs.py").write_text(formatter, encoding="utf-8")
    (tmp_path / "shop" / "settings.py").write_text(f"SECRET_KEY = 'x'\n{setting}")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "shop.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    first, second = (json.loads(line) for line in done.stderr.splitlines())
    at = first.pop("time")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", at)
    assert first == {
        "level": "WARNING",
        "logger": "directus_realtime.listener",
        "message": "blog  reconnecting",
        "event": "reconnecting",
        "connection": "blog",
    }
    assert second["event"] == "unexpected"
    assert second["at"] == "<class 'object'>"
    assert "ValueError: no" in second["exception"]
