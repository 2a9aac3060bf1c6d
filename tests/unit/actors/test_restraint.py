"""Automatic remediation held back in a cell: switched off, and actions that do not last."""

from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import HOUR_MS, INFO, MINUTE_MS, SECOND_MS, WARNING, World
from tests.unit.actors.test_neighbour import Pair
from tests.unit.actors.test_remediation import attempts, remediating

MakeWorld = Callable[..., World]


def turn(world: World, on: bool, by: str = "ann", reason: str = "upgrade") -> dict[str, Any]:
    answer: dict[str, Any] = world.request("remediation.turn", on=on, by=by, reason=reason)
    world.settle()
    return answer


def state(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.request("status")["remediation"]
    return found


# --- the switch --------------------------------------------------------------------------------------


def test_while_it_is_off_nothing_begins_by_itself_and_people_are_told_why(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    assert state(world) == {"switch": None, "left_alone": [], "breakers_open": []}
    said = turn(world, False)
    assert state(world)["switch"] == said
    assert (said["state"], said["by"], said["reason"]) == ("off", "ann", "upgrade")
    world.observe(WARNING)
    assert world.remedied == []
    why = "not tried: remediation is switched off by ann: upgrade"
    assert attempts(world) == [(1, "failed", why)]
    assert why in world.told("opened")[0].body
    assert why in world.told("escalation")[0].body
    assert world.host.addresses("remediation") == []


def test_it_outlasts_a_crash_and_both_turns_are_in_the_audit_chain(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    turn(world, False)
    world.restart()
    world.settle()
    assert state(world)["switch"]["state"] == "off"
    turn(world, True, "bob", "done")
    world.restart()
    world.settle()
    assert state(world)["switch"]["state"] == "on"
    world.observe(WARNING)
    assert len(world.remedied) == 1


def test_an_attempt_under_way_ends_and_none_follows(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(WARNING)
    assert len(world.remedied) == 1
    turn(world, False)
    world.pass_time(2 * MINUTE_MS)
    assert len(world.remedied) == 1
    assert attempts(world) == [
        (1, "completed", "ineffective"),
        (2, "failed", "not tried: remediation is switched off by ann: upgrade"),
    ]
    assert len(world.told("escalation")) == 1


def test_an_attempt_under_way_may_still_help(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    world.observe(WARNING)
    turn(world, False)
    world.recover()
    assert attempts(world) == [(1, "completed", "effective")]
    assert world.told("escalation") == []


def test_by_hand_an_action_runs_all_the_same(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    turn(world, False)
    world.observe(INFO)
    world.request("violation.remediate", id=world.violation()["id"], action="restart", by="bob")
    world.settle()
    assert len(world.remedied) == 1
    assert attempts(world)[-1] == (2, "completed", "rebooted")


def test_a_turn_needs_who_and_why(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    for payload in (
        {"on": False, "by": " ", "reason": "x"},
        {"on": False, "by": "ann", "reason": ""},
        {"by": "a", "reason": "b"},
    ):
        with pytest.raises(RequestError) as caught:
            world.request("remediation.turn", **payload)
        assert caught.value.code == "invalid"
    assert state(world)["switch"] is None


def test_another_cell_hears_of_it_also_when_it_was_away(make_world: MakeWorld) -> None:
    pair = Pair(make_world)
    pair.to_one.is_down = True
    said = turn(pair.one, False)
    pair.pass_time(5 * SECOND_MS)
    assert state(pair.two)["switch"] is None
    pair.to_one.is_down = False
    pair.pass_time(3 * SECOND_MS)
    assert state(pair.two)["switch"] == said
    pair.two.restart()
    assert state(pair.two)["switch"] == said


def test_a_cell_takes_in_what_another_says_and_keeps_what_is_newer(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    said = turn(world, False)
    world.request("remediation.learn", switch={**said, "state": "on", "time": said["time"] - 1})
    assert state(world)["switch"] == said
    world.request("remediation.learn", switch={**said, "state": "on", "time": said["time"] + 1})
    assert state(world)["switch"]["state"] == "on"
    for nonsense in (7, {"state": "maybe"}, {"state": "off", "by": "a", "reason": "b", "time": "now"}):
        with pytest.raises(RequestError) as caught:
            world.request("remediation.learn", switch=nonsense)
        assert caught.value.code == "invalid"


# --- what does not last ------------------------------------------------------------------------------


def come_and_go(world: World, times: int) -> None:
    for _ in range(times):
        world.observe(WARNING)
        world.recover()
        world.pass_time(MINUTE_MS)


def test_an_action_that_helps_again_and_again_is_left_alone_and_people_are_told(
    make_world: MakeWorld,
) -> None:
    world = make_world(remediating(max_runs=2, per="1h"))
    world.define()
    come_and_go(world, 2)
    assert len(world.remedied) == 2
    assert world.told("escalation") == []
    world.observe(WARNING)
    assert len(world.remedied) == 2
    [row] = world.violations()[0]["remediation_actions"]
    assert row["status"] == "failed"
    assert row["result"].startswith("not tried: restart has helped 2 times within 1h and does not last")
    assert "does not last" in world.told("opened")[-1].body
    assert "does not last" in world.told("escalation")[0].body
    [left] = state(world)["left_alone"]
    assert (left["sla_id"], left["metric_name"], left["action"], left["count"]) == (
        "api",
        "latency",
        "restart",
        2,
    )


def test_it_is_remembered_over_a_crash_and_forgotten_in_time(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_runs=2, per="1h"))
    world.define()
    come_and_go(world, 2)
    world.restart()
    world.settle()
    assert len(state(world)["left_alone"]) == 1
    world.pass_time(HOUR_MS + MINUTE_MS)
    assert state(world)["left_alone"] == []
    world.observe(WARNING)
    assert len(world.remedied) == 3
    world.pass_time(HOUR_MS)
    assert world.environment.restraint.helped == ()


def test_what_a_person_runs_does_not_count(make_world: MakeWorld) -> None:
    world = make_world(remediating(auto_remediate=False, max_runs=1))
    world.define()
    world.observe(WARNING)
    world.request("violation.remediate", id=world.violation()["id"], action="restart", by="ann")
    world.settle()
    world.recover()
    assert len(world.remedied) == 1
    assert state(world)["left_alone"] == []
