"""Silences in a cell: durable, in the audit chain, and what they mute is told when they are over."""

from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.actors.audit import recorded_chain
from slakeeper.otp.actor import RequestError
from slakeeper.sla.silence import KEPT_MS
from tests.unit.actors.cell_world import (
    CRITICAL,
    DAY_MS,
    HOUR_MS,
    INFO,
    MINUTE_MS,
    SECOND_MS,
    WARNING,
    World,
    contract,
    metric,
)
from tests.unit.actors.test_remediation import remediating

MakeWorld = Callable[..., World]


def add(world: World, *matchers: Any, for_ms: int = HOUR_MS, **more: Any) -> dict[str, Any]:
    how = {"end": world.now_ms + for_ms, "by": "ann", "reason": "upgrade", **more}
    made: dict[str, Any] = world.request("silence.add", matchers=list(matchers or ("sla=api",)), **how)
    return made


def listed(world: World, *, include_expired: bool = False) -> list[tuple[str, str]]:
    rows = world.request("silences", all=include_expired)["silences"]
    return [(row["id"], row["state"]) for row in rows]


def chain(world: World) -> list[str]:
    assert world.partition is not None
    lines = [link.line for link in recorded_chain(world.partition, "p000", world.host.codec).unfiled]
    for path in sorted((world.directory / "audit").rglob("*.jsonl")):
        lines += path.read_text().splitlines()
    return lines


def test_while_it_is_in_force_nobody_is_told_and_everything_else_goes_on(make_world: MakeWorld) -> None:
    world = make_world(remediating())
    world.define()
    add(world)
    world.observe(CRITICAL)
    world.pass_time(10 * MINUTE_MS)
    assert world.sent == []
    seen = world.violation()
    assert (seen["status"], len(world.remedied) > 0) == ("open", True)
    assert seen["silenced_by"] == [world.request("silences")["silences"][0]["id"]]
    world.recover()
    world.pass_time(2 * HOUR_MS)
    assert world.sent == []
    assert [each["status"] for each in world.ledger()] == ["approved"]


def test_what_is_still_open_when_it_ends_is_told_then_once(world: World) -> None:
    add(world)
    world.observe(CRITICAL)
    world.pass_time(HOUR_MS - 1)
    assert world.sent == []
    world.pass_time(1)
    assert len(world.told("opened")) == 1
    assert [each.details["escalation"]["level"] for each in world.told("escalation")] == [0]
    assert "Late" not in world.told("escalation")[0].body
    world.pass_time(MINUTE_MS)
    assert [each.details["escalation"]["level"] for each in world.told("escalation")] == [0, 1]
    world.pass_time(HOUR_MS)
    assert len(world.told("opened")) == 1


def test_a_walk_that_has_begun_waits_and_goes_on_where_it_stood(world: World) -> None:
    world.observe(CRITICAL)
    assert len(world.told("escalation")) == 1
    add(world)
    world.pass_time(HOUR_MS - SECOND_MS)
    assert len(world.told("escalation")) == 1
    world.pass_time(SECOND_MS)
    assert [each.details["escalation"]["level"] for each in world.told("escalation")] == [0, 1]
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert len(world.told("resolved", "pager")) == 1


def test_who_was_told_before_it_hears_of_the_end_while_it_is_in_force(world: World) -> None:
    world.observe(CRITICAL)
    add(world)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert len(world.told("resolved")) == 2  # by the alert, and by the walk


def test_when_it_is_ended_before_its_time_people_are_told_soon(world: World) -> None:
    made = add(world)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    ended = world.request("silence.expire", id=made["id"], by="bob")
    assert (ended["state"], ended["expired_by"], ended["end_time"]) == ("expired", "bob", world.now_ms)
    world.pass_time(30 * SECOND_MS)
    assert len(world.told("opened")) == len(world.told("escalation")) == 1


def test_an_operator_who_escalates_by_hand_means_it(world: World) -> None:
    add(world)
    world.observe(CRITICAL)
    world.request("violation.escalate", id=world.violation()["id"], by="bob")
    world.settle()
    assert len(world.told("escalation")) == 1


