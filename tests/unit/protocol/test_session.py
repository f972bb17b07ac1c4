from __future__ import annotations

import json
from typing import Any

import pytest

from directus_realtime.protocol.queries import WireSubscription
from directus_realtime.protocol.session import (
    Authenticated,
    AuthenticationFailed,
    Confirmed,
    CredentialsExpired,
    Ignored,
    ItemsChanged,
    PeerSilent,
    Removed,
    Session,
    SessionAction,
    SubscribeRefused,
    SubscriptionError,
)


def wire(uid: str = "s.create") -> WireSubscription:
    return WireSubscription(uid, "articles", "create", {})


def sent(session: Session) -> list[dict[str, Any]]:
    return [json.loads(frame) for frame in session.take_frames()]


def reply(session: Session, now: float = 0.0, **message: Any) -> list[SessionAction]:
    session.receive(json.dumps(message), now)
    return session.take_actions()


def init(session: Session, uid: str, now: float = 0.0) -> list[SessionAction]:
    return reply(session, now, type="subscription", event="init", uid=uid)


def error(
    session: Session, code: str, uid: str | None = None, now: float = 0.0, **more: Any
) -> list[SessionAction]:
    given = {"type": "subscribe", "error": {"code": code, "message": "m"}, **more}
    return reply(session, now, status="error", **given, **({"uid": uid} if uid else {}))


@pytest.fixture
def session() -> Session:
    """Authenticated at time 0, with nothing said yet."""
    return Session(authenticated=True)


@pytest.fixture
def subscribed(session: Session) -> Session:
    session.subscribe(wire(), 0)
    init(session, "s.create")
    session.take_frames()
    return session


# Authentication


def test_authenticates_with_a_message() -> None:
    session = Session()
    session.authenticate({"access_token": "T"}, 0)
    assert sent(session) == [{"type": "auth", "access_token": "T"}]
    assert not session.authenticated
    assert reply(session, type="auth", status="ok") == [Authenticated()]
    assert session.authenticated


def test_frames_and_actions_are_given_once() -> None:
    session = Session()
    session.authenticate({"access_token": "T"}, 0)
    assert len(session.take_frames()) == 1
    assert session.take_frames() == []
    session.receive('{"type":"auth","status":"ok"}', 0)
    assert len(session.take_actions()) == 1
    assert session.take_actions() == []


def test_a_refused_authentication() -> None:
    session = Session()
    session.authenticate({"access_token": "T"}, 0)
    assert error(session, "AUTH_FAILED", type="auth") == [AuthenticationFailed("AUTH_FAILED", "m")]
    assert not session.authenticated


def test_an_authentication_without_an_answer_fails() -> None:
    session = Session(reply_timeout=4)
    session.authenticate({"access_token": "T"}, 1)
    assert session.next_deadline() == 5
    session.tick(4.9)
    assert session.take_actions() == []
    session.tick(5)
    assert session.take_actions() == [
        AuthenticationFailed("NO_REPLY", "Directus did not answer within 4 s.")
    ]


def test_an_answered_authentication_does_not_time_out() -> None:
    session = Session(reply_timeout=4, ping_interval=100)
    session.authenticate({"access_token": "T"}, 0)
    reply(session, type="auth", status="ok")
    session.tick(50)
    assert session.take_actions() == []


def test_nothing_is_subscribed_before_the_authentication() -> None:
    session = Session()
    session.subscribe(wire(), 0)
    session.tick(1)
    assert sent(session) == []
    reply(session, type="auth", status="ok")
    assert [frame["type"] for frame in sent(session)] == ["subscribe"]


# Expiry


def test_after_the_token_expired_nothing_counts_until_authenticated_again(
    subscribed: Session,
) -> None:
    row = {"type": "subscription", "event": "create", "data": [{"id": 1}], "uid": "s.create"}
    assert error(subscribed, "TOKEN_EXPIRED", type="auth") == [CredentialsExpired()]
    assert reply(subscribed, **row) == []
    reply(subscribed, type="auth", status="ok")
    assert reply(subscribed, **row) == [ItemsChanged("s.create", "create", [{"id": 1}])]


