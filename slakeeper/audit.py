"""The audit chain as it lies below the data directory: read, and verified against what the system knows of it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slakeeper.actors.audit import recorded_chain
from slakeeper.actors.audit_file import segments, strangers
from slakeeper.actors.record import make_codec
from slakeeper.otp.journal import JournalError
from slakeeper.otp.look import Look
from slakeeper.otp.partition import Partition
from slakeeper.sla.audit import Head, read
from slakeeper.sla.audit_check import Expected, Finding, Lines, Row, judge, take

AUDIT_FOLDER = "audit"

# An entry is in the files within milliseconds; a cell that is being restarted is back within a second or so.
SETTLE_S = 5.0
LOOK_AGAIN_S = 0.05

SYSTEM, JOURNAL = "system", "journal"

Heads = Mapping[str, Any]
Document = dict[str, Any]


class AuditError(Exception):
    """The chain cannot be verified; the text says why."""


class NotSaid(AuditError):
    """A part of the system did not say how far its chain is; it may later."""


def partitions(data: Path) -> list[str]:
    """The names of all partitions that have, or should have, a chain."""
    found: set[str] = set()
    for folder in (data / AUDIT_FOLDER, data / "partitions"):
        if folder.is_dir():
            found.update(each.name for each in folder.iterdir() if each.is_dir())
    return sorted(found)


def rows(data: Path, partition: str) -> Iterator[Row]:
    """Every line of a partition's files, in order; files are named as seen from the data directory."""
    for name in _segments(data, partition):
        yield from _rows_of(data, partition, name)


def last_entries(data: Path, count: int) -> list[Document]:
    """The newest entries of all partitions, oldest first; lines that are no entries are left out."""
    found: list[Document] = []
    for partition in partitions(data):
        newest: list[Document] = []
        for name in reversed(_segments(data, partition)):
            newest = [*_entries(_rows_of(data, partition, name)), *newest]
            if len(newest) >= count:
                break
        found += newest[-count:] if count else []
    found.sort(key=_when)
    return found[-count:] if count else []


