"""Sliding windows, for detection: the aggregate of the samples in ``(newest - interval, newest]``.

A window keeps what its aggregate needs and nothing else, and is bounded whatever the rate: up to
``grid.EXACT_ENTRIES`` entries it slides to the millisecond, a more crowded one in steps until it has run empty.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from slakeeper.sla.counter import CounterTally, CounterWindow
from slakeeper.sla.extreme_window import ExtremeWindow
from slakeeper.sla.grid import NEVER, add_in_turn
from slakeeper.sla.metric import Aggregation, Metric, MetricType
from slakeeper.sla.percentile_window import PercentileWindow
from slakeeper.sla.sum_window import SumWindow
from slakeeper.sla.tally import (
    AverageTally,
    LastTally,
    MaxTally,
    MinTally,
    PercentileTally,
    RateTally,
    SumTally,
    Tally,
)


class Window(Protocol):
    """What detection asks of a sliding window."""

    newest_ms: int

    @property
    def is_exact(self) -> bool:
        """Whether it slides to the millisecond, so that it depends on the samples of its interval only."""
        ...

    def add(self, ts_ms: int, x: float) -> float:
        """Takes a sample in, out of order or not, and gives the aggregate at ``newest_ms``.

        A sample older than the window changes nothing.
        """
        ...

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        """Takes samples in as :meth:`add` does, until the aggregate is not strictly between ``low`` and ``high``.

        Returns:
            The place after the last sample taken, and the aggregate then.
        """
        ...

    def clear(self) -> None: ...

    def dump(self) -> dict[str, Any]: ...

    def load(self, dump: dict[str, Any]) -> None: ...


class LastWindow:
    """The value of the newest sample; of two at one instant the one that came later."""

    __slots__ = ("_last", "newest_ms")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.newest_ms = NEVER
        self._last = 0.0

    @property
    def is_exact(self) -> bool:
        return True

    def add(self, ts_ms: int, x: float) -> float:
        if ts_ms >= self.newest_ms:
            self.newest_ms = ts_ms
            self._last = x
        return self._last

    def run(
        self, ts_ms: Sequence[int], xs: Sequence[float], begin: int, end: int, low: float, high: float
    ) -> tuple[int, float]:
        return add_in_turn(self.add, ts_ms, xs, begin, end, low, high)

    def dump(self) -> dict[str, Any]:
        return {"newest": self.newest_ms, "last": self._last}

    def load(self, dump: dict[str, Any]) -> None:
        self.newest_ms = dump["newest"]
        self._last = dump["last"]


def open_window(metric: Metric) -> Window:
    """An empty window for a metric. A trend's only knows its newest instant: its slope is worked out from tallies."""
    if metric.type is MetricType.TREND:
        return LastWindow()
    if metric.type is MetricType.PERCENTILE and metric.effective_percentile is not None:
        return PercentileWindow(metric.interval, metric.effective_percentile)
    if metric.counter:
        return CounterWindow(metric.interval)
    match metric.aggregation:
        case Aggregation.MIN | Aggregation.MAX:
            return ExtremeWindow(metric.interval, largest=metric.aggregation is Aggregation.MAX)
        case Aggregation.LAST:
            return LastWindow()
        case _:
            return SumWindow(metric.interval, metric.aggregation)


_TALLIES: dict[Aggregation, type[Tally]] = {
    Aggregation.AVG: AverageTally,
    Aggregation.SUM: SumTally,
    Aggregation.RATE: RateTally,
    Aggregation.MIN: MinTally,
    Aggregation.MAX: MaxTally,
    Aggregation.LAST: LastTally,
    Aggregation.COUNT: Tally,
}


def open_tally(metric: Metric) -> Tally:
    """An empty tally for a metric (for a trend: of one of its interval aggregates)."""
    if metric.type is MetricType.PERCENTILE and metric.effective_percentile is not None:
        return PercentileTally(metric.effective_percentile, float(metric.value))
    if metric.counter:
        return CounterTally()
    return _TALLIES[metric.aggregation]()
