"""A server as far as its WebSocket tells: what it was asked, what it holds, what it answers."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

#: How a server may take a request.
GOOD = "good"
REFUSE = "refuse"
REFUSE_WITHOUT_UID = "refuse without uid"
SILENCE = "silence"
WAYS = (GOOD, REFUSE, REFUSE_WITHOUT_UID, SILENCE)

#: Milliseconds of a rate limiter, as text; the last ones are no sane server's.
WAITS = ("0", "1", "1960", "60000", "soon", "9" * 12, "9" * 400, "9" * 5000)

Message = dict[str, Any]


class ModelServer:
    """One socket of a Directus, which takes requests in order but when and how it is told.

    Attributes:
        authenticated: Whether it knows who we are.
        requests: Not looked at yet.
        subscriptions: The ``subscribe`` message of each uid it serves.
        is_fickle: It refused what it served already, or dropped an ``unsubscribe`` so late that
            its client waited no more.
    """

    def __init__(self, *, authenticated: bool) -> None:
        self.authenticated = authenticated
        self.requests: deque[Message] = deque()
        self.subscriptions: dict[str, Message] = {}
        self.is_fickle = False

    def take(self, frame: str) -> None:
        """Take a frame of the client."""
        message = json.loads(frame)
        assert message["type"] in ("auth", "subscribe", "unsubscribe", "ping", "pong")
        if message["type"] != "pong":
            self.requests.append(message)

    def limit(self, wait: str) -> Message | None:
        """Drop the next request; the rate limiter says so."""
        if not self.requests:
            return None
        dropped = self.requests.popleft()
        others = {request["type"] for request in self.requests}
        self.is_fickle |= dropped["type"] == "unsubscribe" and bool(
            others & {"subscribe", "unsubscribe"}
        )
        return rate_limited(wait)

    def answer(self, way: str = GOOD) -> Message | None:
        """Take the next request; the reply, if there is one."""
        if not self.requests:
            return None
        request = self.requests.popleft()
        if request["type"] == "unsubscribe":  # always answered, whatever the uid
            self.subscriptions.pop(request["uid"], None)
            return {"type": "subscription", "event": "unsubscribe", "uid": request["uid"]}
        if way == SILENCE:
            return None
        if request["type"] == "ping":
            return {"type": "pong", "uid": request["uid"]}
        if request["type"] == "auth":
            return self._authenticate(way)
        return self._subscribe(request, way)

    def change(self, uid: str, number: int) -> Message | None:
        """A change that a subscription of this uid sees; its key tells which one sees it."""
        if uid not in self.subscriptions:
            return None
        subscription = self.subscriptions[uid]
        event = subscription["event"]
        key = f"{asked_by(subscription)} {number}"
        data = [key] if event == "delete" else [{"id": key}]
        return {"type": "subscription", "event": event, "data": data, "uid": uid}

    def expire(self) -> Message:
        """The token runs out; the subscriptions stay."""
        self.authenticated = False
        return error("TOKEN_EXPIRED", "Token expired.", kind="auth")

    def _authenticate(self, way: str) -> Message:
        self.authenticated = way == GOOD
        if self.authenticated:
            return {"type": "auth", "status": "ok"}
        return error("AUTH_FAILED", "Authentication failed.", kind="auth")

    def _subscribe(self, request: Message, way: str) -> Message:
        uid = request["uid"]
        # The old one is gone, also where the new one is refused (T12).
        old = self.subscriptions.pop(uid, None)
        self.is_fickle |= way != GOOD and old == request
        if way == REFUSE:
            return error("FORBIDDEN", "You don't have permission to access this.", uid=uid)
        if way == REFUSE_WITHOUT_UID:
            return error("INVALID_PAYLOAD", "Validation error.")
        self.subscriptions[uid] = request
        return {"type": "subscription", "event": "init", "uid": uid}


def asked_by(subscription: Message) -> str:
    """What a ``subscribe`` message asks for, as text."""
    asked = (subscription["collection"], subscription["event"], subscription.get("query"))
    return json.dumps(asked, sort_keys=True)


def error(code: str, message: str, *, kind: str = "subscribe", uid: str | None = None) -> Message:
    """An error message."""
    content: Message = {
        "type": kind,
        "status": "error",
        "error": {"code": code, "message": message},
    }
    return content if uid is None else {**content, "uid": uid}


def rate_limited(wait: str) -> Message:
    """What the rate limiter says."""
    text = f"Too many messages, retry after {wait}ms."
    return error("REQUESTS_EXCEEDED", text, kind="server")
