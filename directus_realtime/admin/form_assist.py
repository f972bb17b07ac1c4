"""Assistance for the form of a subscription: schema, operators and a trial read from Directus."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any, TypeVar

from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from directus_realtime.client import DirectusClient
from directus_realtime.client.items import Sample
from directus_realtime.exceptions import DirectusRealtimeError, RequestRefused, SubscriptionRefused
from directus_realtime.protocol.queries import Query
from directus_realtime.settings import ConnectionSettings, connection_settings
from directus_realtime.utils.redaction import redact, storable

_EQUAL = ("_eq", "_neq")
_EMPTY = ("_empty", "_nempty")
_NULL = ("_null", "_nnull")
_LISTS = ("_in", "_nin")
_ORDER = ("_gt", "_gte", "_lt", "_lte", "_between", "_nbetween")
_TEXT = (
    *("_contains", "_ncontains", "_icontains", "_nicontains"),
    *("_starts_with", "_nstarts_with", "_istarts_with", "_nistarts_with"),
    *("_ends_with", "_nends_with", "_iends_with", "_niends_with"),
)

_OF_TEXT = (*_EQUAL, *_TEXT, *_LISTS, *_EMPTY, *_NULL)
_OF_NUMBERS = (*_EQUAL, *_ORDER, *_LISTS, *_NULL)

#: Operators by type of field, the most used first; "" is for a type that is not known.
OPERATORS_BY_TYPE = {
    "": (*_EQUAL, *_ORDER, *_TEXT, *_LISTS, *_EMPTY, *_NULL),
    "string": _OF_TEXT,
    "text": _OF_TEXT,
    "integer": _OF_NUMBERS,
    "bigInteger": _OF_NUMBERS,
    "float": _OF_NUMBERS,
    "decimal": _OF_NUMBERS,
    "date": _OF_NUMBERS,
    "time": _OF_NUMBERS,
    "dateTime": _OF_NUMBERS,
    "timestamp": _OF_NUMBERS,
    "boolean": (*_EQUAL, *_NULL),
    "uuid": (*_EQUAL, *_LISTS, *_NULL),
    "hash": (*_EMPTY, *_NULL),
    "json": _NULL,
    "csv": ("_contains", "_ncontains", *_EMPTY, *_NULL),
    "alias": _NULL,
}


def operator_names() -> dict[str, str]:
    """What each operator is called, in the language of now."""
    return {
        "_eq": _("is"),
        "_neq": _("is not"),
        "_gt": _("is greater than"),
        "_gte": _("is at least"),
        "_lt": _("is less than"),
        "_lte": _("is at most"),
        "_between": _("is between"),
        "_nbetween": _("is not between"),
        "_contains": _("contains"),
        "_ncontains": _("does not contain"),
        "_icontains": _("contains (any case)"),
        "_nicontains": _("does not contain (any case)"),
        "_starts_with": _("begins with"),
        "_nstarts_with": _("does not begin with"),
        "_istarts_with": _("begins with (any case)"),
        "_nistarts_with": _("does not begin with (any case)"),
        "_ends_with": _("ends with"),
        "_nends_with": _("does not end with"),
        "_iends_with": _("ends with (any case)"),
        "_niends_with": _("does not end with (any case)"),
        "_in": _("is one of"),
        "_nin": _("is none of"),
        "_empty": _("is empty"),
        "_nempty": _("is not empty"),
        "_null": _("has no value"),
        "_nnull": _("has a value"),
    }


logger = logging.getLogger("directus_realtime.admin")

T = TypeVar("T")

#: Seconds in which Directus must answer.
TIMEOUT = 6.0
#: Seconds for which a schema is kept; the button reads it anew.
CACHED = 600
#: Items that a try shows.
SAMPLE_SIZE = 10


class NoAnswer(Exception):
    """Directus did not answer the question; the sentence says why.

    Attributes:
        is_refusal: Whether it is the answer of Directus, in its own words.
    """

    is_refusal = False


class DirectusRefusal(NoAnswer):
    """Directus refuses what is asked for."""

    is_refusal = True


def schema_of(alias: str, *, anew: bool = False) -> dict[str, Any]:
    """The collections of a connection with their fields, as JSON has them.

    Args:
        alias: Of the connection.
        anew: Do not take it from the cache.

    Raises:
        NoAnswer: Directus could not be asked.
    """
    settings = _settings(alias)
    place = hashlib.sha256(f"{alias} {settings.url}".encode()).hexdigest()
    key = f"directus_realtime.schema.{place[:32]}"
    known: dict[str, Any] | None = None if anew else cache.get(key)
    if known is None:
        known = asdict(_ask(settings, lambda client: client.read_schema()))
        cache.set(key, known, CACHED)
    return known


def sample_of(alias: str, query: Query) -> Sample:
    """The items that match a query now.

    Raises:
        NoAnswer: Directus refused, in its own words, or could not be asked.
    """
    return _ask(_settings(alias), lambda client: client.read_sample(query, SAMPLE_SIZE))


def _settings(alias: str) -> ConnectionSettings:
    try:
        return connection_settings(alias)
    except ImproperlyConfigured as error:
        raise NoAnswer(str(error)) from None


def _ask(settings: ConnectionSettings, question: Callable[[DirectusClient], Awaitable[T]]) -> T:
    async def ask() -> T:
        client = settings.make_client()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await question(client)
        finally:
            await client.disconnect()

    try:
        return async_to_sync(ask)()
    except TimeoutError:
        text = _("%(url)s did not answer within %(seconds)d seconds.")
        raise NoAnswer(text % {"url": settings.url, "seconds": TIMEOUT}) from None
    except (RequestRefused, SubscriptionRefused) as error:
        raise DirectusRefusal(redact(str(error))) from None
    except (DirectusRealtimeError, ImproperlyConfigured) as error:
        raise NoAnswer(redact(str(error))) from None
    except (OSError, ValueError) as error:
        # A token that does not fit into a header, say: the error itself may quote it.
        logger.warning(
            "%s could not be asked: %s",
            settings.alias,
            type(error).__name__,
            extra={
                "event": "ask-failed",
                "connection": settings.alias,
                "error": type(error).__name__,
            },
        )
        text = _("%(url)s could not be asked (%(error)s). Check the settings of the connection.")
        values = {"url": settings.url, "error": type(error).__name__}
        raise NoAnswer(text % values) from None


#: Fields of the form that a try depends on.
_TRIED = ("connection", "collection", "on_create", "filter", "fields", "item")
#: Characters of a value that a try shows.
_SHOWN = 200


def page_data(urls: dict[str, str]) -> dict[str, Any]:
    """What the script of the form needs.

    Args:
        urls: Of the views that it asks, by name.
    """
    return {
        "urls": urls,
        "operators": OPERATORS_BY_TYPE,
        "operatorNames": operator_names(),
        "texts": _texts(),
    }


def schema_answer(alias: str, *, anew: bool) -> dict[str, Any]:
    """The collections of a connection, or the sentence that says why there are none."""
    try:
        schema = schema_of(alias, anew=anew)
    except NoAnswer as error:
        text = _("The collections could not be read: %(reason)s You can type the names.")
        return {"error": text % {"reason": _sentence(str(error))}}
    count = len(schema["collections"])
    note = ngettext("%(count)d collection", "%(count)d collections", count) % {"count": count}
    if not schema["is_complete"]:
        note += " – " + _(
            "without types and relations: the token may not read directus_collections, "
            "directus_fields and directus_relations"
        )
    return {"collections": schema["collections"], "note": note}


def try_answer(form: Any) -> dict[str, Any]:
    """The items that a filled-in form matches now, or what is wrong."""
    form.full_clean()
    mistakes = [
        f"{form.fields[name].label}: {message}"
        for name in _TRIED
        for message in form.errors.get(name, ())
    ]
    if mistakes:
        return {"error": " ".join(mistakes)}
    row = form.instance
    try:
        sample = sample_of(row.connection, row.to_query())
    except NoAnswer as error:
        return {"error": str(error), "isRefusal": error.is_refusal}
    columns = _columns(sample.key, sample.items)
    return {
        "summary": _summary(sample.total, len(sample.items)),
        "columns": columns,
        "items": [[_cell(item, name) for name in columns] for item in sample.items],
    }


def _summary(total: int, shown: int) -> str:
    text = ngettext("%(count)d item matches now.", "%(count)d items match now.", total) % {
        "count": total
    }
    if shown < total:
        text += " " + _("The newest %(count)d:") % {"count": shown}
    return text


def _columns(key: str, items: list[dict[str, Any]]) -> list[str]:
    names = dict.fromkeys([key, *(name for item in items for name in item)])
    return [name for name in names if any(name in item for item in items)]


def _cell(item: dict[str, Any], name: str) -> dict[str, str]:
    """A value as short ``text``, or a ``note`` on why there is nothing to see.

    The script puts both in as text, never as HTML.
    """
    value = item.get(name)
    if value is None:
        return {"note": _("no value")}
    if value == "":
        return {"note": _("empty text")}
    return {"text": _shown(value)}


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = storable(text)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _texts() -> dict[str, str]:
    return {
        "reading": _("Reading the collections…"),
        "readAgain": _("Read again from Directus"),
        "failed": _("The site did not answer. Try again."),
        "more": _("More: type to narrow them down"),
        "noMatches": _("Nothing of that name is known; it is taken as typed."),
        "asJson": _("Edit as JSON"),
        "asList": _("Edit as a list"),
        "asRows": _("Edit by rows"),
        "noList": _("This is not a list of names. Correct it to edit it as a list."),
        "noRows": _("Rows cannot show this filter: it is no valid JSON, or it has groups inside."),
        "addField": _("Add a field"),
        "add": _("Add"),
        "remove": _("Remove %s"),
        "allFields": _("All fields of the item itself"),
        "allOf": _("Items that meet all of these conditions"),
        "anyOf": _("Items that meet any of these conditions"),
        "allItems": _("All items"),
        "addCondition": _("Add a condition"),
        "condition": _("Condition %s"),
        "field": _("Field"),
        "noField": _("A condition has no field. Choose one, or remove the condition."),
        "noValue": _(
            "This condition has no value. To ask for items without one, choose the operator "
            "“is empty” or “has no value”."
        ),
        "operator": _("Operator"),
        "value": _("Value"),
        "from": _("From"),
        "to": _("To"),
        "values": _("Values, with commas between"),
        "yes": _("yes"),
        "no": _("no"),
        "key": _("primary key"),
        "try": _("Try it"),
        "tryHelp": _("Shows the items that match now. Nothing is saved."),
        "trying": _("Asking Directus…"),
        "refused": _("Directus refuses:"),
    }
