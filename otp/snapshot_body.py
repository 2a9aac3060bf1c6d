"""What stands in a snapshot: a record for each actor, with its state where it can be read alone.

Format 2, for each record one after the other, big-endian::

    head length u32 | state length u32 | crc u32 | head | state

``head`` is (address, supervisor, kind, arg, restart, events since the state) as the codec writes it; ``state`` the
encoded state, with a length of 2**32 - 1 for none; ``crc`` the CRC-32 of the state, which is read long after the whole
file was checked. Format 1 was one array of (…, restart, state, events), and is read whole.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Any
from zlib import crc32

from slakeeper.otp.base import Base, Place
from slakeeper.otp.codec import Codec, CodecError
from slakeeper.otp.filesystem import Readable
from slakeeper.otp.snapshot import BODY_OFFSET, Snapshot

Entry = tuple[tuple[Any, ...], Base | None]
"""A record as plain values: its head, and its state."""

Written = list[tuple[Base, int, int, int]]
"""States with the offset [bytes], length [bytes] and CRC-32 that they have in a file."""

_FRAME = struct.Struct(">III")
_NO_STATE = 2**32 - 1

# Entries are read through a buffer: one read of the disk serves many small ones.
_BUFFER_BYTES = 256 * 1024


def pieces(codec: Codec, content: Iterable[Entry], written: Written) -> Iterator[bytes]:
    """A body, piece by piece, of which only one lies in memory; callable on any thread.

    Args:
        written: is given each state's place in the file that these pieces become.

    Raises:
        JournalError: a state cannot be read from where it is.
    """
    at = BODY_OFFSET
    for plain, base in content:
        head = codec.encode(plain)
        at += _FRAME.size + len(head)
        if base is None:
            yield _FRAME.pack(len(head), _NO_STATE, 0) + head
            continue
        state = base.read()
        crc = crc32(state)
        written.append((base, at, len(state), crc))
        at += len(state)
        yield _FRAME.pack(len(head), len(state), crc) + head
        yield state


def move(written: Written, file: Readable) -> None:
    """The states are in that file, which is durable, and not in memory any more."""
    for base, offset, length, crc in written:
        base.move(Place(file, offset, length, crc))


def entries(codec: Codec, snapshot: Snapshot) -> Iterator[Entry]:
    """The records of a snapshot; their states stay in its file.

    Raises:
        CodecError, TypeError, ValueError: the body was written by another program, or by a defect of this one.
        OSError: it cannot be read.
    """
    if snapshot.format == 1:
        yield from _format_1(codec, snapshot)
        return
    file, end = snapshot.file, snapshot.body_end
    buffer, start, at = b"", BODY_OFFSET, BODY_OFFSET

    def read(length: int) -> bytes:
        nonlocal buffer, start
        if at + length > end:
            raise CodecError("the last record of the snapshot is cut off")
        if at + length > start + len(buffer):
            buffer, start = file.read_at(at, min(max(length, _BUFFER_BYTES), end - at)), at
        return buffer[at - start : at - start + length]

    heads: list[bytes] = []
    bases: list[Base | None] = []
    while at < end:
        head_length, state_length, crc = _FRAME.unpack(read(_FRAME.size))
        at += _FRAME.size
        heads.append(read(head_length))
        at += head_length
        if state_length == _NO_STATE:
            bases.append(None)
        else:
            bases.append(Base(Place(file, at, state_length, crc)))
            at += state_length
    yield from zip(codec.decode_each(heads), bases, strict=True)


def _format_1(codec: Codec, snapshot: Snapshot) -> Iterator[Entry]:
    body = snapshot.file.read_at(BODY_OFFSET, snapshot.body_end - BODY_OFFSET)
    for *head, state, events in codec.decode(body):
        yield (*head, events), None if state is None else Base(state)
