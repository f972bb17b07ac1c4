from __future__ import annotations

from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from directus_realtime.testing import FakeDirectus
from tests.unit.testing.conftest import Client, Open

HANDSHAKE_FAILED = {
    "type": "auth",
    "status": "error",
    "error": {"code": "AUTH_FAILED", "message": "Authentication handshake failed."},
}
NO_ACCESS = {
    "type": "subscribe",
    "status": "error",
    "error": {"code": "FORBIDDEN", "message": "You don't have permission to access this."},
}


def error_of(message: Any) -> tuple[str, str]:
    assert message["status"] == "error"
    assert "uid" not in message
    return message["type"], message["error"]["code"]


class TestAuthentication:
    @pytest.mark.parametrize("uid", ["u1", 7])
    async def test_uid_comes_back(self, open_socket: Open, uid: Any) -> None:
        client = await open_socket(None)
        answer = await client.ask({"type": "auth", "access_token": "admin", "uid": uid})
        assert answer == {"type": "auth", "status": "ok", "uid": uid}

    @pytest.mark.parametrize(
        "message",
        [
            "no json",
            [],
            {"type": "ping"},
            {"type": "auth"},
            {"type": "auth", "access_token": ""},
            {"type": "auth", "access_token": "wrong", "uid": "u"},
            {"type": "auth", "access_token": "admin", "uid": None},
            {"type": "auth", "email": "editor@example.com", "password": "wrong"},
            {"type": "auth", "refresh_token": "wrong"},
            {"type": "subscribe", "collection": "articles"},
        ],
    )
    async def test_anything_else_is_refused(self, open_socket: Open, message: Any) -> None:
        client = await open_socket(None)
        assert await client.ask(message) == HANDSHAKE_FAILED
        assert await client.close_code() == 1005

    @pytest.mark.parametrize("options", [{"auth_timeout": 0.05}])
    async def test_silence_is_refused(self, open_socket: Open) -> None:
        client = await open_socket(None)
        assert await client.receive() == HANDSHAKE_FAILED
        assert await client.close_code() == 1005

    async def test_password_then_refresh_token(self, open_socket: Open) -> None:
        login = {"type": "auth", "email": "editor@example.com", "password": "secret"}
        first = await (await open_socket(None)).ask(login)
        assert set(first) == {"type", "status", "refresh_token"}
        again = {"type": "auth", "refresh_token": first["refresh_token"]}
        second = await (await open_socket(None)).ask(again)
        assert second["refresh_token"] != first["refresh_token"]
        assert await (await open_socket(None)).ask(again) == HANDSHAKE_FAILED

    async def test_second_auth_keeps_subscriptions(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        await client.subscribe(event="create", uid="s")
        again = {"type": "auth", "access_token": "admin", "uid": "again"}
        assert await client.ask(again) == {"type": "auth", "status": "ok", "uid": "again"}
        assert fake.subscriptions == [("articles", "create", "s")]

    async def test_bad_second_auth_closes(self, client: Client) -> None:
        answer = await client.ask({"type": "auth", "access_token": "wrong", "uid": "re"})
        assert answer["error"] == {"code": "AUTH_FAILED", "message": "Authentication failed."}
        assert answer["uid"] == "re"
        assert await client.close_code() == 1005

    async def test_malformed_second_auth_gets_no_answer(self, client: Client) -> None:
        await client.send({"type": "auth"})
        assert await client.until_pong() == []

    async def test_token_in_the_address(self, open_socket: Open) -> None:
        client = await open_socket(None, "?access_token=admin")
        assert await client.until_pong() == []
        with pytest.raises(InvalidStatus) as caught:
            await open_socket(None, "?access_token=wrong")
        assert caught.value.response.status_code == 401

    @pytest.mark.parametrize("options", [{"auth_mode": "strict"}])
    async def test_strict(self, open_socket: Open) -> None:
        with pytest.raises(InvalidStatus) as caught:
            await open_socket(None)
        assert caught.value.response.status_code == 401
        assert await (await open_socket(None, "?access_token=admin")).until_pong() == []

    @pytest.mark.parametrize("options", [{"auth_mode": "public"}])
    async def test_public(self, open_socket: Open) -> None:
        client = await open_socket(None)
        assert error_of(await client.subscribe(uid="s")) == ("subscribe", "FORBIDDEN")
        refused = await client.ask({"type": "auth", "access_token": "wrong", "uid": 1})
        assert (refused["error"]["code"], refused["uid"]) == ("AUTH_FAILED", 1)
        assert await client.until_pong() == []


class TestExpiry:
    @pytest.mark.parametrize("options", [{"access_token_ttl": 0.1, "auth_timeout": 0.1}])
    async def test_nothing_done_about_it(self, open_socket: Open) -> None:
        client = await open_socket(None)
        await client.ask({"type": "auth", "email": "editor@example.com", "password": "secret"})
        expired = await client.receive()
        assert expired["error"] == {"code": "TOKEN_EXPIRED", "message": "Token expired."}
        late = await client.receive()
        assert late["error"] == {
            "code": "AUTH_TIMEOUT",
            "message": "Authentication timed out.",
        }
        assert await client.close_code() == 1005

    async def test_new_token_in_time(self, client: Client, fake: FakeDirectus) -> None:
        await client.subscribe(event="create", uid="s", query={"fields": ["title"]})
        await fake.expire_tokens()
        assert (await client.receive())["error"]["code"] == "TOKEN_EXPIRED"
        await client.ask({"type": "auth", "access_token": "admin"})
        await fake.create("articles", {"title": "x"})
        assert (await client.receive())["data"] == [{"title": "x"}]


class TestKeepalive:
    @pytest.mark.parametrize("uid", ["p", 3])
    async def test_ping_with_uid(self, client: Client, uid: Any) -> None:
        assert await client.ask({"type": "ping", "uid": uid}) == {"type": "pong", "uid": uid}

    async def test_ping_without_uid(self, client: Client) -> None:
        assert await client.ask({"type": "ping"}) == {"type": "pong"}

    async def test_protocol_ping_is_never_answered(self, client: Client) -> None:
        pong = await client.socket.ping()
        # The answer to this later message would come after the pong.
        await client.until_pong()
        assert not pong.done()

    @pytest.mark.parametrize("options", [{"heartbeat_period": 0.1}])
    async def test_silent_client_is_closed(self, open_socket: Open, client: Client) -> None:
        lively = await open_socket()
        assert await client.receive() == {"type": "ping"}
        for _ in range(3):
            assert await lively.receive() == {"type": "ping"}
            await lively.send({"type": "anything"})
        assert await client.close_code() == 1005


class TestBadMessages:
    @pytest.mark.parametrize(
        ("message", "text"),
        [
            ("no json", "Unable to parse the incoming message."),
            ("[]", "Validation error: Invalid input: expected object, received array"),
            ("null", "Validation error: Invalid input: expected object, received null"),
            (
                "{}",
                'Validation error: Invalid input: expected string, received undefined at "type"',
            ),
            (
                {"type": "ping", "uid": None},
                'Validation error: Invalid input: expected string, received null at "uid" or '
                'Invalid input: expected number, received null at "uid"',
            ),
        ],
    )
    async def test_wrong_shape(self, client: Client, message: Any, text: str) -> None:
        answer = await client.ask(message)
        assert error_of(answer) == ("server", "INVALID_PAYLOAD")
        assert answer["error"]["message"] == text

    async def test_unknown_type_gets_no_answer(self, client: Client) -> None:
        await client.send({"type": "xyz"})
        assert await client.until_pong() == []

    async def test_binary_json_is_read(self, client: Client) -> None:
        assert await client.ask(b'{"type":"ping"}') == {"type": "pong"}


class TestSubscribe:
    async def test_init_with_rows(self, client: Client) -> None:
        query = {"fields": ["id", "author.name"], "sort": ["-id"]}
        assert await client.subscribe(uid="a", query=query) == {
            "type": "subscription",
            "event": "init",
            "data": [{"id": 2, "author": None}, {"id": 1, "author": {"name": "Annie"}}],
            "uid": "a",
        }

    async def test_init_without_rows(self, client: Client) -> None:
        answer = await client.subscribe(uid="a", event="create")
        assert answer == {"type": "subscription", "event": "init", "uid": "a"}

    async def test_uid_becomes_a_string_except_when_unsubscribing(self, client: Client) -> None:
        assert (await client.subscribe(uid=7, query={"limit": 0}))["uid"] == "7"
        assert await client.ask({"type": "unsubscribe", "uid": 7}) == {
            "type": "subscription",
            "event": "unsubscribe",
            "uid": 7,
        }

    async def test_unsubscribe_without_uid_ends_everything(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        await client.subscribe(uid="a")
        await client.subscribe(collection="notes", uid="b")
        await client.ask({"type": "unsubscribe"})
        assert fake.subscriptions == []

    async def test_unsubscribe_unknown_uid(self, client: Client) -> None:
        answer = await client.ask({"type": "unsubscribe", "uid": "nothing"})
        assert answer == {"type": "subscription", "event": "unsubscribe", "uid": "nothing"}

    async def test_uid_used_again_loses_the_old_even_if_refused(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        await client.subscribe(uid="a")
        refused = await client.subscribe(uid="a", query={"fields": ["nothing"]})
        assert error_of(refused) == ("subscribe", "FORBIDDEN")
        assert fake.subscriptions == []

    @pytest.mark.parametrize(
        ("more", "code"),
        [
            ({"collection": 5}, "INVALID_PAYLOAD"),
            ({"event": "bogus"}, "INVALID_PAYLOAD"),
            ({"event": None}, "INVALID_PAYLOAD"),
            ({"query": "s"}, "INVALID_PAYLOAD"),
            ({"item": None}, "INVALID_PAYLOAD"),
            ({"query": {"fields": ["nothing"]}}, "FORBIDDEN"),
            ({"query": {"sort": ["nothing"]}}, "FORBIDDEN"),
            ({"query": {"filter": {"title": {"_bogus": 1}}}}, "INVALID_QUERY"),
            ({"query": {"filter": "{x"}}, "INVALID_QUERY"),
            ({"query": {"fields": 5}}, "INVALID_QUERY"),
            ({"item": 99}, "FORBIDDEN"),
        ],
    )
    async def test_errors_carry_no_uid(
        self, client: Client, more: dict[str, Any], code: str
    ) -> None:
        assert error_of(await client.subscribe(**{"uid": "a", **more})) == ("subscribe", code)

    @pytest.mark.parametrize(
        "more", [{"collection": "nothing"}, {"query": {"fields": [5]}, "event": "create"}]
    )
    async def test_some_get_no_answer(self, client: Client, more: dict[str, Any]) -> None:
        await client.send({"type": "subscribe", "collection": "articles", "uid": "a", **more})
        assert await client.until_pong() == []

    @pytest.mark.parametrize(
        "more",
        [
            {"collection": "nothing"},
            {"query": {"fields": ["nothing"]}},
            {"query": {"filter": {"title": {"_bogus": 1}}}},
            {"item": 99},
        ],
    )
    async def test_nothing_is_checked_with_event(
        self, client: Client, more: dict[str, Any]
    ) -> None:
        answer = await client.subscribe(event="update", uid="a", **more)
        assert answer == {"type": "subscription", "event": "init", "uid": "a"}

    async def test_limited_user(self, open_socket: Open) -> None:
        client = await open_socket("limited")
        allowed = await client.subscribe(query={"fields": ["id"]})
        assert allowed["data"] == [{"id": 2}]
        assert error_of(await client.subscribe("notes", uid="n")) == ("subscribe", "FORBIDDEN")
        unknown = await client.subscribe("nothing", uid="u", event="create")
        assert (unknown["error"]["code"], unknown["uid"]) == ("INVALID_COLLECTION", "u")


class TestEvents:
    async def test_create_one_and_many(
        self, client: Client, fake: FakeDirectus, rest: httpx.AsyncClient
    ) -> None:
        await client.subscribe(uid="a", event="create", query={"fields": ["id", "title"]})
        await fake.create("articles", {"title": "x"})
        await rest.post("/items/articles", json=[{"title": "y"} for _ in range(150)])
        messages = await client.until_pong()
        assert messages[0] == {
            "type": "subscription",
            "event": "create",
            "data": [{"id": 3, "title": "x"}],
            "uid": "a",
        }
        assert [message["data"][0]["id"] for message in messages] == list(range(3, 154))

    async def test_update_of_keys_is_one_message_in_key_order(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        await fake.create("articles", [{"title": "y"} for _ in range(150)])
        await client.subscribe(uid="a", event="update", query={"fields": ["id"]})
        await fake.update("articles", list(range(152, 2, -1)), {"title": "z"})
        [message] = await client.until_pong()
        assert [row["id"] for row in message["data"]] == list(range(3, 153))

    async def test_update_of_a_list_is_a_message_each(
        self, client: Client, rest: httpx.AsyncClient
    ) -> None:
        await client.subscribe(uid="a", event="update", query={"fields": ["id"]})
        await rest.patch("/items/articles", json=[{"id": 2}, {"id": 1}])
        assert [m["data"] for m in await client.until_pong()] == [[{"id": 2}], [{"id": 1}]]

    async def test_delete_keys_are_as_the_caller_wrote_them(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        await client.subscribe(uid="a", event="delete")
        await fake.delete("articles", 1)
        await fake.delete("articles", [2, 99])
        assert [m["data"] for m in await client.until_pong()] == [["1"], [2, 99]]

    async def test_filter(self, client: Client, fake: FakeDirectus) -> None:
        query = {"fields": ["id"], "filter": {"status": {"_eq": "published"}}}
        await client.subscribe(uid="a", query=query)
        await fake.update("articles", 1, {"title": "not matching"})
        await fake.update("articles", 1, {"status": "published"})  # starts to match
        await fake.update("articles", 1, {"status": "draft"})  # stops: no message
        await fake.update("articles", [1, 2], {"title": "one of two"})
        await fake.delete("articles", 1)  # never looked at
        messages = await client.until_pong()
        assert [(m["event"], m["data"]) for m in messages] == [
            ("update", [{"id": 1}]),
            ("update", [{"id": 2}]),
            ("delete", ["1"]),
        ]

    async def test_item_misses_changes_with_number_keys(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        first = await client.subscribe(item=1, uid="i", query={"fields": ["id", "title"]})
        assert first["data"] == {"id": 1, "title": "one"}
        await fake.update("articles", [1], {"title": "missed"})
        await fake.update("articles", 1, {"title": "seen"})
        await fake.delete("articles", [1])
        await fake.delete("articles", 1)
        messages = await client.until_pong()
        assert [(m["event"], m["data"]) for m in messages] == [
            ("update", {"id": 1, "title": "seen"}),
            ("delete", "1"),
        ]

    async def test_item_that_no_longer_matches_is_an_error(
        self, client: Client, fake: FakeDirectus
    ) -> None:
        query = {"filter": {"status": {"_eq": "draft"}}}
        await client.subscribe(item=1, event="update", uid="i", query=query)
        await fake.update("articles", 1, {"status": "published"})
        assert await client.until_pong() == [NO_ACCESS]

    async def test_errors_for_each_event(self, client: Client, fake: FakeDirectus) -> None:
        await client.subscribe(event="update", uid="e", query={"fields": ["nothing"]})
        await fake.update("articles", 1, {"title": "x"})
        await fake.update("articles", 2, {"title": "x"})
        errors = [error_of(message) for message in await client.until_pong()]
        assert errors == [("subscribe", "FORBIDDEN")] * 2

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            ({"limit": 1}, [1]),
            ({"limit": 0}, [1, 2]),
            ({"offset": 1}, [2]),
            ({"page": 2}, None),
            ({"sort": ["-id"]}, [2, 1]),
        ],
    )
    async def test_paging_is_applied_to_each_event(
        self, client: Client, fake: FakeDirectus, query: dict[str, Any], keys: list[int] | None
    ) -> None:
        await client.subscribe(event="update", query={"fields": ["id"], **query})
        await fake.update("articles", [1, 2], {"title": "x"})
        found = [[row["id"] for row in m["data"]] for m in await client.until_pong()]
        assert found == ([keys] if keys else [])

    @pytest.mark.parametrize("options", [{"query_limit_max": 1}])
    @pytest.mark.parametrize(
        ("more", "count"),
        [({}, 2), ({"query": {}}, 1), ({"query": {"limit": -1}}, 1), ({"query": {"limit": 5}}, 2)],
    )
    async def test_query_limit_max_cuts_events(
        self, client: Client, fake: FakeDirectus, more: dict[str, Any], count: int
    ) -> None:
        await client.subscribe(event="update", **more)
        await fake.update("articles", [1, 2], {"title": "x"})
        [message] = await client.until_pong()
        assert len(message["data"]) == count

    async def test_meta_comes_with_every_message(self, client: Client, fake: FakeDirectus) -> None:
        await client.subscribe(event="update", query={"meta": "*"})
        await fake.update("articles", 1, {"title": "x"})
        [message] = await client.until_pong()
        assert message["meta"] == {"total_count": 2, "filter_count": 2}

    async def test_activity(self, client: Client, fake: FakeDirectus) -> None:
        query = {"fields": ["action", "item"]}
        await client.subscribe("directus_activity", event="create", query=query)
        await fake.delete("articles", [1])
        [message] = await client.until_pong()
        assert message["data"] == [{"action": "delete", "item": "1"}]

    async def test_change_without_event_is_logged(self, client: Client, fake: FakeDirectus) -> None:
        await client.subscribe()
        made = await fake.create("articles", {"title": "x"}, emit=False)
        await fake.update("articles", made["id"], {"title": "y"}, emit=False)
        await fake.delete("articles", made["id"], emit=False)
        assert await client.until_pong() == []
        actions = [row["action"] for row in fake.items("directus_activity")]
        assert actions == ["create", "update", "delete"]

    async def test_limited_user_gets_every_delete(
        self, open_socket: Open, fake: FakeDirectus
    ) -> None:
        client = await open_socket("limited")
        note = await fake.create("notes", {"text": "x"})
        await client.subscribe("notes", event="delete")
        await client.subscribe("articles", event="update", query={"fields": ["id"]})
        await fake.update("articles", [1, 2], {"title": "x"})
        await fake.delete("notes", note["id"])
        messages = await client.until_pong()
        assert [message["data"] for message in messages] == [[{"id": 2}], [note["id"]]]


class TestItems:
    async def test_all_actions(self, client: Client, fake: FakeDirectus) -> None:
        async def act(action: str, **more: Any) -> Any:
            message = {"type": "items", "collection": "articles", "uid": "it", "action": action}
            answer = await client.ask({**message, **more})
            assert (answer["type"], answer["uid"]) == ("items", "it")
            return answer["data"]

        query = {"fields": ["id"]}
        assert await act("create", data={"title": "x"}, query=query) == {"id": 3}
        assert await act("read", ids=[3], query=query) == [{"id": 3}]
        assert (await act("update", id=3, data={"title": "y"}))["title"] == "y"
        assert await act("delete", id=3) == 3
        assert len(fake.items("articles")) == 2

    async def test_errors(self, client: Client) -> None:
        bad = {"type": "items", "collection": "articles", "action": "bogus", "uid": 1}
        assert error_of(await client.ask(bad)) == ("items", "INVALID_PAYLOAD")
        unknown = {"type": "items", "collection": "nothing", "action": "read", "uid": 1}
        answer = await client.ask(unknown)
        assert (answer["error"]["code"], answer["uid"]) == ("INVALID_COLLECTION", 1)
