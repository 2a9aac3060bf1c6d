"""Messages to people: tried again, held, given up, and never left in doubt in silence."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.actors.address import escalation_address
from slakeeper.integrations.channel import DeliveryError
from slakeeper.integrations.log import LogSender
from slakeeper.otp.actor import LaneFull
from slakeeper.sla.record import DeliveryStatus, RecipientEnd
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
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

MakeWorld = Callable[..., World]

# Within an hour, and the one after it.
TRIES = 17


def levels(world: World) -> list[tuple[str, str]]:
    return [(each["channel"], each["status"]) for each in world.violation()["escalations"]]


def down(count: int, **how: Any) -> list[Exception]:
    return [DeliveryError("no route", **{"retryable": True, **how}) for _ in range(count)]


def test_a_channel_that_is_down_is_tried_again_with_growing_waits(world: World) -> None:
    world.senders["pager"].failures = down(2)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    assert levels(world)[1] == ("pager", "sending")
    world.pass_time(4 * SECOND_MS)
    assert len(world.senders["pager"].failures) == 1
    world.pass_time(2 * SECOND_MS)  # five seconds, and a fifth of them at most beside
    assert world.senders["pager"].failures == []
    assert world.told("escalation", "pager") == []
    world.pass_time(12 * SECOND_MS)
    assert levels(world)[1] == ("pager", "sent")


def test_a_message_for_which_there_was_no_room_in_the_channels_lane_is_tried_again(world: World) -> None:
    world.senders["pager"].failures = [LaneFull("not tried")]
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    assert levels(world)[1] == ("pager", "sending")
    world.pass_time(6 * SECOND_MS)
    assert levels(world)[1] == ("pager", "sent")


def test_what_failed_together_is_not_tried_again_together(world: World) -> None:
    world.senders["chat"].failures = down(2)
    world.observe(CRITICAL)
    dues = {
        delivery.due_ms
        for address in (f"alert:{world.violation()['sla_id']}", f"escalation:{world.violation()['id']}")
        for delivery in world.host._seats[address].actor._outbox.dump()  # type: ignore[union-attr]
    }
    assert len(dues) == 2
    assert all(5 * SECOND_MS <= due_ms - world.now_ms <= 6 * SECOND_MS for due_ms in dues)


def test_a_wait_goes_on_where_it_was_after_a_restart(world: World) -> None:
    world.senders["chat"].failures = down(2)
    world.observe(CRITICAL)
    world.restart()
    world.settle()
    assert world.sent == []
    world.pass_time(6 * SECOND_MS)
    assert len(world.told("opened")) == len(world.told("escalation")) == 1


def test_a_peer_that_names_a_wait_is_left_alone_for_so_long(world: World) -> None:
    world.senders["pager"].failures = down(1, retry_after_ms=40 * SECOND_MS)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS + 39 * SECOND_MS)
    assert levels(world)[1] == ("pager", "sending")
    world.pass_time(1 * SECOND_MS)
    assert levels(world)[1] == ("pager", "sent")


def test_a_message_that_cannot_be_delivered_is_recorded_as_failed(world: World) -> None:
    world.senders["chat"].failures = down(2, retryable=False)
    world.observe(CRITICAL)
    assert levels(world)[0] == ("chat", "failed")
    assert world.violation()["escalations"][0]["detail"] == "no route"
    assert "alert.failed" in world.topics()
    assert world.host.crash_reports == type(world.host.crash_reports)()


def test_a_level_that_cannot_be_told_for_good_is_not_waited_for(world: World) -> None:
    world.senders["chat"].failures = down(2, retryable=False)  # of the alert, and of the first level
    world.observe(CRITICAL)
    assert levels(world) == [("chat", "failed"), ("pager", "sent")]
    assert world.now_ms == NOW_MS


@pytest.mark.parametrize("how", [{}, {"uncertain": True}])
def test_a_level_that_may_hear_of_it_yet_has_its_time(world: World, how: dict[str, Any]) -> None:
    world.senders["chat"].idempotent, world.senders["chat"].on_uncertain = False, "hold"
    world.senders["chat"].failures = down(2, **how)
    world.observe(CRITICAL)
    assert len(levels(world)) == 1
    world.pass_time(MINUTE_MS)
    assert len(levels(world)) == 2


def test_a_channel_that_a_level_and_the_policy_name_is_told_once(make_world: MakeWorld) -> None:
    policies = [
        {"severity": "critical", "levels": [{"type": "chat"}], "timeout": "30d", "notify_channels": ["chat"]}
    ]
    world = make_world(enforcement(escalation_policies=policies))
    world.define()
    world.observe(CRITICAL)
    world.recover()
    kinds = [message.kind.value for name, message, _ in world.sent if message.id.startswith("v0")]
    assert sorted(kinds) == ["escalation", "resolved"]


def test_tries_end_after_some_time(world: World) -> None:
    world.senders["pager"].failures = down(50)
    world.observe(CRITICAL)
    world.pass_time(HOUR_MS)
    assert levels(world)[1] == ("pager", "sending")
    world.pass_time(10 * MINUTE_MS)
    assert levels(world)[1] == ("pager", "failed")
    assert len(world.senders["pager"].failures) == 50 - TRIES


def test_a_night_in_which_the_line_is_cut_for_half_an_hour_costs_nobody_a_page(world: World) -> None:
    for sender in world.senders.values():
        sender.failures = down(200)
    world.observe(CRITICAL)
    world.pass_time(30 * MINUTE_MS)
    for sender in world.senders.values():
        sender.failures = []
    world.pass_time(6 * MINUTE_MS)
    assert len(world.told("opened")) == 1
    assert [levels(world)[0][1], levels(world)[1][1]] == ["sent", "sent"]


def test_a_walk_that_reached_nobody_begins_again_until_somebody_is_told(world: World) -> None:
    for sender in world.senders.values():
        sender.failures = down(2000)
    world.observe(CRITICAL)
    world.pass_time(4 * HOUR_MS)
    world.restart()
    assert world.sent == []
    for sender in world.senders.values():
        sender.failures = []
    world.pass_time(5 * HOUR_MS)
    first = [each.details["escalation"]["level"] for each in world.told("escalation", "pager")]
    assert first == [1]
    world.pass_time(48 * HOUR_MS)  # somebody was told: it does not begin again
    assert len(world.told("escalation", "pager")) == 1
    numbers = [each["key"].split(".")[0] for each in world.violation()["escalations"]]
    assert sorted(set(numbers)) == [str(number) for number in range(len(set(numbers)))]


def test_a_walk_that_reaches_nobody_for_a_month_begins_again_ever_more_seldom(world: World) -> None:
    for sender in world.senders.values():
        sender.failures = down(100_000)
    world.observe(CRITICAL)
    world.pass_time(30 * 24 * HOUR_MS)
    numbers = {each["key"].split(".")[0] for each in world.violation()["escalations"]}
    assert 25 < len(numbers) < 40
    walk = escalation_address(world.violation()["id"])
    assert world.host.exists(walk)
    world.recover()
    world.pass_time(3 * HOUR_MS)  # the news of the end are tried for an hour
    assert not world.host.exists(walk)


def test_a_walk_of_which_one_level_was_told_does_not_begin_again(world: World) -> None:
    world.senders["pager"].failures = down(2000)
    world.observe(CRITICAL)
    world.pass_time(72 * HOUR_MS)
    assert levels(world) == [("chat", "sent"), ("pager", "failed")]


def hold_back(world: World) -> dict[str, Any]:
    """As a copy that was not told to take over; the channels that it is to have then."""
    real = dict(world.senders)
    held: dict[str, Any] = {name: LogSender(name, why="is held back") for name in real}
    world.senders.update(held)
    world.held = "a copy"
    world.restart()
    return real


def take_over(world: World, real: dict[str, Any]) -> None:
    world.senders.update(real)
    world.held = ""
    world.restart()


@pytest.mark.parametrize("after_ms", [5 * MINUTE_MS, 12 * HOUR_MS])  # it goes on; it has failed
def test_of_what_was_said_to_the_log_alone_people_are_told_once_a_copy_takes_over(
    world: World, after_ms: int
) -> None:
    real = hold_back(world)
    world.observe(CRITICAL)
    world.pass_time(after_ms)
    world.restart()
    assert world.told("escalation") == []
    assert {status for _, status in levels(world)} == {"logged"}
    take_over(world, real)
    world.pass_time(5 * MINUTE_MS)
    first = [each.details["escalation"]["level"] for each in world.told("escalation", "chat")]
    world.restart()
    world.pass_time(MINUTE_MS)
    told = [each.details["escalation"]["level"] for each in world.told("escalation", "chat")]
    assert (first, told) == ([0], [0])


def test_who_was_told_before_a_copy_was_made_is_not_told_again_and_the_others_are(world: World) -> None:
    world.observe(CRITICAL)
    world.settle()
    assert len(world.told("escalation", "chat")) == 1
    real = hold_back(world)
    world.pass_time(5 * MINUTE_MS)
    assert ("pager", "logged") in levels(world)
    assert world.told("escalation", "pager") == []
    take_over(world, real)
    world.pass_time(5 * MINUTE_MS)
    assert len(world.told("escalation", "chat")) == 1
    assert len(world.told("escalation", "pager")) == 1


def test_one_that_was_acknowledged_on_the_copy_is_not_told_again(world: World) -> None:
    real = hold_back(world)
    world.observe(CRITICAL)
    world.settle()
    world.request("violation.ack", id=world.violation()["id"], by="ann")
    take_over(world, real)
    world.pass_time(MINUTE_MS)
    assert world.told("escalation") == []


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [
        (each.levelname, each.getMessage()) for each in caplog.records if each.name == "slakeeper.delivery"
    ]


def test_failed_attempts_and_what_is_given_up_stand_in_the_log_and_are_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.senders["pager"].failures = down(TRIES)
    world.observe(CRITICAL)
    world.pass_time(70 * MINUTE_MS)
    about = f"escalation message about {world.violation()['id']} over pager"
    assert logged(caplog) == [
        *(
            ("WARNING", f"{about}: attempt {n} failed and will be repeated: no route")
            for n in range(1, TRIES)
        ),
        ("ERROR", f"{about}: attempt {TRIES} failed and was the last: no route"),
    ]
    world.restart()
    assert world.status()["alerts_failed"] == 1
    world.pass_time(24 * HOUR_MS)
    assert world.status()["alerts_failed"] == 0


def test_an_alert_that_cannot_be_delivered_stands_in_the_log_and_is_counted(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.senders["chat"].failures = down(1, retryable=False)
    world.observe(INFO)
    about = f"opened message about {world.violation()['id']} over chat"
    assert logged(caplog) == [("ERROR", f"{about}: attempt 1 failed and was the last: no route")]
    assert world.status()["alerts_failed"] == 1


def in_part(lead: DeliveryStatus, words: str, *, retryable: bool) -> DeliveryError:
    """Ann has it; how it ended for the lead."""
    ends = {"ann": RecipientEnd(DeliveryStatus.SENT), "lead": RecipientEnd(lead, words)}
    return DeliveryError(f"sent to ann; lead: {words}", retryable=retryable, ends=ends)


def test_another_try_is_for_those_who_do_not_have_it_and_after_a_restart_too(world: World) -> None:
    world.senders["chat"].failures = [in_part(DeliveryStatus.SENDING, "450 later", retryable=True)]
    world.observe(CRITICAL)
    world.restart()
    world.pass_time(10 * SECOND_MS)
    [known] = [
        {who: end.status for who, end in recipient.ends.items()}
        for _, _, recipient in world.sent
        if recipient.ends
    ]
    assert known == {"ann": DeliveryStatus.SENT, "lead": DeliveryStatus.SENDING}
    assert world.status()["alerts_failed"] == 0
    assert [status for _, status in levels(world)] == ["sent"]


def test_who_is_refused_while_others_have_it_is_counted_and_said_and_not_waited_for(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    refused = in_part(DeliveryStatus.FAILED, "550 nobody", retryable=False)
    world.senders["chat"].failures = [refused, refused]  # the alert, and the first level
    world.observe(CRITICAL)
    assert levels(world) == [("chat", "sent"), ("pager", "sent")]
    assert world.now_ms == NOW_MS
    first = world.violation()["escalations"][0]
    assert (first["detail"], first["unreached"]) == ("sent to ann; lead: 550 nobody", ["lead"])
    assert world.status()["alerts_failed"] == 2
    assert "alert.failed" in world.topics()
    last = "attempt 1 was the last and did not reach everybody: sent to ann; lead: 550 nobody"
    assert [(level, text.endswith(last)) for level, text in logged(caplog)] == [("ERROR", True)] * 2
    delivered = [
        json.loads(line)["details"]
        for path in (world.directory / "audit").rglob("*.jsonl")
        for line in path.read_text().splitlines()
        if '.delivered"' in line
    ]
    assert [each["unreached"] for each in delivered if each["channel"] == "chat"] == [["lead"]] * 2
    assert all("unreached" not in each for each in delivered if each["channel"] == "pager")
    world.pass_time(72 * HOUR_MS)  # somebody was told: the walk does not begin again
    assert len(levels(world)) == 2


def test_who_is_put_off_for_ever_is_given_up_and_counted_though_others_have_it(world: World) -> None:
    world.senders["chat"].failures = [
        in_part(DeliveryStatus.SENDING, "450 later", retryable=True) for _ in range(2 * TRIES)
    ]
    world.observe(CRITICAL)
    world.pass_time(70 * MINUTE_MS)
    assert levels(world) == [("chat", "sent"), ("pager", "sent")]
    assert world.status()["alerts_failed"] == 2


def test_an_error_of_a_sender_that_is_no_delivery_error_is_a_failure_too(world: World) -> None:
    world.senders["chat"].failures = [RuntimeError("a bug"), RuntimeError("a bug")]
    world.observe(CRITICAL)
    assert levels(world)[0] == ("chat", "failed")


def test_a_message_in_doubt_is_held_by_a_channel_that_cannot_recognise_it(world: World) -> None:
    sender = world.senders["chat"]
    sender.idempotent, sender.on_uncertain = False, "hold"
    sender.failures = down(2, retryable=False, uncertain=True)
    world.observe(CRITICAL)
    assert levels(world) == [("chat", "uncertain")]
    world.pass_time(30 * SECOND_MS)
    assert world.sent == []


def test_a_message_in_doubt_is_sent_again_where_that_is_the_policy(world: World) -> None:
    sender = world.senders["chat"]
    sender.idempotent, sender.on_uncertain = False, "resend"
    sender.failures = down(2, retryable=False, uncertain=True)
    world.observe(CRITICAL)
    world.pass_time(10 * SECOND_MS)
    assert levels(world) == [("chat", "sent")]


def test_what_a_crash_left_in_doubt_is_held_and_said(world: World) -> None:
    sender = world.senders["chat"]
    sender.idempotent, sender.on_uncertain = False, "hold"
    world.request("samples", samples=[["latency", CRITICAL, None, None, None]])
    world.restart()
    world.settle()
    assert world.sent == []
    assert levels(world) == [("chat", "uncertain")]
    assert "alert.failed" in world.topics()


@pytest.mark.parametrize("has_ended", [False, True])
def test_a_message_that_is_on_its_way_outlives_a_crash_of_who_sends_it(world: World, has_ended: bool) -> None:
    """In a thread still, or sent and its actor has not heard of it: the news of the end waits for it either way."""
    sender = world.senders["chat"]
    sender.idempotent, sender.on_uncertain = False, "hold"
    world.request("samples", samples=[["latency", CRITICAL, None, None, None]])
    if has_ended:
        world.executor.run()
    for kind in ("alert", "escalation"):
        for address in world.host.addresses(kind):
            world.host.inspector.kill(address)
    world.turn()
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    assert "alert.failed" not in world.topics()
    assert levels(world) == [("chat", "sent")]
    kinds = [each.kind.value for name, each, _ in world.sent if name == "chat"]
    assert sorted(kinds[:2]) == ["escalation", "opened"]
    assert set(kinds[2:]) == {"resolved"}


def test_the_walk_does_not_wait_for_a_channel_that_is_down(world: World) -> None:
    world.senders["chat"].failures = down(50)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    assert levels(world) == [("chat", "sending"), ("pager", "sent")]


def test_after_six_failures_the_next_level_is_told_whatever_its_delay_and_the_trying_goes_on(
    make_world: MakeWorld,
) -> None:
    policies = [
        {
            "severity": "critical",
            "levels": [{"type": "chat"}, {"type": "pager", "delay": "30m"}],
            "timeout": "1h",
        }
    ]
    world = make_world(enforcement(escalation_policies=policies))
    world.define()
    world.senders["chat"].failures = down(50)
    world.observe(CRITICAL)
    world.pass_time(2 * MINUTE_MS)
    assert levels(world) == [("chat", "sending")]
    world.pass_time(2 * MINUTE_MS)
    assert levels(world) == [("chat", "sending"), ("pager", "sent")]
    world.senders["chat"].failures = []
    world.pass_time(6 * MINUTE_MS)
    assert levels(world) == [("chat", "sent"), ("pager", "sent")]


def test_an_escalation_ends_only_when_everyone_told_has_heard_of_the_end(world: World) -> None:
    world.observe(CRITICAL)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.senders["chat"].failures = down(2)
    world.executor.run()
    world.turn()
    assert len(world.host.addresses("escalation")) == 1
    world.pass_time(10 * SECOND_MS)
    assert world.host.addresses("escalation") == []
    assert len(world.told("resolved")) == 2


def test_later_levels_say_what_was_measured_and_tried_meanwhile(make_world: MakeWorld) -> None:
    from tests.unit.actors.test_remediation import remediating

    world = make_world(remediating())
    world.define()
    world.observe(CRITICAL)
    world.observe(CRITICAL + 600)
    world.pass_time(MINUTE_MS)
    body = world.told("escalation", "pager")[0].body
    assert "nothing automatic" not in body
    assert "800 ms" in body  # the mean of both


def test_channels_notified_beside_the_levels_hear_of_the_end_as_well(make_world: MakeWorld) -> None:
    walk = {"severity": "critical", "levels": [{"type": "chat"}], "notify_channels": ["pager"]}
    world = make_world(enforcement(escalation_policies=[walk]))
    world.define()
    world.observe(CRITICAL)
    assert len(world.told("escalation", "pager")) == 1
    world.recover()
    assert len(world.told("resolved", "pager")) == 1


# -- maintenance --------------------------------------------------------------------------------------------------


def in_maintenance(world: World, **changes: Any) -> None:
    start = (world.now_ms + 30 * SECOND_MS) // 1000
    world.define(contract(maintenance=[{"start": start, "duration": "1h"}], **changes))


def test_maintenance_holds_the_walk(world: World) -> None:
    world.observe(CRITICAL)
    in_maintenance(world)
    world.pass_time(45 * MINUTE_MS)
    assert len(world.told("escalation")) == 1
    world.pass_time(15 * MINUTE_MS + 30 * SECOND_MS)
    assert len(world.told("escalation")) == 2


def test_maintenance_holds_alerts_until_it_is_over(world: World) -> None:
    in_maintenance(world)
    world.pass_time(29 * SECOND_MS)
    world.observe(INFO)
    assert len(world.told("opened")) == 1
    world.pass_time(SECOND_MS)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.restart()
    world.pass_time(HOUR_MS - SECOND_MS)
    assert world.told("resolved") == []
    world.pass_time(SECOND_MS)
    assert len(world.told("resolved")) == 1


def test_maintenance_holds_the_news_of_an_end_that_escalation_would_tell(world: World) -> None:
    in_maintenance(world)
    world.pass_time(29 * SECOND_MS)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS)
    world.request("violation.resolve", id=world.violation()["id"], by="ann")
    world.settle()
    world.restart()
    world.settle()
    assert world.told("resolved") == []
    assert len(world.host.addresses("escalation")) == 1
    world.pass_time(HOUR_MS)
    assert {each.id for each in world.told("resolved")} == {f"{world.violation()['id']}.resolved"} | {
        each.id for each in world.told("resolved", "chat") if each.id.startswith("resolved-")
    }
    assert world.host.addresses("escalation") == []


def test_maintenance_without_an_end_does_not_hang_the_cell(world: World) -> None:
    always = {"start": NOW_MS // 1000, "duration": "24h", "rrule": "FREQ=DAILY"}
    world.define(contract(maintenance=[always]))
    assert world.environment.held_until_ms("api", NOW_MS) is not None


# -- depends_on ---------------------------------------------------------------------------------------------------


def with_parent(make_world: MakeWorld) -> World:
    world = make_world()
    world.define(contract(id="network", metrics=[{"name": "loss", "value": 1, "condition": "lt", "interval": "10s"}],
                          compensation=[]))  # fmt: skip
    world.define(contract(depends_on=["network"]))
    return world


def about(world: World, sla_id: str) -> list[str]:
    return [each.kind.value for each in world.told() if each.sla_id == sla_id]


def test_while_the_contract_it_depends_on_is_broken_nobody_hears_of_this_one(make_world: MakeWorld) -> None:
    world = with_parent(make_world)
    world.observe(5, "loss")
    world.observe(CRITICAL)
    world.pass_time(5 * MINUTE_MS)
    assert about(world, "api") == []
    assert "opened" in about(world, "network")
    assert {row["sla_id"] for row in world.violations()} == {"network", "api"}


def test_after_a_restart_it_is_still_known_what_is_broken_and_in_maintenance(make_world: MakeWorld) -> None:
    world = with_parent(make_world)
    world.observe(5, "loss")
    in_maintenance(world, id="b", compensation=[])
    world.pass_time(30 * SECOND_MS)
    world.restart()
    assert world.environment.is_broken("network", world.now_ms)
    assert world.environment.held_until_ms("b", world.now_ms) == NOW_MS + HOUR_MS + 30 * SECOND_MS
    world.observe(CRITICAL, sla="api")
    assert about(world, "api") == []


def test_what_is_still_broken_when_the_other_is_well_again_is_escalated(make_world: MakeWorld) -> None:
    world = with_parent(make_world)
    world.observe(5, "loss")
    world.observe(WARNING)
    world.pass_time(MINUTE_MS)
    parent = next(row for row in world.violations() if row["sla_id"] == "network")
    world.restart()
    world.request("violation.resolve", id=parent["id"], by="ann")
    world.pass_time(MINUTE_MS)
    assert sorted(about(world, "api")) == ["escalation", "opened"]


def test_a_contract_is_told_of_again_when_the_other_is_well(make_world: MakeWorld) -> None:
    world = with_parent(make_world)
    world.observe(5, "loss")
    for _ in range(5):
        world.pass_time(6 * SECOND_MS)
        world.observe(0, "loss")
    world.observe(INFO)
    assert about(world, "api") == []  # for some seconds: the other may break as well
    world.pass_time(3 * SECOND_MS)
    assert about(world, "api") == ["opened"]
    assert world.observe(GOOD)["accepted"] == [0]


def test_what_fell_due_while_nothing_ran_is_done_once_in_order_and_says_that_it_is_late(world: World) -> None:
    world.observe(CRITICAL)
    assert world.violation()["escalations"][0]["late_ms"] == 0
    world.clock.advance(2 * HOUR_MS)  # the pager is due after a minute
    world.restart()
    world.settle()
    pager = world.told("escalation", "pager")
    assert [each.details["escalation"]["late_ms"] for each in pager] == [2 * HOUR_MS - MINUTE_MS]
    assert pager[0].body.startswith("Late by 1h 59m: this was due at ")
    world.restart()
    world.pass_time(10 * SECOND_MS)
    assert [(row["channel"], row["late_ms"]) for row in world.violation()["escalations"]] == [
        ("chat", 0), ("pager", 2 * HOUR_MS - MINUTE_MS),
    ]  # fmt: skip


def test_what_maintenance_held_back_is_not_late(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(maintenance=[{"start": NOW_MS // SECOND_MS + 30, "duration": "10m", "mode": "exclude"}])
    world.observe(CRITICAL)
    world.pass_time(11 * MINUTE_MS)
    assert [(row["channel"], row["late_ms"]) for row in world.violation()["escalations"]] == [
        ("chat", 0), ("pager", 0),
    ]  # fmt: skip


@pytest.mark.parametrize("value", [1e26, 1.7e308])
@pytest.mark.parametrize("aggregation", ["avg", "sum"])
def test_people_hear_of_a_value_of_whatever_size_and_it_is_priced(
    make_world: MakeWorld, value: float, aggregation: str
) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", aggregation=aggregation)])
    world.observe(value)
    world.observe(value)
    world.pass_time(SECOND_MS)
    assert world.told("opened")
    assert world.told("escalation")
    world.recover()
    assert [world.told("resolved") != [], len(world.ledger())] == [True, 1]
    for form in ("json", "md", "html", "csv"):
        world.request("report", sla="api", format=form)
    json.dumps([world.shown(), world.violations(resolved=True)], allow_nan=False)
    assert world.host.counts["crashes"] == 0


def test_the_end_is_told_after_the_beginning_however_late_that_gets_through(world: World) -> None:
    world.senders["chat"].failures = down(4)
    world.observe(INFO)
    world.recover()
    assert world.violation()["status"] == "resolved"
    assert world.told() == []
    world.restart()
    world.pass_time(10 * MINUTE_MS)
    assert [each.kind.value for _, each, _ in world.sent] == ["opened", "resolved"]
    assert world.host._seats["alert:api"].actor._outbox.is_empty  # type: ignore[union-attr]


def test_the_end_is_told_though_the_beginning_is_given_up(world: World) -> None:
    world.senders["chat"].failures = [DeliveryError("no such room", retryable=False)]
    world.observe(INFO)
    world.recover()
    assert [each.kind.value for _, each, _ in world.sent] == ["resolved"]


def test_a_page_that_gets_through_late_is_closed_after_it(world: World) -> None:
    world.senders["pager"].failures = down(4)
    world.observe(CRITICAL)
    world.pass_time(MINUTE_MS + SECOND_MS)
    world.recover()
    world.pass_time(10 * MINUTE_MS)
    about = [each.kind.value for name, each, _ in world.sent if name == "pager"]
    assert about == ["escalation", "resolved"]
    assert world.host.addresses("escalation") == []


def test_when_nobody_could_be_told_the_escalation_has_failed_at_once(world: World) -> None:
    for name in ("chat", "pager"):
        world.senders[name].failures = [DeliveryError("no such room", retryable=False) for _ in range(3)]
    world.observe(CRITICAL)
    world.settle()
    assert world.violation()["escalation_failed_time"] == world.now_ms == NOW_MS
    assert [each["status"] for each in world.violation()["escalations"]] == ["failed", "failed"]


def test_when_somebody_was_told_the_escalation_waits_for_them_though_the_last_level_failed(
    world: World,
) -> None:
    world.senders["pager"].failures = [DeliveryError("no such service", retryable=False)]
    world.observe(CRITICAL)
    world.pass_time(2 * MINUTE_MS)
    assert world.violation()["escalation_failed_time"] is None
    world.pass_time(5 * MINUTE_MS)
    assert world.violation()["escalation_failed_time"] == NOW_MS + 6 * MINUTE_MS
