"""The path of a violation: opened, worsened, acknowledged, escalated, resolved, paid."""

from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    WARNING,
    World,
    contract,
    enforcement,
    metric,
)


def test_a_sample_that_breaks_the_promise_opens_a_violation_at_once(world: World) -> None:
    world.observe(CRITICAL)
    row = world.violation()
    assert (row["sla_id"], row["metric_name"], row["severity"]) == ("api", "latency", "critical")
    assert (row["status"], row["start_time"], row["actual_value"]) == ("open", NOW_MS, CRITICAL)


def test_further_failing_samples_update_the_one_violation(world: World) -> None:
    world.observe(CRITICAL)
    first = world.violation()["id"]
    for _ in range(5):
        world.pass_time(2 * SECOND_MS)
        world.observe(CRITICAL + 100)
    row = world.violation()
    assert row["id"] == first
    assert row["worst_value"] > CRITICAL
    assert world.topics().count("violation.opened") == 1


def test_a_kept_promise_opens_nothing(world: World) -> None:
    world.observe(GOOD)
    assert world.violations(resolved=True) == []
    assert world.status()["status"] == "healthy"
    assert world.status()["compliance_score"] == 100


def test_severity_rises_and_is_told_once(world: World) -> None:
    world.observe(INFO)
    world.pass_time(11 * SECOND_MS)
    for _ in range(3):
        world.observe(CRITICAL)
        world.pass_time(2 * SECOND_MS)
    assert world.violation()["severity"] == "critical"
    assert len(world.told("opened")) == 1
    assert len(world.told("worsened")) == 1


