"""What an acknowledgement, wherever it was made, brings about outside."""

from collections.abc import Callable

import pytest

from slakeeper.otp.actor import RequestError
from slakeeper.sla.notification import NotificationKind
from tests.unit.actors.cell_world import (
    CRITICAL,
    MINUTE_MS,
    WARNING,
    World,
    contract,
    enforcement,
    metric,
)

MakeWorld = Callable[..., World]


@pytest.fixture
def paged(make_world: MakeWorld) -> World:
    """The pager is a PagerDuty."""
    world = make_world(enforcement(alerts={"group_wait": "1s"}), {"alert_channels": ["pager"]})
    world.senders["pager"].type = "pagerduty"
    world.define(contract(metrics=[metric("latency"), metric("load", weight=0.5)]))
    return world


def acknowledged(world: World) -> list[tuple[str, str]]:
    """(dedup key, channel) of what was acknowledged outside."""
    return [
        (each.dedup_key, channel)
        for channel, each, _ in world.sent
        if each.kind is NotificationKind.ACKNOWLEDGED
    ]


def test_a_pager_hears_that_somebody_is_on_it_and_people_do_not(paged: World) -> None:
    paged.observe(CRITICAL)
    paged.pass_time(2 * MINUTE_MS)
    violation_id = paged.violation()["id"]
    paged.request("violation.ack", id=violation_id, by="ann", note="")
    paged.settle()
    assert set(acknowledged(paged)) == {(violation_id, "pager")}
    message = paged.told("acknowledged")[0]
    assert message.subject.startswith("[acknowledged] API: latency, by ann")
    assert "taken by  ann" in message.body


def test_a_pager_hears_it_after_a_crash_too_and_once(paged: World) -> None:
    paged.observe(CRITICAL)
    paged.pass_time(2 * MINUTE_MS)
    violation_id = paged.violation()["id"]
    paged.request("violation.ack", id=violation_id, by="ann", note="")
    paged.restart()
    paged.settle()
    keys = {each.id for each in paged.told("acknowledged", "pager")}
    assert keys == {f"{violation_id}.acknowledged.1"}


def test_of_an_incident_with_others_in_it_nobody_says_that_somebody_is_on_it(paged: World) -> None:
    paged.request("samples", samples=[["latency", WARNING, paged.now_ms, None, None]], batch_id="a")
    paged.request("samples", samples=[["load", WARNING, paged.now_ms, None, None]], batch_id="b")
    paged.pass_time(2_000)
    [opened] = paged.told("opened")
    assert opened.dedup_key.startswith("group-")
    first, second = opened.violation_ids
    assert set(paged.request("incident", dedup_key=opened.dedup_key)["violation_ids"]) == {first, second}
    paged.request("violation.ack", id=first, by="ann", note="")
    paged.settle()
    assert acknowledged(paged) == []
    paged.request("violation.resolve", id=first, by="ann", note="")
    paged.pass_time(2_000)
    assert paged.request("incident", dedup_key=opened.dedup_key) == {"violation_ids": [second]}
    paged.request("violation.ack", id=second, by="ann", note="")
    paged.settle()
    assert acknowledged(paged) == [(opened.dedup_key, "pager")]


def test_an_incident_is_known_by_its_violation_also_when_it_is_over(paged: World) -> None:
    paged.observe(CRITICAL)
    violation_id = paged.violation()["id"]
    assert paged.request("incident", dedup_key=violation_id) == {"violation_ids": [violation_id]}
    paged.recover()
    assert paged.violation()["resolved"]
    assert paged.request("incident", dedup_key=violation_id) == {"violation_ids": [violation_id]}
    for unknown in ("v0", "group-0"):
        with pytest.raises(RequestError, match="no"):
            paged.request("incident", dedup_key=unknown)


def test_a_link_pressed_a_thousand_times_is_one_acknowledgement(paged: World) -> None:
    paged.observe(CRITICAL)
    paged.pass_time(2 * MINUTE_MS)
    pressed = {"id": paged.violation()["id"], "note": "", "via": "link", "takes_over": False}
    paged.request("violation.ack", by="ann", **pressed)
    for number in range(1_000):
        paged.pass_time(1)
        with pytest.raises(RequestError, match="is acknowledged already, by ann"):
            paged.request("violation.ack", by=f"name {number}", **pressed)
    paged.restart()
    with pytest.raises(RequestError, match="is acknowledged already"):
        paged.request("violation.ack", by="ann", **pressed)
    paged.settle()
    assert [each["by"] for each in paged.violation()["acknowledgements"]] == ["ann"]
    # Once by the walk and once by the alerts, which the pager knows to be the same.
    assert {each.id for each in paged.told("acknowledged", "pager")} == {f"{pressed['id']}.acknowledged.1"}
    assert len(acknowledged(paged)) <= 2
    lines = "".join(path.read_text() for path in (paged.directory / "audit").rglob("*.jsonl"))
    assert lines.count('"what":"violation.acknowledged"') == 1


def test_a_link_counts_again_once_the_walk_has_told_somebody_again(make_world: MakeWorld) -> None:
    levels = [{"type": "chat", "recipients": ["lead"]}]
    policy = {"severity": "critical", "levels": levels, "timeout": "5m", "ack_timeout": "10m"}
    world = make_world(enforcement(escalation_policies=[policy]))
    world.define(contract(metrics=[metric("latency")]))
    world.observe(CRITICAL)
    pressed = {"id": world.violation()["id"], "note": "", "via": "link", "takes_over": False}
    world.pass_time(MINUTE_MS)
    world.request("violation.ack", by="ann", **pressed)
    world.pass_time(9 * MINUTE_MS)
    with pytest.raises(RequestError, match="is acknowledged already, by ann"):
        world.request("violation.ack", by="bob", **pressed)
    told = len(world.violation()["escalations"])
    world.pass_time(2 * MINUTE_MS)
    assert len(world.violation()["escalations"]) == told + 1
    world.request("violation.ack", by="bob", **pressed)
    world.pass_time(9 * MINUTE_MS)
    assert [each["by"] for each in world.violation()["acknowledgements"]] == ["ann", "bob"]
    assert len(world.violation()["escalations"]) == told + 1


def test_the_audit_chain_says_who_and_by_what(paged: World) -> None:
    paged.observe(CRITICAL)
    violation_id = paged.violation()["id"]
    paged.request("violation.ack", id=violation_id, by="ann", note="by the link", via="link")
    paged.settle()
    lines = "".join(path.read_text() for path in (paged.directory / "audit").rglob("*.jsonl"))
    assert '"what":"violation.acknowledged","who":"ann","via":"link"' in lines
