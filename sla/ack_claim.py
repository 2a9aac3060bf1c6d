"""The claim in an acknowledge link: what it may acknowledge, in whose name, and until when, under an HMAC.

A link is a bearer's: whoever holds it may acknowledge, and nothing else. So it names the violations and the people
it was sent to, and ends. It is short, since it has to fit into an SMS. Needs the standard library alone: the gateway,
which reads it, knows nothing of contracts.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import quote, unquote

# Keeps what is signed here from being taken for anything else that is signed with the same key.
_PURPOSE = b"slakeeper acknowledge 2\0"

# Half of SHA-256 is as much as RFC 2104 (section 5) asks to be left of it, and 22 characters instead of 43.
_SEAL_BYTES = 16

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

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
    """The token of a claim: the same for the same claim and key; a URL and an SMS carry it as it stands."""
    head = "/".join(
        (
            ",".join(map(_word, claim.violation_ids)),
            _word(claim.channel),
            ",".join(map(_word, claim.people)),
            _base36(claim.expires_at_ms),
        )
    )
    return f"{head}/{_seal(key, head)}"


def read(key: bytes, token: str) -> Claim | None:
    """The claim of a token; None when it was not made with ``key``. Whether it is in time is for the caller to say."""
    head, _, given = token.rpartition("/")
    if not hmac.compare_digest(_seal(key, head).encode(), given.encode("utf-8", "replace")):
        return None
    violation_ids, channel, people, expires = head.split("/")
    return Claim(_words(violation_ids), _text(channel), _words(people), int(expires, 36))


def _seal(key: bytes, head: str) -> str:
    digest = hmac.new(key, _PURPOSE + head.encode("utf-8", "replace"), hashlib.sha256).digest()
    return urlsafe_b64encode(digest[:_SEAL_BYTES]).rstrip(b"=").decode("ascii")


def _word(text: str) -> str:
    """A text in letters, digits and ``-._~``, which no URL quotes again; empty, it is a single dot."""
    return quote(text, safe="").replace(".", "%2E").replace("%", ".") or "."


def _text(word: str) -> str:
    return "" if word == "." else unquote(word.replace(".", "%"))


def _words(joined: str) -> tuple[str, ...]:
    return tuple(map(_text, joined.split(","))) if joined else ()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
