"""The journal: framed, checksummed, chained records in segments, and the rules for reading them after a crash.

A segment ``journal-<first seq>.log`` begins with a header (magic, format, epoch, first sequence number, chain,
crc) and holds the records from that sequence number on. A record is::

    length u32 | crc u32 | chain u32 | seq u64 | epoch u32 | schema u16 | payload

big-endian; ``length`` [bytes] is the payload's; ``chain`` is the crc of the record before, over segments too, so
that no record can be missing, foreign or out of order unnoticed; ``crc`` is the CRC-32 of all the rest. The chain
stands in the record by itself so that a record can be recognised when the one before it is damaged: that
tells a torn last write (nothing valid follows: it was never acknowledged) from damage (something does).

One writer has one epoch, higher than any before it, and begins a segment of its own. A segment gets its name
only when its header is durable, and one commit is in flight at a time. A crash can therefore leave at most
the last record of the last segment incomplete; everything else that does not fit is damage, and refused.
"""

import re
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from slakeeper.otp.filesystem import File, FileSystem, write_atomically

FORMAT = 1
TORN_SUFFIX = ".torn"
"""Of copies of last records that were cut off, and of nothing else."""
MAX_PAYLOAD_BYTES = 2**30

_MAGIC = b"OTPJRNL\n"
_HEADER = struct.Struct(">8sHIQI")
_CRC = struct.Struct(">I")
HEADER_BYTES = _HEADER.size + _CRC.size
_FRAME = struct.Struct(">IIIQIH")
FRAME_BYTES = _FRAME.size
_CHECKED = struct.Struct(">IQIH")  # the frame without length and crc
_NAME = re.compile(r"journal-(\d{20})\.log")


class JournalError(Exception):
    """The journal or a snapshot cannot be read or written; the text names file and offset and says what to do."""


class NoRoom(JournalError):
    """The disk is full; nothing is damaged, and everything can go on from what it has once there is room."""


