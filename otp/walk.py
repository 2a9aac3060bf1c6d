"""How far a history holds that begins with a snapshot, or with nothing; reads, and changes nothing."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slakeeper.otp import snapshot_body
from slakeeper.otp.codec import Codec, CodecError
from slakeeper.otp.filesystem import FileSystem
from slakeeper.otp.journal import Damaged, Position, SegmentReader, missing, segment_path
from slakeeper.otp.record import RecordTable
from slakeeper.otp.snapshot import Snapshot

UNREADABLE = (CodecError, KeyError, TypeError, ValueError)
"""What decoding raises on bytes whose checksum holds."""

# A file that the disk reads only in part is read in pieces of this size, up to the first that fails.
_SECTOR_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it should be.

    Attributes:
        byte: from where on in the file.
        seq: the first commit it concerns; None for a file as a whole.
    """

    path: Path
    byte: int
    seq: int | None
    what: str


@dataclass(frozen=True, slots=True)
class Walk:
    """How far it went.

    Attributes:
        start, end: positions; everything from one to the other is there and fits.
        actors: how many there are at the end.
        damage: why it went no further; None when it went to the end of the last segment.
        torn: what of the last segment was never acknowledged, if anything; the next opening cuts it off.
        cut: the first sequence number in the name of the segment that does not wholly belong to it, and the byte
            up to which it does; None if all do. No later one belongs to it.
    """

    start: Position
    end: Position
    actors: int
    damage: Damage | None = None
    torn: Damage | None = None
    cut: tuple[int, int] | None = None


def walk(
    fs: FileSystem, directory: Path, codec: Codec, snapshot: Snapshot | None, firsts: Sequence[int]
) -> Walk | None:
    """Goes from a snapshot through the segments for as long as each record follows the one before it.

    Args:
        snapshot: where to begin; None for before the first record.
        firsts: the first sequence numbers of all segments, ascending.

    Returns:
        None when the snapshot itself is sound but unreadable: written by another program, or by a defect.

    Raises:
        JournalError: something was written by a newer version.
        OSError: a file cannot be read for another reason than damage (EIO).
    """
    table = RecordTable(codec)
    start = Position()
    if snapshot is not None:
        start = snapshot.position
        try:
            table.load(snapshot_body.entries(codec, snapshot))
        except UNREADABLE:
            return None
    position, torn = start, None
    later = [first for first in firsts if first > start.seq]
    if not later and start.seq:
        return Walk(start, start, len(table.records), _of(missing(directory, start)))
    for first in later:
        actors = len(table.records)
        if first > position.seq + 1:
            return Walk(start, position, actors, _of(missing(directory, position)), cut=(first, 0))
        path = segment_path(directory, first)
        data, is_whole = read_part(fs, path)
        reader = SegmentReader(path, data, position, is_last=first == later[-1] or not is_whole)
        try:
            for payload in reader:
                table.replay(bytes(payload))
                actors = len(table.records)
        except Damaged as error:
            return Walk(start, reader.position, actors, _of(error), cut=(first, reader.end))
        except UNREADABLE as error:
            damage = Damage(path, reader.end, reader.position.seq + 1, f"sound but unreadable: {error!r}")
            return Walk(start, reader.position, actors, damage, cut=(first, reader.end))
        position = reader.position
        if not is_whole:
            damage = Damage(path, reader.end, position.seq + 1, f"cannot be read from byte {len(data)} on")
            return Walk(start, position, actors, damage, cut=(first, reader.end))
        if reader.end < len(data):
            torn = Damage(
                path, reader.end, position.seq + 1, "a torn last record, which was never acknowledged"
            )
    return Walk(start, position, len(table.records), torn=torn)


def read_part(fs: FileSystem, path: Path) -> tuple[bytes, bool]:
    """What the disk reads of a file from its beginning on, and whether that is all of it.

    Raises:
        OSError: for another reason than EIO.
    """
    try:
        return fs.read(path), True
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    content = bytearray()
    file = fs.open(path)
    try:
        while piece := file.read_at(len(content), _SECTOR_BYTES):
            content += piece
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    finally:
        file.close()
    return bytes(content), False


def _of(error: Damaged) -> Damage:
    return Damage(error.path, error.byte, error.seq, error.what)
