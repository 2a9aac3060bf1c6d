"""Automatic and manual actions against a violation."""

import fcntl
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from slakeeper.sla.policy import EnforcementPolicy
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    INFO,
    MINUTE_MS,
    SECOND_MS,
    WARNING,
    World,
    action,
    contract,
    enforcement,
    metric,
)

MakeWorld = Callable[..., World]


COMMAND = {"type": "command", "argv": ["reboot"]}


def remediating(
    *actions: dict[str, Any], remedy: dict[str, Any] = COMMAND, **settings: Any
) -> EnforcementPolicy:
    return enforcement(
        automatic_actions=list(actions) or [action()],
        remedies={"reboot": remedy},
        remediation={"verify_after": "30s", "backoff": "10s", **settings},
    )


def begin(world: World) -> None:
    """A violation opens, and its action has been handed to a thread that has not come to it yet."""
    world.define()
    world.request("samples", samples=[["latency", INFO, world.now_ms, None, None]], batch_id=None)
    world.turn()
    assert attempts(world) == [(1, "executing", "")]


def attempts(world: World) -> list[tuple[int, str, str]]:
    rows = world.violation()["remediation_actions"]
    return [(row["attempt"], row["status"], row["result"]) for row in rows]


def test_an_action_that_helps_is_effective_and_spares_a_warning_its_escalation(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(WARNING)
    assert attempts(world) == [(1, "completed", "rebooted")]
    world.recover()
    assert attempts(world) == [(1, "completed", "effective")]
    assert world.told("escalation") == []
    assert world.host.addresses("remediation") == []


def test_what_does_not_help_is_tried_again_and_then_a_warning_is_escalated(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(WARNING)
    world.pass_time(30 * SECOND_MS)
    assert attempts(world) == [(1, "completed", "ineffective")]
    world.pass_time(10 * SECOND_MS)
    assert len(world.remedied) == 2
    world.pass_time(30 * SECOND_MS + 20 * SECOND_MS)
    assert len(world.remedied) == 3
    assert world.told("escalation") == []
    world.pass_time(30 * SECOND_MS)
    assert [status for _, status, _ in attempts(world)] == ["completed"] * 3
    assert len(world.told("escalation")) == 1
    assert len(set(world.remedied)) == 3


def test_an_action_that_fails_is_recorded_as_failed(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_remediation_attempts=1))
    world.remedy_works = False
    world.define()
    world.observe(INFO)
    assert attempts(world) == [(1, "failed", "no answer")]
    assert world.host.addresses("remediation") == []


def test_an_action_of_another_metric_or_condition_is_not_run(make_world: MakeWorld) -> None:
    other = action("a", trigger_metric="queue")
    higher = action("b", condition={"op": "gt", "value": 400})
    off = action("c", enabled=False)
    world = make_world(remediating(other, higher, off))
    world.define()
    world.observe(WARNING)
    assert world.remedied == []
    world.pass_time(11 * SECOND_MS)
    world.observe(CRITICAL)
    assert [row["name"] for row in world.violation()["remediation_actions"]] == ["b"]


def test_nothing_is_run_by_itself_when_remediation_is_off(make_world: MakeWorld) -> None:
    world = make_world(remediating(auto_remediate=False))
    world.define()
    world.observe(WARNING)
    assert world.remedied == []
    assert len(world.told("escalation")) == 1


def test_a_dry_run_does_nothing_and_says_what_it_would_do(make_world: MakeWorld) -> None:
    world = make_world(remediating(dry_run=True))
    world.define()
    world.observe(INFO)
    [(_, status, result)] = attempts(world)
    assert (status, result.startswith("dry run")) == ("completed", True)
    assert world.environment.targets == {}


def test_two_actions_on_one_target_take_turns(make_world: MakeWorld) -> None:
    world = make_world(remediating(action("a"), action("b")))
    world.define()
    world.observe(INFO)
    assert [key.split(".")[1] for key in world.remedied] == ["a"]
    world.pass_time(31 * SECOND_MS)
    assert [key.split(".")[1] for key in world.remedied] == ["a", "b"]


def test_a_target_is_still_taken_while_an_attempt_is_verified_after_a_restart(make_world: MakeWorld) -> None:
    world = make_world(remediating(action("a"), action("b")))
    world.define()
    world.observe(INFO)
    world.restart()
    world.pass_time(20 * SECOND_MS)
    assert [key.split(".")[1] for key in world.remedied] == ["a"]


def test_a_webhook_of_which_nobody_knows_whether_it_arrived_bears_the_same_key(make_world: MakeWorld) -> None:
    world = make_world(remediating(remedy={"type": "webhook", "url": "http://localhost:1/"}))
    begin(world)
    world.restart()
    world.pass_time(11 * SECOND_MS)
    assert [key.rpartition(".")[2] for key in world.remedied] == ["1"]
    assert attempts(world) == [(1, "completed", "rebooted")]


def test_a_remedy_outlives_a_crash_of_its_actor(make_world: MakeWorld) -> None:
    """The actor comes back while the remedy still runs: its end is that of the attempt, and nothing is repeated."""
    world = make_world(remediating())
    begin(world)
    [address] = world.host.addresses("remediation")
    world.host.inspector.kill(address)
    world.turn()
    assert attempts(world) == [(1, "executing", "")]
    assert world.environment.targets == {"host-1": address}
    world.settle()
    assert attempts(world) == [(1, "completed", "rebooted")]
    assert len(world.remedied) == 1


def test_while_another_cell_acts_on_the_target_it_waits_and_that_is_no_attempt(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_remediation_attempts=1, breaker_failures=1))
    world.define()
    world.environment.lock_dir.mkdir()
    with (world.environment.lock_dir / "host-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world.observe(WARNING)
        world.pass_time(30 * SECOND_MS)
        assert world.remedied == []
        assert attempts(world) == [(1, "pending", "waits: another run is acting on this target")]
        assert world.told("escalation") == []
        assert world.environment.targets == {}
    world.pass_time(10 * SECOND_MS)
    assert len(world.remedied) == 1
    assert attempts(world) == [(1, "completed", "rebooted")]
    world.recover()
    assert attempts(world) == [(1, "completed", "effective")]


def test_a_violation_that_ends_while_its_action_waits_for_the_target_is_over(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.environment.lock_dir.mkdir()
    with (world.environment.lock_dir / "host-1.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world.observe(WARNING)
        world.recover()
        world.pass_time(MINUTE_MS)
    assert attempts(world) == [(1, "failed", "not tried: the violation was over before it began")]
    assert world.host.addresses("remediation") == []
    assert world.host.addresses("violation") == []


def test_an_action_that_keeps_failing_everywhere_is_left_alone(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_remediation_attempts=1, breaker_failures=2, breaker_reset="10m"))
    world.remedy_works = False
    for name in ("a", "b", "c"):
        world.define(contract(id=name, metrics=[metric("latency")], compensation=[]))
    for name in ("a", "b", "c"):
        world.observe(INFO, sla=name)
    assert len(world.remedied) == 2
    assert world.environment.breakers["restart"].failures == 2
    world.pass_time(10 * MINUTE_MS)
    world.request("violation.remediate", id=world.violations()[0]["id"], action="restart", by="ann")
    world.settle()
    assert len(world.remedied) == 3


def broken(make_world: MakeWorld) -> World:
    """A cell in which the only action has failed as often as its breaker allows."""
    world = make_world(remediating(max_remediation_attempts=1, breaker_failures=1, breaker_reset="10m"))
    world.remedy_works = False
    world.define(contract(id="a", metrics=[metric("latency")], compensation=[]))
    world.define(contract(id="b", metrics=[metric("latency")], compensation=[]))
    world.observe(WARNING, sla="a")
    return world


OPEN = "the breaker of action restart is open until 2027-01-15 08:10:00 UTC"


def test_an_action_that_its_breaker_stops_is_recorded_logged_and_escalated(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    world = broken(make_world)
    told = len(world.told("escalation"))
    world.observe(WARNING, sla="b")
    [seen] = [row for row in world.violations() if row["sla_id"] == "b"]
    [record] = seen["remediation_actions"]
    assert (record["status"], record["result"], record["attempt"]) == ("failed", f"not tried: {OPEN}", 1)
    [line] = [each for each in caplog.records if OPEN in each.getMessage()]
    assert (line.levelname, seen["id"] in line.getMessage()) == ("WARNING", True)
    assert len(world.told("escalation")) == told + 1
    assert len(world.remedied) == 1
    assert not world.host.crash_reports


def test_a_run_by_hand_is_refused_while_the_breaker_is_open(make_world: MakeWorld) -> None:
    world = broken(make_world)
    with pytest.raises(RequestError, match=OPEN) as caught:
        world.request("violation.remediate", id=world.violations()[0]["id"], action="restart", by="ann")
    assert caught.value.code == "conflict"
    world.settle()
    assert len(world.remedied) == 1
    assert not world.host.crash_reports
    world.remedy_works = True  # a dry run disturbs nobody
    world.request(
        "violation.remediate", id=world.violations()[0]["id"], action="restart", by="ann", dry_run=True
    )
    world.settle()
    assert world.violations()[0]["remediation_actions"][-1]["result"].startswith("dry run")


def test_the_first_message_says_what_is_being_tried(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(CRITICAL)
    assert "tried     restart (attempt 1) is about to be tried" in world.told("opened")[0].body
    assert "restart (attempt 1)" in world.told("escalation")[0].body


def test_an_attempt_that_never_began_is_not_left_as_planned(make_world: MakeWorld) -> None:
    world = make_world(remediating(action("a"), action("b")))
    world.define()
    world.observe(INFO)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.pass_time(MINUTE_MS)
    results = {
        row["name"]: (row["status"], row["result"]) for row in world.violation()["remediation_actions"]
    }
    assert results["b"] == ("failed", "not tried: the violation was over before it began")
    assert world.host.addresses("violation") == []


def test_an_attempt_without_an_answer_ends_at_its_timeout(make_world: MakeWorld) -> None:
    world = make_world(remediating(remediation_timeout="1m", max_remediation_attempts=1))
    world.define()
    world.request("samples", samples=[["latency", INFO, None, None, None]])
    world.executor.waiting.clear()
    world.pass_time(MINUTE_MS)
    [(_, status, result)] = attempts(world)
    assert (status, "no answer within 60 s" in result) == ("failed", True)
    assert world.environment.targets == {}


def test_an_operator_runs_an_action_by_hand(make_world: MakeWorld) -> None:
    world = make_world(remediating(auto_remediate=False))
    world.define()
    world.observe(INFO)
    identity = world.violation()["id"]
    world.request("violation.remediate", id=identity, action="restart", by="ann")
    with pytest.raises(RequestError) as caught:
        world.request("violation.remediate", id=identity, action="restart", by="ann")
    assert caught.value.code == "conflict"
    world.settle()
    [row] = world.violation()["remediation_actions"]
    assert (row["action_type"], row["by"], row["status"]) == ("manual", "ann", "completed")


def test_a_dry_run_by_hand_does_nothing(make_world: MakeWorld) -> None:
    world = make_world(remediating(auto_remediate=False))
    world.define()
    world.observe(INFO)
    world.request("violation.remediate", id=world.violation()["id"], action="restart", by="ann", dry_run=True)
    world.settle()
    assert attempts(world)[0][2].startswith("dry run")


def test_an_unknown_action_is_refused_by_name(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(INFO)
    with pytest.raises(RequestError, match="there are: restart") as caught:
        world.request("violation.remediate", id=world.violation()["id"], action="explode", by="ann")
    assert caught.value.code == "invalid"


def test_looking_again_begins_nothing_twice(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(CRITICAL)
    world.request("violation.enforce", id=world.violation()["id"])
    world.settle()
    assert len(world.remedied) == len(world.told("escalation")) == 1


def test_an_action_that_is_no_longer_configured_ends_its_runs(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(WARNING)
    world.pass_time(35 * SECOND_MS)  # its next attempt is due in five
    world.policy = enforcement()
    world.restart()
    world.pass_time(10 * SECOND_MS)
    assert world.host.addresses("remediation") == []
    assert len(world.told("escalation")) == 1
    assert not world.host.crash_reports


def test_somebody_who_is_on_it_already_is_not_called_when_remedies_are_exhausted(
    make_world: MakeWorld,
) -> None:
    world = make_world(remediating(max_remediation_attempts=1))
    world.define()
    world.observe(WARNING)
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    world.pass_time(5 * MINUTE_MS)
    assert world.told("escalation") == []
    world.observe(GOOD)