class Damaged(JournalError):
    """What is on the disk does not fit together; only a repair (:mod:`slakeeper.otp.repair`) or a backup helps.

    Attributes:
        path: the file that is damaged or missing.
        byte: from where on it is not as it should be.
        seq: the first commit that cannot be relied on.
        what: is the matter.
    """

    def __init__(self, path: Path, byte: int, seq: int, what: str) -> None:
        super().__init__(
            f"{path}: byte {byte}: {what}. Nothing was changed. Restore it from a backup; or repair the partition, "
            f"which gives up everything from sequence {seq} on and keeps it aside"
        )
        self.path = path
        self.byte = byte
        self.seq = seq
        self.what = what


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a history: ``seq`` of the last record (0: none yet), its crc, and the epoch that wrote it."""

    seq: int = 0
    chain: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Recovered:
    """The records after a snapshot.

    ``payloads`` holds one payload a record, in order; ``position`` is where the history ends; ``size`` [bytes]
    counts the segments read; ``last`` is the one that was being written, None where there is none.
    """

    payloads: tuple[memoryview, ...]
    position: Position
    size: int
    last: "SegmentReader | None" = None


class Journal:
    """The segment being written. One thread at a time. After an OSError of any method it must not be used again."""

    __slots__ = ("_directory", "_file", "_fs", "_position", "size")

    def __init__(self, fs: FileSystem, directory: Path, position: Position) -> None:
        """Begins the segment after ``position``, to be written with the position's epoch; durable on return."""
        self._fs = fs
        self._directory = directory
        self._position = position
        self._file = create_segment(fs, directory, position)
        self.size = 0
        """Payload and frame bytes in this segment."""

    @property
    def position(self) -> Position:
        """Where the history ends."""
        return self._position

    def write(self, payload: bytes) -> None:
        """Appends one record and waits until it is durable.

        Raises:
            ValueError: longer than ``MAX_PAYLOAD_BYTES``; nothing was written.
            OSError: whether it was written is unknown.
        """
        if len(payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{len(payload)} bytes in one commit; at most {MAX_PAYLOAD_BYTES} fit a record")
        seq, chain, epoch = self._position.seq + 1, self._position.chain, self._position.epoch
        crc = _record_crc(len(payload), chain, seq, epoch, FORMAT, payload)
        frame = _FRAME.pack(len(payload), crc, chain, seq, epoch, FORMAT) + payload
        self._file.write(frame)
        self._file.sync_data()
        self._position = Position(seq, crc, epoch)
        self.size += len(frame)

    def rotate(self) -> None:
        """Goes on in a new segment, durable on return; nothing to do while this one is empty."""
        if self.size:
            file = create_segment(self._fs, self._directory, self._position)
            self._file.close()
            self._file, self.size = file, 0

    def close(self) -> None:
        """Closes the file; a second call does nothing."""
        self._file.close()


class Rotation:
    """One turn to a new segment, done by whoever gets to it first: the one who needs it, or a thread beside.

    Args:
        journal: nothing is written to it before :meth:`complete`.

    Attributes:
        is_done: the journal is in its new segment.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self.is_done = False
        self._error: OSError | None = None

    def complete(self) -> None:
        """Returns when the journal is in its new segment.

        Raises:
            OSError: it could not be begun; again and again, for it must not be tried twice.
        """
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self.is_done:
                try:
                    self._journal.rotate()
                except OSError as error:
                    self._error = error
                    raise
                self.is_done = True


def segment_seqs(names: list[str]) -> list[int]:
    """The first sequence numbers of the segments among the names of a directory, ascending."""
    return sorted(int(match[1]) for name in names if (match := _NAME.fullmatch(name)))


def segment_path(directory: Path, first_seq: int) -> Path:
    """Where the segment that begins with record ``first_seq`` lies."""
    return directory / f"journal-{first_seq:020d}.log"


def recover(fs: FileSystem, directory: Path, start: Position) -> Recovered:
    """Reads everything after ``start``. Nothing may follow from it until :func:`secure_end` was called.

    Args:
        start: what the snapshot covers; all zero without one.

    Raises:
        JournalError: records are missing, damaged, of two writers, or of a newer version.
        OSError: a file cannot be read.
    """
    there = segment_seqs(fs.names(directory))
    firsts = [first for first in there if first > start.seq]
    if not there and start.seq == 0:
        return Recovered((), start, 0)
    payloads: list[memoryview] = []
    position, size = start, 0
    reader: SegmentReader | None = None
    if not firsts:
        raise missing(directory, position)
    for first in firsts:
        if first > position.seq + 1:
            raise missing(directory, position)
        path = segment_path(directory, first)
        reader = SegmentReader(path, fs.read(path), position, is_last=first == firsts[-1])
        payloads += reader
        position = reader.position
        size += reader.end
    return Recovered(tuple(payloads), position, size, reader)


class SegmentReader:
    """Iterates over one segment's payloads; afterwards knows where its valid part ends.

    Args:
        position: where the history ends before this segment.
        is_last: whether no segment follows, so that its last record may be torn.

    Raises:
        Damaged: while iterating; ``end`` is where the damage begins.
        JournalError: while iterating; written by a newer version.
    """

    def __init__(self, path: Path, data: bytes, position: Position, is_last: bool) -> None:
        self.path = path
        self.data = data
        self.position = position
        self.end = 0  # after the last valid piece
        self.last_piece = 0  # where the last valid piece (header or record) begins
        self._is_last = is_last

    def __iter__(self) -> Iterator[memoryview]:
        if not self._read_header():
            return
        view = memoryview(self.data)
        epoch = self.position.epoch
        while self.end < len(self.data):
            frame = frame_at(view, self.end)
            if frame is None:
                self._refuse_unless_torn()
                return
            crc, chain, seq, record_epoch, schema, end = frame
            if schema > FORMAT:
                raise _newer(self.path, schema)
            if (seq, chain, record_epoch) != (self.position.seq + 1, self.position.chain, epoch):
                raise self._damage(
                    "a record that does not follow the one before it, as if two programs had written"
                )
            yield view[self.end + _FRAME.size : end]
            self.position = Position(seq, crc, epoch)
            self.last_piece, self.end = self.end, end

    def _read_header(self) -> bool:
        """Whether there is a header; not so in a last segment too short to have held a record."""
        header = self.data[: _HEADER.size]
        magic, version, epoch, first, chain = (
            _HEADER.unpack(header) if len(self.data) >= HEADER_BYTES else (b"", 0, 0, 0, 0)
        )
        if magic != _MAGIC or self.data[_HEADER.size : HEADER_BYTES] != _CRC.pack(crc32(header)):
            if self._is_last and len(self.data) <= HEADER_BYTES:
                return False
            raise self._damage("the segment's header is damaged")
        if version > FORMAT:
            raise _newer(self.path, version)
        if (first, chain) != (self.position.seq + 1, self.position.chain) or epoch < self.position.epoch:
            raise self._damage(
                f"the segment (epoch {epoch}) does not follow what is before it (sequence {self.position.seq}, "
                f"epoch {self.position.epoch}), as if two programs had written"
            )
        self.position = Position(self.position.seq, chain, epoch)
        self.end = HEADER_BYTES
        return True

    def _refuse_unless_torn(self) -> None:
        if not self._is_last:
            raise self._damage("a damaged record before the last segment")
        later = valid_record_after(self.data, self.end, self.position)
        if later is not None:
            raise self._damage(f"a damaged record with a valid one after it (at byte {later})")

    def _damage(self, what: str) -> Damaged:
        return Damaged(self.path, self.end, self.position.seq + 1, what)


def secure_end(fs: FileSystem, segment: SegmentReader) -> None:
    """Makes the end of the last segment, which was read, fit to be relied on.

    A torn last record is copied to ``<segment>.epoch-<n>.torn`` and cut off. The last record that stays is
    written once more and synced: its writer may have died before its sync, or have been told by a failing one
    that the kernel dropped the pages, and then what was just read was in memory only.

    Raises:
        OSError: it cannot be made durable.
    """
    torn = segment.data[segment.end :]
    if torn:
        aside = segment.path.with_name(f"{segment.path.name}.epoch-{segment.position.epoch}{TORN_SUFFIX}")
        write_atomically(fs, aside, (torn,)).close()
    fs.rewrite_end(segment.path, segment.last_piece, segment.data[segment.last_piece : segment.end])
    # Its writer may have died between a rename and the sync after it: names, too, may be in memory only, and old
    # files are removed next because a newer snapshot has its name.
    fs.sync_directory(segment.path.parent)


def create_segment(fs: FileSystem, directory: Path, position: Position) -> File:
    """Begins the segment after ``position``, of its epoch, in place of any of that name; durable on return."""
    header = _HEADER.pack(_MAGIC, FORMAT, position.epoch, position.seq + 1, position.chain)
    return write_atomically(fs, segment_path(directory, position.seq + 1), (header, _CRC.pack(crc32(header))))


def _record_crc(
    length: int, chain: int, seq: int, epoch: int, schema: int, payload: bytes | memoryview
) -> int:
    # The length goes in as the starting value: a checksum over a changed length cannot come out the same.
    return crc32(payload, crc32(_CHECKED.pack(chain, seq, epoch, schema), length))


def epoch_of(data: bytes) -> int | None:
    """Who wrote a segment; None when its header is damaged."""
    header = data[: _HEADER.size]
    if len(data) < HEADER_BYTES or data[_HEADER.size : HEADER_BYTES] != _CRC.pack(crc32(header)):
        return None
    magic, _, epoch, _, _ = _HEADER.unpack(header)
    return int(epoch) if magic == _MAGIC else None


def frame_at(data: memoryview, offset: int) -> tuple[int, int, int, int, int, int] | None:
    """(crc, chain, seq, epoch, schema, end) of the record at an offset; None if there is no whole, sound one."""
    start = offset + _FRAME.size
    if start > len(data):
        return None
    length, crc, chain, seq, epoch, schema = _FRAME.unpack_from(data, offset)
    end = start + length
    if end > len(data) or crc != _record_crc(length, chain, seq, epoch, schema, data[start:end]):
        return None
    return crc, chain, seq, epoch, schema, end


def valid_record_after(data: bytes, offset: int, position: Position) -> int | None:
    """Where a sound later record of the position's epoch begins, at any byte after ``offset``; None if nowhere.

    Looks for the epoch, which stands 20 bytes into each record, and checks what is around each find.
    """
    view = memoryview(data)
    needle, before = position.epoch.to_bytes(4), _FRAME.size - 6
    at = data.find(needle, offset + 1 + before)
    while at >= 0:
        frame = frame_at(view, at - before)
        if frame is not None and frame[2] > position.seq and frame[3] == position.epoch:
            return at - before
        at = data.find(needle, at + 1)
    return None


def missing(directory: Path, position: Position) -> Damaged:
    """What is said where the records after a position are not there, yet must have been."""
    seq = position.seq + 1
    what = f"the records from sequence {seq} on are missing, yet a snapshot or another segment says that they were"
    return Damaged(segment_path(directory, seq), 0, seq, what)


def _newer(path: Path, version: int) -> JournalError:
    return JournalError(
        f"{path}: format {version}; this program reads up to {FORMAT}. Start the newer program again."
    )
