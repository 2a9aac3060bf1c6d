"""The sliding window of a percentile, by nearest rank: exact, and when crowded within 1 % of the value."""

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

from slakeeper.sla.grid import EXACT_ENTRIES, NEVER, add_in_turn
from slakeeper.sla.packing import pack_floats, pack_ints, unpack_floats, unpack_ints
from slakeeper.sla.sketch import SketchWindow


def nearest_rank(percentile: Decimal, count: int) -> int:
    """Which of ``count`` sorted values is the percentile, from 1: the smallest with that share at or below it."""
    share = Fraction(percentile) / 100
    return max(1, -(-count * share.numerator // share.denominator))


class PercentileWindow:
    """Keeps every sample of the interval in order of time and of value, or beyond ``EXACT_ENTRIES`` a sketch."""

    __slots__ = ("_denominator", "_head", "_interval_ms", "_numerator", "_sketch", "_sorted", "_ts", "_xs",
                 "newest_ms")  # fmt: skip

    def __init__(self, interval_ms: int, percentile: Decimal) -> None:
        self._interval_ms = interval_ms
        self._numerator, self._denominator = (Fraction(percentile) / 100).as_integer_ratio()
        self.clear()

    def clear(self) -> None:
        self.newest_ms = NEVER
        self._ts = array("q")
        self._xs = array("d")
        self._sorted = array("d")
        self._head = 0
        self._sketch: SketchWindow | None = None

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        return add_in_turn(self.add, ts_ms, xs, begin, end, low, high)

    @property
    def is_exact(self) -> bool:
        return self._sketch is None

    def add(self, ts_ms: int, x: float) -> float:
        if self._sketch is not None:
            return self._add_to_sketch(ts_ms, x)
        ts, ordered = self._ts, self._sorted
        if ts_ms >= self.newest_ms:
            self.newest_ms = ts_ms
            if self._head < len(ts) and ts[self._head] <= ts_ms - self._interval_ms:
                self._evict(ts_ms - self._interval_ms)
            ts.append(ts_ms)
            self._xs.append(x)
            insort(ordered, x)
        elif ts_ms > self.newest_ms - self._interval_ms:
            place = bisect_right(ts, ts_ms, self._head)
            ts.insert(place, ts_ms)
            self._xs.insert(place, x)
            insort(ordered, x)
        count = len(ordered)
        value = ordered[max(1, -(-count * self._numerator // self._denominator)) - 1]
        if count > EXACT_ENTRIES:
            self._change_to_sketch()
        return value

    def _evict(self, limit_ms: int) -> None:
        ts, xs, ordered, head = self._ts, self._xs, self._sorted, self._head
        end = len(ts)
        while head < end and ts[head] <= limit_ms:
            del ordered[bisect_left(ordered, xs[head])]
            head += 1
        if head == end or (head > 512 and head * 2 > end):
            del ts[:head], xs[:head]
            head = 0
        self._head = head

    def _change_to_sketch(self) -> None:
        sketch = SketchWindow(self._interval_ms, self._numerator, self._denominator)
        for ts_ms, x in zip(self._ts[self._head :], self._xs[self._head :], strict=True):
            sketch.add(ts_ms, x, self.newest_ms)
        del self._ts[:], self._xs[:], self._sorted[:]
        self._head = 0
        self._sketch = sketch

    def _add_to_sketch(self, ts_ms: int, x: float) -> float:
        sketch = self._sketch
        assert sketch is not None
        if ts_ms - self._interval_ms >= self.newest_ms:
            self.clear()  # everything before it has left, so the window can be exact again
            return self.add(ts_ms, x)
        self.newest_ms = max(self.newest_ms, ts_ms)
        if ts_ms > self.newest_ms - self._interval_ms:
            sketch.add(ts_ms, x, self.newest_ms)
        return sketch.value()

    def dump(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "newest": self.newest_ms,
            "ts": pack_ints(self._ts[self._head :]),
            "xs": pack_floats(self._xs[self._head :]),
        }
        if self._sketch is not None:
            plain["sketch"] = self._sketch.dump()
        return plain

    def load(self, dump: dict[str, Any]) -> None:
        self.clear()
        self.newest_ms = dump["newest"]
        self._ts = unpack_ints(dump["ts"])
        self._xs = unpack_floats(dump["xs"])
        self._sorted = array("d", sorted(self._xs))
        if "sketch" in dump:
            self._sketch = SketchWindow(self._interval_ms, self._numerator, self._denominator)
            self._sketch.load(dump["sketch"])
