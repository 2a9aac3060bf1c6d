"""A violation from its opening to its resolution."""

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from slakeeper.sla.condition import Condition
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import (
    MAX_ACKNOWLEDGEMENTS,
    ActionRecord,
    ActionStatus,
    ActionType,
    DeliveryStatus,
    EscalationRecord,
    Violation,
    ViolationError,
    ViolationStatus,
    acknowledge,
    deliveries_in_doubt,
    is_worse,
    record_action,
    record_escalation,
    record_escalation_failure,
    resolve,
    update,
    violation_id,
)
from tests.unit.sla.acting import NOW_MS, violation


def test_the_same_opening_has_the_same_id() -> None:
    assert violation_id("api", "latency", NOW_MS) == violation_id("api", "latency", NOW_MS)


def test_contract_and_metric_cannot_be_confused_in_an_id() -> None:
    assert violation_id("api", "b.c", NOW_MS) != violation_id("api.b", "c", NOW_MS)


@given(st.lists(st.integers(0, 2**48 - 1), min_size=2, unique=True))
@settings(deadline=None)
def test_ids_sort_by_opening_time(times: list[int]) -> None:
    ids = sorted(violation_id("api", "latency", at_ms) for at_ms in times)
    assert ids == [violation_id("api", "latency", at_ms) for at_ms in sorted(times)]


def test_an_opening_keeps_the_promise_it_broke() -> None:
    opened = violation(99.5)
    assert (opened.threshold_value, opened.condition, opened.unit) == (
        Decimal("99.999"),
        Condition.GT,
        "percentage",
    )
    assert (opened.first_value, opened.actual_value, opened.worst_value) == (99.5, 99.5, 99.5)
    assert opened.status is ViolationStatus.OPEN
    assert opened.sla_name == "Core Service Availability"


def test_first_latest_and_worst_value_are_kept() -> None:
    seen = update(violation(99.5), 98.0, Severity.CRITICAL, NOW_MS + 1)
    seen = update(seen, 99.9, Severity.CRITICAL, NOW_MS + 2)
    assert (seen.first_value, seen.worst_value, seen.actual_value) == (99.5, 98.0, 99.9)


def test_severity_only_rises() -> None:
    opened = violation(99.5, severity=Severity.WARNING)
    worse = update(opened, 99.5, Severity.BREACH, NOW_MS)
    assert update(worse, 99.5, Severity.INFO, NOW_MS).severity is Severity.BREACH


@pytest.mark.parametrize(
    ("condition", "value", "than", "worse"),
    [
        (Condition.GT, 1.0, 2.0, True),
        (Condition.GTE, 2.0, 1.0, False),
        (Condition.LT, 2.0, 1.0, True),
        (Condition.LTE, 1.0, 2.0, False),
        (Condition.EQ, 0.0, 11.0, True),
        (Condition.EQ, 11.0, 0.0, False),
        (Condition.NE, 10.0, 10.0, False),
        (Condition.GT, 1.0, 1.0, False),
    ],
)
def test_what_is_worse_follows_from_the_condition(
    condition: Condition, value: float, than: float, worse: bool
) -> None:
    assert is_worse(condition, Decimal(10), value, than) is worse


def test_an_acknowledgement_says_who_when_and_why() -> None:
    taken = acknowledge(violation(), "ada", "looking", NOW_MS + 5)
    assert taken.status is ViolationStatus.ACKNOWLEDGED
    assert (taken.acknowledged_by, taken.acknowledged_at_ms, taken.acknowledge_note) == (
        "ada",
        NOW_MS + 5,
        "looking",
    )
    assert taken.is_open


def test_a_later_acknowledgement_takes_over() -> None:
    taken = acknowledge(acknowledge(violation(), "ada", "", NOW_MS), "bob", "", NOW_MS + 9)
    assert taken.acknowledged_by == "bob"
    shown = taken.to_document()["acknowledgements"]
    assert [(each["by"], each["time"]) for each in shown] == [("ada", NOW_MS), ("bob", NOW_MS + 9)]


def test_while_one_holds_what_takes_nothing_over_is_refused() -> None:
    taken = acknowledge(violation(), "ada", "", NOW_MS, takes_over=False)
    for by in ("ada", "bob"):
        with pytest.raises(ViolationError, match="is acknowledged already, by ada") as refused:
            acknowledge(taken, by, "", NOW_MS + 9, takes_over=False)
        assert refused.value.reason == "already_acknowledged"


def test_once_somebody_is_told_anew_an_acknowledgement_no_longer_holds() -> None:
    told = record_escalation(violation(), escalation(DeliveryStatus.SENT))
    taken = acknowledge(told, "ada", "", NOW_MS + 1)
    again = replace(escalation(DeliveryStatus.SENDING, "1.critical.0.0"), at_ms=NOW_MS + 60_000)
    taken = record_escalation(taken, again)
    assert acknowledge(taken, "bob", "", NOW_MS + 60_001, takes_over=False).acknowledged_by == "bob"


def test_acknowledgements_that_hold_are_bounded() -> None:
    taken = violation()
    for number in range(MAX_ACKNOWLEDGEMENTS):
        taken = acknowledge(taken, "ada", str(number), NOW_MS + number)
    with pytest.raises(ViolationError) as refused:
        acknowledge(taken, "bob", "", NOW_MS + 1_000)
    assert refused.value.reason == "too_many_acknowledgements"
    told = record_escalation(taken, replace(escalation(DeliveryStatus.SENT), at_ms=NOW_MS + 1_000))
    assert acknowledge(told, "bob", "", NOW_MS + 1_000).acknowledged_by == "bob"


