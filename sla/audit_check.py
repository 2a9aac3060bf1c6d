"""What is wrong with an audit chain that was read back, and where: lines edited, missing, out of order, cut off.

One change is reported once and in its place. What only a head can show (the end cut off, the whole chain written anew)
needs a head that is kept elsewhere: the running system's, the journal's, or one that was noted.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import Any

from slakeeper.sla.audit import GENESIS, Entry, Head, read


class ProblemKind(StrEnum):
    """What is wrong."""

    EDITED = "edited"
    """The line is no entry, its hash is not that of its contents, or not the one that the next entry follows on."""
    MISSING = "missing"
    """Entries between two others, or before the first, are gone."""
    SWAPPED = "swapped"
    """Lines stand in another order than they were written."""
    REPEATED = "repeated"
    """An entry stands there more than once."""
    TRUNCATED = "truncated"
    """The end is gone."""
    FOREIGN = "foreign"
    """It is not this partition's chain, or not the one that the head belongs to."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line as it lies on disk: ``number`` counts from 1; ``is_whole``: it ends with a line feed."""

    file: str
    number: int
    text: str
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, and where. ``seq``: of the (first) entry concerned, as far as it can be told."""

    kind: ProblemKind
    file: str
    line: int
    seq: int
    message: str

    def to_document(self) -> dict[str, Any]:
        return {
            "kind": self.kind.value, "file": self.file, "line": self.line, "seq": self.seq, "message": self.message,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expected:
    """What the chain's owner says of it.

    Attributes:
        head: the end of the chain.
        filed_seq: up to here everything was written into the files, and synced.
        latest_seq: entries that were added since ``head`` was asked for end here; None when there can be none.
        filed_hash: of the entry ``filed_seq``, which shows what was written anew while the head is not in the files;
            empty when it is not known.
    """

    head: Head
    filed_seq: int
    latest_seq: int | None = None
    filed_hash: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of a check.

    Attributes:
        entry_count: readable entries.
        end: of what the files hold; without a hash when the last line is not as it was written.
        unwritten_count: entries that the owner has and has not written yet.
        hashes: of every intact entry.
    """

    entry_count: int
    end: Head
    problems: tuple[Problem, ...]
    unwritten_count: int
    hashes: frozenset[str]


@dataclass(slots=True)
class _Placed:
    row: Row
    entry: Entry | None
    seq: int

    @property
    def is_intact(self) -> bool:
        return self.entry is not None and self.entry.is_intact

    @property
    def where(self) -> str:
        return f"{self.row.file}:{self.row.number}"


@dataclass(frozen=True, slots=True)
class Lines:
    """What a check needs of a chain's lines, without their text: a chain of years fits into memory."""

    placed: list[_Placed]
    torn: Row | None


def check(partition: str, rows: Iterable[Row], expected: Expected | None = None, file: str = "") -> Finding:
    """:func:`judge` of what is read from ``rows``: every line of a partition's files, in order."""
    return judge(partition, take(rows), expected, file)


def judge(partition: str, lines: Lines, expected: Expected | None = None, file: str = "") -> Finding:
    """Checks a partition's chain.

    Args:
        expected: what its owner says; without it a cut end is not seen.
        file: named when there is no line at all.
    """
    placed, torn = lines.placed, lines.torn
    if expected is not None:
        placed = _without_unconfirmed(placed, expected)
    problems = [*_edited(placed), *_foreign(placed, partition)]
    present = _in_order(placed)
    problems += [*_repeated(placed), *_swapped(placed), *_missing(present), *_broken_links(present)]
    end = _end(present[-1]) if present else Head()
    last = present[-1].row if present else Row(file, 0, "")
    unwritten_count = 0
    if expected is not None:
        problems += _against(expected, present, end, last)
        unwritten_count = max(0, expected.head.seq - max(end.seq, expected.filed_seq))
    if torn is not None and (expected is None or end.seq < expected.filed_seq) and not problems:
        message = f"{torn.file}:{torn.number}: the line ends in its middle"
        problems.append(Problem(ProblemKind.TRUNCATED, torn.file, torn.number, end.seq + 1, message))
    problems.sort(key=lambda each: (each.file, each.line, each.seq))
    hashes = frozenset(each.entry.hash for each in placed if each.entry is not None and each.is_intact)
    return Finding(len(placed), end, tuple(problems), unwritten_count, hashes)


