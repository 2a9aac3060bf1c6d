"""Tallies: what an accounting window remembers of its samples, a few numbers whatever their count.

The order of samples never matters, except that of two at one instant the later arrival is the *last*.
"""

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from math import inf, nan
from typing import Any, ClassVar

from slakeeper.sla.condition import Condition
from slakeeper.sla.exact import HUGE, SCALE, TINY, Scaled, quotient, scaled, scaled_sum, whole
from slakeeper.sla.grid import NEVER
from slakeeper.sla.percentile_window import nearest_rank


class Tally:
    """How many samples an accounting window has, which is all that a count needs."""

    __slots__ = ("count",)
    fields: ClassVar[tuple[str, ...]] = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, ts_ms: int, x: float) -> None:
        """Takes a sample in."""
        self.count += 1

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        """Takes samples in as :meth:`add` does, at least one."""
        self.count += len(xs)

    def at(self, start_ms: int) -> "Tally":
        """Where samples of the stretch between two cuts are tallied that begins at ``start_ms``."""
        return self

    def value(self, left_ms: int) -> float:
        """The aggregate; ``left_ms`` is how long the window is without what was cut out of it, > 0."""
        return float(self.count)

    def holds(self, condition: Condition, value: float, left_ms: int) -> bool | None:
        """Whether the aggregate keeps the promise; None when the samples do not tell."""
        return condition.holds(self.value(left_ms), value)

    def dump(self) -> list[Any]:
        return [_plain(getattr(self, name)) for name in self.fields]

    def load(self, dump: Sequence[Any]) -> None:
        for name, item in zip(self.fields, dump, strict=True):
            setattr(self, name, whole(Fraction(item)) if isinstance(item, str) else item)


class SumTally(Tally):
    """For averages and sums: the exact total."""

    __slots__ = ("total",)
    fields = ("count", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total: Scaled = 0

    def add(self, ts_ms: int, x: float) -> None:
        self.count += 1
        total = self.total + (int(x * SCALE) if TINY <= x <= HUGE else scaled(x))
        self.total = total if type(total) is int else whole(total)

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self.count += len(xs)
        self.total = whole(self.total + scaled_sum(xs))

    def value(self, left_ms: int) -> float:
        return quotient(self.total, 1)


class AverageTally(SumTally):
    __slots__ = ()

    def value(self, left_ms: int) -> float:
        return quotient(self.total, self.count)


class RateTally(SumTally):
    __slots__ = ()

    def value(self, left_ms: int) -> float:
        return quotient(self.total, Fraction(left_ms, 1000))


class MinTally(Tally):
    __slots__ = ("least",)
    fields = ("count", "least")

    def __init__(self) -> None:
        self.count = 0
        self.least = inf

    def add(self, ts_ms: int, x: float) -> None:
        self.count += 1
        if x < self.least:
            self.least = x

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self.count += len(xs)
        self.least = min(self.least, *xs)

    def value(self, left_ms: int) -> float:
        return self.least


class MaxTally(Tally):
    __slots__ = ("most",)
    fields = ("count", "most")

    def __init__(self) -> None:
        self.count = 0
        self.most = -inf

    def add(self, ts_ms: int, x: float) -> None:
        self.count += 1
        if x > self.most:
            self.most = x

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self.count += len(xs)
        self.most = max(self.most, *xs)

    def value(self, left_ms: int) -> float:
        return self.most


class LastTally(Tally):
    __slots__ = ("last", "last_ms")
    fields = ("count", "last", "last_ms")

    def __init__(self) -> None:
        self.count = 0
        self.last = nan
        self.last_ms = NEVER

    def add(self, ts_ms: int, x: float) -> None:
        self.count += 1
        if ts_ms >= self.last_ms:
            self.last_ms, self.last = ts_ms, x

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self.count += len(xs)
        newest_ms = max(ts_ms)
        if newest_ms >= self.last_ms:
            self.last_ms = newest_ms
            self.last = next(
                x for at_ms, x in zip(reversed(ts_ms), reversed(xs), strict=True) if at_ms == newest_ms
            )

    def value(self, left_ms: int) -> float:
        return self.last


class PercentileTally(Tally):
    """How many samples are below the promised value, and how many not above it.

    That decides the promise exactly, without keeping the samples: the percentile is below a value if enough
    samples are. ``seen`` is the sliding percentile when the window was last left, for the forecast only.
    """

    __slots__ = ("_percentile", "_value", "below", "seen", "up_to")
    fields = ("count", "below", "up_to", "seen")

    def __init__(self, percentile: Decimal, value: float) -> None:
        self.count = 0
        self.below = 0
        self.up_to = 0
        self.seen = nan
        self._percentile = percentile
        self._value = value

    def add(self, ts_ms: int, x: float) -> None:
        self.count += 1
        if x <= self._value:
            self.up_to += 1
            if x < self._value:
                self.below += 1

    def extend(self, ts_ms: Sequence[int], xs: Sequence[float]) -> None:
        self.count += len(xs)
        value = self._value
        if max(xs) < value:
            self.below += len(xs)
            self.up_to += len(xs)
        else:
            self.below += sum([x < value for x in xs])
            self.up_to += sum([x <= value for x in xs])

    def value(self, left_ms: int) -> float:
        return self.seen

    def holds(self, condition: Condition, value: float, left_ms: int) -> bool:
        rank = nearest_rank(self._percentile, self.count)
        # Where the percentile stands to the value, as -1, 0 or 1.
        side = -1 if self.below >= rank else 0 if self.up_to >= rank else 1
        return condition.holds(side, 0)


def _plain(item: Any) -> Any:
    """Totals go beyond 64 bits, so they are written as text."""
    return str(item) if isinstance(item, Fraction) or (isinstance(item, int) and abs(item) >> 62) else item