class Follower:
    """Tells what was added since it was made, or asked last."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ends: dict[str, tuple[str, int]] = {}
        self.added()

    def added(self) -> list[Document]:
        """New entries, oldest first."""
        found: list[Document] = []
        for partition in partitions(self._data):
            found += self._added_to(partition)
        found.sort(key=_when)
        return found

    def _added_to(self, partition: str) -> list[Document]:
        after, seen = self._ends.get(partition, ("", 0))
        found: list[Document] = []
        for name in _segments(self._data, partition):
            if name < after:
                continue
            content = (self._data / AUDIT_FOLDER / partition / name).read_bytes()
            start = seen if name == after else 0
            end = content.rfind(b"\n") + 1
            lines = content[start:end].split(b"\n")[:-1]
            found += _entries(Row(name, 0, line.decode("latin-1")) for line in lines)
            self._ends[partition] = (name, max(start, end))
        return found


@dataclass(frozen=True)
class Verdict:
    """What came of verifying; ``unknown_heads``: of the noted ones, those that are in no chain."""

    against: str
    findings: Mapping[str, Finding]
    unknown_heads: tuple[str, ...]

    @property
    def is_intact(self) -> bool:
        return not self.unknown_heads and not any(each.problems for each in self.findings.values())

    def to_document(self) -> Document:
        """``{"ok", "against", "partitions": [{"partition", "entries", "seq", "hash", "unwritten", "problems"}],
        "problems": [{"partition", "kind", "file", "line", "seq", "message"}], "unknown_heads"}``.

        ``hash`` is null when the last line is not as it was written: it is no head then.
        """
        parts, problems = [], []
        for name, finding in self.findings.items():
            found = [each.to_document() for each in finding.problems]
            problems += [{"partition": name, **each} for each in found]
            parts.append(
                {
                    "partition": name,
                    "entries": finding.entry_count,
                    "seq": finding.end.seq,
                    "hash": finding.end.hash or None,
                    "unwritten": finding.unwritten_count,
                    "problems": found,
                }
            )
        return {
            "ok": self.is_intact,
            "against": self.against,
            "partitions": parts,
            "problems": problems,
            "unknown_heads": list(self.unknown_heads),
        }


def verify(data: Path, ask_heads: Callable[[], Heads] | None, noted: Sequence[str] = ()) -> Verdict:
    """Verifies every chain.

    Args:
        ask_heads: asks the running system, see ``Cluster.audit_heads``; None when none runs: the journals are read.
        noted: hashes of heads that were noted earlier.

    Raises:
        AuditError: a cell does not answer; a journal cannot be read; there is nothing to verify.
    """
    if not partitions(data):
        raise AuditError(f"there is no audit chain in {data}")
    if ask_heads is None:
        findings = {name: verify_recorded(data, name) for name in partitions(data)}
    else:
        before = _settled_heads(ask_heads)
        names = sorted({*before, *partitions(data)})
        lines = {name: take(rows(data, name)) for name in names}
        after = _heads(ask_heads())
        findings = {}
        for name in names:
            known, latest = before.get(name), after.get(name, before.get(name))
            expected = replace(known, latest_seq=latest.head.seq) if known and latest else None
            findings[name] = _judged(data, name, lines[name], expected)
    known_hashes = frozenset().union(*(each.hashes for each in findings.values()))
    unknown = tuple(each for each in noted if each not in known_hashes)
    return Verdict(JOURNAL if ask_heads is None else SYSTEM, findings, unknown)


def verify_recorded(data: Path, name: str) -> Finding:
    """Verifies the chain of one partition, which nobody is writing, against its journal.

    Raises:
        AuditError: the journal cannot be read, or is in use.
    """
    expected = _recorded(data, name)
    return _judged(data, name, take(rows(data, name)), expected)


def _judged(data: Path, name: str, lines: Lines, expected: Expected | None) -> Finding:
    folder = f"{AUDIT_FOLDER}/{name}"
    finding = judge(name, lines, expected, folder)
    return replace(finding, problems=(*finding.problems, *strangers(folder, _names(data, name))))


def _settled_heads(ask_heads: Callable[[], Heads]) -> dict[str, Expected]:
    """The heads once the files have caught up with them, or when they had long enough."""
    until_s = time.monotonic() + SETTLE_S
    while True:
        answer = ask_heads()
        heads = _heads(answer)
        is_settled = not answer["away"] and all(each.filed_seq == each.head.seq for each in heads.values())
        if is_settled or time.monotonic() > until_s:
            break
        time.sleep(LOOK_AGAIN_S)
    if answer["away"]:
        raise NotSaid(f"{', '.join(answer['away'])} did not say how far the chain is; try again")
    return heads


def _heads(answer: Heads) -> dict[str, Expected]:
    return {
        str(each["partition"]): Expected(
            Head(each["seq"], each["hash"]), each["filed_seq"], filed_hash=each.get("filed_hash", "")
        )
        for each in answer["heads"]
    }


def _recorded(data: Path, name: str) -> Expected | None:
    """What a partition that nobody writes has on record; None when it never had a chain."""
    directory = data / "partitions" / name
    if not directory.is_dir():
        return None
    codec = make_codec()
    partition = Partition(directory, codec, Look())
    try:
        partition.open()
        chain = recorded_chain(partition, name, codec)
    except JournalError as error:
        raise AuditError(str(error)) from error
    except LookupError:
        return None
    finally:
        partition.close()
    head = Head(chain.head_seq, chain.head_hash)
    return Expected(head, chain.filed_seq, filed_hash=chain.filed_hash)


def _names(data: Path, partition: str) -> list[str]:
    directory = data / AUDIT_FOLDER / partition
    return [each.name for each in directory.iterdir()] if directory.is_dir() else []


def _segments(data: Path, partition: str) -> list[str]:
    return segments(_names(data, partition))


def _rows_of(data: Path, partition: str, name: str) -> Iterator[Row]:
    content = (data / AUDIT_FOLDER / partition / name).read_bytes()
    shown = f"{AUDIT_FOLDER}/{partition}/{name}"
    *whole, rest = content.split(b"\n")
    for number, line in enumerate(whole, 1):
        yield Row(shown, number, line.decode("latin-1"))
    if rest:
        yield Row(shown, len(whole) + 1, rest.decode("latin-1"), is_whole=False)


def _entries(lines: Iterator[Row]) -> list[Document]:
    found = (read(row.text) for row in lines if row.is_whole)
    return [each.document for each in found if each is not None]


def _when(entry: Document) -> tuple[int, str, int]:
    return int(entry.get("at_ms", 0)), str(entry.get("partition", "")), int(entry.get("seq", 0))
