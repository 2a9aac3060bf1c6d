"""What monitors have said of their promises, as long as nothing has followed from it: bounded, whoever is down."""

from dataclasses import replace
from decimal import Decimal

from slakeeper.actors.contract_event import MetricTurned
from slakeeper.sla.condition import Condition
from slakeeper.sla.violation import is_worse

# Of those in a row that say the same promise is broken: the first, which may open a violation; the worst of what is
# between; and the latest, which is how the metric stands.
KEPT_IN_A_ROW = 3


def keep_turn(
    turns: list[MetricTurned], turn: MetricTurned, condition: Condition, threshold: Decimal
) -> None:
    """Adds a turn to those that wait, of all metrics, in their order.

    A metric that gets worse says so with each sample, and who has to follow may be in quarantine for days. So of those
    in a row that say that its promise is broken at most ``KEPT_IN_A_ROW`` are kept. None is let go that says that it
    holds again: it ends a violation.

    Args:
        condition, threshold: the promise of the turn's metric.
    """
    row: list[int] = []
    for index in range(len(turns) - 1, -1, -1):
        if turns[index].metric_name == turn.metric_name:
            if turns[index].severity is None:
                break
            row.append(index)
    if turn.severity is not None and len(row) >= KEPT_IN_A_ROW:
        latest, worst = row[:2]
        turns[worst] = _worse(turns[worst], turns[latest], condition, threshold)
        del turns[latest]
    turns.append(turn)


def _worse(one: MetricTurned, other: MetricTurned, condition: Condition, threshold: Decimal) -> MetricTurned:
    """The one with the worse value, with the higher of both severities."""
    severities = [each.severity for each in (one, other) if each.severity is not None]
    worse = other if is_worse(condition, threshold, other.value, one.value) else one
    return replace(worse, severity=max(severities, key=lambda each: each.rank))
