"""A sliding percentile over more samples than are worth keeping: counts in buckets of values, by cell of time.

Buckets grow geometrically, so a bucket's middle is within 1 % of everything in it.
Source: Masson, Rim, Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees", 2019.
"""

from bisect import insort
from itertools import chain
from math import ceil, log
from typing import Any

from slakeeper.sla.grid import cell_ms

RELATIVE_ERROR = 0.01
CELLS = 64
_GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GAMMA = log(_GAMMA)
# Bucket numbers of positive floats lie within +-40 000; moved by this they are all positive, and negative
# values get the mirrored numbers, so that the order of numbers is the order of values and 0 is 0.
_OFFSET = 100_000


def bucket_of(x: float) -> int:
    """The number of the bucket a finite value falls into; larger values have no smaller number."""
    if x > 0:
        return ceil(log(x) / _LOG_GAMMA) + _OFFSET
    return -(ceil(log(-x) / _LOG_GAMMA) + _OFFSET) if x < 0 else 0


def value_of(bucket: int) -> float:
    """The value that stands for a bucket."""
    if bucket == 0:
        return 0.0
    power = abs(bucket) - _OFFSET
    # Half the exponent twice: the middle of the outermost buckets is a float, gamma ** power may not be.
    middle: float = 2 / (_GAMMA + 1) * _GAMMA ** (power / 2) * _GAMMA ** (power - power / 2)
    return middle if bucket > 0 else -middle


class SketchWindow:
    """Bucket counts of the samples of an interval; a 64th of it leaves at a time."""

    __slots__ = ("_at", "_below", "_cell_ms", "_cells", "_count", "_counts", "_denominator", "_interval_ms",
                 "_keys", "_numerator")  # fmt: skip

    def __init__(self, interval_ms: int, numerator: int, denominator: int) -> None:
        self._interval_ms = interval_ms
        self._cell_ms = cell_ms(interval_ms, CELLS)
        self._numerator, self._denominator = numerator, denominator
        self._cells: dict[int, dict[int, int]] = {}
        self._forget()

    def _forget(self) -> None:
        self._counts: dict[int, int] = {}
        self._keys: list[int] = []
        self._count = 0
        # The bucket the percentile was in last, and how many samples are in the buckets before it.
        self._at = 0
        self._below = 0

    def add(self, ts_ms: int, x: float, newest_ms: int) -> None:
        """Takes a sample in and lets go of what is older than an interval before ``newest_ms``."""
        key = bucket_of(x)
        cell = -(-ts_ms // self._cell_ms)
        cell_counts = self._cells.get(cell)
        if cell_counts is None:
            cell_counts = self._cells[cell] = {}
            gone = (newest_ms - self._interval_ms) // self._cell_ms
            for old in [number for number in self._cells if number <= gone]:
                self._drop(self._cells.pop(old))
        cell_counts[key] = cell_counts.get(key, 0) + 1
        self._put(key, 1)

    def _put(self, key: int, count: int) -> None:
        if key in self._counts:
            self._counts[key] += count
        else:
            if self._keys and key < self._keys[self._at]:
                self._at += 1
            insort(self._keys, key)
            self._counts[key] = count
        self._count += count
        if key < self._keys[self._at]:
            self._below += count

    def _drop(self, cell_counts: dict[int, int]) -> None:
        pivot = self._keys[self._at]
        for key, count in cell_counts.items():
            self._counts[key] -= count
            self._count -= count
            if key < pivot:
                self._below -= count
        if any(not count for count in self._counts.values()):
            left = sorted((key, count) for key, count in self._counts.items() if count)
            self._forget()
            for key, count in left:
                self._put(key, count)

    def value(self) -> float:
        """The percentile, within 1 %."""
        rank = max(1, -(-self._count * self._numerator // self._denominator))
        keys, counts, at, below = self._keys, self._counts, self._at, self._below
        while below >= rank:
            at -= 1
            below -= counts[keys[at]]
        while below + counts[keys[at]] < rank:
            below += counts[keys[at]]
            at += 1
        self._at, self._below = at, below
        return value_of(keys[at])

    def dump(self) -> dict[str, Any]:
        """By cell: its number, then bucket and count in turn."""
        return {
            "cells": [[cell, *chain.from_iterable(counts.items())] for cell, counts in self._cells.items()],
        }

    def load(self, dump: dict[str, Any]) -> None:
        self._forget()
        self._cells = {}
        for cell, *flat in dump["cells"]:
            counts = self._cells[cell] = dict(zip(flat[::2], flat[1::2], strict=True))
            for key, count in counts.items():
                self._put(key, count)
