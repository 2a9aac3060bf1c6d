"""The sliding window of the smallest or largest value."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from slakeeper.sla.grid import EXACT_ENTRIES, NEVER, add_in_turn, cell_ms
from slakeeper.sla.packing import pack_floats, pack_ints, unpack_floats, unpack_ints


class ExtremeWindow:
    """Keeps only samples that may still become the extreme: none with a later one at least as extreme.

    For the largest value the signs are turned, so that it is always about the smallest.
    """

    __slots__ = ("_cell_ms", "_head", "_interval_ms", "_sign", "_ts", "_xs", "newest_ms")

    def __init__(self, interval_ms: int, largest: bool) -> None:
        self._interval_ms = interval_ms
        self._sign = -1.0 if largest else 1.0
        self.clear()

    def clear(self) -> None:
        self.newest_ms = NEVER
        self._ts = array("q")
        self._xs = array("d")
        self._head = 0
        self._cell_ms = 1

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        return add_in_turn(self.add, ts_ms, xs, begin, end, low, high)

    @property
    def is_exact(self) -> bool:
        return self._cell_ms == 1

    def add(self, ts_ms: int, x: float) -> float:
        ts, xs, y = self._ts, self._xs, x * self._sign
        if ts_ms >= self.newest_ms:
            self.newest_ms = ts_ms
            limit_ms = ts_ms - self._interval_ms
            head, end = self._head, len(ts)
            while head < end and ts[head] <= limit_ms:
                head += 1
            if head == end:
                del ts[:], xs[:]
                head, self._cell_ms = 0, 1
            elif head > 512 and head * 2 > end:
                del ts[:head], xs[:head]
                head = 0
            self._head = head
        elif ts_ms <= self.newest_ms - self._interval_ms:
            return xs[self._head] * self._sign
        self._insert(ts_ms, y)
        return xs[self._head] * self._sign

    def _insert(self, ts_ms: int, y: float) -> None:
        ts, xs, head = self._ts, self._xs, self._head
        if self._cell_ms != 1:
            # A crowded window: all of a cell leave together, so a cell needs one entry only.
            ts_ms = -(-ts_ms // self._cell_ms) * self._cell_ms
        place = len(ts) if not ts or ts_ms >= ts[-1] else bisect_right(ts, ts_ms, head)
        if place < len(ts) and xs[place] <= y:
            return
        if place > head and ts[place - 1] == ts_ms and xs[place - 1] <= y:
            return
        first = place
        while first > head and xs[first - 1] >= y:
            first -= 1
        if first < place:
            ts[first], xs[first] = ts_ms, y
            del ts[first + 1 : place], xs[first + 1 : place]
        else:
            ts.insert(place, ts_ms)
            xs.insert(place, y)
            if len(ts) - head > EXACT_ENTRIES:
                self._coarsen()

    def _coarsen(self) -> None:
        length_ms = cell_ms(self._interval_ms)
        if length_ms == self._cell_ms:
            return
        entries = list(zip(self._ts[self._head :], self._xs[self._head :], strict=True))
        self._cell_ms = length_ms
        self._head = 0
        del self._ts[:], self._xs[:]
        for ts_ms, y in entries:
            self._insert(ts_ms, y)

    def dump(self) -> dict[str, Any]:
        return {
            "newest": self.newest_ms,
            "cell": self._cell_ms,
            "ts": pack_ints(self._ts[self._head :]),
            "xs": pack_floats(self._xs[self._head :]),
        }

    def load(self, dump: dict[str, Any]) -> None:
        self.clear()
        self.newest_ms = dump["newest"]
        self._cell_ms = dump["cell"]
        self._ts = unpack_ints(dump["ts"])
        self._xs = unpack_floats(dump["xs"])
