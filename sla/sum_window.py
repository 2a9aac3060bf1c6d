"""The sliding window of sums: average, sum, count and rate, exact."""

from array import array
from bisect import bisect_right
from fractions import Fraction
from typing import Any

from slakeeper.sla.contract import Aggregation
from slakeeper.sla.exact import HUGE, SCALE, SHIFT, TINY, Scaled, quotient, scaled, whole
from slakeeper.sla.grid import EXACT_ENTRIES, NEVER, Grid
from slakeeper.sla.packing import pack_floats, pack_ints, unpack_floats, unpack_ints

_COMPACT_FROM = 512


class SumWindow:
    """Keeps every sample of the interval, or beyond ``EXACT_ENTRIES`` of them a grid of their sums."""

    __slots__ = ("_grid", "_head", "_interval_ms", "_kind", "_total", "_ts", "_xs", "newest_ms")

    def __init__(self, interval_ms: int, kind: Aggregation) -> None:
        self._interval_ms = interval_ms
        self._kind = kind
        self.clear()

    def clear(self) -> None:
        self.newest_ms = NEVER
        self._ts = array("q")
        self._xs = array("d")
        self._head = 0
        self._total: Scaled = 0
        self._grid: Grid | None = None

    def add(self, ts_ms: int, x: float) -> float:
        if self._grid is not None:
            return self._add_to_grid(ts_ms, x)
        ts = self._ts
        if ts_ms >= self.newest_ms:
            self.newest_ms = ts_ms
            ts.append(ts_ms)
            self._xs.append(x)
            if ts[self._head] <= ts_ms - self._interval_ms:
                self._evict(ts_ms - self._interval_ms)
        elif ts_ms > self.newest_ms - self._interval_ms:
            place = bisect_right(ts, ts_ms, self._head)
            ts.insert(place, ts_ms)
            self._xs.insert(place, x)
        else:
            return self._value(len(ts) - self._head, self._total)
        self._total += int(x * SCALE) if TINY <= x <= HUGE else scaled(x)
        count = len(ts) - self._head
        if count > EXACT_ENTRIES:
            self._change_to_grid()
        elif self._kind is Aggregation.AVG and type(self._total) is int:
            return self._total / (count << SHIFT)
        return self._value(count, self._total)

    def _evict(self, limit_ms: int) -> None:
        ts, xs, head, total = self._ts, self._xs, self._head, self._total
        end = len(ts)
        while head < end and ts[head] <= limit_ms:
            x = xs[head]
            total -= int(x * SCALE) if TINY <= x <= HUGE else scaled(x)
            head += 1
        if head > _COMPACT_FROM and head * 2 > end:
            del ts[:head], xs[:head]
            head = 0
        self._head = head
        self._total = total if type(total) is int else whole(total)

    def _value(self, count: int, total: Scaled) -> float:
        match self._kind:
            case Aggregation.AVG:
                return quotient(total, count)
            case Aggregation.COUNT:
                return float(count)
            case Aggregation.RATE:
                return quotient(total, Fraction(self._interval_ms, 1000))
            case _:
                return quotient(total, 1)

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
        if self._kind is Aggregation.AVG and type(grid.total) is int:
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
