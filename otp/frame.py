"""Frames of the data plane: a 4-byte big-endian length, then that many bytes of msgpack.

A request is ``[id, kind, payload]`` with id > 0; its reply ``[id, true, result]`` or ``[id, false, error]``; a
push to a subscriber ``[0, topic, payload]``. msgpack holds plain data only, so reading a frame runs no code.
"""

import struct
from collections.abc import Iterator
from typing import Any

import msgpack

# A batch of a million samples is about 30 MB; whatever is larger is a mistake or an attack.
MAX_FRAME_BYTES = 64 * 1024 * 1024

_LENGTH = struct.Struct(">I")


class FrameError(Exception):
    """The peer does not speak this protocol; the connection cannot go on."""


def pack_frame(message: Any) -> bytes:
    """One message (plain msgpack values) as a frame.

    Raises:
        FrameError: it is larger than ``MAX_FRAME_BYTES``.
    """
    body: bytes = msgpack.packb(message, use_bin_type=True)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(body)} bytes is over the limit of {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into messages; feed it whatever arrived."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Takes more bytes and yields every message that is now whole.

        Raises:
            FrameError: a length over the limit, or a body that is not msgpack.
        """
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer, start)
                if length > MAX_FRAME_BYTES:
                    raise FrameError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
                end = start + _LENGTH.size + length
                if len(self._buffer) < end:
                    break
                body = bytes(self._buffer[start + _LENGTH.size : end])
                start = end
                try:
                    yield msgpack.unpackb(body, raw=False, strict_map_key=False)
                except (ValueError, msgpack.UnpackException) as error:
                    raise FrameError(f"a frame is not msgpack: {error}") from error
        finally:
            del self._buffer[:start]
