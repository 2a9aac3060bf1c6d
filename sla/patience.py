"""How long a window waits for its samples before it is judged."""

from typing import NamedTuple

from slakeeper.sla.metric import Metric

MAX_LATENESS_INTERVALS = 10_000
"""So many windows are kept open for late samples at most, whatever ``lateness`` says."""


class Patience(NamedTuple):
    """All windows wait for late samples; some of them longer, when their samples are still to be fetched.

    Attributes:
        lateness_ms: how long after its end any window waits [ms].
        since_ms: windows that end after this instant wait longer [Unix ms]; None: none does.
        longer_ms: by how much [ms].
    """

    lateness_ms: int
    since_ms: int | None = None
    longer_ms: int = 0

    def horizon_ms(self, now_ms: int) -> int:
        """Up to where windows are settled at ``now_ms``."""
        horizon_ms = now_ms - self.lateness_ms
        if self.since_ms is None:
            return horizon_ms
        return min(horizon_ms, max(self.since_ms, horizon_ms - self.longer_ms))

    def settled_at_ms(self, end_ms: int) -> int:
        """When a window with that end is settled."""
        waits = self.since_ms is not None and end_ms > self.since_ms
        return end_ms + self.lateness_ms + (self.longer_ms if waits else 0)


def patience_for(metric: Metric) -> Patience:
    """What the metric's ``lateness`` asks for."""
    return Patience(bounded_wait_ms(metric.lateness_ms, metric))


def bounded_wait_ms(wait_ms: int, metric: Metric) -> int:
    """A wait [ms] during which no more windows stay open than can be kept."""
    return min(wait_ms, MAX_LATENESS_INTERVALS * metric.interval)
