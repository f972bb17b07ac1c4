"""Which of Directus's operators fit which type of field, and what they are called."""

from __future__ import annotations

from django.utils.translation import gettext as _

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