def test_a_violation_by_which_the_period_is_lost_is_a_breach(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define(service_level=99.9)  # 3.6 s of an hour
    world.observe(INFO)
    assert (world.violation()["severity"], world.status()["status"]) == ("info", "warning")
    world.pass_time(20 * SECOND_MS)
    world.observe(INFO)
    assert (world.violation()["severity"], world.status()["status"]) == ("breach", "breached")
    assert len(world.told("escalation")) == 1
    world.restart()
    world.observe(INFO)
    assert world.violation()["severity"] == "breach"


def test_severity_does_not_fall(world: World) -> None:
    world.observe(CRITICAL)
    world.pass_time(11 * SECOND_MS)
    world.observe(INFO)
    assert world.violation()["severity"] == "critical"
    assert world.violation()["actual_value"] == INFO


def test_a_violation_ends_when_the_promise_has_held_for_keep_for(world: World) -> None:
    world.observe(CRITICAL)
    world.pass_time(11 * SECOND_MS)
    world.observe(GOOD)
    assert world.violation()["status"] == "open"
    world.pass_time(10 * SECOND_MS)
    world.observe(GOOD)
    row = world.violation()
    assert (row["status"], row["end_time"], row["resolved_by"]) == ("resolved", NOW_MS + 21 * SECOND_MS, None)
    assert world.status()["open_violations"] == 0


def test_silence_ends_no_violation(world: World) -> None:
    world.observe(CRITICAL)
    world.pass_time(10 * MINUTE_MS)
    assert world.violation()["status"] == "open"


def test_the_end_is_told_to_the_channel_that_heard_of_the_beginning(world: World) -> None:
    world.observe(INFO)
    world.recover()
    [opened], [resolved] = world.told("opened"), world.told("resolved")
    assert resolved.dedup_key == opened.dedup_key == world.violation()["id"]


def test_what_is_owed_is_booked_once_when_it_ends(world: World) -> None:
    world.observe(CRITICAL)
    assert world.ledger() == []
    world.recover()
    [entry] = world.ledger()
    assert (entry["violation_id"], entry["amount"], entry["status"]) == (
        world.violation()["id"],
        "250.0",
        "approved",
    )
    world.restart()
    assert world.ledger() == [entry]


def test_nothing_remains_of_a_violation_but_its_history(world: World) -> None:
    world.observe(CRITICAL)
    world.recover()
    assert world.host.addresses("violation") == []
    assert world.host.addresses("escalation") == []
    world.restart()
    assert world.violation()["status"] == "resolved"


def test_an_acknowledgement_stops_the_walk(world: World) -> None:
    world.observe(CRITICAL)
    identity = world.violation()["id"]
    row = world.request("violation.ack", id=identity, by="ann", note="on it")
    assert (row["status"], row["acknowledged_by"], row["acknowledge_note"]) == (
        "acknowledged",
        "ann",
        "on it",
    )
    world.pass_time(20 * MINUTE_MS)
    assert len(world.told("escalation")) == 1


def test_an_acknowledgement_without_a_name_is_refused(world: World) -> None:
    world.observe(CRITICAL)
    with pytest.raises(RequestError) as caught:
        world.request("violation.ack", id=world.violation()["id"], by=" ")
    assert caught.value.code == "invalid"


def test_an_operator_resolves(world: World) -> None:
    world.observe(CRITICAL)
    row = world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert (row["status"], row["resolved_by"]) == ("resolved", "ann")
    assert world.violations() == []
    with pytest.raises(RequestError) as caught:
        world.request("violation.resolve", id=row["id"], by="ann")
    assert caught.value.code == "conflict"


def test_what_goes_on_failing_after_an_operator_resolved_it_is_a_new_violation(world: World) -> None:
    world.observe(CRITICAL)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.pass_time(SECOND_MS)
    world.observe(CRITICAL)
    assert [row["status"] for row in world.violations(resolved=True)] == ["resolved", "open"]


def test_an_operator_escalates_without_waiting(world: World) -> None:
    world.observe(CRITICAL)
    identity = world.violation()["id"]
    assert len(world.told("escalation")) == 1
    world.request("violation.escalate", id=identity, by="ann")
    world.settle()
    assert len(world.told("escalation")) == 2


def test_the_answer_to_an_escalation_says_which_level_was_told_and_whom(world: World) -> None:
    world.observe(CRITICAL)
    row = world.request("violation.escalate", id=world.violation()["id"], by="ann")
    [told] = row["told"]
    assert (told["severity"], told["level"], told["channel"]) == ("critical", 1, "pager")
    world.settle()
    assert world.request("violation.escalate", id=row["id"], by="ann")["told"] == []  # none is left
    assert world.violation()["status"] == "open"


def test_an_acknowledged_violation_is_not_escalated(world: World) -> None:
    world.observe(CRITICAL)
    identity = world.violation()["id"]
    world.request("violation.ack", id=identity, by="ann")
    told = len(world.told("escalation"))
    with pytest.raises(RequestError, match="is acknowledged by ann, which stops its escalation") as caught:
        world.request("violation.escalate", id=identity, by="bob")
    assert caught.value.code == "conflict"
    world.pass_time(5 * MINUTE_MS)
    assert len(world.told("escalation")) == told
    assert world.violation()["status"] == "acknowledged"


def test_without_an_escalation_policy_nobody_has_failed_to_answer(
    make_world: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = make_world(enforcement(escalation_policies=[]))
    world.define()
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    assert world.violation()["escalation_failed_time"] is None
    assert world.status()["escalations_failed"] == 0
    assert caplog.records == []
    assert "escalation.failed" not in world.topics()
    assert world.request("violation.escalate", id=world.violation()["id"], by="ann")["told"] == []
    world.settle()
    assert world.host.addresses("escalation") == []


def test_an_operator_escalates_what_would_not_be_by_itself(make_world: Callable[..., World]) -> None:
    delayed = {"severity": "info", "levels": [{"type": "chat", "recipients": ["x"], "delay": "5m"}]}
    world = make_world(enforcement(escalation_policies=[delayed]))
    world.define()
    world.observe(INFO)
    assert world.told("escalation") == []
    world.request("violation.escalate", id=world.violation()["id"], by="ann")
    world.settle()
    assert len(world.told("escalation")) == 1


def test_two_metrics_have_two_violations_and_make_the_contract_critical(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.define(metrics=[metric("latency"), metric("queue")], service_level=90)
    world.observe(INFO)
    assert world.status()["status"] == "warning"
    world.observe(INFO, "queue")
    assert {row["metric_name"] for row in world.violations()} == {"latency", "queue"}
    assert world.status()["status"] == "critical"


def test_the_actual_value_is_the_latest_also_when_it_is_good_again(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", keep_for="1m")])
    world.observe(CRITICAL)
    world.pass_time(11 * SECOND_MS)
    world.observe(GOOD)
    row = world.violation()
    assert (row["status"], row["actual_value"], row["worst_value"]) == ("open", GOOD, CRITICAL)
    for _ in range(8):
        world.pass_time(10 * SECOND_MS)
        world.observe(GOOD - 1)
    row = world.violation()
    assert (row["status"], row["actual_value"], row["recovered_value"]) == ("resolved", GOOD - 1, GOOD - 1)
    body = world.told("resolved", "chat")[0].body
    assert "  worst     500 ms (250 ms off, 100 % of it)\n  now       99 ms\n" in body
    assert "measured" not in body


def test_a_violation_in_pending_opens_when_for_has_passed(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", **{"for": "5s"})])
    world.observe(CRITICAL)
    assert world.metric()["state"] == "pending"
    world.pass_time(5 * SECOND_MS)
    assert world.violation()["start_time"] == NOW_MS + 5 * SECOND_MS


def test_a_deadline_that_passed_while_the_cell_was_down_is_kept_when_it_is_back(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", **{"for": "5s"})])
    world.observe(CRITICAL)
    world.clock.advance(6 * SECOND_MS)
    world.restart()
    world.settle()
    assert world.violation()["start_time"] == NOW_MS + 5 * SECOND_MS


def test_what_people_are_told_names_what_it_costs_so_far(world: World) -> None:
    world.observe(CRITICAL)
    assert "credit 250" in world.told("opened")[0].body
    assert "credit 250" in world.told("escalation")[0].body
    world.recover()
    assert all("credit 250" in each.body for each in world.told("resolved"))


def test_no_cost_is_named_where_none_is_promised(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define(compensation=[])
    world.observe(CRITICAL)
    assert "costs" not in world.told("opened")[0].body


def test_a_formula_may_name_the_attainment_of_the_period(make_world: Callable[..., World]) -> None:
    world = make_world()
    rule = {"metric": "latency", "type": "credit", "formula": "100 - attainment", "auto_approve": True}
    world.define(compensation=[rule])
    world.observe(CRITICAL)
    for _ in range(5):
        world.pass_time(10 * SECOND_MS)
        world.observe(GOOD)
    [entry] = world.ledger()
    assert (entry["error"], entry["status"]) == ("", "approved")
    assert entry["amount"] != "0"


def test_the_same_facts_are_published_as_events(world: World) -> None:
    world.observe(CRITICAL)
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    world.recover()
    expected = ("opened", "escalated", "acknowledged", "resolved")
    topics = world.topics()
    assert [topic for topic in topics if topic.removeprefix("violation.") in expected] == [
        f"violation.{each}" for each in expected
    ]
    assert {"alert.sent", "escalation.sent", "compensation.booked", "metric.changed"} <= set(topics)


def test_a_pending_entry_is_decided_by_the_approver_alone(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define(approver="ann", compensation=[{"metric": "latency", "formula": "5"}])
    world.observe(CRITICAL)
    world.recover()
    [entry] = world.ledger()
    decide: dict[str, Any] = {"id": entry["id"], "approve": True, "reason": "agreed"}
    for by, code in (("bob", "forbidden"), ("", "invalid")):
        with pytest.raises(RequestError) as caught:
            world.request("compensation.decide", **decide, by=by)
        assert caught.value.code == code
    assert world.request("compensation.decide", **decide, by="ann")["status"] == "approved"
    with pytest.raises(RequestError) as caught:
        world.request("compensation.decide", **decide, by="ann")
    assert caught.value.code == "conflict"
    world.restart()
    assert world.ledger()[0]["decided_by"] == "ann"


def test_an_estimate_is_what_would_be_booked_now(world: World) -> None:
    world.observe(CRITICAL)
    identity = world.violation()["id"]
    [estimate] = world.request("compensation.estimate", id=identity)["compensation"]
    world.recover()
    [booked] = world.request("compensation.estimate", id=identity)["compensation"]
    assert estimate["amount"] == booked["amount"] == "250.0"
    assert [booked] == world.ledger()


def test_metrics_of_one_name_in_contracts_that_differ_by_a_colon_are_kept_apart(
    make_world: Callable[..., World],
) -> None:
    world = make_world()
    world.define(contract(id="a:b", metrics=[metric("c")], compensation=[]))
    world.define(contract(id="a", metrics=[metric("b:c")], compensation=[]))
    world.observe(CRITICAL, "b:c")
    assert [(row["sla_id"], row["metric_name"]) for row in world.violations()] == [("a", "b:c")]
    world.observe(WARNING, "c")
    assert len(world.violations()) == 2


def test_one_violation_is_shown_with_what_was_booked_for_it(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define()
    world.observe(CRITICAL)
    violation = world.violation()["id"]
    shown = world.request("violation.show", id=violation)
    assert (shown["status"], shown["worst_value"], shown["compensation"]) == ("open", CRITICAL, [])
    world.recover()
    world.settle()
    shown = world.request("violation.show", id=violation)
    assert shown["status"] == "resolved"
    assert [entry["violation_id"] for entry in shown["compensation"]] == [violation]
    with pytest.raises(RequestError, match="no violation v0"):
        world.request("violation.show", id="v0")


def test_the_state_of_an_actor_is_readable_also_where_it_is_packed(make_world: Callable[..., World]) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    for address in world.host.addresses("monitor") + world.host.addresses("ingest"):
        assert "b'" not in str(world.request("actor.state", address=address)["state"]), address