def test_a_recovery_names_nobody() -> None:
    over = resolve(violation(), NOW_MS + 60_000)
    assert (over.resolved_by, over.closed_at_ms, over.duration_ms(NOW_MS + 10**9)) == (
        None,
        NOW_MS + 60_000,
        60_000,
    )


def test_a_violation_is_resolved_once() -> None:
    over = resolve(violation(), NOW_MS, by="ada", note="patched")
    assert (over.resolved_by, over.resolve_note) == ("ada", "patched")
    with pytest.raises(ViolationError) as refused:
        resolve(over, NOW_MS)
    assert refused.value.reason == "already_resolved"


def test_a_resolved_violation_is_not_acknowledged() -> None:
    with pytest.raises(ViolationError) as refused:
        acknowledge(resolve(violation(), NOW_MS), "ada", "", NOW_MS)
    assert refused.value.reason == "already_resolved"


@pytest.mark.parametrize("by", ["", "   "])
def test_nobody_acknowledges_nothing(by: str) -> None:
    with pytest.raises(ViolationError) as refused:
        acknowledge(violation(), by, "", NOW_MS)
    assert refused.value.reason == "nobody"


def test_a_late_value_does_not_open_a_resolved_violation_again() -> None:
    over = resolve(violation(), NOW_MS)
    assert update(over, 1.0, Severity.BREACH, NOW_MS + 1) == over


def action(status: ActionStatus, result: str = "") -> ActionRecord:
    return ActionRecord("a.1", ActionType.AUTOMATIC, "scale", "pool", {"nodes": 2}, NOW_MS, status, result)


def escalation(status: DeliveryStatus, key: str = "0.critical.0.0") -> EscalationRecord:
    return EscalationRecord(key, 0, Severity.CRITICAL, "email", ("team@example.com",), NOW_MS, status)


def test_a_record_of_the_same_id_is_replaced() -> None:
    seen = record_action(violation(), action(ActionStatus.EXECUTING))
    seen = record_action(seen, action(ActionStatus.COMPLETED, "two more nodes"))
    assert seen.remediation_actions == (action(ActionStatus.COMPLETED, "two more nodes"),)


def test_what_was_being_sent_at_a_crash_is_in_doubt() -> None:
    seen = record_escalation(violation(), escalation(DeliveryStatus.SENDING, "a"))
    seen = record_escalation(seen, escalation(DeliveryStatus.SENT, "b"))
    assert [record.key for record in deliveries_in_doubt(seen)] == ["a"]
    assert deliveries_in_doubt(record_escalation(seen, escalation(DeliveryStatus.SENT, "a"))) == ()


def test_an_escalation_failure_is_recorded_once() -> None:
    failed = record_escalation_failure(violation(), NOW_MS)
    assert record_escalation_failure(failed, NOW_MS + 1).escalation_failed_at_ms == NOW_MS


def test_the_document_has_the_keys_users_know_and_is_json() -> None:
    seen = record_escalation(violation(), escalation(DeliveryStatus.SENT))
    seen = record_action(seen, action(ActionStatus.COMPLETED, "done"))
    document = resolve(acknowledge(seen, "ada", "", NOW_MS), NOW_MS + 1).to_document()
    assert json.loads(json.dumps(document)) == document
    for key in (
        *(
            "id",
            "sla_id",
            "metric_name",
            "severity",
            "status",
            "actual_value",
            "worst_value",
            "threshold_value",
        ),
        *("start_time", "end_time", "acknowledged", "acknowledged_by", "resolved"),
        *("remediation_actions", "escalations"),
    ):
        assert key in document
    assert (document["status"], document["acknowledged"], document["resolved"]) == ("resolved", True, True)
    assert document["remediation_actions"][0]["execution_time"] == NOW_MS
    assert document["escalations"][0]["recipients"] == ["team@example.com"]


class Life(RuleBasedStateMachine):
    """Any order of acts on one violation against a plain list of what was seen."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOW_MS
        self.violation: Violation = violation(50.0, severity=Severity.INFO)
        self.values = [50.0]
        self.severities = [Severity.INFO]
        self.acknowledged = False
        self.resolved = False

    @rule(value=st.floats(0, 99), severity=st.sampled_from(Severity), after_ms=st.integers(0, 1000))
    def fails_further(self, value: float, severity: Severity, after_ms: int) -> None:
        self.now_ms += after_ms
        self.violation = update(self.violation, value, severity, self.now_ms)
        if not self.resolved:
            self.values.append(value)
            self.severities.append(severity)

    @precondition(lambda self: not self.resolved)
    @rule()
    def is_acknowledged(self) -> None:
        self.violation = acknowledge(self.violation, "ada", "", self.now_ms)
        self.acknowledged = True

    @precondition(lambda self: not self.resolved)
    @rule(by=st.none() | st.just("ada"))
    def is_resolved(self, by: str | None) -> None:
        self.violation = resolve(self.violation, self.now_ms, by=by)
        self.resolved = True

    @precondition(lambda self: self.resolved)
    @rule()
    def refuses_after_its_end(self) -> None:
        with pytest.raises(ViolationError):
            acknowledge(self.violation, "ada", "", self.now_ms)
        with pytest.raises(ViolationError):
            resolve(self.violation, self.now_ms)

    @invariant()
    def agrees(self) -> None:
        assert self.violation.first_value == self.values[0]
        assert self.violation.actual_value == self.values[-1]
        assert self.violation.worst_value == min(self.values)
        assert self.violation.severity.rank == max(each.rank for each in self.severities)
        expected = (
            ViolationStatus.RESOLVED
            if self.resolved
            else ViolationStatus.ACKNOWLEDGED
            if self.acknowledged
            else ViolationStatus.OPEN
        )
        assert self.violation.status is expected
        assert (self.violation.closed_at_ms is not None) is self.resolved


TestLife = Life.TestCase
TestLife.settings = settings(deadline=None)
