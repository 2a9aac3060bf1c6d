"""One actor is broken: its siblings go on, status answers, requests are refused in words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.actors.escalation import EscalationActor
from slakeeper.actors.kind import KINDS
from slakeeper.actors.message import Observe
from slakeeper.actors.monitor import MetricMonitorActor
from slakeeper.otp.actor import Actor, RequestError
from slakeeper.otp.neighbour import SocketNeighbour
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    WARNING,
    World,
    contract,
    enforcement,
    metric,
)

MakeWorld = Callable[..., World]


@pytest.fixture
def two(make_world: MakeWorld) -> World:
    world = make_world()
    world.define()
    world.define(contract(id="b", metrics=[metric("queue")], compensation=[]))
    return world


def break_actor(world: World, address: str) -> None:
    """Sends what no actor understands until it is set aside."""
    for _ in range(8):
        world.host.begin_turn()
        world.host.cast(address, "rubbish")
        world.host.drain()
        world.host.commit()
        world.pass_time(6 * SECOND_MS)


def test_a_monitor_that_keeps_crashing_is_set_aside_and_the_others_go_on(two: World) -> None:
    break_actor(two, "monitor:api:latency")
    assert two.actor_status("monitor:api:latency") == "quarantined"
    assert "actor.quarantined" in two.topics()
    two.observe(CRITICAL, "queue")
    assert [row["sla_id"] for row in two.violations()] == ["b"]
    assert two.status("b")["status"] != "healthy"
    row = two.status("api")
    assert (row["metrics"], row["metrics_down"], row["id"]) == ([], ["latency"], "api")
    shown = two.shown("api")
    assert shown["metrics_down"] == ["latency"]
    (listed,) = shown["metrics"]
    assert (listed["name"], listed["state"], listed["value"], listed["threshold"]) == (
        "latency", "quarantined", None, 250,
    )  # fmt: skip
    assert listed["reason"] == "nobody watches it: its monitor is quarantined"


def test_a_violation_that_nobody_watches_now_is_still_one(two: World) -> None:
    two.observe(CRITICAL)
    before = two.status("api")
    break_actor(two, "monitor:api:latency")
    row = two.status("api")
    assert (row["status"], row["metrics_down"], row["open_violations"]) == ("warning", ["latency"], 1)
    assert (row["compliance_score"], before["compliance_score"]) == (0, 0)
    assert two.shown("api")["status"] == "warning"


def test_a_monitor_that_is_released_goes_on_with_its_state(two: World) -> None:
    two.observe(GOOD)
    break_actor(two, "monitor:api:latency")
    assert two.request("actor.resume", address="monitor:api:latency")["status"] == "running"
    assert two.metric()["samples_accepted"] == 1
    two.observe(CRITICAL)
    assert len(two.violations()) == 1


def test_a_monitor_that_a_restart_finds_broken_stops_nobody(
    two: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.observe(GOOD)
    apply = MetricMonitorActor.apply

    def broken(self: MetricMonitorActor, event: Any) -> Any:
        if self.address == "monitor:api:latency":
            raise ValueError("a broken record")
        return apply(self, event)

    monkeypatch.setattr(MetricMonitorActor, "apply", broken)
    two.restart()
    two.pass_time(5 * MINUTE_MS)
    assert two.actor_status("monitor:api:latency") == "quarantined"
    two.observe(CRITICAL, "queue")
    assert [row["sla_id"] for row in two.violations()] == ["b"]
    assert {row["id"] for row in two.request("status")["slas"]} == {"api", "b"}


def test_a_contract_that_is_set_aside_is_shown_as_that(two: World) -> None:
    break_actor(two, "contract:api")
    assert two.status("api")["status"] == "quarantined"
    assert two.status("b")["name"] == "API"
    assert "api" in two.request("catalog")["slas"]
    for kind, payload in (
        ("sla.show", {"id": "api"}),
        ("sla.suspend", {"id": "api", "by": "ann"}),
        ("sla.define", {"document": contract(service_level=98)}),
    ):
        with pytest.raises(RequestError) as caught:
            two.request(kind, **payload)
        assert (caught.value.code, caught.value.details["reason"]) == ("unavailable", "down")
        assert str(caught.value) == "contract:api is quarantined"


def test_a_suspended_actor_keeps_nobody_from_an_answer(two: World) -> None:
    two.observe(CRITICAL)
    violation = two.violation()["id"]
    for address in (
        "contract:api",
        f"violation:{violation}",
        "report:api",
        "ledger:api",
        "monitor:api:latency",
    ):
        assert two.request("actor.suspend", address=address)["status"] == "suspended"
    row = two.status("api")
    assert (row["status"], row["actor_status"]) == ("unavailable", "suspended")
    assert (row["time_period_remaining_ms"], row["open_violations"]) == (None, None)
    assert two.status("b")["status"] != "unavailable"
    assert two.violations(resolved=True) == []
    assert two.ledger() == []
    with pytest.raises(RequestError) as caught:
        two.request("violation.ack", id=violation, by="ann")
    assert (caught.value.code, caught.value.details) == ("unavailable", {"reason": "down"})
    for address in (
        "contract:api",
        f"violation:{violation}",
        "report:api",
        "ledger:api",
        "monitor:api:latency",
    ):
        two.request("actor.resume", address=address)
    assert two.violation()["id"] == violation


def test_a_violation_that_was_down_when_its_metric_recovered_asks_the_monitor_when_it_is_back(
    two: World,
) -> None:
    two.observe(CRITICAL)
    address = f"violation:{two.violation()['id']}"
    break_actor(two, address)
    two.recover()
    assert two.violations() == []  # nobody answers for it
    two.request("actor.resume", address=address)
    assert two.violation()["status"] == "resolved"
    assert two.violation()["end_time"] < two.now_ms


def test_a_violation_that_was_down_when_a_remedy_was_given_up_still_calls_people(
    make_world: MakeWorld,
) -> None:
    from tests.unit.actors.test_remediation import remediating

    world = make_world(remediating(max_remediation_attempts=1, verify_after="2m"))
    world.define()
    world.observe(WARNING)
    address = f"violation:{world.violation()['id']}"
    break_actor(world, address)
    world.pass_time(2 * MINUTE_MS)
    assert world.host.addresses("remediation") == []
    world.request("actor.resume", address=address)
    assert world.told("escalation") == []
    world.pass_time(SECOND_MS)
    assert len(world.told("escalation")) == 1


def test_what_was_to_be_booked_while_the_ledger_was_down_is_booked_when_it_is_back(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.define(penalties=[{"threshold": 99, "rate": 10}])
    break_actor(world, "ledger:api")
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(61 * MINUTE_MS)
    assert world.ledger() == []
    world.restart()
    world.settle()
    booked = world.ledger()
    assert [entry["rule"] for entry in booked] == ["latency#1", "penalty<99"]
    world.restart()
    world.settle()
    assert world.ledger() == booked


def test_an_actor_that_crashes_on_a_message_has_lost_only_that(two: World) -> None:
    two.observe(GOOD)
    two.host.begin_turn()
    two.host.cast("monitor:api:latency", Observe((("not", "a sample"),)))  # type: ignore[arg-type]
    two.settle()
    two.observe(GOOD)
    assert two.metric()["samples_accepted"] == 2
    assert len(two.host.crash_reports) == 1


def test_every_actor_of_the_path_may_be_killed_at_any_time(make_world: MakeWorld) -> None:
    world = make_world(enforcement())
    world.define()
    world.observe(CRITICAL)
    for address in world.host.addresses():
        world.request("actor.kill", address=address)
        world.settle()
    world.recover()
    assert world.violation()["status"] == "resolved"
    assert len(world.ledger()) == 1
    assert len({each.id for each in world.told("opened")}) == 1


# -- requests -----------------------------------------------------------------------------------------------------

RUBBISH: list[Any] = [
    None, 7, "text", [], [[]], {}, {"id": 7}, {"id": None, "by": None}, {"id": ["api"], "by": {}},
    {"document": None}, {"document": {}}, {"document": {"id": {}}}, {"document": {1: 2}}, {"document": []},
    {"address": 7}, {"address": ["a"]}, {"sla": 7}, {"sla": []}, {"sla": "api", "period": 5},
    {"sla": "api", "format": []}, {"all": "yes"}, {"samples": 1},
    {"id": "x", "by": "y", "dry_run": "no", "action": "z"},
    {"matchers": [7], "end": 10**15, "by": "a", "reason": "b"}, {"matchers": ["sla=~("], "end": 7, "by": "a"},
    {"switch": {"state": "off"}},
    {"silences": [7]}, {"silences": [{"id": 7}]}, {"parents": [7], "silences": 7}, {"parents": "api", "silences": ""},
    {"parents": [], "silences": "", "known": []}, {"parents": [], "silences": "", "known": {"s": []}},
    {"id": "x", "approve": "true", "by": "a", "reason": "b"}, {"id": "x", "by": b"bytes"},
]  # fmt: skip

KINDS_OF_REQUEST = [
    "ping", "samples", "catalog", "status", "sources", "tree", "sla.list", "sla.show", "sla.document", "sla.define",
    "sla.suspend", "sla.resume", "sla.remove", "violations", "violation.show", "violation.ack", "violation.resolve",
    "violation.escalate", "violation.enforce", "violation.remediate", "compensation", "compensation.decide",
    "compensation.settle",
    "compensation.estimate", "report", "actor.state", "actor.suspend", "actor.resume", "actor.restart", "actor.kill",
    "actor.trace", "actor.crashes", "actor.dead_letters", "actor.redeliver", "audit.heads", "audit.note",
    "backup", "silences", "silence.add", "silence.expire", "silence.learn", "remediation.turn", "remediation.learn",
    "neighbour", "sla.dependencies",
    "incident", "on_call", "channels", "channel.test", "channel.tested",
]  # fmt: skip


def test_every_kind_of_request_is_in_the_list_above(two: World) -> None:
    assert sorted(two.handlers) == sorted(KINDS_OF_REQUEST)


def refusal(world: World, kind: str, payload: Any) -> str | None:
    try:
        world.raw_request(kind, payload)
    except RequestError as error:
        return error.code
    return None


@pytest.mark.parametrize("kind", KINDS_OF_REQUEST)
def test_rubbish_is_refused_in_words_and_crashes_nobody(two: World, kind: str) -> None:
    two.observe(CRITICAL)
    for payload in RUBBISH:
        assert refusal(two, kind, payload) in {None, "invalid", "not_found"}, payload
    assert not two.host.crash_reports
    assert len(two.violations()) == 1
    assert two.status("api")["status"] != "unavailable"


@pytest.mark.parametrize(
    "kind", ["actor.state", "actor.suspend", "actor.resume", "actor.restart", "actor.kill"]
)
def test_an_unknown_address_is_not_found(two: World, kind: str) -> None:
    for address in ("monitor:nobody:x", "definition_supervisor", "cell-0", ""):
        with pytest.raises(RequestError) as caught:
            two.request(kind, address=address)
        assert caught.value.code == "not_found"


@pytest.mark.parametrize("kind", ["ack", "resolve", "escalate", "enforce", "remediate"])
def test_an_unknown_violation_is_not_found(two: World, kind: str) -> None:
    with pytest.raises(RequestError) as caught:
        two.request(f"violation.{kind}", id="v0", by="ann", action="x")
    assert caught.value.code == "not_found"


def test_a_resolved_violation_takes_no_orders(two: World) -> None:
    two.observe(CRITICAL)
    two.recover()
    for kind in ("ack", "resolve", "escalate", "enforce"):
        with pytest.raises(RequestError) as caught:
            two.request(f"violation.{kind}", id=two.violation()["id"], by="ann")
        assert caught.value.code == "conflict"


def test_the_state_of_every_kind_of_actor_can_be_shown_as_json(make_world: MakeWorld) -> None:
    from tests.unit.actors.test_remediation import remediating
    from tests.unit.actors.test_source import SOURCES

    world = make_world(
        remediating(),
        monitoring={"sources": SOURCES},
        neighbours={"cell-1": SocketNeighbour(Path("/nowhere"))},
    )
    world.define(maintenance=[{"start": "2030-01-01T00:00:00Z", "duration": "1h"}], depends_on=["x"])
    world.observe(CRITICAL, batch_id="b")
    shown = {}
    for address in world.host.addresses():
        answer = world.request("actor.state", address=address)
        json.dumps(answer)
        shown[answer["kind"]] = answer["state"]
    assert set(shown) == set(KINDS)
    assert all(state is not None for state in shown.values())


def test_an_approval_must_be_said_plainly(two: World) -> None:
    for approve in ("false", 1, None):
        with pytest.raises(RequestError) as caught:
            two.request("compensation.decide", id="c0", approve=approve, by="ann", reason="x")
        assert caught.value.code == "invalid"


def test_an_escalation_that_nobody_answered_is_visible_in_status(two: World) -> None:
    two.observe(CRITICAL)
    assert two.status("api")["escalations_failed"] == 0
    two.pass_time(30 * MINUTE_MS)
    assert two.status("api")["escalations_failed"] == 1
    assert "escalation.failed" in two.topics()


# -- helpers that crash while their violation looks for them -----------------------------------------------------------


def crashing(monkeypatch: pytest.MonkeyPatch, kind: type[Actor], times: int) -> None:
    """Has the next starts of a kind that is on record fail."""
    init, left = kind.init, times

    def fail(self: Actor, ctx: Any, fresh: bool) -> str | None:
        nonlocal left
        if not fresh and left:
            left -= 1
            raise RuntimeError("not yet")
        return init(self, ctx, fresh)

    monkeypatch.setattr(kind, "init", fail)


def test_an_escalation_that_is_being_restarted_is_not_taken_for_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.observe(CRITICAL)
    address = f"escalation:{world.violation()['id']}"
    crashing(monkeypatch, EscalationActor, times=5)
    world.restart()
    world.pass_time(SECOND_MS)
    assert world.actor_status(address) == "restarting"
    world.pass_time(MINUTE_MS)
    assert len(world.told("escalation")) == 2
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert len(world.told("resolved", "pager")) == 1
    assert world.host.addresses("escalation") == world.host.addresses("violation") == []


def test_an_escalation_that_is_set_aside_is_said_to_have_failed_and_goes_on_when_it_is_released(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.observe(CRITICAL)
    address = f"escalation:{world.violation()['id']}"
    crashing(monkeypatch, EscalationActor, times=6)
    world.restart()
    world.pass_time(MINUTE_MS)
    assert world.actor_status(address) == "quarantined"
    assert world.violation()["escalation_failed_time"] is not None
    world.request("actor.resume", address=address)
    world.settle()
    assert len(world.told("escalation")) == 2
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    world.pass_time(HOUR_MS)
    assert len(world.told("escalation")) == 2
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert world.host.addresses("escalation") == world.host.addresses("violation") == []


def test_an_escalation_that_is_released_after_its_violation_has_ended_tells_so_and_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.observe(CRITICAL)
    address = f"escalation:{world.violation()['id']}"
    crashing(monkeypatch, EscalationActor, times=6)
    world.restart()
    world.pass_time(30 * SECOND_MS)
    world.recover()
    assert world.host.addresses("violation") == []
    world.request("actor.resume", address=address)
    world.settle()
    world.pass_time(HOUR_MS)
    assert (
        len(world.told("escalation", "chat")) == len(world.told("resolved", "chat")) - 1 == 1
    )  # one is the alert
    assert world.host.addresses("escalation") == []
