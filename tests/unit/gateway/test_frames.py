from __future__ import annotations

import json

import pytest

from directus_realtime.gateway import frames


@pytest.mark.parametrize("uid", [None, "1", 'a"b', "é", ""])
def test_a_frame_is_the_same_in_two_parts(uid: str | None) -> None:
    message = frames.event("create", [{"id": 1, "title": "é"}], "id", "live")
    text = frames.head(message) + frames.suffix(uid)
    assert json.loads(text) == frames.with_uid(message, uid)


def test_the_size_is_in_bytes() -> None:
    assert frames.Frame("aé").size == 3


def test_half_a_surrogate_pair_can_be_sent() -> None:
    text = frames.encode({"title": "\ud800"})
    assert text.encode() == b'{"title":"\\ud800"}'
