"""The audit chains as files: one folder a partition, lines of JSON in segments, for whoever verifies them.

Written behind the journal: an entry is in the journal before it is here, so a crash can only leave it to be written
again. What is confirmed is never touched; what a crash left behind it, whole or torn, is written over. When the journal
was taken back (an older copy of it), what the files have beyond it is put aside.
"""

import hashlib
import logging
import re
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from slakeeper.otp.filesystem import FileSystem, OsFileSystem, write_atomically
from slakeeper.sla.audit import Entry, Link, read
from slakeeper.sla.audit_check import Problem, ProblemKind

# A segment is read whole after a crash, and whenever it does not end as expected, so it is kept small: some three
# thousand entries.
SEGMENT_BYTES = 1024 * 1024

SUFFIX = ".jsonl"

_NAME = re.compile(rf"\d{{12}}{re.escape(SUFFIX)}")


def segment_name(first_seq: int) -> str:
    """The name of the segment that begins with that entry."""
    return f"{first_seq:012d}{SUFFIX}"


def segments(names: Sequence[str]) -> list[str]:
    """The segments among the names of a folder, in order."""
    return sorted(name for name in names if _NAME.fullmatch(name))


def strangers(folder: str, names: Sequence[str]) -> list[Problem]:
    """Files that look like segments, among the names of a partition's ``folder``, and are none: nothing reads them."""
    kept = set(segments(names))
    return [
        Problem(
            ProblemKind.FOREIGN, f"{folder}/{name}", 0, 0, f"{folder}/{name}: this is no file of the chain"
        )
        for name in sorted(names)
        if name.endswith(SUFFIX) and name not in kept
    ]


@dataclass(frozen=True, slots=True)
class Fork:
    """Entries in the files that the chain does not have: it was taken back behind them, or somebody added them.

    Attributes:
        seq, count: of the first, and how many.
        file: where they will be put aside, in the partition's folder.
    """

    seq: int
    count: int
    file: str


class AuditFiles:
    """Remembers nothing, so that what changes on disk meanwhile is seen. Any thread or process.

    Args:
        directory: ``DATA/audit``.
    """

    def __init__(self, directory: Path, fs: FileSystem | None = None) -> None:
        self._directory = directory
        self._fs: FileSystem = OsFileSystem() if fs is None else fs

    def append(
        self, partition: str, links: Sequence[Link], *, at_most: int | None = None, puts_aside: bool = False
    ) -> int | Fork:
        """Adds entries to a partition's chain; those that are there already are written over with the same bytes.

        Not skipped: after a sync that failed the system may show lines that the disk does not have.

        Args:
            links: all that this has not confirmed yet, in order, without gaps; the first is the one after the last that
                it has.
            at_most: how many are written, but for more of them that are there already; None: all.
            puts_aside: whether a fork is put into a file of its own first; else it is only returned.

        Returns:
            The number of the last that was written: up to it all are durable. Or the fork that is in the way: nothing
            was written.

        Raises:
            OSError: some may be; BlockingIOError: another is writing.
        """
        directory, fs = self._directory / partition, self._fs
        fs.make_directory(directory)
        # A write that hangs, of a cell that has ended meanwhile, must not cut off what the next one adds.
        lock = fs.lock(directory / "lock")
        try:
            return self._append(directory, links, at_most, puts_aside)
        finally:
            lock.release()

    def _append(
        self, directory: Path, links: Sequence[Link], at_most: int | None, puts_aside: bool
    ) -> int | Fork:
        fs = self._fs
        names = segments(fs.names(directory))
        begun = segment_name(links[0].seq)
        name, offset, tail, later = self._place(directory, names, links)
        there, foreign = _behind(tail, links)
        if offset is not None and foreign and all(each.seq >= links[0].seq for each in foreign):
            digest = hashlib.sha256(tail).hexdigest()
            fork = Fork(foreign[0].seq, len(foreign), f"{name}.forked-{digest[:12]}")
            if not puts_aside:
                return fork
            write_atomically(fs, directory / fork.file, (tail,)).close()
            for each in later:
                fs.remove(directory / each)
            fs.sync_directory(directory)
            later, there = (), 0
        elif offset is None or foreign:
            # Somebody else changed it. What is recorded is written all the same, behind what is there: nothing is lost
            # by it, and verifying shows where the break is.
            logging.getLogger("slakeeper.audit").error(
                "%s: entry %d does not follow on what is there; run: slakeeper audit verify",
                directory / name, links[0].seq,
            )  # fmt: skip
            name = names[-1] if names else begun
            content = fs.read(directory / name) if names else b""
            offset, tail, later, there = content.rfind(b"\n") + 1, b"", (), 0
        if offset >= SEGMENT_BYTES and not tail and begun not in names:
            name, offset = begun, 0
        if name not in names:
            fs.create(directory / name).close()
        # What is there already is written again with the rest: the end is cut off behind what is written.
        written = links if at_most is None else links[: max(at_most, there)]
        data = b"".join(link.line.encode("ascii") + b"\n" for link in written)
        fs.rewrite_end(directory / name, offset, data)
        for each in later:
            fs.remove(directory / each)
        if offset == 0 or later:
            fs.sync_directory(directory)
        return written[-1].seq

    def _place(
        self, directory: Path, names: Sequence[str], links: Sequence[Link]
    ) -> tuple[str, int | None, bytes, Sequence[str]]:
        """Where the confirmed entries end: segment, offset in it, what stands behind that, and in which later segments.

        Without an offset they are nowhere.
        """
        begun = segment_name(links[0].seq)
        if not names:
            return begun, 0, b"", ()
        end = None if names[-1] == begun else self._end_if_last(directory / names[-1], links[0].previous)
        if end is not None:
            return names[-1], end, b"", ()
        # In the newest, unless something is wrong; then in any of them, for the chain may be taken back by years.
        for index in reversed(range(len(names))):
            name, later = names[index], names[index + 1 :]
            content = self._fs.read(directory / name)
            offset = 0 if name == begun else _end_of(links[0].previous, content)
            if offset is not None:
                tail = b"".join((content[offset:], *(self._fs.read(directory / each) for each in later)))
                return name, offset, tail, later
        return names[-1], None, b"", ()

    def _end_if_last(self, path: Path, previous: str) -> int | None:
        """The size of a segment [bytes] that ends with the line with that hash, as nearly every one does; else None."""
        ending = _ending(previous)
        with closing(self._fs.open(path)) as file:
            start = file.size - len(ending)
            return file.size if start >= 0 and file.read_at(start, len(ending)) == ending else None


def _ending(entry_hash: str) -> bytes:
    return f',"hash":"{entry_hash}"}}\n'.encode("ascii")


def _end_of(previous: str, content: bytes) -> int | None:
    """Where the line with that hash ends in a segment [bytes]; None when it is not there."""
    ending = _ending(previous)
    at = content.rfind(ending)
    return None if at < 0 else at + len(ending)


def _behind(tail: bytes, links: Sequence[Link]) -> tuple[int, list[Entry]]:
    """What stands behind the confirmed entries: how many of these, and sound entries that are none of them.

    Whatever else is there a crash may have left.
    """
    if not tail:
        return 0, []
    places = {link.line: place for place, link in enumerate(links, 1)}
    texts = [each.decode("latin-1") for each in tail.split(b"\n")]
    there = max((places.get(text, 0) for text in texts), default=0)
    entries = (read(text) for text in texts if text not in places)
    return there, [entry for entry in entries if entry is not None and entry.is_intact]