def test_a_subscribe_waits_for_the_renewal_of_the_token(subscribed: Session) -> None:
    error(subscribed, "TOKEN_EXPIRED", type="auth")
    subscribed.subscribe(wire("t.create"), 1)
    assert sent(subscribed) == []
    reply(subscribed, type="auth", status="ok")
    assert [frame.get("uid") for frame in sent(subscribed)] == ["t.create"]


def test_what_is_answered_without_a_token_refuses_no_subscription(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.take_frames()
    expired = error(session, "TOKEN_EXPIRED", type="auth")
    assert expired == [CredentialsExpired()]
    assert not any(
        isinstance(each, SubscribeRefused) for each in error(session, "FORBIDDEN", "s.create")
    )
    session.authenticate({"access_token": "t"}, 1)
    reply(session, 1, type="auth", status="ok")
    assert [each["type"] for each in sent(session)] == ["auth", "subscribe"]
    assert init(session, "s.create", 1) == [Confirmed("s.create")]


def test_a_subscribe_ended_when_the_token_expires_is_not_said_again(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.unsubscribe("s.create", 0)
    error(session, "TOKEN_EXPIRED", type="auth")
    session.take_frames()
    reply(session, 1, type="auth", status="ok")
    assert [each["type"] for each in sent(session)] == ["unsubscribe"]


def test_no_renewal_in_time_ends_the_socket(subscribed: Session) -> None:
    error(subscribed, "TOKEN_EXPIRED", type="auth")
    assert error(subscribed, "AUTH_TIMEOUT", type="auth") == [
        AuthenticationFailed("AUTH_TIMEOUT", "m")
    ]


# Subscribing


def test_a_subscription_is_confirmed(session: Session) -> None:
    session.subscribe(wire(), 0)
    assert sent(session) == [wire().message()]
    assert init(session, "s.create") == [Confirmed("s.create")]
    assert session.active == {"s.create"}


def test_one_subscribe_at_a_time(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    session.subscribe(wire("b.create"), 0)
    assert [frame["uid"] for frame in sent(session)] == ["a.create"]
    init(session, "a.create")
    assert [frame["uid"] for frame in sent(session)] == ["b.create"]


def test_an_init_of_somebody_else_confirms_nothing(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    assert init(session, "b.create") == []
    assert session.active == set()


@pytest.mark.parametrize("uid", ["s.create", None])
def test_a_subscribe_of_a_wrong_shape_is_refused(session: Session, uid: str | None) -> None:
    session.subscribe(wire(), 0)
    assert error(session, "INVALID_PAYLOAD", uid) == [
        SubscribeRefused("s.create", "INVALID_PAYLOAD", "m")
    ]


def test_a_refusal_with_the_uid(session: Session) -> None:
    session.subscribe(wire(), 0)
    assert error(session, "FORBIDDEN", "s.create") == [
        SubscribeRefused("s.create", "FORBIDDEN", "m")
    ]
    assert session.active == set()


def test_an_error_without_uid_belongs_to_an_event_of_another(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    init(session, "a.create")
    session.subscribe(wire("b.create"), 0)
    assert error(session, "FORBIDDEN") == [SubscriptionError(None, "FORBIDDEN", "m")]
    assert init(session, "b.create") == [Confirmed("b.create")]


def test_an_error_of_an_event_does_not_refuse_the_subscribe_on_its_way(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    init(session, "a.create")
    session.subscribe(wire("b.create"), 0)
    assert error(session, "FORBIDDEN", "a.create") == [
        SubscriptionError("a.create", "FORBIDDEN", "m")
    ]


def test_after_a_refusal_the_next_is_sent(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    session.subscribe(wire("b.create"), 0)
    session.take_frames()
    error(session, "FORBIDDEN", "a.create")
    assert [frame["uid"] for frame in sent(session)] == ["b.create"]


def test_a_subscribe_without_an_answer_is_refused(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    session.subscribe(wire("b.create"), 0)
    session.take_frames()
    session.tick(10)
    (refused,) = session.take_actions()
    assert isinstance(refused, SubscribeRefused)
    assert (refused.uid, refused.code) == ("a.create", "NO_REPLY")
    assert "within 10 s" in refused.message
    assert "b.create" in [frame.get("uid") for frame in sent(session)]


def test_a_late_answer_of_a_refused_subscribe_confirms_nothing(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.tick(10)
    session.take_actions()
    assert init(session, "s.create", 11) == []


# The rate limit


def test_a_subscribe_over_the_rate_limit_is_sent_again_later(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.take_frames()
    limit = {"code": "REQUESTS_EXCEEDED", "message": "Too many messages, retry after 1960ms."}
    assert reply(session, 1, type="server", status="error", error=limit) == []
    assert session.next_deadline() == pytest.approx(2.96)
    session.tick(2.9)
    assert sent(session) == []
    session.tick(2.97)
    assert [frame["uid"] for frame in sent(session)] == ["s.create"]
    assert init(session, "s.create", 3) == [Confirmed("s.create")]


def test_a_rate_limit_without_a_time_waits_a_second(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.take_frames()
    error(session, "REQUESTS_EXCEEDED", type="server")
    session.tick(0.99)
    assert sent(session) == []
    session.tick(1)
    assert len(sent(session)) == 1


def test_the_order_is_kept_while_the_rate_limit_is_waited_out(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    session.subscribe(wire("b.create"), 0)
    session.take_frames()
    error(session, "REQUESTS_EXCEEDED", type="server")
    session.tick(1)
    assert [frame["uid"] for frame in sent(session)] == ["a.create"]


# Unsubscribing


def test_unsubscribes_by_uid(subscribed: Session) -> None:
    subscribed.unsubscribe("s.create", 0)
    assert sent(subscribed) == [{"type": "unsubscribe", "uid": "s.create"}]
    answer = {"type": "subscription", "event": "unsubscribe", "uid": "s.create"}
    assert reply(subscribed, **answer) == [Removed("s.create")]


def test_nothing_is_let_through_after_an_unsubscribe(subscribed: Session) -> None:
    subscribed.unsubscribe("s.create", 0)
    row = {"type": "subscription", "event": "create", "data": [{"id": 1}], "uid": "s.create"}
    assert reply(subscribed, **row) == []


def test_nothing_is_let_through_when_the_subscribe_was_on_its_way(session: Session) -> None:
    session.subscribe(wire(), 0)
    session.unsubscribe("s.create", 0)
    init(session, "s.create")
    row = {"type": "subscription", "event": "create", "data": [{"id": 1}], "uid": "s.create"}
    assert reply(session, **row) == []
    reply(session, type="subscription", event="unsubscribe", uid="s.create")
    assert session.active == set()


def test_a_subscribe_that_still_waits_is_never_sent(session: Session) -> None:
    session.subscribe(wire("a.create"), 0)
    session.subscribe(wire("b.create"), 0)
    session.unsubscribe("b.create", 0)
    session.take_frames()
    init(session, "a.create")
    assert [frame["type"] for frame in sent(session)] == ["unsubscribe"]


def test_an_unsubscribe_without_an_answer_holds_nobody_up(subscribed: Session) -> None:
    subscribed.unsubscribe("s.create", 0)
    subscribed.subscribe(wire("b.create"), 0)
    subscribed.take_frames()
    subscribed.tick(10)
    assert Removed("s.create") in subscribed.take_actions()
    assert "b.create" in [frame.get("uid") for frame in sent(subscribed)]


# Changes


def test_changes_of_an_active_subscription(subscribed: Session) -> None:
    delete = {"type": "subscription", "event": "delete", "data": ["1", 2], "uid": "s.create"}
    assert reply(subscribed, **delete) == [ItemsChanged("s.create", "delete", ["1", 2])]


@pytest.mark.parametrize("uid", [None, "unknown.create"])
def test_changes_of_nobody_are_left_alone(subscribed: Session, uid: str | None) -> None:
    change: dict[str, Any] = {"type": "subscription", "event": "delete", "data": [1], "uid": uid}
    assert reply(subscribed, **change) == []


def test_a_bad_frame_is_reported_and_disturbs_no_neighbour(subscribed: Session) -> None:
    subscribed.receive("not json", 0)
    row = {"type": "subscription", "event": "create", "data": [{"id": 1}], "uid": "s.create"}
    ignored, changed = reply(subscribed, **row)
    assert isinstance(ignored, Ignored)
    assert str(ignored.error) == "The frame is not JSON: not json"
    assert changed == ItemsChanged("s.create", "create", [{"id": 1}])


def test_a_message_of_an_unknown_type_is_reported(subscribed: Session) -> None:
    (ignored,) = reply(subscribed, type="x" * 500)
    assert isinstance(ignored, Ignored)
    assert len(ignored.error.excerpt) == 50


# Keepalive


def test_answers_the_servers_ping(session: Session) -> None:
    reply(session, type="ping")
    assert sent(session) == [{"type": "pong"}]


def test_pings_by_itself(session: Session) -> None:
    assert session.next_deadline() == 15
    session.tick(14.9)
    assert sent(session) == []
    session.tick(15)
    assert sent(session) == [{"type": "ping", "uid": "ping-1"}]
    reply(session, 15.1, type="pong", uid="ping-1")
    session.tick(30)
    assert sent(session) == [{"type": "ping", "uid": "ping-2"}]


def test_keeps_alive_by_a_message_that_is_answered_without_a_heartbeat() -> None:
    session = Session(authenticated=True, keepalive="unsubscribe")
    session.tick(15)
    assert sent(session) == [{"type": "unsubscribe", "uid": "ping-1"}]
    answer = {"type": "subscription", "event": "unsubscribe", "uid": "ping-1"}
    assert reply(session, 15.1, **answer) == []
    session.tick(29)
    assert session.take_actions() == []
    session.tick(30)
    session.tick(40)
    assert session.take_actions() == [PeerSilent(10.0)]


def test_an_answered_keepalive_answers_no_request() -> None:
    session = Session(authenticated=True, keepalive="unsubscribe")
    session.tick(15)
    session.unsubscribe("s.create", 15)
    session.subscribe(wire("t.create"), 15)
    session.take_frames()
    assert reply(session, 16, type="subscription", event="unsubscribe", uid="ping-1") == []
    assert sent(session) == []
    done = reply(session, 16, type="subscription", event="unsubscribe", uid="s.create")
    assert done == [Removed("s.create")]
    assert [frame["uid"] for frame in sent(session)] == ["t.create"]


def test_does_not_ping_before_the_authentication() -> None:
    session = Session()
    session.tick(15)
    assert sent(session) == []
    assert session.next_deadline() == 30


def test_a_server_that_does_not_answer_a_ping_is_dead(session: Session) -> None:
    session.tick(15)
    assert session.next_deadline() == 25
    session.tick(24.9)
    assert session.take_actions() == []
    session.tick(25)
    assert session.take_actions() == [PeerSilent(10.0)]


def test_a_second_ping_does_not_put_off_the_deadline_of_the_first() -> None:
    session = Session(authenticated=True, ping_interval=6, pong_timeout=10)
    session.tick(6)
    session.tick(12)
    session.tick(16)
    assert session.take_actions() == [PeerSilent(10)]


@pytest.mark.parametrize("frame", ['{"type":"ping"}', '{"type":"pong"}', "rubbish"])
def test_whatever_comes_is_a_sign_of_life(session: Session, frame: str) -> None:
    session.tick(15)
    session.receive(frame, 20)
    session.take_actions()
    session.tick(29)
    assert session.take_actions() == []


def test_times_count_from_the_start_of_the_socket() -> None:
    assert Session(now=1000.0, authenticated=True).next_deadline() == 1015
