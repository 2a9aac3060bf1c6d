"""The claim in an acknowledge link: what it may acknowledge, in whose name, and until when, under an HMAC.

A link is a bearer's: whoever holds it may acknowledge, and nothing else. So it names the violations and the people
it was sent to, and ends. Needs the standard library alone: the gateway, which reads it, knows nothing of contracts.
"""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass

# Keeps what is signed here from being taken for anything else that is signed with the same key.
_PURPOSE = b"slakeeper acknowledge 1\0"

MAX_VIOLATIONS = 40
"""So many violations one link acknowledges: addresses of more than 2 000 characters do not get through everywhere."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link lets its bearer do.

    Attributes:
        violation_ids: which violations it acknowledges, at most :data:`MAX_VIOLATIONS`.
        channel: over which it was sent.
        people: who it was sent to: names of responders, addresses, or a room.
        expires_at_ms: Unix ms.
    """

    violation_ids: tuple[str, ...]
    channel: str
    people: tuple[str, ...]
    expires_at_ms: int


def mint(key: bytes, claim: Claim) -> str:
    """The token of a claim: the same for the same claim and key."""
    fields = [list(claim.violation_ids), claim.channel, list(claim.people), claim.expires_at_ms]
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{_text(body)}.{_text(_seal(key, body))}"


def read(key: bytes, token: str) -> Claim | None:
    """The claim of a token; None when it was not made with ``key``. Whether it is in time is for the caller to say."""
    head, _, seal = token.partition(".")
    try:
        body, given = _bytes(head), _bytes(seal)
    except (ValueError, Base64Error):
        return None
    if not hmac.compare_digest(_seal(key, body), given):
        return None
    violation_ids, channel, people, expires_at_ms = json.loads(body)
    return Claim(tuple(violation_ids), channel, tuple(people), expires_at_ms)


def _seal(key: bytes, body: bytes) -> bytes:
    return hmac.new(key, _PURPOSE + body, hashlib.sha256).digest()


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
