"""A history of samples from a file: CSV or NDJSON, gzipped or not, in blocks of columns.

A line that cannot be used is refused with its number and a reason, and the others count. Blocks are read whole
columns at a time, which is many times faster than line by line; only a block with something unusual in it is gone
through by line. Where all lines are samples of one metric in plain numbers, what lies between these is turned into
JSON, and not even fields are cut out.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from math import isfinite
from operator import le
from typing import Any, BinaryIO, NamedTuple

from pydantic_core import from_json

from slakeeper.instant import LIKELY_S, read_ts
from slakeeper.sla.sample import MAX_AGE_MS, check_sample
from slakeeper.web.ingest import MAX_TS_MS, parse_batch

BLOCK_ROWS = 65_536
CHUNK_BYTES = 2 * 1024 * 1024

# What is listed of refused lines; all are counted.
LISTED = 20

_GZIP = b"\x1f\x8b"
_REQUIRED = ("ts", "metric", "value")


class HistoryError(Exception):
    """The history as a whole cannot be read."""


class Addressee(NamedTuple):
    """To whom a sample goes: a metric's name, the one contract it is for (None: all), its labels."""

    metric: str
    sla: str | None = None
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Block:
    """Samples in the order they came.

    Attributes:
        addressees: of each sample, or one for all of them.
        clock_ms: the greatest instant up to each sample.
    """

    addressees: Sequence[Addressee] | Addressee
    clock_ms: Sequence[int]
    ts_ms: Sequence[int]
    values: Sequence[float]


class _Columns(NamedTuple):
    """Fields of a stretch of lines, the number of the first of which is ``line``; times are Unix ms or None."""

    line: int
    keys: Sequence[Hashable]
    ts_ms: Sequence[Any]
    values: Sequence[Any]


class _Samples(NamedTuple):
    """Fields of lines each of which can be used."""

    keys: Sequence[Hashable]
    ts_ms: list[int]
    values: list[float]


