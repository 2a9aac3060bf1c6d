"""How bad a failed promise is."""

from math import inf

from slakeeper.sla.condition import Condition
from slakeeper.sla.metric import Metric
from slakeeper.sla.policy import Severity

CRITICAL_ABOVE = 0.5
WARNING_ABOVE = 0.2

GOODNESS_UNITS = frozenset({"percent", "percentage", "%"})
_GOODNESS_FROM = 90


def is_goodness(metric: Metric) -> bool:
    """Whether the metric is a percentage of goodness, whose distances are measured against 100 - value.

    99.0 against a promised 99.999 is 1 % relative, yet a thousand times the allowed failure.
    ``deviation: relative`` in the contract says no.
    """
    return (
        metric.deviation == "auto"
        and metric.unit.strip().lower() in GOODNESS_UNITS
        and metric.condition in (Condition.GT, Condition.GTE)
        and _GOODNESS_FROM <= metric.value <= 100
    )


def deviation(metric: Metric, actual: float) -> float:
    """How far a value is from the promised one, as a ratio >= 0; infinite when the promise leaves no room.

    ``|actual - value| / |value|``, or for a percentage of goodness ``(value - actual) / (100 - value)``.
    """
    value = float(metric.value)
    if is_goodness(metric):
        distance, room = max(0.0, value - actual), float(100 - metric.value)
    else:
        distance, room = abs(actual - value), abs(value)
    if distance == 0:
        return 0.0
    return distance / room if room else inf


def severity_of(metric: Metric, actual: float) -> Severity:
    """Severity of a violation with this value: > 0.5 critical, > 0.2 warning, else info.

    ``breach`` is never returned: it is a fact of the contract's period, not of one value.
    """
    ratio = deviation(metric, actual)
    if ratio > CRITICAL_ABOVE:
        return Severity.CRITICAL
    return Severity.WARNING if ratio > WARNING_ABOVE else Severity.INFO


def is_worse(metric: Metric, actual: float, than: float) -> bool:
    """Whether ``actual`` breaks the promise by more than ``than``; both are taken to break it."""
    match metric.condition:
        case Condition.GT | Condition.GTE:
            return actual < than
        case Condition.LT | Condition.LTE:
            return actual > than
        case Condition.EQ | Condition.NE:
            value = float(metric.value)
            return abs(actual - value) > abs(than - value)