def test_it_mutes_only_what_matches_all_of_its_matchers(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(contract(metrics=[metric("latency", labels={"region": "eu"}), metric("errors")]))
    add(world, 'metric=~"lat.*"', {"name": "region", "relation": "=", "value": "eu"})
    world.request("samples", samples=[["latency", CRITICAL, None, None, {"region": "eu"}]])
    world.settle()
    assert world.sent == []
    world.observe(CRITICAL, "errors")
    assert [each.details["violations"][0]["metric_name"] for each in world.told("opened")] == ["errors"]


def test_what_gets_too_bad_for_it_is_told_at_once(world: World) -> None:
    add(world, "sla=api", 'severity=~"info|warning"')
    world.observe(INFO)
    world.pass_time(SECOND_MS)
    assert world.sent == []
    world.pass_time(20 * SECOND_MS)
    world.observe(CRITICAL)
    assert [each.severity.value for each in world.told("opened")] == ["critical"]
    assert len(world.told("escalation")) == 1


def test_one_that_begins_later_mutes_later(world: World) -> None:
    made = add(world, start=world.now_ms + MINUTE_MS)
    assert listed(world) == [(made["id"], "pending")]
    world.observe(INFO)
    assert len(world.told("opened")) == 1
    world.pass_time(MINUTE_MS)
    assert listed(world) == [(made["id"], "active")]


def test_it_survives_a_restart_and_so_does_its_end(world: World) -> None:
    made, other = add(world), add(world, "sla=other")
    world.request("silence.expire", id=other["id"], by="bob")
    world.restart()
    assert listed(world) == [(made["id"], "active")]
    assert sorted(listed(world, include_expired=True)) == sorted(
        [(made["id"], "active"), (other["id"], "expired")]
    )
    world.observe(CRITICAL)
    world.restart()
    world.pass_time(30 * MINUTE_MS)
    assert world.sent == []
    assert world.partition is not None
    world.host.snapshot(world.partition)
    world.restart()
    world.pass_time(HOUR_MS)
    assert len(world.told("opened")) == 1


def test_who_made_it_and_who_ended_it_stands_in_the_audit_chain(world: World) -> None:
    made = add(world, 'severity=~"info|warning"', via="cli")
    world.request("silence.expire", id=made["id"], by="bob", via="http")
    world.settle()
    found = [line for line in chain(world) if made["id"] in line]
    assert len(found) == 2
    assert all(
        part in found[0]
        for part in ('"silence.added"', '"who":"ann"', '"via":"cli"', "severity=~", '"reason":"upgrade"')
    )
    assert '"silence.expired"' in found[1]
    assert '"who":"bob"' in found[1]


def test_the_same_request_sent_twice_makes_one(world: World) -> None:
    assert add(world) == add(world)
    assert len(listed(world)) == 1
    world.settle()
    assert sum('"silence.added"' in line for line in chain(world)) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"matchers": []}, "invalid_matcher"), ({"matchers": ["api"]}, "invalid_matcher"),
        ({"matchers": ["sla=~("]}, "invalid_matcher"), ({"matchers": [{"name": "sla", "value": 1}]}, None),
        ({"matchers": [{"name": "sla", "value": "a", "relation": "=="}]}, None), ({"matchers": "sla=a"}, None),
        ({"by": ""}, "nobody"), ({"reason": " "}, "no_reason"), ({"end": 1}, "invalid_time"), ({"end": None}, None),
        ({"end": "soon"}, None), ({"start": -1}, None), ({"matchers": ["sla=~.*"]}, "invalid_matcher"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(world: World, changes: dict[str, Any], reason: str | None) -> None:
    how = {"matchers": ["sla=api"], "end": world.now_ms + HOUR_MS, "by": "ann", "reason": "x", **changes}
    with pytest.raises(RequestError) as refused:
        world.request("silence.add", **how)
    assert refused.value.code == "invalid"
    assert refused.value.details.get("reason") == reason
    assert listed(world) == []


def test_what_is_over_or_unknown_cannot_be_ended(world: World) -> None:
    made = add(world)
    world.request("silence.expire", id=made["id"], by="bob")
    with pytest.raises(RequestError) as refused:
        world.request("silence.expire", id=made["id"], by="bob")
    assert (refused.value.code, refused.value.details["reason"]) == ("conflict", "already_expired")
    with pytest.raises(RequestError) as refused:
        world.request("silence.expire", id="s0", by="bob")
    assert refused.value.code == "not_found"


def test_one_that_has_been_over_for_days_is_forgotten(world: World) -> None:
    add(world)
    world.pass_time(HOUR_MS + KEPT_MS)
    world.pass_time(HOUR_MS)
    assert listed(world, include_expired=True) == []
    world.restart()
    assert listed(world, include_expired=True) == []


def test_status_counts_those_that_are_in_force(world: World) -> None:
    assert world.request("status")["silences"] == 0
    add(world)
    add(world, start=world.now_ms + MINUTE_MS)
    assert world.request("status")["silences"] == 1


def test_a_silence_and_maintenance_both_have_to_be_over(make_world: MakeWorld) -> None:
    world = make_world()
    start = world.now_ms // 1000
    world.define(contract(maintenance=[{"start": start + 10, "duration": "30m"}]))
    add(world, for_ms=HOUR_MS)
    world.observe(WARNING)
    world.pass_time(40 * MINUTE_MS)
    assert world.sent == []
    world.pass_time(20 * MINUTE_MS)
    assert len(world.told("opened")) == 1


def test_keepers_that_missed_it_learn_it_from_the_others(world: World) -> None:
    from slakeeper.actors.silence import SilencesActor

    made = add(world)
    keeper = world.host._seats["silences:p000"]
    assert isinstance(keeper.actor, SilencesActor)
    world.environment.muting.keep("silences:other", world.environment.muting.silences)
    keeper.actor._silences.clear()
    world.host.inspector.kill("silences:p000", "restart")
    world.pass_time(2 * SECOND_MS)
    assert listed(world) == [(made["id"], "active")]


def test_a_silence_for_longer_than_a_year_is_refused(world: World) -> None:
    with pytest.raises(RequestError, match="at most 366 days"):
        add(world, for_ms=400 * DAY_MS)
