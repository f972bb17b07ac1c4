from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from directus_realtime.admin import form_assist
from directus_realtime.admin.form_assist import OPERATORS_BY_TYPE, operator_names
from directus_realtime.client.items import Sample
from directus_realtime.protocol.queries import OPERATORS
from directus_realtime.testing import ThreadedFakeDirectus
from tests.helpers.admin import form, subscription, url, user_who_may
from tests.unit.admin.conftest import TOKEN

pytestmark = pytest.mark.django_db

REACHES_THE_SERVER = ("schema", "try")


def ask(client: Client, view: str, **values: Any) -> Any:
    response = client.post(url("directussubscription", view), form(**values))
    assert response.status_code == 200
    return response.json()


# The schema


def test_the_schema_has_collections_fields_types_and_relations(
    admin_client: Client, fake: ThreadedFakeDirectus
) -> None:
    answer = ask(admin_client, "schema")
    assert list(answer["collections"])[:2] == ["articles", "authors"]
    articles = answer["collections"]["articles"]
    assert articles["id"] | {"choices": []} == {
        "type": "integer",
        "is_key": True,
        "related": "",
        "is_many": False,
        "choices": [],
    }
    assert articles["author"]["related"] == "authors"
    assert "directus_users" in answer["collections"]
    assert answer["note"] == f"{len(answer['collections'])} collections"


def test_the_schema_is_read_once_and_anew_when_asked(
    admin_client: Client, fake: ThreadedFakeDirectus
) -> None:
    def reads() -> int:
        return int(fake.call(lambda fake: fake.requests.count("GET /fields")))

    before = reads()
    ask(admin_client, "schema")
    ask(admin_client, "schema")
    assert reads() == before + 1
    ask(admin_client, "schema", refresh="1")
    assert reads() == before + 2


def test_a_server_that_is_away_is_told_with_the_way_out(admin_client: Client) -> None:
    answer = ask(admin_client, "schema")
    assert answer == {
        "error": "The collections could not be read: Cannot reach http://127.0.0.1:9 "
        "(Connection refused). You can type the names."
    }


def test_a_token_that_is_refused_is_told_and_not_shown(
    admin_client: Client, fake: ThreadedFakeDirectus, settings: Any
) -> None:
    settings.DIRECTUS_REALTIME = {"default": {"URL": fake.url, "TOKEN": TOKEN}}
    answer = ask(admin_client, "schema")
    assert "Invalid user credentials." in answer["error"]
    assert TOKEN not in json.dumps(answer)


@pytest.mark.parametrize("alias", ["nope", ""])
def test_a_connection_that_is_not_configured_is_told(admin_client: Client, alias: str) -> None:
    answer = ask(admin_client, "schema", connection=alias)
    assert f"There is no connection '{alias}' in DIRECTUS_REALTIME." in answer["error"]


# Try


def test_a_try_shows_how_many_match_and_the_last_of_them(
    admin_client: Client, fake: ThreadedFakeDirectus
) -> None:
    condition = '{"status": {"_eq": "draft"}}'
    answer = ask(admin_client, "try", filter=condition, fields='["title", "author.name"]')
    assert answer["summary"] == "20 items match now. The newest 10:"
    assert answer["columns"] == ["id", "title", "author"]
    assert len(answer["items"]) == 10
    assert answer["items"][0] == [
        {"text": "29"},
        {"text": "No. 29"},
        {"text": '{"name": "Ada"}'},
    ]


def test_a_try_tells_no_value_from_an_empty_text_and_from_a_dash(
    admin_client: Client, monkeypatch: Any
) -> None:
    items: list[dict[str, Any]] = [
        {"id": 1, "title": None},
        {"id": 2, "title": ""},
        {"id": 3, "title": "–"},
        {"id": 4, "title": []},
        {"id": 5, "title": False},
        {"id": 6},
    ]
    monkeypatch.setattr(form_assist, "sample_of", lambda alias, query: Sample(6, "id", items))
    answer = ask(admin_client, "try")
    assert [row[1] for row in answer["items"]] == [
        {"note": "no value"},
        {"note": "empty text"},
        {"text": "–"},
        {"text": "[]"},
        {"text": "false"},
        {"note": "no value"},
    ]


def test_a_try_of_one_item(admin_client: Client, fake: ThreadedFakeDirectus) -> None:
    answer = ask(admin_client, "try", item="3")
    assert answer["summary"] == "1 item matches now."
    assert answer["items"][0][answer["columns"].index("title")] == {"text": "No. 3"}


def test_a_try_saves_nothing(admin_client: Client, fake: ThreadedFakeDirectus) -> None:
    ask(admin_client, "try")
    assert not type(subscription()).objects.exclude(name="all").exists()


def test_a_try_gives_the_exact_sentence_of_the_server(
    admin_client: Client, fake: ThreadedFakeDirectus
) -> None:
    answer = ask(admin_client, "try", filter='{"nope": {"_eq": 1}}')
    assert answer["error"].startswith('You don\'t have permission to access field "nope"')
    assert answer["isRefusal"] is True


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"filter": "{"}, "Filter: Enter a valid JSON."),
        ({"filter": '{"a": {"_is": 1}}'}, "Filter: _is is not a Directus filter operator."),
        ({"collection": ""}, "Collection: This field is required."),
        ({"fields": "[1]"}, "Fields: Fields must be a list of names"),
        ({"collection": "../flows/trigger/1"}, "Collection: Write the name of the collection"),
    ],
)
def test_a_try_tells_mistakes_as_saving_does(
    admin_client: Client, values: dict[str, str], sentence: str
) -> None:
    answer = ask(admin_client, "try", **values)
    assert answer["error"].startswith(sentence)
    assert not answer.get("isRefusal")


def test_a_try_needs_no_name_yet(admin_client: Client, fake: ThreadedFakeDirectus) -> None:
    assert "items match now" in ask(admin_client, "try", name="")["summary"]


def test_a_try_of_a_server_that_is_away(admin_client: Client) -> None:
    answer = ask(admin_client, "try")
    assert answer["error"].startswith("Cannot reach http://127.0.0.1:9")
    assert not answer["isRefusal"]  # it has refused nothing


# Who may ask


@pytest.mark.parametrize("name", REACHES_THE_SERVER)
def test_only_who_may_make_subscriptions_may_ask(client: Client, name: str) -> None:
    address = url("directussubscription", name)
    assert client.post(address, form()).status_code == 302
    client.force_login(user_who_may("view_directussubscription"))
    assert client.post(address, form()).status_code == 403


@pytest.mark.parametrize("name", REACHES_THE_SERVER)
def test_who_may_change_subscriptions_may_ask(client: Client, name: str) -> None:
    client.force_login(user_who_may("change_directussubscription"))
    assert client.post(url("directussubscription", name), form()).status_code == 200


@pytest.mark.parametrize("name", REACHES_THE_SERVER)
def test_a_link_asks_nothing(admin_client: Client, name: str) -> None:
    assert admin_client.get(url("directussubscription", name)).status_code == 405


def test_only_who_may_ask_gets_the_guide(client: Client) -> None:
    row = subscription()
    client.force_login(user_who_may("view_directussubscription"))
    page = url("directussubscription", "change", row.pk)
    assert 'id="directus-form"' not in client.get(page).content.decode()


# Operators


def test_every_offered_operator_is_one_of_directus_and_has_a_name() -> None:
    offered = {operator for fitting in OPERATORS_BY_TYPE.values() for operator in fitting}
    assert offered <= OPERATORS
    assert offered == set(operator_names())
