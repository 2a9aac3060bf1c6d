"""An actor crashes on one message: it is lost, and yet nothing stays open, unpaid or half counted for ever."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from slakeeper.actors.address import monitor_address, violation_address
from slakeeper.actors.alert import AlertActor
from slakeeper.actors.contract import ContractActor
from slakeeper.actors.escalation import EscalationActor
from slakeeper.actors.ingest import Ingest, IngestActor
from slakeeper.actors.ledger import LedgerActor
from slakeeper.actors.message import (
    CloseViolation,
    ContractChanged,
    DescribeViolation,
    ListHistory,
    MetricRecovered,
    MissBatches,
    NoteBatches,
    Observe,
    Rebase,
    ResolveViolation,
    SayAgain,
    SetSuspended,
    Tick,
    ViolationEnded,
    ViolationResolved,
)
from slakeeper.actors.monitor import MetricMonitorActor
from slakeeper.actors.remediation import RemediationActor
from slakeeper.actors.report import ReportActor
from slakeeper.actors.violation import ViolationActor
from slakeeper.otp.actor import Actor, Entrusted
from slakeeper.otp.context import Context
from slakeeper.otp.host import MAX_STASH, HalfDone, Host
from slakeeper.sla.notification import NotificationKind
from slakeeper.sla.violation import Violation, ViolationStatus
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    INFO,
    MINUTE_MS,
    NOW_MS,
    SECOND_MS,
    World,
    contract,
    metric,
)
from tests.unit.actors.test_audit import entries
from tests.unit.actors.test_remediation import remediating

MakeWorld = Callable[..., World]
Lose = Callable[..., None]


@pytest.fixture
def lose(monkeypatch: pytest.MonkeyPatch) -> Lose:
    """Has the next handler of a kind that gets such a message crash."""

    def lose_next(kind: type[Actor], message_type: type, how: str = "handle_cast", times: int = 1) -> None:
        handle, left = getattr(kind, how), times

        def crash_once(actor: Actor, ctx: Any, message: Any) -> Any:
            nonlocal left
            if left and isinstance(message, message_type):
                left -= 1
                raise RuntimeError("lost")
            return handle(actor, ctx, message)

        monkeypatch.setattr(kind, how, crash_once)

    return lose_next


@pytest.mark.parametrize(
    ("kind", "message", "times"),
    [
        (ContractActor, MetricRecovered, 1),
        (ContractActor, ViolationEnded, 1),
        (ContractActor, ViolationEnded, 2),
        (ViolationActor, CloseViolation, 1),
        (EscalationActor, ViolationResolved, 1),
    ],
)
def test_whoever_crashes_on_a_recovery_hears_of_it_again(
    world: World, lose: Lose, kind: type[Actor], message: type, times: int
) -> None:
    lose(kind, message, times=times)
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(5 * SECOND_MS)
    assert world.violation()["status"] == "resolved"
    assert world.host.addresses("violation") == world.host.addresses("escalation") == []
    world.observe(CRITICAL)
    world.observe(CRITICAL)
    assert len(world.violations()) == 1


def test_a_remedy_that_crashes_on_the_recovery_is_not_tried_again(make_world: MakeWorld, lose: Lose) -> None:
    world = make_world(remediating())
    world.define()
    lose(RemediationActor, ViolationResolved)
    world.observe(INFO)
    world.recover()
    world.pass_time(10 * MINUTE_MS)
    assert len(world.remedied) == 1
    assert world.host.addresses("violation") == []


def test_a_ledger_that_crashes_on_a_violation_books_it_when_it_is_archived(world: World, lose: Lose) -> None:
    lose(LedgerActor, Entrusted, "handle_info")
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(5 * SECOND_MS)
    assert [entry["rule"] for entry in world.ledger()] == ["latency#1"]


def test_a_ledger_that_crashes_on_the_news_of_a_version_books_by_that_version(
    world: World, lose: Lose
) -> None:
    lose(LedgerActor, ContractChanged)
    lose(LedgerActor, Entrusted, "handle_info")
    world.define(compensation=[{"metric": "latency", "type": "credit", "formula": "7"}])
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(5 * SECOND_MS)
    assert [(entry["amount"], entry["contract_version"]) for entry in world.ledger()] == [("7", 2)]


PAYS_BY_ATTAINMENT = [{"metric": "latency", "type": "credit", "formula": "100 - attainment"}]


def booked_late(world: World) -> list[tuple[str, str]]:
    """What a violation of the first hour is worth to a ledger that comes to it in the second."""
    world.define(compensation=PAYS_BY_ATTAINMENT)
    world.observe(CRITICAL)
    world.request("actor.suspend", address="ledger:api", by="ann")
    world.recover()
    world.go_to(NOW_MS + 90 * MINUTE_MS)
    world.observe(GOOD)
    world.request("actor.resume", address="ledger:api", by="ann")
    world.settle()
    return [(entry["amount"], entry["error"]) for entry in world.ledger()]


def test_a_violation_that_is_booked_in_a_later_period_costs_what_its_own_says(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(compensation=PAYS_BY_ATTAINMENT)
    world.observe(CRITICAL)
    world.recover()
    at_once = [(entry["amount"], entry["error"]) for entry in world.ledger()]
    assert at_once not in ([], [("0", "")])
    assert booked_late(make_world()) == at_once


def test_a_violation_that_a_former_version_has_left_to_be_booked_is_booked(world: World) -> None:
    world.observe(CRITICAL)
    open_violation = world.host.ask(violation_address(world.violation()["id"]), DescribeViolation())
    ended = replace(open_violation, status=ViolationStatus.RESOLVED, closed_at_ms=world.now_ms)
    world.host.entrust("p000", "ledger:api", ended)
    world.settle()
    assert [entry["violation_id"] for entry in world.ledger()] == [ended.id]


PENALTY: dict[str, Any] = {"penalties": [{"threshold": 99, "type": "refund", "rate": 10}], "fee": "100.00"}


def lost_period(world: World) -> None:
    """Loses the first hour, and goes on for another."""
    world.observe(CRITICAL)
    world.recover()
    world.go_to(NOW_MS + 90 * MINUTE_MS)


def assert_settled_once(world: World) -> None:
    penalties = [each for each in world.ledger() if each["rule"].startswith("penalty")]
    assert [each["period_start"] for each in penalties] == [NOW_MS]
    history = world.host.ask("report:api", ListHistory())
    assert [each.start_ms for each in history.periods] == [NOW_MS]
    assert [each.id for each in history.violations] == [world.violation()["id"]]
    said = [each["what"] for each in entries(world)]
    assert (said.count("period.settled"), said.count("compensation.booked")) == (1, 2)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize(
    ("kind", "message", "how"),
    [
        (ContractActor, Entrusted, "handle_info"),
        (ReportActor, Entrusted, "handle_info"),
        (LedgerActor, Entrusted, "handle_info"),
        (MetricMonitorActor, Tick, "handle_info"),
    ],
)
def test_a_period_is_settled_and_archived_once_whoever_crashes_on_it(
    make_world: MakeWorld, lose: Lose, kind: type[Actor], message: type, how: str, times: int
) -> None:
    world = make_world()
    world.define(**PENALTY)
    lose(kind, message, how, times)
    lost_period(world)
    assert 1 <= world.host.counts["crashes"] <= times
    assert_settled_once(world)
    world.restart()
    world.pass_time(5 * SECOND_MS)
    assert_settled_once(world)


@pytest.mark.parametrize("address", ["contract:api", "report:api", "ledger:api"])
def test_who_is_suspended_when_a_period_ends_settles_it_when_resumed(
    make_world: MakeWorld, address: str
) -> None:
    world = make_world()
    world.define(**PENALTY)
    world.observe(CRITICAL)
    world.recover()
    world.request("actor.suspend", address=address)
    world.go_to(NOW_MS + 90 * MINUTE_MS)
    world.request("actor.resume", address=address)
    world.pass_time(5 * SECOND_MS)
    assert_settled_once(world)


@pytest.mark.parametrize("address", ["contract:api", "report:api", "ledger:api"])
def test_who_is_killed_when_a_period_ends_has_settled_it_after_its_restart(
    make_world: MakeWorld, address: str
) -> None:
    world = make_world()
    world.define(**PENALTY)
    world.observe(CRITICAL)
    world.recover()
    world.clock.advance(NOW_MS + HOUR_MS - world.now_ms + 20 * SECOND_MS)
    world.host.begin_turn()
    world.host.inspector.kill(address)
    world.host.drain()
    world.host.commit()
    world.restart()
    world.pass_time(10 * MINUTE_MS)
    assert_settled_once(world)


def test_a_remedy_that_ends_before_it_is_up_leaves_its_violation_alive(make_world: MakeWorld) -> None:
    world = make_world(remediating(max_remediation_attempts=1, breaker_failures=1, breaker_reset="1h"))
    world.remedy_works = False
    world.define()
    world.observe(INFO)
    world.pass_time(MINUTE_MS)
    world.recover()
    world.observe(INFO)
    assert len(world.remedied) == 1
    assert world.host.counts["crashes"] == 0


def rows(*names: str) -> list[list[Any]]:
    return [[name, GOOD, None, None, None] for name in names]


@pytest.fixture
def two(make_world: MakeWorld) -> World:
    world = make_world()
    world.define(metrics=[metric("latency", weight=0.5), metric("queue", weight=0.5)])
    return world


def counted(world: World, name: str) -> int:
    count: int = world.metric(name)["samples_accepted"]
    return count


def test_who_was_down_when_a_batch_came_gets_its_share_when_it_comes_again(two: World) -> None:
    two.host.inspector.suspend("monitor:api:queue")
    batch = {"samples": rows("latency", "queue"), "batch_id": "b1"}
    assert two.request("samples", **batch) == {"accepted": [0], "rejected": [(1, "monitor_down")]}
    two.restart()
    for _ in range(2):
        assert two.request("samples", **batch) == {"accepted": [0, 1], "rejected": []}
    assert (counted(two, "latency"), counted(two, "queue")) == (1, 1)


def test_a_batch_that_was_taken_is_accepted_again_though_a_monitor_is_down_now(two: World) -> None:
    batch = {"samples": rows("latency", "queue"), "batch_id": "b1"}
    two.request("samples", **batch)
    two.host.inspector.suspend("monitor:api:queue")
    assert two.request("samples", **batch) == {"accepted": [0, 1], "rejected": []}
    two.host.inspector.resume("monitor:api:queue")
    assert counted(two, "queue") == 1


def test_a_batch_that_cannot_be_noted_is_refused_and_counts_once_when_it_comes_again(
    two: World, lose: Lose
) -> None:
    lose(IngestActor, NoteBatches, "handle_call")
    batch = {"samples": rows("latency", "queue"), "batch_id": "b1"}
    assert two.request("samples", **batch)["accepted"] == []
    two.pass_time(SECOND_MS)
    for _ in range(2):
        assert two.request("samples", **batch)["accepted"] == [0, 1]
    assert (counted(two, "latency"), counted(two, "queue")) == (1, 1)


def test_a_sample_that_its_monitor_crashes_on_is_refused_and_counts_once_when_it_comes_again(
    two: World, lose: Lose
) -> None:
    batch = {"samples": rows("latency", "queue"), "batch_id": "b1"}
    lose(MetricMonitorActor, Observe)
    assert two.request("samples", **batch) == {"accepted": [1], "rejected": [(0, "monitor_down")]}
    assert (two.host.counts["samples_accepted"], two.host.counts["samples_rejected"]) == (1, 1)
    two.restart()
    for _ in range(2):
        assert two.request("samples", **batch) == {"accepted": [0, 1], "rejected": []}
    assert (counted(two, "latency"), counted(two, "queue")) == (1, 1)


def test_a_batch_without_an_id_that_a_monitor_crashes_on_is_refused_in_its_share(
    two: World, lose: Lose
) -> None:
    lose(MetricMonitorActor, Observe)
    answer = two.request("samples", samples=rows("latency", "queue"))
    assert answer == {"accepted": [1], "rejected": [(0, "monitor_down")]}
    two.pass_time(SECOND_MS)
    assert (counted(two, "latency"), counted(two, "queue")) == (0, 1)


def test_a_monitor_that_crashes_has_not_got_its_share_of_any_batch_of_the_turn(
    two: World, lose: Lose
) -> None:
    first, other = (
        {"samples": rows("latency", "queue"), "batch_id": "b1"},
        {"samples": rows("latency"), "batch_id": "b2"},
    )
    assert two.partition is not None
    partition = two.partition
    ingest = Ingest(lambda sla_id: partition)
    lose(MetricMonitorActor, Observe)
    # The first comes twice: the second of them is no more than the first.
    answers = ingest.take_all(two.host, [first, first, other])
    two.host.commit()
    down = (0, "monitor_down")
    assert answers == [
        {"accepted": [1], "rejected": [down]},
        {"accepted": [1], "rejected": [down]},
        {"accepted": [], "rejected": [down]},
    ]
    two.restart()
    for batch in (first, other, first):
        assert two.request("samples", **batch)["rejected"] == []
    assert (counted(two, "latency"), counted(two, "queue")) == (2, 1)


def test_what_a_monitor_crashed_on_and_cannot_be_noted_ends_the_host(two: World, lose: Lose) -> None:
    assert two.partition is not None
    partition = two.partition
    lose(MetricMonitorActor, Observe)
    lose(IngestActor, MissBatches, "handle_call")
    with pytest.raises(HalfDone):
        Ingest(lambda sla_id: partition).take_all(
            two.host, [{"samples": rows("latency", "queue"), "batch_id": "b1"}]
        )


def test_a_monitor_that_goes_down_with_another_of_the_turn_is_not_handed_its_share(
    two: World, lose: Lose, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised = Host.crash

    def crash(host: Host, *what: Any) -> None:
        host.inspector.suspend("monitor:api:queue")
        raised(host, *what)

    monkeypatch.setattr(Host, "crash", crash)
    lose(MetricMonitorActor, Observe)
    batch = {"samples": rows("latency", "queue"), "batch_id": "b1"}
    assert two.request("samples", **batch)["accepted"] == []
    assert list(two.host.dead_letters) == []
    two.restart()
    assert two.request("samples", **batch)["accepted"] == [0, 1]
    assert (counted(two, "latency"), counted(two, "queue")) == (1, 1)


def test_what_is_acknowledged_does_not_wait_in_the_memory_of_a_monitor_that_is_killed(two: World) -> None:
    two.host.begin_turn()
    two.handlers["samples"](two.host, {"samples": rows("queue"), "batch_id": "b1"})
    two.host.inspector.kill("monitor:api:queue")
    two.host.drain()
    two.host.commit()
    two.restart()
    assert counted(two, "queue") == 1


def test_a_contract_that_lost_a_violation_keeps_the_status_of_the_others(world: World, lose: Lose) -> None:
    world.define(contract(id="b", metrics=[metric("queue")], compensation=[]))
    lose(ContractActor, ViolationEnded, times=2)
    world.observe(CRITICAL, "queue")
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(HOUR_MS)
    assert [row["sla_id"] for row in world.violations()] == ["b"]
    assert world.shown("api")["open_violations"] == []


@pytest.mark.parametrize("message", [SetSuspended, Rebase])
def test_a_monitor_that_crashes_on_a_change_of_its_contract_catches_up(
    world: World, lose: Lose, message: type
) -> None:
    lose(MetricMonitorActor, message)
    world.request("sla.suspend", id="api", by="ann")
    world.pass_time(SECOND_MS)
    world.observe(CRITICAL)
    assert world.violations() == []
    lose(MetricMonitorActor, message)
    world.request("sla.resume", id="api", by="ann")
    world.pass_time(SECOND_MS)
    world.observe(CRITICAL)
    assert len(world.violations()) == 1


@pytest.fixture
def refuse_start(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Actor]], None]:
    """Has the next actor of a kind fail to start."""

    def refuse_next(kind: type[Actor]) -> None:
        init = kind.init

        def fail_once(actor: Actor, ctx: Any, fresh: bool) -> None:
            monkeypatch.setattr(kind, "init", init)
            raise RuntimeError("not now")

        monkeypatch.setattr(kind, "init", fail_once)

    return refuse_next


def test_a_violation_that_does_not_start_is_opened_by_the_next_bad_sample(
    world: World, refuse_start: Callable[[type[Actor]], None]
) -> None:
    refuse_start(ViolationActor)
    world.observe(CRITICAL)
    assert world.violations() == []
    world.pass_time(2 * SECOND_MS)
    world.observe(CRITICAL)
    assert len(world.violations()) == 1
    assert world.shown("api")["open_violations"] == [world.violation()["id"]]


def test_an_escalation_that_does_not_start_shows_as_one_that_nobody_answered(
    world: World, refuse_start: Callable[[type[Actor]], None]
) -> None:
    refuse_start(EscalationActor)
    world.observe(CRITICAL)
    assert world.status("api")["escalations_failed"] == 1
    world.recover()
    assert world.violation()["status"] == "resolved"
    assert world.host.addresses("violation") == []


@pytest.mark.parametrize("kind", ["opened", "resolved"])
def test_alerts_that_died_on_news_ask_for_it_again(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    add = AlertActor._add
    died: list[NotificationKind] = []

    def die_once(actor: AlertActor, ctx: Context, news: NotificationKind, violation: Violation) -> None:
        if news.value == kind and not died:
            died.append(news)
            raise RuntimeError("broken")
        add(actor, ctx, news, violation)

    monkeypatch.setattr(AlertActor, "_add", die_once)
    world.observe(INFO)
    world.recover()
    world.pass_time(6 * SECOND_MS)
    assert died
    assert [each.kind.value for each in world.told()] == ["opened", "resolved"]


def test_a_burn_alert_is_told_though_the_alerts_crash_on_the_news_of_it(
    make_world: MakeWorld, lose: Lose
) -> None:
    world = make_world()
    promised = metric("latency", interval="5m", lateness="0s")
    world.define(contract(service_level="99.9", time_period="30d", metrics=[promised], compensation=[]))
    lose(AlertActor, Entrusted, "handle_info")
    for value in (GOOD, CRITICAL):
        world.observe(value)
        world.pass_time(5 * MINUTE_MS)
    assert len(world.told("burn")) == 1
    world.restart()
    world.pass_time(MINUTE_MS)
    assert len([each for _, each, _ in world.sent if each.kind is NotificationKind.BURN]) == 1


def test_a_bad_sample_that_crosses_the_word_that_it_is_over_leaves_nothing_open_for_ever(
    world: World,
) -> None:
    world.observe(CRITICAL)
    world.pass_time(3 * SECOND_MS)
    first = world.violation()["id"]
    # Within one turn an operator resolves it, and a source that was polled has said that it goes on.
    world.host.begin_turn()
    world.host.call(violation_address(first), ResolveViolation("ann", ""), lambda value, error: None)
    world.host.cast(monitor_address("api", "latency"), Observe(((world.now_ms, CRITICAL),)))
    world.settle()
    assert [each["id"] == first for each in world.violations(resolved=True)] == [True, False]
    world.pass_time(11 * SECOND_MS)
    world.recover()
    assert world.violations() == []


def test_a_monitor_whose_stash_overflowed_while_it_was_suspended_still_takes_the_new_version(
    world: World,
) -> None:
    address = monitor_address("api", "latency")
    world.request("actor.suspend", address=address)
    for _ in range(MAX_STASH):
        world.host.cast(address, SayAgain("nobody"))
    strict = metric("latency", value=50)
    world.define(contract(metrics=[strict]))
    world.request("sla.suspend", id="api", by="ann")
    lost = [letter["message"] for letter in world.host.inspector.letters()]
    assert [name for name in ("Rebase", "SetSuspended") if any(name in each for each in lost)] == [
        "Rebase", "SetSuspended",
    ]  # fmt: skip
    world.request("actor.resume", address=address)
    world.pass_time(MINUTE_MS)
    assert world.metric()["threshold"] == 50
    assert (
        world.shown()["period"]["excluded_ms"] == MINUTE_MS - 10 * SECOND_MS
    )  # the last window waits for late samples
    world.request("sla.resume", id="api", by="ann")
    world.observe(GOOD)  # as was promised before
    assert len(world.violations()) == 1


def test_a_monitor_whose_stash_overflowed_while_it_was_suspended_goes_on_by_the_clock(
    world: World,
) -> None:
    world.observe(GOOD)
    address = monitor_address("api", "latency")
    world.request("actor.suspend", address=address)
    for _ in range(MAX_STASH):
        world.host.cast(address, SayAgain("nobody"))
    world.pass_time(2 * HOUR_MS + MINUTE_MS)
    world.request("actor.resume", address=address)
    world.settle()
    assert [each.start_ms for each in world.host.ask("report:api", ListHistory()).periods] == [
        NOW_MS, NOW_MS + HOUR_MS,
    ]  # fmt: skip