def _end(last: _Placed) -> Head:
    return Head(last.seq, last.entry.hash if last.entry is not None and last.is_intact else "")


def take(rows: Iterable[Row]) -> Lines:
    """Every whole line with the number it stands for; an end without a line feed apart.

    What a damaged line says of its own number is believed only when its place does not say otherwise.
    """
    whole: list[_Placed] = []
    torn: Row | None = None
    for row in rows:
        if torn is not None:  # a line without an end, and more after it: the end was edited away
            whole.append(_Placed(_without_text(torn), None, 0))
            torn = None
        if not row.is_whole:
            torn = row
            continue
        entry = _compact(read(row.text), whole[-1].entry if whole else None)
        whole.append(_Placed(_without_text(row), entry, entry.seq if entry is not None else 0))
    known = {each.seq for each in whole if each.is_intact}
    before = 0
    for each in whole:
        if not each.is_intact:
            each.seq = before + 1 if before + 1 not in known else each.seq if each.seq not in known else 0
            known.add(each.seq)
        before = each.seq or before
    return Lines(whole, torn)


def _without_text(row: Row) -> Row:
    return replace(row, text="")


def _compact(entry: Entry | None, before: Entry | None) -> Entry | None:
    """Without its contents, and sharing the hash that it follows on with the entry that has it."""
    if entry is None:
        return None
    shared = before is not None and before.hash == entry.previous
    previous = before.hash if before is not None and shared else entry.previous
    return replace(entry, previous=previous, document={})


def _without_unconfirmed(placed: list[_Placed], expected: Expected) -> list[_Placed]:
    """Without what a crash may have left half written behind what is confirmed: the owner will write it over."""
    latest_seq = expected.head.seq if expected.latest_seq is None else expected.latest_seq
    if latest_seq <= expected.filed_seq:
        return placed
    confirmed = (index for index, each in enumerate(placed, 1) if each.seq == expected.filed_seq)
    start = next(confirmed, 0 if expected.filed_seq == 0 else len(placed))
    damaged = (index for index in range(start, len(placed)) if not placed[index].is_intact)
    return placed[: next(damaged, len(placed))]


def _in_order(placed: Sequence[_Placed]) -> list[_Placed]:
    """One line for each number, ascending; of several the one that is intact and that others follow on."""
    previous = {each.entry.previous for each in placed if each.entry is not None}
    best: dict[int, _Placed] = {}
    for each in placed:
        if not each.seq:
            continue
        other = best.get(each.seq)
        if other is None or _rank(each, previous) > _rank(other, previous):
            best[each.seq] = each
    return [best[seq] for seq in sorted(best)]


def _rank(each: _Placed, previous: set[str]) -> tuple[bool, bool]:
    return each.is_intact, each.entry is not None and each.entry.hash in previous


def _edited(placed: Sequence[_Placed]) -> Iterable[Problem]:
    for each in placed:
        if each.entry is None:
            message = f"{each.where}: this is no entry of an audit chain"
        elif not each.entry.is_intact:
            message = f"{each.where}: entry {each.entry.seq} was edited: its hash is not that of its contents"
        else:
            continue
        yield Problem(ProblemKind.EDITED, each.row.file, each.row.number, each.seq, message)


def _foreign(placed: Sequence[_Placed], partition: str) -> Iterable[Problem]:
    for each in placed:
        if each.entry is not None and each.entry.is_intact and each.entry.partition != partition:
            message = (
                f"{each.where}: entry {each.seq} belongs to partition {each.entry.partition}, not {partition}"
            )
            yield Problem(ProblemKind.FOREIGN, each.row.file, each.row.number, each.seq, message)


def _repeated(placed: Sequence[_Placed]) -> Iterable[Problem]:
    seen: Counter[int] = Counter()
    for each in placed:
        if each.is_intact:
            seen[each.seq] += 1
            if seen[each.seq] > 1:
                message = f"{each.where}: entry {each.seq} stands here once more"
                yield Problem(ProblemKind.REPEATED, each.row.file, each.row.number, each.seq, message)


