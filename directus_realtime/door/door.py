"""The view of the door."""

from __future__ import annotations

from http import HTTPStatus

from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, transaction
from django.http import HttpRequest, HttpResponse, RawPostDataException
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from directus_realtime.database import on_one_line
from directus_realtime.door.knocks import BODY_LIMIT, DoorKey, KnockRefused, parse_knock
from directus_realtime.door.ring_counter import RingCounter
from directus_realtime.settings import DEFAULT_ALIAS
from directus_realtime.utils.logs import EventLogger
from directus_realtime.utils.system_clock import SystemClock

logger = EventLogger("directus_realtime.door")

_clock = SystemClock()
_counter = RingCounter(_clock)


@csrf_exempt
@login_not_required
@transaction.non_atomic_requests
@require_POST
def knock(request: HttpRequest, alias: str = DEFAULT_ALIAS) -> HttpResponse:
    """Wake the listener of a connection, and answer at once with 204.

    A knock is a hint: the listener reads the activity log, and makes events of what is there.

    Args:
        request: The knock.
        alias: The connection.
    """
    key = DoorKey.of_connection(alias)
    if key is None:
        return HttpResponse(status=HTTPStatus.NOT_FOUND)
    try:
        body = _body(request)
        key.check(request.headers, body, _clock.now().timestamp())
        _counter.ring(alias, parse_knock(body))
    except KnockRefused as refused:
        _log_refused(alias, refused)
        return HttpResponse(f"{refused}\n", status=refused.status, content_type="text/plain")
    except DatabaseError as error:
        _log_unwritten(alias, error)
        return HttpResponse(status=HTTPStatus.SERVICE_UNAVAILABLE)
    return HttpResponse(status=HTTPStatus.NO_CONTENT)


def _body(request: HttpRequest) -> bytes:
    """Read the body, up to its limit.

    Raises:
        KnockRefused: It is too large, or the connection was lost.
    """
    try:
        body = request.read(BODY_LIMIT + 1)
    except (UnreadablePostError, RawPostDataException):
        raise KnockRefused(HTTPStatus.BAD_REQUEST, "The body could not be read.") from None
    if len(body) > BODY_LIMIT:
        message = f"The body has more than {BODY_LIMIT} bytes. Send event and collection only."
        raise KnockRefused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
    return body


def _log_refused(alias: str, refused: KnockRefused) -> None:
    logger.repeated(
        f"{alias} {refused}",
        "knock-refused",
        "%s  a knock at the door was refused: %s",
        alias,
        refused,
        connection=alias,
        status=int(refused.status),
        reason=str(refused),
    )


def _log_unwritten(alias: str, error: DatabaseError) -> None:
    logger.repeated(
        alias,
        "knock-unwritten",
        "%s  a knock at the door did not reach the listener, which finds the change when it polls "
        "the activity log: %s",
        alias,
        on_one_line(error),
        connection=alias,
        error=on_one_line(error),
    )
