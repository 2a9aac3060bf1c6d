"""The audit chain of a partition whose history was cut or copied: its files hold no more than the partition has.

The files are written behind the journal, and so they can be ahead of a copy of it, or of what a repair kept of it.
What is ahead would count as somebody else's: the partition goes on with other entries of the same numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slakeeper.actors.address import audit_address
from slakeeper.actors.audit import begin_chains, recorded_chain
from slakeeper.actors.audit_file import segments
from slakeeper.actors.record import make_codec
from slakeeper.otp.filesystem import OsFileSystem, write_atomically
from slakeeper.otp.look import Look
from slakeeper.otp.partition import Event, Partition
from slakeeper.otp.repair import set_aside
from slakeeper.sla.audit import Fact, What, plain, read

AUDIT_FOLDER = "audit"


def cut_chain(data: Path, name: str, aside: Path | None = None) -> int:
    """Takes out of a partition's audit files what the partition does not have; durable on return.

    Interrupted, it is to be done again; nothing is lost in between.

    Args:
        aside: a folder where the files go as they were; None where they are a copy themselves.

    Returns:
        How many entries were taken out.

    Raises:
        JournalError: the partition cannot be read.
        OSError: a file cannot be read or written.
    """
    folder = data / AUDIT_FOLDER / name
    if not folder.is_dir():
        return 0
    fs, head_seq = OsFileSystem(), _head_seq(data, name)
    listed = [folder / each for each in segments(fs.names(folder))]
    ahead = [
        (path, content, _first_ahead(content, head_seq)) for path in listed for content in (fs.read(path),)
    ]
    cut = [(path, content, byte) for path, content, byte in ahead if byte is not None]
    if not cut:
        return 0
    if aside is not None:
        fs.make_directory(aside)
        there = fs.names(aside)
        for path, _, _ in cut:
            # One that is there is from a try before this one, and as it was before that.
            if path.name not in there:
                set_aside(fs, path, aside / path.name)
        fs.sync_directory(aside)
    # From the end on, so that what is left is a chain at any time.
    for path, content, byte in reversed(cut):
        if byte:
            write_atomically(fs, path, (content[:byte],)).close()
        else:
            fs.remove(path)
            fs.sync_directory(folder)
    return sum(content[byte:].count(b"\n") for _, content, byte in cut)


def entries_ahead(data: Path, name: str) -> int:
    """How many entries a partition's audit files hold that the partition does not have; nobody may be using it.

    Raises:
        JournalError: the partition cannot be read, or is in use.
        OSError: a file cannot be read.
    """
    folder = data / AUDIT_FOLDER / name
    if not folder.is_dir():
        return 0
    fs, head_seq = OsFileSystem(), _head_seq(data, name)
    contents = [fs.read(folder / each) for each in segments(fs.names(folder))]
    starts = [(content, _first_ahead(content, head_seq)) for content in contents]
    return sum(content[at:].count(b"\n") for content, at in starts if at is not None)


def note_repair(data: Path, name: str, by: str, now_ms: int, folder: Path, details: dict[str, Any]) -> None:
    """Has a repair in the partition's chain, durable on return; a second time changes nothing.

    Args:
        folder: where what was taken out is; it tells one repair from another.

    Raises:
        JournalError: the partition cannot be opened.
    """
    said = {"folder": str(folder), **details}
    fact = Fact(now_ms, What.PARTITION_REPAIRED.value, by, "cli", subject=name, details=plain(said))
    _note_once(data, name, fact, "folder")


def note_release(data: Path, mark: Mapping[str, Any], by: str, now_ms: int) -> None:
    """Has in the first partition's chain that a restored copy took over, durable on return; once for one mark.

    Args:
        mark: of the copy; see :func:`slakeeper.restored.mark_of`.

    Raises:
        JournalError: the partition cannot be opened or written.
    """
    folder = data / "partitions"
    names = sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []
    if names:
        fact = Fact(now_ms, What.COPY_RELEASED.value, by, "cli", subject=names[0], details=plain(mark))
        _note_once(data, names[0], fact, "restored_at_ms")


def _note_once(data: Path, name: str, fact: Fact, key: str) -> None:
    """Has a fact in a partition's chain, durable on return.

    Args:
        key: of its details: an entry that agrees in it is the same, noted by a try before this one.
    """
    codec = make_codec()
    partition = Partition(data / "partitions" / name, codec)
    partition.open()
    try:
        begin_chains({name: partition}, codec, fact.at_ms)
        record = partition.records[audit_address(name)]
        known = (codec.decode(each) for each in record.tail)
        if any(
            isinstance(each, Fact)
            and each.what == fact.what
            and each.details.get(key) == fact.details.get(key)
            for each in known
        ):
            return
        partition.append((Event(record.address, codec.encode(fact)),))
        partition.commit()
    finally:
        partition.close()


def _head_seq(data: Path, name: str) -> int:
    codec = make_codec()
    directory = data / "partitions" / name
    if not directory.is_dir():
        return 0
    partition = Partition(directory, codec, Look())
    partition.open()
    try:
        return recorded_chain(partition, name, codec).head_seq
    except LookupError:
        return 0
    finally:
        partition.close()


def _first_ahead(content: bytes, head_seq: int) -> int | None:
    """Where the first entry after ``head_seq`` begins in a segment [bytes]; None without one."""
    at = 0
    for line in content.splitlines(keepends=True):
        entry = read(line.rstrip(b"\n").decode("latin-1"))
        if entry is not None and entry.seq > head_seq:
            return at
        at += len(line)
    return None
