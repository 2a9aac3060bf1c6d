"""A period ends: settled once, penalties booked, reported; what is old is forgotten."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import (
    CRITICAL,
    DAY_MS,
    GOOD,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    World,
    contract,
    metric,
)

MakeWorld = Callable[..., World]

WHEN: tuple[Literal["before"], Literal["after"]] = ("before", "after")

PENALTIES = [
    {"threshold": 99, "type": "service_credit", "rate": 10},
    {"threshold": 90, "type": "refund", "rate": 25},
]

CHANGES: dict[str, Any] = {
    "penalties": PENALTIES,
    "fee": "1000.00",
    "compensation": [],
    "metrics": [metric("latency", interval="1m")],
}


def with_penalties(make_world: MakeWorld, **changes: Any) -> World:
    world = make_world()
    world.define(**{**CHANGES, **changes})
    return world


def live(world: World, minutes: int, bad: int = 0) -> None:
    """A sample a minute; those of the first ``bad`` minutes break the promise."""
    for number in range(minutes):
        world.observe(CRITICAL if number < bad else GOOD)
        world.pass_time(MINUTE_MS)


def last(world: World) -> dict[str, Any]:
    document: dict[str, Any] = world.request("report", sla="api", period="last")["document"]
    return document


def test_a_kept_period_costs_nothing(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    live(world, 62)
    assert world.ledger() == []
    assert (last(world)["period"]["attainment"], last(world)["period"]["verdict"]) == ("100", "met")


def test_a_lost_period_is_settled_once_at_the_lowest_tier_it_is_below(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    live(world, 62, bad=3)  # three minutes of sixty: 95 %
    [entry] = world.ledger()
    assert (entry["rule"], entry["compensation_type"], entry["rate"]) == (
        "penalty<99",
        "service_credit",
        "10",
    )
    assert (entry["amount"], entry["status"]) == ("100.00", "pending")
    assert (entry["period_start"], entry["period_end"]) == (NOW_MS, NOW_MS + HOUR_MS)
    assert "attainment 95.0000 % < 99 %" in entry["arithmetic"]
    world.restart()
    world.pass_time(MINUTE_MS)
    assert world.ledger() == [entry]


def test_a_period_below_the_second_tier_costs_that_one(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    live(world, 62, bad=10)
    assert world.ledger()[0]["rule"] == "penalty<90"


def test_a_period_without_data_costs_nothing(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    world.pass_time(HOUR_MS + MINUTE_MS)
    assert world.ledger() == []
    assert last(world)["period"]["verdict"] == "unknown"


def test_a_period_that_ended_while_the_cell_was_down_is_settled_when_it_is_back(
    make_world: MakeWorld,
) -> None:
    world = with_penalties(make_world)
    live(world, 10, bad=10)
    world.clock.advance(2 * HOUR_MS)
    world.restart()
    world.settle()
    assert len(world.ledger()) == 1
    ended = world.request("report", sla="api", period=f"{NOW_MS // 1000}/{(NOW_MS + HOUR_MS) // 1000}")[
        "document"
    ]
    assert ended["period"]["attainment"] == "0"


def test_a_crash_at_any_commit_around_the_end_settles_once(make_world: MakeWorld) -> None:
    calm = with_penalties(make_world)
    live(calm, 2, bad=2)
    before = calm.commits
    calm.go_to(NOW_MS + HOUR_MS + 2 * MINUTE_MS)
    expected = (calm.ledger(), last(calm)["metrics"])
    assert len(expected[0]) == 1
    assert calm.commits > before
    for number in range(before + 1, calm.commits + 1):
        for when in WHEN:
            world = with_penalties(make_world)
            live(world, 2, bad=2)
            world.crash_at = (number, when)
            world.do(lambda each: each.go_to(NOW_MS + HOUR_MS + 2 * MINUTE_MS))
            world.crash_at = None
            world.do(World.settle)
            assert (world.ledger(), last(world)["metrics"]) == expected, (number, when)


def test_a_period_ends_when_its_slowest_metric_has_ended_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency"), metric("queue", lateness="10m")])
    world.pass_time(HOUR_MS + 5 * MINUTE_MS)
    with pytest.raises(RequestError, match="no period of api has ended"):
        last(world)
    world.pass_time(6 * MINUTE_MS)
    assert {each["name"] for each in last(world)["metrics"]} == {"latency", "queue"}


def test_a_past_period_is_judged_by_what_was_promised_then(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    live(world, 62, bad=3)
    world.define(contract(**{**CHANGES, "service_level": 90}))
    report = last(world)
    assert (report["sla"]["service_level"], report["period"]["verdict"], report["sla"]["version"]) == (
        "99",
        "breached",
        1,
    )
    current = world.request("report", sla="api")["document"]
    past = current["trend"][0]
    assert (past["service_level"], past["verdict"], past["violations"]) == ("99", "breached", 1)


def test_a_penalty_names_the_version_it_was_settled_under(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    world.define(**{**CHANGES, "fee": "2000.00", "approver": "ann"})
    live(world, 62, bad=3)
    [entry] = world.ledger()
    assert (entry["contract_version"], "2000" in entry["arithmetic"]) == (2, True)
    with pytest.raises(RequestError, match="only ann"):
        world.request("compensation.decide", id=entry["id"], approve=True, by="bob", reason="x")


def test_a_violation_over_the_end_of_a_period_is_paid_for_in_one_report(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(penalties=PENALTIES, fee="1000.00", compensation=[*contract()["compensation"]])
    live(world, 59)
    for _ in range(20):  # from the last minute of the period into the next
        world.observe(CRITICAL)
        world.pass_time(6_000)
    world.recover()
    world.pass_time(2 * MINUTE_MS)
    [seen] = world.violations(resolved=True)
    assert seen["start_time"] < NOW_MS + HOUR_MS < seen["end_time"]
    running = world.request("report", sla="api")["document"]
    assert [[each["id"] for each in report["violations"]] for report in (last(world), running)] == [
        [seen["id"]]
    ] * 2
    credited = [entry for entry in world.ledger() if entry["violation_id"]]
    assert len(credited) == 1
    assert [entry["id"] for entry in last(world)["ledger"]] == [
        entry["id"] for entry in world.ledger() if entry["violation_id"] is None
    ]
    assert running["ledger"] == credited
    assert last(world)["violations"][0]["credits_booked_elsewhere"] == [seen["end_time"]]
    assert [row["violations"] for row in running["trend"]] == [1, 0]


def test_a_running_period_has_one_error_budget_wherever_it_is_asked_for(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(
        metrics=[
            metric("latency", interval="1m", weight="0.75"),
            metric("queue", interval="1m", weight="0.25", lateness="5m"),
        ]
    )
    live(world, 10, bad=1)
    report = world.request("report", sla="api")["document"]["budget"]
    shown, status = world.shown()["period"], world.status()
    assert report["spent_ms"] == shown["error_budget_spent_ms"] > 0
    assert report["total_ms"] == shown["error_budget_ms"] > 0
    assert report["remaining_ms"] == status["error_budget_remaining_ms"]
    assert float(report["spent"]) == pytest.approx(100 * (1 - status["error_budget_remaining"]))
    hour = f"{NOW_MS // 1000}/{(NOW_MS + HOUR_MS) // 1000}"
    assert world.request("report", sla="api", period=hour)["document"]["budget"] == report


def test_a_report_as_text_and_its_refusals(world: World) -> None:
    assert "API" in world.request("report", sla="api", format="md")["text"]
    for payload, code in (
        ({"sla": "api", "format": "pdf"}, "invalid"),
        ({"sla": "api", "period": "yesterday"}, "invalid"),
        ({"sla": "api", "period": "5/1"}, "invalid"),
        ({"sla": "api", "period": "²/³"}, "invalid"),
        ({"sla": "api", "period": "9" * 40 + "/" + "9" * 41}, "invalid"),
        ({"sla": "api", "period": "last"}, "not_found"),
        ({"sla": "nothing"}, "not_found"),
    ):
        with pytest.raises(RequestError) as caught:
            world.request("report", **payload)
        assert caught.value.code == code, payload


def test_a_report_as_page_and_as_table(world: World) -> None:
    world.observe(CRITICAL)
    page = world.request("report", sla="api", format="html")["text"]
    assert page.startswith("<!doctype html>")
    assert world.violation()["id"] in page
    table = world.request("report", sla="api", format="csv")["text"].splitlines()
    assert [line.partition(",")[0] for line in table] == ["record", "period", "metric", "violation"]


def test_what_is_old_is_forgotten_and_the_ledger_is_kept(make_world: MakeWorld) -> None:
    world = make_world(monitoring={"retention": {"violations": "2h", "reports": "3h"}})
    world.define()
    world.observe(CRITICAL)
    world.recover()
    world.pass_time(2 * HOUR_MS)
    assert len(world.violations(resolved=True)) == 1
    world.pass_time(HOUR_MS + MINUTE_MS)
    assert world.violations(resolved=True) == []
    assert len(world.ledger()) == 1
    world.pass_time(10 * HOUR_MS)
    state = world.request("actor.state", address="report:api")["state"]
    assert len(state["periods"]) <= 4
    world.restart()
    # What has grown old since the last look goes now.
    after = world.request("actor.state", address="report:api")["state"]
    assert after["periods"]
    assert after["periods"] == state["periods"][-len(after["periods"]) :]
    world.restart()
    assert world.request("actor.state", address="report:api")["state"] == after


def test_a_system_that_is_started_again_and_again_forgets_what_is_old(make_world: MakeWorld) -> None:
    world = make_world(monitoring={"retention": {"violations": "1h"}})
    world.define()
    world.observe(CRITICAL)
    world.recover()
    for _ in range(4):
        world.clock.advance(30 * MINUTE_MS)
        world.restart()
        world.settle()
    assert world.violations(resolved=True) == []


@pytest.mark.parametrize("name", ["VIOLATIONS", "PERIODS"])
def test_of_a_contract_that_flaps_only_the_newest_are_kept(
    make_world: MakeWorld, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"slakeeper.actors.report.KEPT_{name}", 3)
    world = make_world()
    world.define()
    ids = []
    for _ in range(5):
        world.observe(CRITICAL)
        ids += [row["id"] for row in world.violations()]
        world.recover()
        world.pass_time(DAY_MS)
    state = world.request("actor.state", address="report:api")["state"]
    assert len(state[name.lower()]) == 3
    if name == "VIOLATIONS":
        assert [each["id"] for each in state["violations"]] == ids[-3:]
    world.restart()
    assert world.request("actor.state", address="report:api")["state"][name.lower()] == state[name.lower()]


def test_purging_goes_on_over_restarts(make_world: MakeWorld) -> None:
    world = make_world(monitoring={"retention": {"violations": "1h"}})
    world.define()
    world.observe(CRITICAL)
    world.recover()
    for _ in range(5):
        world.clock.advance(40 * MINUTE_MS)
        world.restart()
        world.settle()
    world.pass_time(HOUR_MS)
    assert world.violations(resolved=True) == []


def test_changes_of_status_are_kept_for_as_long_as_retention_says(world: World) -> None:
    world.observe(CRITICAL)
    opened_ms = world.now_ms
    world.request("sla.suspend", id="api", by="jo")
    history = world.request("sla.show", id="api")["status_history"]
    assert [change["status"] for change in history] == ["warning", "suspended"]
    assert history[0]["at"] == opened_ms
    world.restart()
    assert world.request("sla.show", id="api")["status_history"] == history
    world.pass_time(3 * DAY_MS + 2 * HOUR_MS)
    assert world.request("sla.show", id="api")["status_history"] == []


def test_a_quiet_month_leaves_no_heap_of_timers_behind(world: World) -> None:
    for _ in range(200):
        world.observe(GOOD)
        world.pass_time(500)
    assert len(world.host.timers) < 60
    world.pass_time(DAY_MS)
    assert len(world.host.timers) < 10


def test_a_version_that_came_after_the_end_settles_nothing_of_before(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    live(world, 60, bad=3)
    # The last windows wait for late samples yet, and so does the period.
    world.define(**{**CHANGES, "fee": "5000.00", "service_level": 90})
    world.restart()
    live(world, 3)
    [entry] = world.ledger()
    assert (entry["amount"], entry["contract_version"]) == ("100.00", 1)
    assert (last(world)["sla"]["version"], last(world)["sla"]["service_level"]) == (1, "99")
    live(world, 62, bad=3)
    assert [(each["amount"], each["contract_version"]) for each in world.ledger()] == [
        ("100.00", 1),
        ("500.00", 2),
    ]


def test_former_versions_are_kept_no_longer_than_a_period_may_need_them(make_world: MakeWorld) -> None:
    world = with_penalties(make_world)
    for number in range(5):
        world.define(**{**CHANGES, "fee": str(number)})
    assert len(world.host.inspector.describe("contract:api")["state"].former) == 5
    live(world, 65)
    assert world.host.inspector.describe("contract:api")["state"].former == ()


def test_a_monitor_that_hears_later_of_a_version_to_come_holds_up_no_settlement(
    make_world: MakeWorld,
) -> None:
    metrics = [metric("latency", interval="1m"), metric("load", interval="1m")]
    world = with_penalties(make_world, metrics=metrics)
    for _ in range(30):
        world.observe(CRITICAL)
        world.observe(CRITICAL, "load")
        world.pass_time(MINUTE_MS)
    world.request("actor.suspend", address="monitor:api:load", by="jo")
    begins_s = (NOW_MS + 3 * HOUR_MS) // 1000
    world.define(**{**CHANGES, "metrics": metrics, "effective_date": begins_s, "fee": "5000.00"})
    world.pass_time(2 * MINUTE_MS)
    world.request("actor.resume", address="monitor:api:load", by="jo")
    world.pass_time(4 * HOUR_MS)
    [entry] = world.ledger()
    assert (entry["amount"], entry["period_start"]) == ("250.00", NOW_MS)