class History:
    """A history that is read once.

    Args:
        source: bytes of CSV (``ts,metric,value[,sla]`` with a header) or NDJSON (a sample of the HTTP API a line).
        from_ms, to_ms: samples outside ``[from_ms, to_ms)`` are left out [Unix ms].

    Attributes:
        first_ms, clock_ms: the first instant within, and the greatest; None before any.
        count: samples within; ``outside`` those left out; ``refused`` lines that could not be used, the first
            of which ``listed`` has.
    """

    def __init__(self, source: BinaryIO, from_ms: int | None = None, to_ms: int | None = None) -> None:
        self._source = source
        self._from_ms, self._to_ms = from_ms, to_ms
        self.first_ms: int | None = None
        self.clock_ms: int | None = None
        self.count = self.outside = self.refused = 0
        self.listed: list[tuple[int, str]] = []
        self._addressees: dict[Hashable, Addressee] = {}

    def blocks(self) -> Iterator[Block]:
        """The samples, block by block.

        Raises:
            HistoryError: it is neither CSV with the columns it needs nor NDJSON, or cannot be unpacked.
        """
        buffered = io.BufferedReader(_Raw(self._source.read))
        if buffered.peek(2)[:2] == _GZIP:
            buffered = io.BufferedReader(_Raw(gzip.GzipFile(fileobj=buffered).read))
        try:
            begin = buffered.peek(64).removeprefix(b"\xef\xbb\xbf").lstrip()
            columns = self._ndjson(buffered) if begin.startswith(b"{") else self._csv(buffered)
            for each in columns:
                block = self._block(each if isinstance(each, _Samples) else self._usable(each))
                if block is not None:
                    self.count += len(block.ts_ms)
                    yield block
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise HistoryError(f"it cannot be unpacked: {error}") from error

    def refuse(self, line: int, reason: str) -> None:
        self.refused += 1
        if len(self.listed) < LISTED:
            self.listed.append((line, reason))

    # --- formats ---------------------------------------------------------------------------------------

    def _csv(self, source: "io.BufferedReader[_Raw]") -> Iterator[_Columns | _Samples]:
        names = [name.strip().lower() for name in next(csv.reader([_decoded(source.readline())]), [])]
        missing = [name for name in _REQUIRED if name not in names]
        if missing:
            raise HistoryError(
                f"the first line must name the columns {', '.join(_REQUIRED)} and, if there is one, sla; "
                f"it lacks {', '.join(missing)}"
            )
        line = 2
        while chunk := source.read(CHUNK_BYTES) + source.readline():
            if b'"' in chunk:
                # A quoted field may hold anything, line ends too.
                lines = map(_decoded, chain(chunk.splitlines(keepends=True), source))
                yield from self._quoted_csv(names, lines, line)
                return
            samples = _of_one_metric(chunk) if tuple(names) == _REQUIRED else None
            if samples is not None and self._are_usable(*samples):
                yield samples
            elif (columns := _split(chunk, len(names))) is not None:
                yield _csv_columns(names, columns, line)
            else:
                rows = [each.split(b",") if each.strip() else [] for each in chunk.split(b"\n")]
                yield from self._rows(names, rows, line)
            line += chunk.count(b"\n")

    def _quoted_csv(self, names: Sequence[str], lines: Iterable[str], first_line: int) -> Iterator[_Columns]:
        reader = csv.reader(lines)
        while True:
            line = first_line + reader.line_num
            rows: list[list[str]] = []
            try:
                rows.extend(islice(reader, BLOCK_ROWS))
            except csv.Error as error:
                self.refuse(first_line + reader.line_num - 1, f"not CSV: {error}")
            else:
                if not rows:
                    return
            yield from self._rows(names, rows, line)

    def _rows(
        self, names: Sequence[str], rows: Sequence[Sequence[str | bytes]], line: int
    ) -> Iterator[_Columns]:
        """Columns of the rows that have all of them; empty lines are nothing at all, the others are refused."""
        kept: list[Sequence[str | bytes]] = []
        lines: list[int] = []
        for number, row in enumerate(rows, start=line):
            if len(row) == len(names):
                kept.append(row)
                lines.append(number)
            elif row:
                self.refuse(number, f"it has {len(row)} of {len(names)} columns")
        for begin, end in _unbroken(lines):
            yield _csv_columns(names, list(zip(*kept[begin:end], strict=True)), lines[begin])

    def _ndjson(self, source: "io.BufferedReader[_Raw]") -> Iterator[_Columns]:
        line = 1
        while lines := list(islice(source, BLOCK_ROWS)):
            lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
            numbers = [number for number, text in enumerate(lines, start=line) if text.strip()]
            batch = parse_batch(b"".join(lines), "application/x-ndjson")
            refused = dict(batch.rejected)
            places = iter(range(len(batch.samples)))
            rows: list[tuple[Hashable, Any, Any]] = []
            kept: list[int] = []
            for index, number in enumerate(numbers):
                if index in refused:
                    self.refuse(number, refused[index])
                    continue
                metric, value, ts_ms, sla, labels = batch.samples[next(places)]
                if ts_ms is None:
                    self.refuse(number, "missing_ts")
                    continue
                rows.append(((metric, sla, tuple(sorted((labels or {}).items()))), ts_ms, value))
                kept.append(number)
            for begin, end in _unbroken(kept):
                keys, ts_column, values = zip(*rows[begin:end], strict=True)
                yield _Columns(kept[begin], keys, ts_column, values)
            line += len(lines)

    # --- samples ---------------------------------------------------------------------------------------

    def _usable(self, columns: _Columns) -> _Samples:
        ts_ms, values = self._numbers(columns)
        if ts_ms is None or values is None or not self._are_usable(columns.keys, ts_ms, values):
            return self._line_by_line(columns)
        return _Samples(columns.keys, ts_ms, values)

    def _block(self, samples: _Samples) -> Block | None:
        keys, ts_ms, values = samples
        if self._from_ms is not None or self._to_ms is not None:
            keys, ts_ms, values = self._within(keys, ts_ms, values)
        if not ts_ms:
            return None
        if self.first_ms is None:
            self.first_ms = ts_ms[0]
        is_in_order = (self.clock_ms is None or self.clock_ms <= ts_ms[0]) and all(
            map(le, ts_ms, islice(ts_ms, 1, None))
        )
        clock_ms = ts_ms
        if not is_in_order:
            begin_ms = ts_ms[0] if self.clock_ms is None else self.clock_ms
            clock_ms = list(accumulate(ts_ms, max, initial=begin_ms))[1:]
        self.clock_ms = clock_ms[-1]
        addressees: Sequence[Addressee] | Addressee = (
            self._addressee(keys[0])
            if keys.count(keys[0]) == len(keys)
            else [self._addressee(key) for key in keys]
        )
        return Block(addressees, clock_ms, ts_ms, values)

    @staticmethod
    def _numbers(columns: _Columns) -> tuple[list[int] | None, list[float] | None]:
        """Both columns as numbers; None where one of them is not all numbers."""
        try:
            values = list(map(float, columns.values))
        except ValueError:
            return None, None
        try:
            return list(map(int, columns.ts_ms)), values
        except ValueError:
            pass
        try:
            return [read_ts(_text(ts)) for ts in columns.ts_ms], values
        except ValueError:
            return None, values

    def _are_usable(self, keys: Sequence[Hashable], ts_ms: list[int], values: list[float]) -> bool:
        """Whether nothing in the columns has to be looked at closely."""
        first_ms, last_ms = min(ts_ms), max(ts_ms)
        clock_ms = ts_ms[0] if self.clock_ms is None else self.clock_ms
        return (
            all(map(isfinite, values))
            and (first_ms >= LIKELY_S[1] or 0 <= first_ms <= last_ms < LIKELY_S[0])
            and last_ms <= min(clock_ms + MAX_AGE_MS, MAX_TS_MS)
            and first_ms >= max(clock_ms, last_ms) - MAX_AGE_MS
            and all(self._has_metric(key) for key in set(keys))
        )

    @staticmethod
    def _has_metric(key: Hashable) -> bool:
        name = key[0] if isinstance(key, tuple) else key
        return isinstance(name, str | bytes) and bool(name.strip())

    def _line_by_line(self, columns: _Columns) -> _Samples:
        """What of the columns can be used; the rest is refused."""
        keys: list[Hashable] = []
        ts_column: list[int] = []
        values: list[float] = []
        clock_ms = self.clock_ms
        rows = zip(columns.keys, columns.ts_ms, columns.values, strict=True)
        for line, (key, ts, value) in enumerate(rows, start=columns.line):
            try:
                ts_ms = ts if isinstance(ts, int) else read_ts(_text(ts))
            except ValueError as error:
                self.refuse(line, str(error))
                continue
            try:
                number = float(value)
            except ValueError:
                self.refuse(line, f"not_a_number: {_text(value)[:40]!r}")
                continue
            reason = "missing_metric" if not self._has_metric(key) else None
            reason = reason or check_sample(
                number, ts_ms, ts_ms if clock_ms is None else max(clock_ms, ts_ms)
            )
            # A service would refuse what is a minute ahead of its clock; a history may have gaps, but not for years.
            if ts_ms > MAX_TS_MS or (clock_ms is not None and ts_ms > clock_ms + MAX_AGE_MS):
                reason = reason or "future"
            if reason is not None:
                self.refuse(line, reason)
                continue
            clock_ms = ts_ms if clock_ms is None else max(clock_ms, ts_ms)
            keys.append(key)
            ts_column.append(ts_ms)
            values.append(number)
        return _Samples(keys, ts_column, values)

    def _within(
        self, keys: Sequence[Hashable], ts_ms: Sequence[int], values: Sequence[float]
    ) -> tuple[Sequence[Hashable], list[int], list[float]]:
        from_ms = 0 if self._from_ms is None else self._from_ms
        to_ms = MAX_TS_MS + 1 if self._to_ms is None else self._to_ms
        places = [place for place, at_ms in enumerate(ts_ms) if from_ms <= at_ms < to_ms]
        self.outside += len(ts_ms) - len(places)
        return [keys[p] for p in places], [ts_ms[p] for p in places], [values[p] for p in places]

    def _addressee(self, key: Hashable) -> Addressee:
        found = self._addressees.get(key)
        if found is None:
            metric, sla, labels = (*key, ())[:3] if isinstance(key, tuple) else (key, None, ())
            found = Addressee(_text(metric), None if sla is None else _text(sla) or None, labels)
            self._addressees[key] = found
        return found


