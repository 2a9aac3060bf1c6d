"""The sliding window of sums: average, sum, count and rate, exact."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from math import nan
from operator import le
from typing import Any

from slakeeper.sla.exact import (
    HUGE,
    ORDINARY_TOTAL,
    SCALE,
    SHIFT,
    TINY,
    Scaled,
    quotient,
    scaled,
    scaled_sum,
    whole,
)
from slakeeper.sla.grid import EXACT_ENTRIES, NEVER, Grid, add_in_turn
from slakeeper.sla.metric import Aggregation
from slakeeper.sla.packing import pack_floats, pack_ints, unpack_floats, unpack_ints

_COMPACT_FROM = 512
# With fewer samples than this, adding them at once gains nothing.
_BULK_FROM = 64


class SumWindow:
    """Keeps every sample of the interval, or beyond ``EXACT_ENTRIES`` of them a grid of their sums."""

    __slots__ = ("_divisor", "_grid", "_head", "_interval_ms", "_is_average", "_is_count", "_total", "_ts", "_xs",
                 "newest_ms")  # fmt: skip

    def __init__(self, interval_ms: int, kind: Aggregation) -> None:
        self._interval_ms = interval_ms
        self._is_average = kind is Aggregation.AVG
        self._is_count = kind is Aggregation.COUNT
        # A rate is for a second, a sum is just a sum.
        self._divisor = Fraction(interval_ms, 1000) if kind is Aggregation.RATE else Fraction(1)
        self.clear()

    def clear(self) -> None:
        self.newest_ms = NEVER
        self._ts = array("q")
        self._xs = array("d")
        self._head = 0
        self._total: Scaled = 0
        self._grid: Grid | None = None

    @property
    def is_exact(self) -> bool:
        return self._grid is None

    def add(self, ts_ms: int, x: float) -> float:
        if self._grid is not None:
            return self._add_to_grid(ts_ms, x)
        ts, xs = self._ts, self._xs
        if ts_ms >= self.newest_ms:
            self.newest_ms = ts_ms
            ts.append(ts_ms)
            xs.append(x)
            limit_ms = ts_ms - self._interval_ms
            if ts[self._head] <= limit_ms:
                self._evict(limit_ms)
        elif ts_ms > self.newest_ms - self._interval_ms:
            place = bisect_right(ts, ts_ms, self._head)
            ts.insert(place, ts_ms)
            xs.insert(place, x)
        else:
            return self._value(len(ts) - self._head, self._total)
        count = len(ts) - self._head
        if self._is_count:
            total: Scaled = 0
        else:
            self._total = total = self._total + (int(x * SCALE) if TINY <= x <= HUGE else scaled(x))
            if self._is_average and type(total) is int and count <= EXACT_ENTRIES:
                return total / (count << SHIFT)
        if count > EXACT_ENTRIES:
            self._change_to_grid()
        return self._value(count, total)

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        place, value = begin, nan
        while place < end:
            # A part of the window's size, so that looking at the window costs little for each sample.
            stop = min(end, place + max(_BULK_FROM, (len(self._ts) - self._head) // 4))
            bulk = self._add_bulk(ts_ms[place:stop], xs[place:stop], low, high) if low < high else None
            if bulk is None:
                place, value = add_in_turn(self.add, ts_ms, xs, place, stop, low, high)
                if not low < value < high:
                    break
            else:
                place, value = stop, bulk
        return place, value

    def _add_bulk(self, new_ms: Sequence[int], new: Sequence[float], low: float, high: float) -> float | None:
        """Adds samples at once when no aggregate on the way can leave ``(low, high)``; None: not certain."""
        ts, xs, head = self._ts, self._xs, self._head
        count = len(ts) - head + len(new)
        if len(new) < _BULK_FROM or self._grid is not None or count > EXACT_ENTRIES:
            return None
        if new_ms[0] < self.newest_ms or not all(map(le, new_ms, islice(new_ms, 1, None))):
            return None
        limit_ms = new_ms[-1] - self._interval_ms
        if new_ms[0] <= limit_ms:
            return None
        stay = bisect_right(ts, limit_ms, head)
        gone = xs[head:stay]
        if not self._stays_between(new, gone, low, high):
            return None
        ts.extend(new_ms)
        xs.extend(new)
        self.newest_ms = new_ms[-1]
        self._head = stay
        if not self._is_count:
            self._total = whole(self._total + scaled_sum(new) - scaled_sum(gone))
        self._compact()
        return self._value(len(ts) - self._head, self._total)

    def _stays_between(self, new: Sequence[float], gone: Sequence[float], low: float, high: float) -> bool:
        """Whether every aggregate lies between the bounds while ``new`` come in turn and ``gone`` leave."""
        if self._is_average:
            held = self._xs[self._head :]
            return low < min(new) and max(new) < high and (not held or (low < min(held) and max(held) < high))
        count = len(self._ts) - self._head
        if self._is_count:
            return low < count - len(gone) and count + len(new) < high
        if min(new) < 0 or (gone and min(gone) < 0):
            return False
        least = self._value(count, self._total - scaled_sum(gone))
        return low < least and self._value(count, self._total + scaled_sum(new)) < high

    def _compact(self) -> None:
        if self._head > _COMPACT_FROM and self._head * 2 > len(self._ts):
            del self._ts[: self._head], self._xs[: self._head]
            self._head = 0

    def _evict(self, limit_ms: int) -> None:
        """Lets go of what is not newer than the limit; the newest sample always is."""
        ts, xs, head = self._ts, self._xs, self._head
        if self._is_count:
            while ts[head] <= limit_ms:
                head += 1
        else:
            total = self._total
            while ts[head] <= limit_ms:
                x = xs[head]
                total -= int(x * SCALE) if TINY <= x <= HUGE else scaled(x)
                head += 1
            self._total = total if type(total) is int else whole(total)
        self._head = head
        self._compact()

    def _value(self, count: int, total: Scaled) -> float:
        if self._is_count:
            return float(count)
        if self._is_average:
            return quotient(total, count)
        if type(total) is not int or abs(total) > ORDINARY_TOTAL:
            return quotient(total, self._divisor)
        return total * self._divisor.denominator / (self._divisor.numerator << SHIFT)

    # --- the grid --------------------------------------------------------------------------------------

    def _change_to_grid(self) -> None:
        grid = Grid(self._interval_ms)
        for place in range(self._head, len(self._ts)):
            grid.add(self._ts[place], scaled(self._xs[place]), self.newest_ms)
        del self._ts[:], self._xs[:]
        self._head = 0
        self._grid = grid

    def _add_to_grid(self, ts_ms: int, x: float) -> float:
        grid = self._grid
        assert grid is not None
        self.newest_ms = newest_ms = max(self.newest_ms, ts_ms)
        if ts_ms - self._interval_ms >= grid.newest_ms:
            # Everything before it has left, so the window can be exact again.
            self._grid, self._total, self.newest_ms = None, 0, NEVER
            return self.add(ts_ms, x)
        if ts_ms > newest_ms - self._interval_ms:
            grid.add(ts_ms, int(x * SCALE) if TINY <= x <= HUGE else scaled(x), newest_ms)
        self._total = grid.total
        if self._is_average and type(grid.total) is int:
            return grid.total / (grid.count << SHIFT)
        return self._value(grid.count, grid.total)

    # --- on disk ---------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "newest": self.newest_ms,
            "ts": pack_ints(self._ts[self._head :]),
            "xs": pack_floats(self._xs[self._head :]),
        }
        if self._grid is not None:
            plain["grid"] = self._grid.dump()
        return plain

    def load(self, dump: dict[str, Any]) -> None:
        self.clear()
        self.newest_ms = dump["newest"]
        self._ts = unpack_ints(dump["ts"])
        self._xs = unpack_floats(dump["xs"])
        if "grid" in dump:
            self._grid = Grid(self._interval_ms)
            self._grid.load(dump["grid"])
            self._total = self._grid.total
        else:
            self._total = whole(sum((scaled(x) for x in self._xs), start=0))
