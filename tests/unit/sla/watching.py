"""Shared by the tests of watching: small contracts, and accounts worked out the slow way."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from slakeeper.sla.calendar import cuts
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.sample import Sample
from slakeeper.sla.signal import Signal

T0_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z"""


def sla(metric: dict[str, Any] | None = None, **keys: Any) -> Sla:
    """A contract in force from T0 with one metric ``m``: average below 100, interval 1 s."""
    promised = {"name": "m", "value": 100, "condition": "lt", "interval": 1_000, **(metric or {})}
    return Sla.model_validate({"id": "c", "metrics": [promised], "effective_date": T0_MS // 1000, **keys})


def watch(contract: Sla, since_ms: int = T0_MS) -> Monitor:
    return Monitor(contract, contract.metrics[0], since_ms, Decimal("0.95"))


def feed(monitor: Monitor, *samples: tuple[int, float]) -> list[Signal]:
    """Observes samples (ms after T0, value), each at its own instant."""
    return [signal for after, x in samples for signal in monitor.observe([(T0_MS + after, x)], T0_MS + after)]


def only(kind: type, signals: Sequence[Signal]) -> list[Any]:
    return [signal for signal in signals if type(signal) is kind]


def naive_account(
    contract: Sla,
    metric: Metric,
    samples: Sequence[Sample],
    start_ms: int,
    end_ms: int,
    suspended: Sequence[tuple[int, int]] = (),
) -> tuple[int, int, int, int]:
    """(good, bad, unknown, excluded) of an average from T0's windows on, one millisecond at a time."""
    found = cuts(contract, start_ms, end_ms)

    def kind(at_ms: int) -> str:
        if any(a <= at_ms < b for a, b in [*found.excluded, *suspended]):
            return "excluded"
        return "good" if any(a <= at_ms < b for a, b in found.good) else "counts"

    totals = {"good": 0, "bad": 0, "unknown": 0, "excluded": 0}
    for window_ms in range(start_ms, end_ms, metric.interval):
        inside = range(window_ms, min(window_ms + metric.interval, end_ms))
        values = [x for ts_ms, x in samples if ts_ms in inside and kind(ts_ms) == "counts"]
        if values:
            kept = metric.condition.holds(sum(values) / len(values), float(metric.value))
            verdict = "good" if kept else "bad"
        else:
            verdict = metric.no_data.value
        for at_ms in inside:
            cut = kind(at_ms)
            totals[verdict if cut == "counts" else cut] += 1
    return totals["good"], totals["bad"], totals["unknown"], totals["excluded"]
