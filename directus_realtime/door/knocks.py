"""Knocks: requests to the door, their authentication and their content."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from django.views.decorators.debug import sensitive_variables

from directus_realtime.settings import configured
from directus_realtime.utils.json_parser import parse_json

#: Header with the secret, and header with a signature. Django hides both in its error reports.
SECRET_HEADER, SIGNATURE_HEADER = "X-Door-Secret", "X-Door-Signature"
#: Bytes of the largest body. Only two short texts of it are read.
BODY_LIMIT = 64 * 1024
#: Seconds that the time of a signature may differ from ours.
TOLERANCE = 300
#: Characters of the longest event and collection.
_LONGEST = 100
_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


class KnockRefused(Exception):
    """A knock that does not ring.

    Attributes:
        status: Status of the answer.
    """

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Knock:
    """Content of a knock; a hint, whatever it says.

    Attributes:
        event: Name of the event, for example ``articles.items.update``.
        collection: Name of the collection.
    """

    event: str
    collection: str


@dataclass(frozen=True, slots=True)
class DoorKey:
    """Setting of a connection's door.

    Attributes:
        secret: The shared secret; it is not shown.
        is_signed: Whether knocks must be signed.
    """

    secret: str
    is_signed: bool

    def __repr__(self) -> str:
        return f"DoorKey(is_signed={self.is_signed})"

    @classmethod
    def of_connection(cls, alias: str) -> DoorKey | None:
        """Return the key of a connection's door; ``None`` where it has no door."""
        values = configured().get(alias)
        secret = values.get("DOOR_SECRET") if isinstance(values, dict) else None
        if not isinstance(values, dict) or not isinstance(secret, str) or not secret:
            return None
        return cls(secret, bool(values.get("DOOR_SIGNED")))

    @sensitive_variables()
    def check(self, headers: Mapping[str, str], body: bytes, now: float) -> None:
        """Authenticate a knock, in constant time.

        Args:
            headers: Headers of the request.
            body: Body of the request.
            now: The present time, in seconds since 1970.

        Raises:
            KnockRefused: The secret or the signature is missing or wrong.
        """
        if signature := headers.get(SIGNATURE_HEADER, ""):
            self._check_signature(signature, body, now)
        elif self.is_signed:
            raise KnockRefused(HTTPStatus.FORBIDDEN, f"{SIGNATURE_HEADER} is missing.")
        elif not _is_same(headers.get(SECRET_HEADER, ""), self.secret):
            raise KnockRefused(HTTPStatus.FORBIDDEN, f"{SECRET_HEADER} is missing or wrong.")

    @sensitive_variables()
    def _check_signature(self, signature: str, body: bytes, now: float) -> None:
        found = _SIGNATURE.fullmatch(signature)
        if found is None:
            message = f"{SIGNATURE_HEADER} is not t=SECONDS,v1=HEX."
            raise KnockRefused(HTTPStatus.FORBIDDEN, message)
        time, digest = int(found[1]), found[2]
        if not _is_same(digest, self._digest(time, body)):
            raise KnockRefused(HTTPStatus.FORBIDDEN, f"{SIGNATURE_HEADER} is wrong.")
        if abs(now - time) > TOLERANCE:
            message = f"{SIGNATURE_HEADER} is more than {TOLERANCE} s old or early."
            raise KnockRefused(HTTPStatus.FORBIDDEN, message)

    def sign(self, body: bytes, time: float) -> str:
        """Return the value of the header :data:`SIGNATURE_HEADER`.

        Args:
            body: Body of the request.
            time: The present time, in seconds since 1970.
        """
        return f"t={int(time)},v1={self._digest(int(time), body)}"

    def _digest(self, time: int, body: bytes) -> str:
        message = f"{time}.".encode() + body
        return hmac.new(self.secret.encode(), message, hashlib.sha256).hexdigest()


def _is_same(given: str, expected: str) -> bool:
    """Compare two texts in constant time."""
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def parse_knock(body: bytes) -> Knock:
    """Read the event and the collection; the rest of a body is ignored.

    Raises:
        KnockRefused: The body is not what the Flow sends.
    """
    try:
        content = parse_json(body)
    except ValueError:
        raise KnockRefused(HTTPStatus.BAD_REQUEST, "The body is not JSON.") from None
    values = content if isinstance(content, dict) else {}
    event, collection = values.get("event"), values.get("collection")
    if not _is_name(event) or not _is_name(collection):
        message = f"event and collection must be texts of up to {_LONGEST} characters."
        raise KnockRefused(HTTPStatus.BAD_REQUEST, message)
    return Knock(str(event), str(collection))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable()
