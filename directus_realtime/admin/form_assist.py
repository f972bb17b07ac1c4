"""Assistance for the form of a subscription: schema, operators and a trial read from Directus."""

from __future__ import annotations

import asyncio
import hashlib
import json
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
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.redaction import redact, storable

logger = EventLogger("directus_realtime.admin")

T = TypeVar("T")

#: Seconds in which Directus must answer.
TIMEOUT = 6.0
#: Seconds for which a schema is cached; a button reads it again.
CACHED = 600
#: Maximum number of items that a trial read shows, and of characters of a value.
SAMPLE_SIZE, _VALUE_LENGTH = 10, 200
#: Fields of the form that a trial read depends on.
_TRIED = ("connection", "collection", "on_create", "filter", "fields", "item")

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

#: Operators by type of field, the most used first; "" is for an unknown type.
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
    """The names of the operators in the active language."""
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


class NoAnswer(Exception):
    """A request to Directus failed; the message says why.

    Attributes:
        is_refusal: Whether the message is that of Directus.
    """

    def __init__(self, message: str, *, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.is_refusal = is_refusal


def schema_of(alias: str, *, refresh: bool = False) -> dict[str, Any]:
    """Return the collections of a connection with their fields, as JSON has them.

    Args:
        alias: Alias of the connection.
        refresh: Ignore the cached schema.

    Raises:
        NoAnswer: The request to Directus failed.
    """
    settings = _settings(alias)
    place = hashlib.sha256(f"{alias} {settings.url}".encode()).hexdigest()
    key = f"directus_realtime.schema.{place[:32]}"
    known: dict[str, Any] | None = None if refresh else cache.get(key)
    if known is None:
        known = asdict(_request(settings, lambda client: client.read_schema()))
        cache.set(key, known, CACHED)
    return known


def sample_of(alias: str, query: Query) -> Sample:
    """Return the items that match a query now.

    Raises:
        NoAnswer: The request to Directus failed.
    """
    return _request(_settings(alias), lambda client: client.read_sample(query, SAMPLE_SIZE))


def _settings(alias: str) -> ConnectionSettings:
    try:
        return connection_settings(alias)
    except ImproperlyConfigured as error:
        raise NoAnswer(str(error)) from None


def _request(settings: ConnectionSettings, read: Callable[[DirectusClient], Awaitable[T]]) -> T:
    async def request() -> T:
        client = settings.make_client()
        try:
            async with asyncio.timeout(TIMEOUT):
                return await read(client)
        finally:
            await client.disconnect()

    try:
        return async_to_sync(request)()
    except TimeoutError:
        text = _("%(url)s did not answer within %(seconds)d seconds.")
        raise NoAnswer(text % {"url": settings.url, "seconds": TIMEOUT}) from None
    except (RequestRefused, SubscriptionRefused) as error:
        raise NoAnswer(redact(str(error)), is_refusal=True) from None
    except (DirectusRealtimeError, ImproperlyConfigured) as error:
        raise NoAnswer(redact(str(error))) from None
    except (OSError, ValueError) as error:
        # For example a token that does not fit into a header; the error itself may quote it.
        name = type(error).__name__
        logger.warning(
            "ask-failed",
            "%s could not be asked: %s",
            *(settings.alias, name),
            connection=settings.alias,
            error=name,
        )
        text = _("%(url)s could not be asked (%(error)s). Check the settings of the connection.")
        raise NoAnswer(text % {"url": settings.url, "error": name}) from None


def page_data(urls: dict[str, str]) -> dict[str, Any]:
    """Return the data of the form's script.

    Args:
        urls: Addresses of the views that it uses, by name.
    """
    return {
        "urls": urls,
        "operators": OPERATORS_BY_TYPE,
        "operatorNames": operator_names(),
        "texts": _texts(),
    }


def schema_answer(alias: str, *, refresh: bool) -> dict[str, Any]:
    """Return the collections of a connection, or the error as a sentence."""
    try:
        schema = schema_of(alias, refresh=refresh)
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
    """Return the items that a filled-in form matches now, or the error."""
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
    """A value as short ``text``, or a ``note`` for an empty one; the script escapes both."""
    value = item.get(name)
    if value is None:
        return {"note": _("no value")}
    if value == "":
        return {"note": _("empty text")}
    text = storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    return {"text": text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}…"}


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