def _split(chunk: bytes, width: int) -> list[list[bytes]] | None:
    """The columns of lines without quotes; None when not every line has ``width`` fields."""
    count = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
    # The first field of a line keeps its line end, to tell whether fields have stayed in their columns.
    fields = (b"\n" + chunk.removesuffix(b"\n").replace(b"\n", b",\n")).split(b",")
    columns = [fields[number::width] for number in range(width)]
    if len(fields) != count * width or b"".join(columns[0]).count(b"\n") != count:
        return None
    return columns


def _of_one_metric(chunk: bytes) -> _Samples | None:
    """What lines ``ts,metric,value`` without quotes say if they are of one metric and JSON has the same numbers."""
    chunk = chunk.removesuffix(b"\n")
    count = chunk.count(b"\n") + 1
    _, comma, rest = chunk.partition(b",")
    metric = rest[: max(0, rest.find(b","))]
    between = b"," + metric + b","
    if not comma or b"\n" in metric or chunk.count(between) != count:
        return None
    try:
        # A null for each line end tells whether numbers have stayed in their columns.
        fields = from_json(b"[" + chunk.replace(between, b",").replace(b"\n", b",null,") + b"]")
        ts_ms, values, ends = fields[::3], fields[1::3], fields[2::3]
        if len(fields) != 3 * count - 1 or ends.count(None) != count - 1 or set(map(type, ts_ms)) != {int}:
            return None
        kinds = set(map(type, values))
        if not kinds <= {float, int} or (int in kinds and b",-0" in chunk):
            return None  # among whole numbers JSON has no minus zero
        return _Samples([metric] * count, ts_ms, values if kinds == {float} else list(map(float, values)))
    except (ValueError, OverflowError):
        return None


def _csv_columns(names: Sequence[str], columns: Sequence[Sequence[Any]], line: int) -> _Columns:
    ts, metric, value = (columns[names.index(name)] for name in _REQUIRED)
    keys = list(zip(metric, columns[names.index("sla")], strict=True)) if "sla" in names else metric
    return _Columns(line, keys, ts, value)


def _text(field: str | bytes) -> str:
    return (field if isinstance(field, str) else _decoded(field)).strip()


def _decoded(text: bytes) -> str:
    return text.decode("utf-8-sig", errors="replace")


def _unbroken(lines: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Stretches ``[begin, end)`` of places whose lines have numbers without a gap."""
    begin = 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or lines[end] != lines[end - 1] + 1:
            yield begin, end
            begin = end


class _Raw(io.RawIOBase):
    """What a function reads, for a buffer to be put on; closing it leaves the source open."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
