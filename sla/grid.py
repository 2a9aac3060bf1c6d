"""Cells of time with a count and a sum each: what a crowded sliding window keeps instead of its samples."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from fractions import Fraction
from math import nan
from typing import Any

from slakeeper.sla.exact import Scaled, whole

EXACT_ENTRIES = 16_384
"""A window with at most this many entries slides to the millisecond."""
GRID_CELLS = 4_096
"""A more crowded one slides by a 4096th of its interval, its cells leaving as wholes."""
NEVER = -(1 << 62)
"""Before any sample."""

_COMPACT_FROM = 512


def cell_ms(interval_ms: int, cells: int = GRID_CELLS) -> int:
    """Length of a cell [ms]."""
    return -(-interval_ms // cells)


def add_in_turn(
    add: Callable[[int, float], float],
    ts_ms: Sequence[int],
    xs: Sequence[float],
    begin: int,
    end: int,
    low: float,
    high: float,
) -> tuple[int, float]:
    """Adds samples in turn until the aggregate is not strictly between the bounds: where that is, and what it is."""
    value = nan
    for place in range(begin, end):
        value = add(ts_ms[place], xs[place])
        if not low < value < high:
            return place + 1, value
    return end, value


class Grid:
    """Sums by cell; ``cell`` number ``c`` holds the instants in ``((c - 1) * length, c * length]``."""

    __slots__ = ("_cell_ms", "_cells", "_counts", "_head", "_interval_ms", "_totals", "count", "newest_ms",
                 "total")  # fmt: skip

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._cell_ms = cell_ms(interval_ms)
        self._cells: list[int] = []
        self._counts: list[int] = []
        self._totals: list[Scaled] = []
        self._head = 0
        self.count = 0
        self.total: Scaled = 0
        self.newest_ms = NEVER

    def add(self, ts_ms: int, amount: Scaled, newest_ms: int) -> None:
        """Takes a sample in and lets go of what is older than an interval before ``newest_ms``."""
        cells = self._cells
        cell = -(-ts_ms // self._cell_ms)
        if cells and cell == cells[-1]:
            self._counts[-1] += 1
            self._totals[-1] += amount
        else:
            place = bisect_left(cells, cell, self._head)
            if place < len(cells) and cells[place] == cell:
                self._counts[place] += 1
                self._totals[place] += amount
            else:
                cells.insert(place, cell)
                self._counts.insert(place, 1)
                self._totals.insert(place, amount)
        self.count += 1
        self.total += amount
        self.newest_ms = max(self.newest_ms, ts_ms)
        gone = (newest_ms - self._interval_ms) // self._cell_ms
        if cells[self._head] <= gone:
            self._evict(gone)

    def _evict(self, gone: int) -> None:
        head = self._head
        while head < len(self._cells) and self._cells[head] <= gone:
            self.count -= self._counts[head]
            self.total -= self._totals[head]
            head += 1
        if head > _COMPACT_FROM and head * 2 > len(self._cells):
            del self._cells[:head], self._counts[:head], self._totals[:head]
            head = 0
        self._head = head
        self.total = whole(self.total)

    def dump(self) -> dict[str, Any]:
        head = self._head
        return {
            "cells": self._cells[head:],
            "counts": self._counts[head:],
            "totals": [str(total) for total in self._totals[head:]],
            "newest": self.newest_ms,
        }

    def load(self, dump: dict[str, Any]) -> None:
        self._cells = list(dump["cells"])
        self._counts = list(dump["counts"])
        self._totals = [whole(Fraction(text)) for text in dump["totals"]]
        self.newest_ms = dump["newest"]
        self.count = sum(self._counts)
        self.total = whole(sum(self._totals, start=Fraction(0)))
