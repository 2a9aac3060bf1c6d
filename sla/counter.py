"""Counters: the readings of something that only rises, and how fast it rose.

A reading below the one before is a reset: the counter began again at nothing, so it has risen by what it shows. The
rate is what it rose by between the first and the last reading, per second of the time between them. Nothing is
extrapolated to the ends of a window, and what a counter did while nobody was to look (a cut) is in no rate.

Source: Prometheus documentation, "Query functions", ``rate`` and ``increase``, which extrapolate where this does not.
"""

import itertools
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from math import nan
from typing import Any

from slakeeper.sla.condition import Condition
from slakeeper.sla.exact import Scaled, quotient, scaled, whole
from slakeeper.sla.grid import EXACT_ENTRIES, NEVER, add_in_turn
from slakeeper.sla.packing import pack_floats, pack_ints, unpack_floats, unpack_ints
from slakeeper.sla.tally import Tally

_COMPACT_FROM = 512


def _rise(before: float, after: float) -> Scaled:
    """What a counter rose by from one reading to the next, exactly."""
    return whole(scaled(after) - scaled(before)) if after >= before else scaled(max(after, 0.0))


class Readings:
    """Readings in order of time, and ``rise``, the sum of what it rose by between neighbours."""

    __slots__ = ("_head", "_ts", "_xs", "rise")

    def __init__(self) -> None:
        self._ts = array("q")
        self._xs = array("d")
        self._head = 0
        self.rise: Scaled = 0

    def add(self, ts_ms: int, x: float) -> None:
        """Takes a reading in, in order of time or not; of two at one instant the later arrival replaces the other."""
        ts, xs, head = self._ts, self._xs, self._head
        if len(ts) > head and ts_ms <= ts[-1]:
            place = bisect_left(ts, ts_ms, head)
            is_there = ts[place] == ts_ms
            following = place + 1 if is_there else place
            around = [*xs[max(head, place - 1) : place], *([xs[place]] if is_there else ())]
            around += xs[following : following + 1]
            self.rise -= _total_rise(around)
            if is_there:
                xs[place] = x
            else:
                ts.insert(place, ts_ms)
                xs.insert(place, x)
            self.rise += _total_rise(xs[max(head, place - 1) : place + 2])
        else:
            if len(ts) > head:
                self.rise += _rise(xs[-1], x)
            ts.append(ts_ms)
            xs.append(x)
        self.rise = whole(self.rise)
        if len(ts) - head > EXACT_ENTRIES:
            self._thin_out()

    def forget_until(self, limit_ms: int) -> None:
        """Lets go of readings not after the limit; the newest always stays."""
        ts, xs, head = self._ts, self._xs, self._head
        while head < len(ts) - 1 and ts[head] <= limit_ms:
            self.rise -= _rise(xs[head], xs[head + 1])
            head += 1
        self.rise = whole(self.rise)
        if head > _COMPACT_FROM and head * 2 > len(ts):
            del ts[:head], xs[:head]
            head = 0
        self._head = head

    def _thin_out(self) -> None:
        """Keeps every second reading, and those at a reset: what it rose by stays what it was."""
        ts, xs = self._ts[self._head :], self._xs[self._head :]
        last = len(ts) - 1
        kept = [
            index
            for index in range(last + 1)
            if index % 2 == 0 or index == last or not xs[index - 1] <= xs[index] <= xs[index + 1]
        ]
        # One that is reset all the time is no counter; the oldest half of it goes.
        kept = kept if len(kept) * 4 < len(ts) * 3 else kept[len(kept) // 2 :]
        self._ts, self._xs = array("q", [ts[i] for i in kept]), array("d", [xs[i] for i in kept])
        self._head = 0
        self.rise = _total_rise(self._xs)

    @property
    def span_ms(self) -> int:
        """From the first reading to the last [ms]."""
        return self._ts[-1] - self._ts[self._head] if self._ts else 0

    def dump(self) -> list[Any]:
        return [pack_ints(self._ts[self._head :]), pack_floats(self._xs[self._head :])]

    def load(self, dump: Sequence[Any]) -> None:
        self._ts, self._xs = unpack_ints(dump[0]), unpack_floats(dump[1])
        self._head = 0
        self.rise = _total_rise(self._xs)


def _total_rise(xs: "Sequence[float] | array[float]") -> Scaled:
    return whole(sum((_rise(a, b) for a, b in itertools.pairwise(xs)), start=0))


def _rate(rise: Scaled, span_ms: int) -> float:
    """Per second; nan without two readings."""
    return quotient(rise, Fraction(span_ms, 1000)) if span_ms else nan


class CounterWindow:
    """The sliding rate of a counter: of its readings in ``(newest - interval, newest]``."""

    __slots__ = ("_begin_ms", "_interval_ms", "_readings", "newest_ms")

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self.clear()

    def clear(self) -> None:
        self.restart(NEVER)

    def restart(self, begin_ms: int) -> None:
        """A cut ends at ``begin_ms``: readings before it are of another stretch."""
        self._begin_ms = begin_ms
        self._readings = Readings()
        self.newest_ms = NEVER

    def add(self, ts_ms: int, x: float) -> float:
        if ts_ms >= self._begin_ms and ts_ms > self.newest_ms - self._interval_ms:
            self._readings.add(ts_ms, x)
            if ts_ms > self.newest_ms:
                self.newest_ms = ts_ms
                self._readings.forget_until(ts_ms - self._interval_ms)
        return _rate(self._readings.rise, self._readings.span_ms)

    @property
    def is_exact(self) -> bool:
        """It may have been thinned out, and then it remembers more than its interval's readings."""
        return False

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        return add_in_turn(self.add, ts_ms, xs, begin, end, low, high)

    def dump(self) -> dict[str, Any]:
        return {"newest": self.newest_ms, "begin": self._begin_ms, "readings": self._readings.dump()}

    def load(self, dump: dict[str, Any]) -> None:
        self.newest_ms, self._begin_ms = dump["newest"], dump["begin"]
        self._readings = Readings()
        self._readings.load(dump["readings"])


class CounterTally(Tally):
    """The readings of an accounting window, apart for each stretch of it that no cut interrupts."""

    __slots__ = ("_stretches",)

    def __init__(self) -> None:
        self.count = 0
        self._stretches: dict[int, _Stretch] = {}

    def at(self, start_ms: int) -> Tally:
        stretch = self._stretches.get(start_ms)
        if stretch is None:
            stretch = self._stretches[start_ms] = _Stretch(self)
        return stretch

    def value(self, left_ms: int) -> float:
        stretches = [stretch.readings for stretch in self._stretches.values()]
        return _rate(sum((each.rise for each in stretches), start=0), sum(each.span_ms for each in stretches))

    def holds(self, condition: Condition, value: float, left_ms: int) -> bool | None:
        """None without two readings in a stretch: one reading says nothing of how fast it rises."""
        rate = self.value(left_ms)
        return None if rate != rate else condition.holds(rate, value)

    def dump(self) -> list[Any]:
        stretches = self._stretches.items()
        return [self.count, [[start_ms, *stretch.readings.dump()] for start_ms, stretch in stretches]]

    def load(self, dump: Sequence[Any]) -> None:
        self.count, stretches = dump
        for start_ms, *readings in stretches:
            stretch = self._stretches[start_ms] = _Stretch(self)
            stretch.readings.load(readings)


class _Stretch(Tally):
    """Where samples of one stretch are tallied."""

    __slots__ = ("_whole", "readings")

    def __init__(self, whole: CounterTally) -> None:
        self.count = 0
        self._whole = whole
        self.readings = Readings()

    def add(self, ts_ms: int, x: float) -> None:
        self._whole.count += 1
        self.readings.add(ts_ms, x)

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self._whole.count += len(xs)
        for at_ms, x in zip(ts_ms, xs, strict=True):
            self.readings.add(at_ms, x)