def _swapped(placed: Sequence[_Placed]) -> Iterable[Problem]:
    """Runs of lines that are not where their numbers belong; repeated ones apart."""
    seen: set[int] = set()
    once: list[_Placed] = []
    for each in placed:
        if each.seq and each.seq not in seen:
            seen.add(each.seq)
            once.append(each)
    wrong = [(each, seq) for each, seq in zip(once, sorted(seen), strict=True) if each.seq != seq]
    if wrong:
        first, last = wrong[0][0], wrong[-1][0]
        numbers = ", ".join(f"{each.where} has entry {each.seq}" for each, _ in wrong[:4])
        more = f", and {len(wrong) - 4} more to {last.where}" if len(wrong) > 4 else ""
        message = f"{first.where}: entries are out of order: {numbers}{more}"
        yield Problem(ProblemKind.SWAPPED, first.row.file, first.row.number, first.seq, message)


def _missing(present: Sequence[_Placed]) -> Iterable[Problem]:
    before = 0
    for each in present:
        if each.seq > before + 1:
            gone = _numbers(before + 1, each.seq - 1)
            message = f"{each.where}: before this line {gone} missing"
            yield Problem(ProblemKind.MISSING, each.row.file, each.row.number, before + 1, message)
        before = each.seq


def _broken_links(present: Sequence[_Placed]) -> Iterable[Problem]:
    """Entries with a right hash of their own that is not the one the next follows on: edited, and hashed again.

    Two broken links in a row share the entry between them; a single one is due to the entry before it.
    """
    broken = [_is_broken(a, b) for a, b in pairwise(present)]
    if present and present[0].seq == 1 and present[0].entry is not None and present[0].is_intact:
        if present[0].entry.previous != GENESIS:
            yield _rehashed(present[0])
            if broken and broken[0]:
                broken[0] = False
    index = 0
    while index < len(broken):
        if broken[index]:
            shared = index + 1 < len(broken) and broken[index + 1]
            yield _rehashed(present[index + 1] if shared else present[index])
            index += shared
        index += 1


def _is_broken(a: _Placed, b: _Placed) -> bool:
    if b.seq != a.seq + 1 or not (a.is_intact and b.is_intact):
        return False
    return a.entry is not None and b.entry is not None and b.entry.previous != a.entry.hash


def _rehashed(each: _Placed) -> Problem:
    message = f"{each.where}: entry {each.seq} was edited and its hash computed anew: its neighbours do not go with it"
    return Problem(ProblemKind.EDITED, each.row.file, each.row.number, each.seq, message)


def _against(expected: Expected, present: Sequence[_Placed], end: Head, last: Row) -> Iterable[Problem]:
    head = expected.head
    where = f"{last.file}:{last.number}"
    if end.seq < expected.filed_seq:
        gone = _numbers(end.seq + 1, expected.filed_seq)
        message = (
            f"{where}: the end is cut off: {gone} missing after this line"
            if last.number
            else f"{last.file}: nothing is there: {gone} missing"
        )
        yield Problem(ProblemKind.TRUNCATED, last.file, last.number, end.seq + 1, message)
    marks = {expected.filed_seq: (expected.filed_hash, "the last one that was written")}
    marks[head.seq] = (head.hash, "the chain's head")
    for seq, (digest, whose) in sorted(marks.items()):
        known = next((each for each in reversed(present) if each.seq == seq), None)
        if (
            known is None
            or known.entry is None
            or not known.is_intact
            or known.entry.hash == digest
            or not digest
        ):
            continue
        message = (
            f"{known.where}: entry {seq} has not the hash of {whose}: it, or all since some entry before it, was "
            "written anew"
        )
        yield Problem(ProblemKind.FOREIGN, known.row.file, known.row.number, seq, message)
        break  # what follows was written anew as well
    latest_seq = head.seq if expected.latest_seq is None else expected.latest_seq
    if end.seq > latest_seq:
        first = next(each for each in present if each.seq > latest_seq)
        message = (
            f"{first.where}: the chain ends with entry {latest_seq}; what follows it here was never recorded"
        )
        yield Problem(ProblemKind.FOREIGN, first.row.file, first.row.number, latest_seq + 1, message)


def _numbers(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"
