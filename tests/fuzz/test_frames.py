from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from directus_realtime.client.keys import PrimaryKey
from directus_realtime.protocol import messages
from directus_realtime.protocol.session import Ignored
from directus_realtime.utils.redaction import excerpt
from tests.fuzz.frames import (
    FRAGMENTS,
    PLACE,
    PRIMARY_KEYS,
    REAL_MESSAGES,
    SESSION_STATES,
    Watcher,
    check_decode,
    check_receive,
    paths,
    put,
    remove,
    session_in,
    to_text,
)
from tests.fuzz.profile import examples

NAMES = ["type", "event", "status", "uid", "data", "error", "code", "message", "id", ""]
WORDS = [
    *("subscription", "subscribe", "auth", "server", "ping", "pong", "items"),
    *("init", "unsubscribe", "create", "update", "delete", "error", "ok"),
    *("u.create", "u.update", "u.delete", "REQUESTS_EXCEEDED", "INVALID_PAYLOAD", PLACE),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(WORDS)
)
json_values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=12,
)
fragments = st.sampled_from(FRAGMENTS)


@st.composite
def mutated_messages(draw: st.DrawFn) -> str:
    """The text of a real message with values changed and taken out."""
    message = json.loads(json.dumps(draw(st.sampled_from(REAL_MESSAGES))))
    inserted = []
    for what in draw(st.lists(st.sampled_from(["remove", "value", "fragment"]), max_size=3)):
        if not (places := paths(message)):
            break
        path = draw(st.sampled_from(places))
        if what == "remove":
            remove(message, path)
        elif what == "value":
            put(message, path, draw(json_values))
        else:
            put(message, path, PLACE)
            inserted.append(draw(fragments))
    return to_text(message, inserted)


@st.composite
def scratched_texts(draw: st.DrawFn) -> str:
    """The text of a message, with some characters changed, lost or put in."""
    text = draw(mutated_messages())
    start = draw(st.integers(0, len(text)))
    end = draw(st.integers(start, min(len(text), start + 10)) | st.just(len(text)))
    return text[:start] + draw(st.text(max_size=3)) + text[end:]


rate_limits = st.builds(
    lambda digits: json.dumps(
        {
            "type": "server",
            "status": "error",
            "error": {"code": "REQUESTS_EXCEEDED", "message": f"retry after {digits}ms"},
        }
    ),
    st.integers(0, 10**6) | st.builds(lambda count: "9" * count, st.integers(1, 5000)),
)
unknown_types = st.builds(
    lambda *words: json.dumps({"type": "".join(words)}), st.text(max_size=9), st.sampled_from("\n ")
)
texts = (
    unknown_types
    | mutated_messages()
    | rate_limits
    | scratched_texts()
    | st.builds(json.dumps, json_values)
)
encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
encoded = st.builds(lambda text, name: text.encode(name, "replace"), texts, encodings)
frames = texts | encoded | st.text() | st.binary()
primary_keys = st.sampled_from(PRIMARY_KEYS)


@st.composite
def changes(draw: st.DrawFn) -> str:
    """The text of a change message with all kinds of items and keys."""
    entries = draw(st.lists(st.sampled_from(["key", "row", "other"]), max_size=4))
    data: list[Any] = []
    inserted: list[str] = []
    for what in entries:
        if draw(st.integers(0, 3)) == 0:
            key = PLACE
            inserted.append(draw(fragments))
        else:
            key = draw(scalars)
        data.append(draw(json_values) if what == "other" else {"id": key} if what == "row" else key)
    content = data[0] if len(data) == 1 and draw(st.booleans()) else data
    action = draw(st.sampled_from(messages.ACTIONS))
    return to_text({"type": "subscription", "event": action, "data": content}, inserted)


@examples(400)
@given(frames)
def test_a_frame_is_a_message_or_a_bad_frame_in_one_short_line(frame: str | bytes) -> None:
    check_decode(frame)


@examples(400)
@given(st.sampled_from(SESSION_STATES), st.lists(frames, min_size=1, max_size=4))
def test_no_frame_upsets_a_session_in_any_state(state: str, received: list[str | bytes]) -> None:
    session = session_in(state)
    for now, frame in enumerate(received):
        check_receive(session, frame, now)
        session.tick(session.next_deadline())
        session.take_frames()
        session.take_actions()


@examples(400)
@given(
    primary_keys,
    st.none() | st.integers() | st.text(max_size=3),
    st.lists(changes(), min_size=1, max_size=3),
)
def test_changes_become_events_with_a_key_or_reported_errors(
    primary_key: PrimaryKey | None, item: int | str | None, received: list[str]
) -> None:
    watcher = Watcher(primary_key, item)
    for frame in received:
        message = check_decode(frame)
        if isinstance(message, messages.Changed):
            watcher.check(message)


# Secrets

SECRET = "s3cretV4lue"
secret_names = st.sampled_from(
    ["access_token", "refresh_token", "token", "password", "secret", "otp", "Token", "PASSWORD"]
)
secret_values = st.builds(
    lambda before, after: before + SECRET + after, st.text(max_size=5), st.text(max_size=5)
)
urls = st.builds("/?{}={}".format, secret_names, st.just(SECRET + "&y=2"))


@st.composite
def messages_with_secrets(draw: st.DrawFn) -> Any:
    """A message with a password or a token somewhere, as JSON has it."""
    message = json.loads(json.dumps(draw(st.sampled_from(REAL_MESSAGES) | st.just({"id": 1}))))
    if draw(st.booleans()):
        message.pop("type", None)
    elif draw(st.booleans()):
        message["type"] = draw(urls)
    secret = draw(st.dictionaries(secret_names, secret_values, min_size=1) | urls)
    if isinstance(secret, dict) and draw(st.booleans()):
        return {**message, **secret}
    places = paths(message)
    put(message, draw(st.sampled_from(places)) if places else ("x",), secret)
    return message


@st.composite
def frames_with_secrets(draw: st.DrawFn) -> str | bytes:
    """Such a message as a frame, which may be cut."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    message = draw(messages_with_secrets())
    text = json.dumps(message, separators=separators, ensure_ascii=draw(st.booleans()))
    text = draw(st.text(max_size=3) | st.just("{" * 1000)) + text
    text = text[: draw(st.integers(0, len(text)) | st.just(len(text)))]
    return text.encode() if draw(st.booleans()) else text


@examples(400)
@given(frames_with_secrets())
def test_an_excerpt_of_a_frame_holds_no_secret(frame: str | bytes) -> None:
    assert SECRET not in excerpt(frame)


@examples(300)
@given(st.sampled_from(SESSION_STATES), frames_with_secrets())
def test_a_frame_that_a_session_ignores_is_told_of_without_secrets(
    state: str, frame: str | bytes
) -> None:
    for action in check_receive(session_in(state), frame, 0):
        if isinstance(action, Ignored):
            assert SECRET not in str(action.error)


@examples(300)
@given(
    primary_keys,
    st.dictionaries(secret_names, secret_values, min_size=1),
    st.dictionaries(st.text(max_size=5), scalars, max_size=2),
)
def test_an_item_without_a_key_is_told_of_without_secrets(
    primary_key: PrimaryKey | None, secrets: dict[str, str], rest: dict[str, Any]
) -> None:
    watcher = Watcher(primary_key)
    row = {**rest, **secrets}
    watcher.check(messages.Changed("u.update", "update", [row]))
    for error in watcher.errors:
        assert SECRET not in str(error)
