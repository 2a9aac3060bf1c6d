"""What passes between a client and a cell: frames, kinds of requests, and how they fail.

Frames are a big-endian u32 length and msgpack: ``[id, kind, payload]`` out, ``[id, true, result]``,
``[id, false, error]`` and pushes ``[0, topic, payload]`` in.
"""

import struct
from typing import Any

import msgpack

# The cells' own limit for a frame; a longer one means that the peer does not speak this protocol.
MAX_FRAME_BYTES = 64 * 1024 * 1024

# Answered at once or not at all: they ask how things are now, and "away" is an answer.
AT_ONCE = frozenset({"ping", "status", "tree"})

# Sending these twice does what sending them once does.
REPEATABLE = AT_ONCE | {
    "samples", "catalog", "sla.list", "sla.show", "violations", "compensation", "report", "actor.state",
}  # fmt: skip

_LENGTH = struct.Struct(">I")


class RequestFailed(Exception):
    """A cell refused or failed a request.

    Attributes:
        code: ``not_found``, ``invalid``, ``conflict``, ``unavailable``, ``forbidden`` or ``internal``.
        message: one line for people.
        details: whatever else the cell said, e.g. ``errors``.
    """

    def __init__(self, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details or {}


class Unavailable(RequestFailed):
    """Nobody answered, or not in time. The request may or may not have been carried out."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__("unavailable", message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    """Refused before it was sent: too much is waiting for an answer already."""


def failure_of(error: Any) -> RequestFailed:
    """The exception for the error of an answer ``[id, false, error]``."""
    if not isinstance(error, dict):
        return RequestFailed("internal", str(error))
    details = {key: value for key, value in error.items() if key not in {"code", "message"}}
    code, message = str(error.get("code", "internal")), str(error.get("message", "no reason given"))
    if code == "unavailable":
        return Unavailable(message)
    return RequestFailed(code, message, details)


def pack_frame(message: Any) -> bytes:
    """One message of plain msgpack values as a frame."""
    body: bytes = msgpack.packb(message, use_bin_type=True)
    return _LENGTH.pack(len(body)) + body


def unpack_frames(received: bytearray) -> list[Any]:
    """Takes every whole message out of ``received`` and leaves the rest there.

    Raises:
        ValueError, msgpack.UnpackException: the peer does not speak this protocol.
    """
    messages = []
    start = 0
    while len(received) - start >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(received, start)
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
        end = start + _LENGTH.size + length
        if len(received) < end:
            break
        body = bytes(memoryview(received)[start + _LENGTH.size : end])
        messages.append(msgpack.unpackb(body, raw=False, strict_map_key=False))
        start = end
    del received[:start]
    return messages
