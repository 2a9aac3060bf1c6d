"""Frames that only who has the key can make; nothing of a frame is looked at before that is checked.

A frame is ``magic | body length u32 | SHA-256 of the body | HMAC-SHA256 of all before | body``. The length stands
under the seal, so a stranger cannot make a reader wait for more than the 72 bytes of the header.
"""

import hashlib
import hmac
import struct
from typing import Final

_MAGIC: Final = b"SLK1"
_PREFIX: Final = struct.Struct(">4sI32s")
_MAC_SIZE: Final = 32
HEADER_SIZE: Final = _PREFIX.size + _MAC_SIZE
MAX_BODY_SIZE: Final = 64 * 1024 * 1024


class SealBroken(ValueError):
    """What arrived is no frame made with the key."""


def seal(body: bytes, key: bytes) -> bytes:
    """Makes a frame.

    Args:
        body: 1 to MAX_BODY_SIZE bytes.
        key: the secret, 32 bytes.

    Raises:
        ValueError: body is empty or too long.
    """
    if not 0 < len(body) <= MAX_BODY_SIZE:
        raise ValueError(f"a frame's body has 1 to {MAX_BODY_SIZE} bytes, not {len(body)}")
    prefix = _PREFIX.pack(_MAGIC, len(body), hashlib.sha256(body).digest())
    return prefix + hmac.digest(key, prefix, "sha256") + body


class SealedReader:
    """Takes the bytes of one frame as they come, never a byte beyond it."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._header = bytearray()
        self._body = bytearray()
        self._size = 0
        self._digest = b""

    def wanted(self) -> int:
        """How many bytes to read next at most; 0 when the frame is complete."""
        missing = HEADER_SIZE - len(self._header)
        return missing or self._size - len(self._body)

    def feed(self, data: bytes) -> None:
        """Adds what was read.

        Raises:
            SealBroken: this is no frame, or not one made with the key; drop the connection.
        """
        if len(data) > self.wanted():
            raise SealBroken("more than one frame")
        if len(self._header) < HEADER_SIZE:
            self._header += data
            if len(self._header) == HEADER_SIZE:
                self._open_header()
        else:
            self._body += data

    def body(self) -> bytes | None:
        """The body of a complete frame, None before that.

        Raises:
            SealBroken: the body is not the one the header was made for.
        """
        if self.wanted():
            return None
        if not hmac.compare_digest(hashlib.sha256(self._body).digest(), self._digest):
            raise SealBroken("the body does not belong to the header")
        return bytes(self._body)

    def _open_header(self) -> None:
        prefix = bytes(self._header[: _PREFIX.size])
        mac = bytes(self._header[_PREFIX.size :])
        if not hmac.compare_digest(mac, hmac.digest(self._key, prefix, "sha256")):
            raise SealBroken("made without the key")
        magic, self._size, self._digest = _PREFIX.unpack(prefix)
        if magic != _MAGIC or not 0 < self._size <= MAX_BODY_SIZE:
            raise SealBroken("not a frame of this version")
