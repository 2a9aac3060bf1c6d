"""Snapshots: everything a partition holds at one sequence number, in one file.

``snapshot-<seq>.msgpack``: a header (magic, format, epoch, seq, chain), the body (:mod:`slakeeper.otp.snapshot_body`),
and last the CRC-32 over both. The file gets its name only when it is durable, so a bad one was damaged later; then
the one before it and the journal since, which is kept for that, give the same state.
"""

import errno
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from slakeeper.otp.filesystem import FileSystem, Readable, write_atomically
from slakeeper.otp.journal import Damaged, JournalError, Position, segment_path, segment_seqs

FORMAT = 2
KEPT = 2

_MAGIC = b"OTPSNAP\n"
_HEADER = struct.Struct(">8sHIQI")
_CRC = struct.Struct(">I")
BODY_OFFSET = _HEADER.size
"""Where the body begins in the file [bytes]."""

# Read in pieces of this size, so that a snapshot need not fit into memory.
_PIECE_BYTES = 256 * 1024

_NAME = re.compile(r"snapshot-(\d{20})\.msgpack")
BROKEN_SUFFIX = ".broken"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A valid snapshot.

    Attributes:
        position: what it covers.
        format: how the body is to be read.
        file: open; the body is from ``BODY_OFFSET`` to ``body_end`` [bytes].
    """

    position: Position
    format: int
    file: Readable
    body_end: int


def snapshot_seqs(names: list[str]) -> list[int]:
    """The sequence numbers of the snapshots among the names of a directory, ascending."""
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def snapshot_path(directory: Path, seq: int) -> Path:
    """Where the snapshot that covers the records up to ``seq`` lies."""
    return directory / f"snapshot-{seq:020d}.msgpack"


def write_snapshot(fs: FileSystem, directory: Path, position: Position, body: Iterable[bytes]) -> None:
    """Writes a snapshot of the state at ``position``; durable on return.

    Raises:
        OSError: nothing changed, or it is there but may not survive a power loss.
    """
    write_atomically(fs, snapshot_path(directory, position.seq), _framed(position, body)).close()


def _framed(position: Position, body: Iterable[bytes]) -> Iterator[bytes]:
    header = _HEADER.pack(_MAGIC, FORMAT, position.epoch, position.seq, position.chain)
    crc = crc32(header)
    yield header
    for piece in body:
        crc = crc32(piece, crc)
        yield piece
    yield _CRC.pack(crc)


def newest_snapshot(fs: FileSystem, directory: Path) -> Snapshot | None:
    """Opens the newest valid snapshot; those found bad on the way are renamed to ``*.broken``.

    Returns:
        The caller closes its file. None in a directory that never had a snapshot, or whose journal still goes back to
        its beginning.

    Raises:
        JournalError: written by a newer version; or none is valid and the journal cannot stand in.
        OSError: a file cannot be read for a reason other than damage (EIO), or not be renamed.
    """
    names = fs.names(directory)
    for seq in reversed(snapshot_seqs(names)):
        path = snapshot_path(directory, seq)
        snapshot = open_snapshot(fs, path, seq)
        if snapshot is not None:
            return snapshot
        fs.rename(path, path.with_name(path.name + BROKEN_SUFFIX))
        fs.sync_directory(directory)
    # Also asked at later openings, when the bad files carry their new names: never start empty beside them.
    lost = sorted(
        name for name in fs.names(directory) if name.startswith("snapshot-") and name.endswith(BROKEN_SUFFIX)
    )
    if lost and 1 not in segment_seqs(names):
        what = "damaged, no older snapshot is left, and the journal does not go back to sequence 1"
        raise Damaged(directory / lost[-1], 0, 1, what)
    return None


def open_snapshot(fs: FileSystem, path: Path, seq: int) -> Snapshot | None:
    """A snapshot if it is what was written under that name; None if it is damaged or the disk cannot read it.

    Raises:
        JournalError: written by a newer version.
        OSError: it cannot be read for another reason than damage.
    """
    snapshot: Snapshot | None = None
    file: Readable | None = None
    try:
        file = fs.open(path)
        snapshot = _valid(file, path, seq)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    finally:
        if file is not None and snapshot is None:
            file.close()
    return snapshot


def _valid(file: Readable, path: Path, seq: int) -> Snapshot | None:
    body_end = file.size - _CRC.size
    if body_end < BODY_OFFSET:
        return None
    header = file.read_at(0, BODY_OFFSET)
    crc, at = crc32(header), BODY_OFFSET
    while at < body_end:
        piece = file.read_at(at, min(_PIECE_BYTES, body_end - at))
        if not piece:
            return None
        crc = crc32(piece, crc)
        at += len(piece)
    if _CRC.pack(crc) != file.read_at(body_end, _CRC.size):
        return None
    magic, version, epoch, header_seq, chain = _HEADER.unpack(header)
    if magic != _MAGIC or header_seq != seq:
        return None
    if version > FORMAT:
        raise JournalError(
            f"{path}: format {version}; this program reads up to {FORMAT}. Start the newer program again."
        )
    return Snapshot(Position(seq, chain, epoch), version, file, body_end)


def prune(fs: FileSystem, directory: Path) -> None:
    """Removes, oldest first, the snapshots before the newest two and the segments that the older of them covers.

    Call it only when the newest snapshot is durable. Whatever part of it a crash leaves undone, the next call does.

    Raises:
        OSError: some may be left.
    """
    names = fs.names(directory)
    snapshots = snapshot_seqs(names)
    if len(snapshots) < KEPT:
        return
    oldest_kept = snapshots[-KEPT]
    # A segment begins anew at each snapshot: one that begins at or before it also ends there.
    dead = [snapshot_path(directory, seq) for seq in snapshots if seq < oldest_kept]
    dead += [segment_path(directory, first) for first in segment_seqs(names) if first <= oldest_kept]
    for path in dead:
        fs.remove(path)
    if dead:
        fs.sync_directory(directory)
