"""What guides people who fill in the form of a subscription: schema, operators, a try."""

from __future__ import annotations

import json
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from directus_realtime.admin.asking import NoAnswer, sample_of, schema_of
from directus_realtime.admin.operators import OPERATORS_BY_TYPE, operator_names
from directus_realtime.protocol.redaction import storable

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
