"""The audit chains as files: one folder a partition, lines of JSON in segments, for whoever verifies them.

Written behind the journal: an entry is in the journal before it is here, so a crash can only leave it to be written
again. What is confirmed is never touched; what a crash left behind it, whole or torn, is written over.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from slakeeper.otp.filesystem import FileSystem, OsFileSystem
from slakeeper.sla.audit import Link, read

# A segment is read when it is added to, so it is kept small: some three thousand entries.
SEGMENT_BYTES = 1024 * 1024

_NAME = re.compile(r"\d{12}\.jsonl")


def segment_name(first_seq: int) -> str:
    """The name of the segment that begins with that entry."""
    return f"{first_seq:012d}.jsonl"


def segments(names: Sequence[str]) -> list[str]:
    """The segments among the names of a folder, in order."""
    return sorted(name for name in names if _NAME.fullmatch(name))


class AuditFiles:
    """Remembers nothing, so that what changes on disk meanwhile is seen. Any thread; one at a time for a partition.

    Args:
        directory: ``DATA/audit``.
    """

    def __init__(self, directory: Path, fs: FileSystem | None = None) -> None:
        self._directory = directory
        self._fs: FileSystem = OsFileSystem() if fs is None else fs

    def append(self, partition: str, links: Sequence[Link]) -> int:
        """Adds entries to a partition's chain; those that are there already are written over with the same bytes.

        Not skipped: after a sync that failed the system may show lines that the disk does not have.

        Args:
            links: in order, without gaps; the first is the one after the last that this has confirmed.

        Returns:
            The number of the last of them: all are durable.

        Raises:
            OSError: some may be.
        """
        directory, fs = self._directory / partition, self._fs
        fs.make_directory(directory)
        names = segments(fs.names(directory))
        begun = segment_name(links[0].seq)
        name = names[-1] if names else begun
        content = fs.read(directory / name) if names else b""
        offset = 0 if name == begun else _end_of(links[0].previous, content)
        if offset is None or not _is_ours(content[offset:], links):
            # Somebody else changed it. What is recorded is written all the same, behind what is there: nothing is lost
            # by it, and verifying shows where the break is.
            logging.getLogger("slakeeper.audit").error(
                "%s: entry %d does not follow on what is there; run: slakeeper audit verify",
                directory / name, links[0].seq,
            )  # fmt: skip
            offset = content.rfind(b"\n") + 1
        if offset >= SEGMENT_BYTES and offset == len(content):
            name, offset = begun, 0
        if name not in names:
            fs.create(directory / name).close()
        data = b"".join(link.line.encode("ascii") + b"\n" for link in links)
        fs.rewrite_end(directory / name, offset, data)
        if offset == 0:
            fs.sync_directory(directory)
        return links[-1].seq


def _end_of(previous: str, content: bytes) -> int | None:
    """Where the line with that hash ends in a segment [bytes]; None when it is not there."""
    ending = f',"hash":"{previous}"}}\n'.encode("ascii")
    at = content.rfind(ending)
    return None if at < 0 else at + len(ending)


def _is_ours(tail: bytes, links: Sequence[Link]) -> bool:
    """Whether what stands behind the confirmed entries can be these, torn or not: no other sound entry is there."""
    lines = {link.line for link in links}
    for each in tail.split(b"\n"):
        text = each.decode("latin-1")
        if text not in lines and (entry := read(text)) is not None and entry.is_intact:
            return False
    return True
