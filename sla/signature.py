"""The signature of a webhook, the same in both directions: of what is sent, and of what others send in.

HMAC-SHA256 of ``<timestamp>.<id>.<body>`` under the shared secret, in hexadecimal after ``sha256=``. The timestamp
(Unix seconds) lets a receiver refuse what is old, the id what it has seen.
"""

import hashlib
import hmac

TIMESTAMP_HEADER = "X-Slakeeper-Timestamp"
SIGNATURE_HEADER = "X-Slakeeper-Signature"
ID_HEADER = "Idempotency-Key"

_PREFIX = "sha256="


def sign(secret: str, timestamp: str, message_id: str, body: bytes) -> str:
    """The value of :data:`SIGNATURE_HEADER`."""
    signed = f"{timestamp}.{message_id}.".encode() + body
    return _PREFIX + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def is_signed(secret: str, timestamp: str, message_id: str, body: bytes, given: str) -> bool:
    """Whether ``given`` is the signature; compared in constant time."""
    wanted = sign(secret, timestamp, message_id, body)
    return hmac.compare_digest(wanted.encode(), given.encode("utf-8", "replace"))
