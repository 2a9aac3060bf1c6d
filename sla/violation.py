"""A violation: one broken promise from its opening to its resolution, with all that was done about it.

At most one is open for a (contract, metric). Its severity only rises; it keeps the first, the latest and the worst
value. Functions return a new value and refuse with :class:`ViolationError`.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from slakeeper.sla.condition import Condition
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric
from slakeeper.sla.policy import Severity
from slakeeper.sla.record import ActionRecord, ActionStatus, ActionType, DeliveryStatus, EscalationRecord

__all__ = [
    "CONTRACT_EXPIRED",
    "MAX_ACKNOWLEDGEMENTS",
    "SELF",
    "Acknowledgement",
    "ActionRecord",
    "ActionStatus",
    "ActionType",
    "DeliveryStatus",
    "EscalationRecord",
    "Violation",
    "ViolationError",
    "ViolationStatus",
    "acknowledge",
    "deliveries_in_doubt",
    "end_planned",
    "is_worse",
    "open_violation",
    "record_action",
    "record_escalation",
    "record_escalation_failure",
    "resolve",
    "update",
    "violation_id",
]


SELF = "slakeeper"
"""Who ends what no person has ended."""

CONTRACT_EXPIRED = "contract expired"

MAX_ACKNOWLEDGEMENTS = 100
"""So many acknowledgements count while nobody is told anew: a month of three hand-overs a day. Each is written down
with the whole violation, and told to pagers."""

R = TypeVar("R")


class ViolationStatus(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class ViolationError(Exception):
    """An act on a violation is refused; ``reason`` is a word for programs, the text one for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has taken care of a violation: who, when [Unix ms], why."""

    by: str
    at_ms: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise.

    Attributes:
        actual_value, first_value, worst_value: of the metric, in ``unit``; ``actual_value`` is the latest that is
            known, also when it is good again, the others are of the time in which the promise was broken.
        recovered_value: with which it was over; None when an operator ended it, or it is not over.
        threshold_value, condition: the promise that does not hold.
        opened_at_ms: Unix ms; ``closed_at_ms`` is None until it is resolved.
        contract_version: the version in force when it opened.
        acknowledgements: all of them, in order; ``acknowledged_by`` and the like are of the latest.
        resolved_by: None when the metric recovered by itself.
        escalation_failed_at_ms: when the walk ended without anyone acknowledging.
    """

    id: str
    sla_id: str
    metric_name: str
    severity: Severity
    actual_value: float
    first_value: float
    worst_value: float
    threshold_value: Decimal
    condition: Condition
    opened_at_ms: int
    updated_at_ms: int
    sla_name: str = ""
    unit: str = ""
    contract_version: int = 1
    status: ViolationStatus = ViolationStatus.OPEN
    closed_at_ms: int | None = None
    acknowledged_by: str | None = None
    acknowledged_at_ms: int | None = None
    acknowledge_note: str = ""
    resolved_by: str | None = None
    resolve_note: str = ""
    escalation_failed_at_ms: int | None = None
    remediation_actions: tuple[ActionRecord, ...] = ()
    escalations: tuple[EscalationRecord, ...] = ()
    recovered_value: float | None = None
    acknowledgements: tuple[Acknowledgement, ...] = ()

    @property
    def is_open(self) -> bool:
        """Not resolved; an acknowledged violation is still open."""
        return self.status is not ViolationStatus.RESOLVED

    def duration_ms(self, now_ms: int) -> int:
        """How long it lasted, or has lasted by ``now_ms`` [ms], >= 0."""
        return max(0, (now_ms if self.closed_at_ms is None else self.closed_at_ms) - self.opened_at_ms)

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values under the names users see; times are Unix ms."""
        return {
            "id": self.id,
            "sla_id": self.sla_id,
            "sla_name": self.sla_name,
            "metric_name": self.metric_name,
            "severity": self.severity.value,
            "status": self.status.value,
            "actual_value": self.actual_value,
            "first_value": self.first_value,
            "worst_value": self.worst_value,
            "recovered_value": self.recovered_value,
            "threshold_value": float(self.threshold_value),
            "condition": self.condition.value,
            "unit": self.unit,
            "contract_version": self.contract_version,
            "start_time": self.opened_at_ms,
            "end_time": self.closed_at_ms,
            "updated_time": self.updated_at_ms,
            "acknowledged": self.acknowledged_at_ms is not None,
            "acknowledged_by": self.acknowledged_by,
            "acknowledged_time": self.acknowledged_at_ms,
            "acknowledge_note": self.acknowledge_note,
            "acknowledgements": [
                {"by": each.by, "time": each.at_ms, "note": each.note} for each in self.acknowledgements
            ],
            "resolved": self.status is ViolationStatus.RESOLVED,
            "resolved_by": self.resolved_by,
            "resolve_note": self.resolve_note,
            "escalation_failed_time": self.escalation_failed_at_ms,
            "remediation_actions": [action.to_document() for action in self.remediation_actions],
            "escalations": [escalation.to_document() for escalation in self.escalations],
        }


def violation_id(sla_id: str, metric_name: str, opened_at_ms: int) -> str:
    """The id of the violation of a metric that opened then: stable over replays, and sorted by opening time.

    Args:
        opened_at_ms: Unix ms, 0 <= x < 2**48.

    Returns:
        ``v``, 12 hex digits of the time, ``-``, 8 hex digits of contract, metric and time.
    """
    digest = hashlib.blake2b(f"{sla_id}\0{metric_name}\0{opened_at_ms}".encode(), digest_size=4).hexdigest()
    return f"v{opened_at_ms:012x}-{digest}"


def open_violation(
    contract: Sla,
    metric: Metric,
    value: float,
    severity: Severity,
    opened_at_ms: int,
    *,
    contract_version: int = 1,
) -> Violation:
    """The violation that opens when ``value`` [metric's unit] breaks the promise of ``metric`` at ``opened_at_ms``."""
    return Violation(
        id=violation_id(contract.id, metric.name, opened_at_ms),
        sla_id=contract.id,
        sla_name=contract.name or contract.id,
        metric_name=metric.name,
        severity=severity,
        actual_value=value,
        first_value=value,
        worst_value=value,
        threshold_value=metric.value,
        condition=metric.condition,
        unit=metric.unit,
        opened_at_ms=opened_at_ms,
        updated_at_ms=opened_at_ms,
        contract_version=contract_version,
    )


def is_worse(condition: Condition, threshold: Decimal, value: float, than: float) -> bool:
    """Whether ``value`` breaks the promise more than ``than`` does."""
    match condition:
        case Condition.GT | Condition.GTE:
            return value < than
        case Condition.LT | Condition.LTE:
            return value > than
        case Condition.EQ:
            return abs(Decimal(repr(value)) - threshold) > abs(Decimal(repr(than)) - threshold)
        case Condition.NE:
            # Only equality breaks it, and nothing is more equal than equal.
            return False


def update(violation: Violation, value: float, severity: Severity, now_ms: int) -> Violation:
    """A further failing value: the latest always, the worst if worse, the severity if higher.

    A resolved violation is returned unchanged: a late value must not open it again.
    """
    if not violation.is_open:
        return violation
    worse = is_worse(violation.condition, violation.threshold_value, value, violation.worst_value)
    return replace(
        violation,
        actual_value=value,
        worst_value=value if worse else violation.worst_value,
        severity=max(violation.severity, severity, key=lambda each: each.rank),
        updated_at_ms=max(violation.updated_at_ms, now_ms),
    )


def acknowledge(
    violation: Violation, by: str, note: str, now_ms: int, *, takes_over: bool = True
) -> Violation:
    """Someone takes care of it.

    Again is allowed: one person hands over to another, or the walk has begun again. Every acknowledgement is kept,
    so that whoever took over, and from whom, can be seen. An acknowledgement holds until a level is told after it.

    Args:
        takes_over: whether it counts while another one holds.

    Raises:
        ViolationError: ``already_resolved``; ``nobody`` when ``by`` is empty; while an acknowledgement holds,
            ``already_acknowledged`` if this takes nothing over, ``too_many_acknowledgements`` after
            :data:`MAX_ACKNOWLEDGEMENTS`.
    """
    _check_open(violation)
    _check_person(by)
    holding = _holding(violation)
    if holding and not takes_over:
        text = f"violation {violation.id} is acknowledged already, by {violation.acknowledged_by}"
        raise ViolationError("already_acknowledged", text)
    taken = Acknowledgement(by, now_ms, note)
    if len(holding) >= MAX_ACKNOWLEDGEMENTS and taken not in holding:
        text = f"violation {violation.id} has been acknowledged {len(holding)} times since somebody was told last"
        raise ViolationError("too_many_acknowledgements", text)
    # Said again in the same moment it is the same: a sender that lost its answer.
    earlier = tuple(each for each in violation.acknowledgements if each != taken)
    return replace(
        violation,
        status=ViolationStatus.ACKNOWLEDGED,
        acknowledged_by=by,
        acknowledged_at_ms=now_ms,
        acknowledge_note=note,
        acknowledgements=(*earlier, taken),
        updated_at_ms=max(violation.updated_at_ms, now_ms),
    )


def resolve(
    violation: Violation, now_ms: int, *, by: str | None = None, note: str = "", value: float | None = None
) -> Violation:
    """It is over: the metric recovered (``by`` None) to ``value``, or an operator says so.

    Raises:
        ViolationError: ``already_resolved``, or ``nobody`` when ``by`` is empty.
    """
    _check_open(violation)
    if by is not None:
        _check_person(by)
    return replace(
        violation,
        status=ViolationStatus.RESOLVED,
        closed_at_ms=max(now_ms, violation.opened_at_ms),
        resolved_by=by,
        resolve_note=note,
        actual_value=violation.actual_value if value is None else value,
        recovered_value=value if by is None else None,
        updated_at_ms=max(violation.updated_at_ms, now_ms),
    )


def record_action(violation: Violation, record: ActionRecord) -> Violation:
    """Adds an action, or replaces the record of the same id."""
    return replace(
        violation, remediation_actions=_put(violation.remediation_actions, record, lambda each: each.id)
    )


def end_planned(violation: Violation, action_name: str) -> Violation:
    """Nothing more comes of an action: of an attempt that was only planned it is said that it did not begin."""
    why = "its run ended before it began" if violation.is_open else "the violation was over before it began"
    records = tuple(
        replace(each, status=ActionStatus.FAILED, result=f"not tried: {why}")
        if each.name == action_name and each.status is ActionStatus.PENDING
        else each
        for each in violation.remediation_actions
    )
    return replace(violation, remediation_actions=records)


def record_escalation(violation: Violation, record: EscalationRecord) -> Violation:
    """Adds a level told, or replaces the record of the same key."""
    return replace(violation, escalations=_put(violation.escalations, record, lambda each: each.key))


def record_escalation_failure(violation: Violation, now_ms: int) -> Violation:
    """The walk ended and nobody acknowledged; the first time is kept."""
    if violation.escalation_failed_at_ms is not None:
        return violation
    return replace(violation, escalation_failed_at_ms=now_ms)


def deliveries_in_doubt(violation: Violation) -> tuple[EscalationRecord, ...]:
    """Messages of which nobody knows whether they arrived; a crash between sending and noting leaves one."""
    unclear = (DeliveryStatus.SENDING, DeliveryStatus.UNCERTAIN)
    return tuple(record for record in violation.escalations if record.status in unclear)


def _put(records: tuple[R, ...], record: R, key: Callable[[R], str]) -> tuple[R, ...]:
    wanted = key(record)
    if any(key(each) == wanted for each in records):
        return tuple(record if key(each) == wanted else each for each in records)
    return (*records, record)


def _holding(violation: Violation) -> tuple[Acknowledgement, ...]:
    """The acknowledgements since a level of the escalation was told last; the walk stands still while there is one."""
    told_at_ms = max((record.at_ms for record in violation.escalations), default=0)
    return tuple(each for each in violation.acknowledgements if each.at_ms >= told_at_ms)


def _check_open(violation: Violation) -> None:
    if not violation.is_open:
        raise ViolationError("already_resolved", f"violation {violation.id} is resolved")


def _check_person(by: str) -> None:
    if not by.strip():
        raise ViolationError("nobody", "say who does this")
