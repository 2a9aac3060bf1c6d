"""A contract that is removed within a period settles it up to then: once, whatever is down or crashes meanwhile."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from slakeeper.actors.address import monitor_address
from slakeeper.actors.message import ListHistory, Observe, Rebase
from slakeeper.actors.monitor import MetricMonitorActor
from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    Crash,
    World,
    contract,
    metric,
)
from tests.unit.actors.test_audit import entries
from tests.unit.actors.test_lost_message import PENALTY, Lose, lose

__all__ = ["lose"]

MakeWorld = Callable[..., World]


def watched(make_world: MakeWorld, **changes: Any) -> World:
    """A contract with a penalty, of which 10 s were bad and 30 s good when it is removed within its minute."""
    world = make_world()
    world.define(**PENALTY, **changes)
    world.observe(CRITICAL)
    world.recover()
    return world


def remove(world: World) -> None:
    world.request("sla.remove", id="api", by="ann")


def settled(world: World) -> list[dict[str, Any]]:
    world.settle()
    return [each for each in entries(world) if each["what"] == "period.settled"]


def penalties(world: World) -> list[dict[str, Any]]:
    return [each for each in world.ledger() if each["rule"].startswith("penalty")]


def assert_settled_once(world: World, end_ms: int) -> None:
    world.pass_time(5 * SECOND_MS)
    assert world.request("sla.list")["slas"] == []
    assert [(each["period_start"], each["period_end"], each["amount"]) for each in penalties(world)] == [
        (NOW_MS, end_ms, "10.00")
    ]
    [said] = settled(world)
    assert (said["details"]["end_ms"], said["details"]["ends_with"]) == (end_ms, "contract removed")
    [past] = world.host.ask("report:api", ListHistory()).periods
    assert (past.start_ms, past.end_ms) == (NOW_MS, end_ms)
    assert [each["what"] for each in entries(world)].count("contract.removed") == 1


def test_the_running_period_is_settled_up_to_the_removal_by_the_terms_in_force(make_world: MakeWorld) -> None:
    world = watched(make_world)
    world.pass_time(3 * SECOND_MS)
    end_ms = world.now_ms
    remove(world)
    assert_settled_once(world, end_ms)
    [past] = world.host.ask("report:api", ListHistory()).periods
    account = past.accounts["latency"]
    assert account.good_ms + account.bad_ms + account.unknown_ms == end_ms - NOW_MS
    assert (account.bad_ms, account.good_ms) == (10 * SECOND_MS, 23 * SECOND_MS)
    world.restart()
    world.pass_time(2 * HOUR_MS)
    assert_settled_once(world, end_ms)


def test_there_is_a_report_of_a_contract_that_was_removed(make_world: MakeWorld) -> None:
    world = watched(make_world)
    world.pass_time(3 * SECOND_MS)
    end_ms = world.now_ms
    remove(world)
    world.restart()
    with pytest.raises(RequestError, match="api has been removed; ask for --period last") as caught:
        world.request("report", sla="api")
    assert caught.value.code == "not_found"
    last = world.request("report", sla="api", period="last")["document"]
    assert (last["period"]["start"], last["period"]["end"]) == (NOW_MS, end_ms)
    assert [each["amount"] for each in last["ledger"] if each["rule"].startswith("penalty")] == ["10.00"]
    assert len(last["violations"]) == 1
    assert (
        world.request("report", sla="api", period=f"{NOW_MS // 1000}/{end_ms // 1000}")["document"]["metrics"]
        == last["metrics"]
    )
    assert world.request("report", sla="api", period="last", format="md")["text"]


def test_a_metric_that_left_within_the_period_is_a_part_of_it(make_world: MakeWorld) -> None:
    world = watched(make_world, metrics=[metric("latency"), metric("load")])
    world.define(contract(metrics=[metric("load")], compensation=[], **PENALTY))
    world.pass_time(10 * SECOND_MS)
    end_ms = world.now_ms
    remove(world)
    assert_settled_once(world, end_ms)
    [past] = world.host.ask("report:api", ListHistory()).periods
    assert sorted(past.accounts) == ["latency", "load"]


def test_a_period_that_waits_for_late_samples_and_the_one_after_it_are_both_settled(
    make_world: MakeWorld,
) -> None:
    world = watched(make_world)
    world.go_to(NOW_MS + HOUR_MS + 3 * SECOND_MS)
    assert settled(world) == []
    remove(world)
    assert [each["details"]["end_ms"] for each in settled(world)] == [NOW_MS + HOUR_MS, world.now_ms]
    assert ["ends_with" in each["details"] for each in settled(world)] == [False, True]


@pytest.mark.parametrize("effective", [None, NOW_MS + HOUR_MS], ids=["just begun", "pending"])
def test_of_a_contract_that_was_never_in_force_nothing_is_settled(
    make_world: MakeWorld, effective: int | None
) -> None:
    world = make_world()
    changes: dict[str, Any] = {} if effective is None else {"effective_date": effective // 1000}
    world.define(**changes)
    remove(world)
    assert world.request("sla.list")["slas"] == settled(world) == []


@pytest.mark.parametrize("after_ms", [3 * SECOND_MS, HOUR_MS])
def test_of_an_expired_contract_the_last_period_is_settled_as_it_ended(
    make_world: MakeWorld, after_ms: int
) -> None:
    world = watched(make_world, term="30m")
    world.go_to(NOW_MS + 30 * MINUTE_MS + after_ms)
    remove(world)
    assert [each["details"]["end_ms"] for each in settled(world)] == [NOW_MS + 30 * MINUTE_MS]
    assert len(penalties(world)) == 1


def test_while_it_is_suspended_nothing_counts_up_to_the_removal(make_world: MakeWorld) -> None:
    world = watched(make_world)
    world.request("sla.suspend", id="api", by="ann")
    world.pass_time(MINUTE_MS)
    end_ms = world.now_ms
    remove(world)
    assert_settled_once(world, end_ms)
    [past] = world.host.ask("report:api", ListHistory()).periods
    assert past.accounts["latency"].excluded_ms == MINUTE_MS


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_is_settled_once_when_the_process_crashes_on_the_removal(
    make_world: MakeWorld, when: Literal["before", "after"]
) -> None:
    world = watched(make_world)
    end_ms = world.now_ms
    world.crash_at = (world.commits + 1, when)
    with pytest.raises(Crash):
        remove(world)
    world.crash_at = None
    world.restart()
    if when == "before":
        assert settled(world) == []
        remove(world)
    assert_settled_once(world, end_ms)


def test_a_monitor_that_is_down_is_waited_for(make_world: MakeWorld) -> None:
    world = watched(make_world, metrics=[metric("latency"), metric("load", weight=0.5)])
    end_ms = world.now_ms
    address = monitor_address("api", "latency")
    world.request("actor.suspend", address=address)
    with pytest.raises(RequestError, match=r"being removed.*: latency;"):
        remove(world)
    world.pass_time(MINUTE_MS)
    assert world.status()["status"] == "expired"
    assert settled(world) == []
    for act, payload in (
        ("sla.remove", {"id": "api", "by": "ann"}), ("sla.suspend", {"id": "api", "by": "ann"}),
        ("sla.define", {"document": contract(service_level=98), "by": "ann"}),
    ):  # fmt: skip
        with pytest.raises(RequestError, match=r"being removed.*: latency;") as caught:
            world.request(act, **payload)
        assert caught.value.code == "conflict"
    world.host.inspector.resume(address)
    assert_settled_once(world, end_ms)


def test_while_one_is_waited_for_the_others_are_left_alone(make_world: MakeWorld) -> None:
    world = watched(make_world, metrics=[metric("latency"), metric("load")])
    world.request("actor.suspend", address=monitor_address("api", "latency"))
    with pytest.raises(RequestError, match=r"being removed.*: latency;"):
        remove(world)
    assert world.partition is not None
    world.pass_time(MINUTE_MS)
    before = world.partition.seq
    world.pass_time(HOUR_MS)
    assert world.partition.seq - before < 10
    world.restart()
    with pytest.raises(RequestError, match="being removed"):
        world.request("sla.suspend", id="api", by="ann")


def test_a_process_that_crashes_while_a_monitor_is_waited_for_goes_on_with_the_removal(
    make_world: MakeWorld,
) -> None:
    world = watched(make_world)
    end_ms = world.now_ms
    world.request("actor.suspend", address=monitor_address("api", "latency"))
    with pytest.raises(RequestError, match=r"being removed.*: latency;"):
        remove(world)
    world.pass_time(MINUTE_MS)
    world.restart()
    assert_settled_once(world, end_ms)


def test_a_contract_that_is_killed_while_it_waits_goes_on_with_the_removal(make_world: MakeWorld) -> None:
    world = watched(make_world)
    end_ms = world.now_ms
    address = monitor_address("api", "latency")
    world.request("actor.suspend", address=address)
    with pytest.raises(RequestError, match=r"being removed.*: latency;"):
        remove(world)
    world.request("actor.kill", address="contract:api", by="ann")
    world.host.inspector.resume(address)
    assert_settled_once(world, end_ms)


@pytest.mark.parametrize("message", [Rebase, Observe])
def test_a_monitor_that_crashes_meanwhile_is_heard_after_its_restart(
    make_world: MakeWorld,
    lose: Lose,
    message: type,
) -> None:
    world = watched(make_world)
    end_ms = world.now_ms
    lose(MetricMonitorActor, message)
    if message is Observe:
        world.observe(GOOD)
    remove(world)
    assert_settled_once(world, end_ms)


def test_a_violation_that_opens_late_while_it_is_waited_for_ends_with_the_contract(
    make_world: MakeWorld,
) -> None:
    world = watched(make_world)
    end_ms = world.now_ms
    address = monitor_address("api", "latency")
    world.request("actor.suspend", address=address)
    world.host.cast(address, Observe(((world.now_ms, 10 * CRITICAL),)))
    with pytest.raises(RequestError, match=r"being removed.*: latency;"):
        remove(world)
    world.host.inspector.resume(address)
    world.pass_time(5 * SECOND_MS)
    assert world.request("sla.list")["slas"] == world.violations() == []
    [late] = [each for each in world.violations(resolved=True) if each["start_time"] == end_ms]
    assert (late["end_time"], late["resolved_by"]) == (end_ms, "slakeeper")
    assert late["resolve_note"] == "contract removed"
