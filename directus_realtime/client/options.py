"""The knobs of a client, each with a default that works."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from directus_realtime.client.backoff import full_jitter
from directus_realtime.protocol.session import PING_INTERVAL, PONG_TIMEOUT, REPLY_TIMEOUT

#: Default for :attr:`ClientOptions.max_message_size`, in bytes.
MAX_MESSAGE_SIZE = 64 * 1024 * 1024
#: Default for :attr:`ClientOptions.socket_recheck_interval`, in seconds.
SOCKET_RECHECK_INTERVAL = 300.0


@dataclass(frozen=True)
class ClientOptions:
    """How a client connects and waits.

    Attributes:
        connect_timeout: Seconds for each step of connecting.
        ping_interval: Seconds between our pings.
        pong_timeout: Seconds of silence after a ping until the connection counts as dead.
        reply_timeout: Seconds for the answer to an authentication or a subscription.
        stable_after: Seconds authenticated until the next reconnect starts again with
            short delays; a server that accepts and then closes is not hammered.
        max_message_size: Bytes; a larger message is left out and reported, one of four
            times the size ends the connection.
        headers: Extra headers of every request, the WebSocket handshake included.
        ssl: For a private CA, also of an https proxy; ``None`` for the system's certificates.
        proxy: URL of an HTTP proxy for REST and WebSocket, user and password in it where it
            wants some; without one, ``HTTPS_PROXY`` (``HTTP_PROXY`` for an http URL), else
            ``ALL_PROXY``, and ``NO_PROXY`` of the environment.
        socket: ``required``: connected means that the WebSocket is authenticated. With
            ``optional``, connected means that REST is; the WebSocket is kept open beside it
            where that is possible, and never ends or prevents the connection.
        socket_recheck_interval: Seconds until a server that has WebSockets switched off is
            checked again; used where the socket is optional.
        delays: Makes the delays between attempts, in seconds; called after each stable
            connection. Where they end, the last one is used again and again.
    """

    connect_timeout: float = 10.0
    ping_interval: float = PING_INTERVAL
    pong_timeout: float = PONG_TIMEOUT
    reply_timeout: float = REPLY_TIMEOUT
    stable_after: float = 10.0
    max_message_size: int = MAX_MESSAGE_SIZE
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ssl: ssl.SSLContext | None = None
    proxy: str | None = field(default=None, repr=False)
    socket: Literal["required", "optional"] = "required"
    socket_recheck_interval: float = SOCKET_RECHECK_INTERVAL
    delays: Callable[[], Iterator[float]] = full_jitter
