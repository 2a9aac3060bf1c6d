"""StatsD: lines of datagrams in, samples out at each flush. No clock and no socket; see `datagram` for those.

- counter (``c``): the sum of the interval, each value divided by its rate: one sample at the flush. It is for
  ``aggregation: sum`` and ``rate``. An interval without one is no sample, not a zero.
- gauge (``g``): its last value, one sample at the flush if it was set; ``+N`` and ``-N`` change the value before.
- timer (``ms``, ``h``, ``d``): every value is a sample of its own, at the instant it came.
- set (``s``): how many different values the interval had, one sample at the flush.

Tags are DogStatsD's, ``|#name:text,name``; they become labels, one without a text has an empty one.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from sys import getsizeof
from typing import Any

from slakeeper.web.ingest import MAX_LABELS, MAX_NAME_CHARS, Sample

# Different names, with their tags, that are kept between two flushes. Somebody who puts an id into a name gets to
# know it here, and not by the machine running out of memory.
MAX_SERIES = 20_000

# Samples of timers, and members of sets, between two flushes.
MAX_VALUES = 100_000

# Of a name with its tags in one line. Some tens of tags; more would cost each flush more than they tell.
MAX_SERIES_BYTES = 2 * 1024

# Memory for all that is kept between two flushes, gauges over them included: 1.6 KiB for each of 20 000 names. Half of
# it is for the gauges that are kept.
MAX_BYTES = 32 * 1024 * 1024

# What is kept for a series, a tag and a value beside their text, roughly: places in dictionaries, pairs, a sample.
_SERIES_BYTES = 300
_TAG_BYTES = 150
_VALUE_BYTES = 150

COUNTER, GAUGE, SET = "c", "g", "s"

_LINE = re.compile(rb"([^:|]+):([^|]+)\|(ms|[cghds])((?:\|[^|]*)*)")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")

# DogStatsD's events and service checks are no metrics.
_NO_METRICS = (b"_e{", b"_sc|")

# (name, tags as sorted pairs)
Series = tuple[str, tuple[tuple[str, str], ...]]


class BadLine(Exception):
    """A line that is not understood; the reason as a word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says.

    Attributes:
        series: its name and tags.
        kind: ``c``, ``g``, ``s`` or ``ms`` for all that are timers.
        values: as they stand there: a gauge's sign has a meaning, a set's value may be anything.
        rate: the share of events that the sender reports, 0 < rate <= 1.
    """

    series: Series
    kind: str
    values: tuple[bytes, ...]
    rate: float = 1.0


def parse_line(line: bytes) -> Line:
    """Reads ``NAME:VALUE[:VALUE…]|TYPE[|@RATE][|#TAG[:TEXT],…]``; further fields are passed over.

    Raises:
        BadLine: it is none.
    """
    if line.startswith(_NO_METRICS):
        raise BadLine("not_a_metric")
    found = _LINE.fullmatch(line)
    if found is None:
        raise BadLine("bad_line")
    kind = found[3].decode()
    values = tuple(found[2].split(b":"))
    if kind != SET and not all(_NUMBER.fullmatch(value) for value in values):
        raise BadLine("not_a_number")
    rate, tags = 1.0, b""
    for part in found[4].split(b"|")[1:]:
        if part.startswith(b"@"):
            rate = _rate(part[1:])
        elif part.startswith(b"#"):
            tags = part[1:]
    try:
        name, labels = found[1].decode(), _labels(tags.decode())
    except UnicodeDecodeError as error:
        raise BadLine("not_utf8") from error
    if len(name) > MAX_NAME_CHARS:
        raise BadLine("invalid_metric")
    if len(found[1]) + len(tags) > MAX_SERIES_BYTES:
        raise BadLine("too_many_tags")
    return Line((name, labels), kind if kind in {COUNTER, GAUGE, SET} else "ms", values, rate)


def _rate(text: bytes) -> float:
    rate = float(text) if _NUMBER.fullmatch(text) else 0.0
    if not 0 < rate <= 1:
        raise BadLine("bad_rate")
    return rate


def _labels(text: str) -> tuple[tuple[str, str], ...]:
    if not text:
        return ()
    pairs = {name: value for name, _, value in (tag.partition(":") for tag in text.split(",")) if name}
    if len(pairs) > MAX_LABELS or any(len(part) > MAX_NAME_CHARS for pair in pairs.items() for part in pair):
        raise BadLine("invalid_labels")
    return tuple(sorted(pairs.items()))


class Aggregate:
    """What came since the last flush.

    Attributes:
        refused: lines that were not taken since the last flush, by reason.
        held_bytes: memory that is taken, roughly; ``batch_bytes`` without gauges that were not set since then.
    """

    def __init__(
        self, max_series: int = MAX_SERIES, max_values: int = MAX_VALUES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._max_series = max_series
        self._max_values = max_values
        self._max_bytes = max_bytes
        self.held_bytes = self.batch_bytes = 0
        self._gauge_bytes = 0
        self._counters: dict[Series, float] = {}
        self._sets: dict[Series, set[bytes]] = {}
        # The newest at the end; kept over flushes for those that are changed by +N and -N.
        self._gauges: dict[Series, float] = {}
        self._set_gauges: set[Series] = set()
        self._timers: list[Sample] = []
        self._members = 0
        self.refused: dict[str, int] = {}

    @property
    def values(self) -> int:
        """Samples of timers that wait for the flush."""
        return len(self._timers)

    def take(self, datagram: bytes, now_ms: int) -> None:
        """Takes the lines of a datagram, each by itself."""
        for line in datagram.split(b"\n"):
            text = line.strip()
            if text:
                try:
                    self._add(parse_line(text), now_ms)
                except BadLine as error:
                    self.refused[error.reason] = self.refused.get(error.reason, 0) + 1

    def flush(self, now_ms: int) -> list[Sample]:
        """The samples of the interval that ends now; the next one begins."""
        samples, self._timers = self._timers, []
        samples += (_sample(series, value, now_ms) for series, value in self._finished())
        self._counters, self._sets, self._set_gauges, self._members = {}, {}, set(), 0
        # Those that were set least recently make room for new ones.
        for series in tuple(self._gauges):
            if len(self._gauges) <= self._max_series // 2 and self._gauge_bytes <= self._max_bytes // 2:
                break
            del self._gauges[series]
            self._gauge_bytes -= _bytes_of(series)
        self.held_bytes, self.batch_bytes = self._gauge_bytes, 0
        return samples

    def _finished(self) -> Iterator[tuple[Series, float]]:
        yield from self._counters.items()
        for series in self._set_gauges:
            yield series, self._gauges[series]
        for series, members in self._sets.items():
            yield series, float(len(members))

    def _add(self, line: Line, now_ms: int) -> None:
        series = line.series
        if line.kind == COUNTER:
            self._make_room(self._counters, series)
            total = self._counters.get(series, 0.0)
            self._counters[series] = total + sum(float(value) for value in line.values) / line.rate
        elif line.kind == GAUGE:
            if self._make_room(self._gauges, series):
                self._gauge_bytes += _bytes_of(series)
            elif series not in self._set_gauges:
                self.batch_bytes += _bytes_of(series)
            value = self._gauges.pop(series, 0.0)
            for text in line.values:
                value = value + float(text) if text[:1] in b"+-" else float(text)
            self._gauges[series] = value if math.isfinite(value) else 0.0
            if not math.isfinite(value):
                raise BadLine("not_finite")
            self._set_gauges.add(series)
        elif line.kind == SET:
            members = self._sets.get(series) or set()
            new = {value for value in line.values if value not in members}
            if self._members + len(new) > self._max_values:
                raise BadLine("too_many_values")
            self._make_room(self._sets, series, sum(map(getsizeof, new)) + _VALUE_BYTES * len(new))
            self._members += len(new)
            members |= new
            self._sets[series] = members
        else:
            if len(self._timers) + len(line.values) > self._max_values:
                raise BadLine("too_many_values")
            self._hold(_bytes_of(series) + _VALUE_BYTES * len(line.values))
            name, labels = series[0], dict(series[1]) or None
            self._timers += ([name, float(value), now_ms, None, labels] for value in line.values)

    def _make_room(self, kept: dict[Series, Any], series: Series, more_bytes: int = 0) -> bool:
        """Takes room for a series, if it is new, and for more of it; whether it is new."""
        is_new = series not in kept
        if is_new and len(kept) >= self._max_series:
            raise BadLine("too_many_names")
        self._hold(more_bytes + (_bytes_of(series) if is_new else 0))
        return is_new

    def _hold(self, more_bytes: int) -> None:
        if self.held_bytes + more_bytes > self._max_bytes:
            raise BadLine("too_many_bytes")
        self.held_bytes += more_bytes
        self.batch_bytes += more_bytes


def _bytes_of(series: Series) -> int:
    """What a series takes of the memory, roughly: a text is more than its characters."""
    name, labels = series
    size = _SERIES_BYTES + getsizeof(name)
    for tag, text in labels:  # not a generator: this runs for each line of a timer
        size += _TAG_BYTES + getsizeof(tag) + getsizeof(text)
    return size


def _sample(series: Series, value: float, at_ms: int) -> Sample:
    name, labels = series
    return [name, value, at_ms, None, dict(labels) or None]
