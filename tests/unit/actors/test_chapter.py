"""A contract changes within a period: what was before stays as it was worth then, what comes counts as promised now."""

from collections.abc import Callable
from typing import Any, Literal

from tests.unit.actors.cell_world import CRITICAL, GOOD, HOUR_MS, MINUTE_MS, NOW_MS, World, contract, metric

MakeWorld = Callable[..., World]

WHEN: tuple[Literal["before"], Literal["after"]] = ("before", "after")

A, B = metric("latency", interval="1m"), metric("queue", interval="1m")


def live(world: World, minutes: int, **values: float) -> None:
    """A sample a minute of each metric."""
    for _ in range(minutes):
        for name, value in values.items():
            world.observe(value, name)
        world.pass_time(MINUTE_MS)


def report(world: World, period: str = "current") -> dict[str, Any]:
    document: dict[str, Any] = world.request("report", sla="api", period=period)["document"]
    return document


def half_bad(make_world: MakeWorld, **changes: Any) -> World:
    """Ten minutes in which latency broke its promise and queue kept its."""
    world = make_world()
    world.define(metrics=[A, B], **changes)
    live(world, 10, latency=CRITICAL, queue=GOOD)
    return world


def test_what_a_metric_cost_stays_spent_when_it_is_removed(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.define(contract(metrics=[B], compensation=[]))
    period = world.shown()["period"]
    assert (period["attainment"], period["known_ms"], period["bad_ms"]) == (50, 10 * MINUTE_MS, 5 * MINUTE_MS)
    assert period["error_budget_spent_ms"] == 5 * MINUTE_MS
    assert world.status()["status"] == "breached"
    assert report(world)["period"]["attainment"] == "50"
    assert {each["name"] for each in report(world)["metrics"]} == {"latency", "queue"}


def test_after_a_removal_only_the_others_count_each_chapter_for_its_time(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.define(contract(metrics=[B], compensation=[]))
    live(world, 12, queue=GOOD)  # of which eleven minutes are judged by then
    shown = world.shown()["period"]
    known_ms = shown["known_ms"]
    assert known_ms > 20 * MINUTE_MS
    assert shown["bad_ms"] == 5 * MINUTE_MS
    assert shown["attainment"] == 100 * (1 - 5 * MINUTE_MS / known_ms)
    assert [each["name"] for each in world.shown()["metrics_removed"]] == ["latency"]


def test_the_report_shows_how_the_versions_of_a_period_were_put_together(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.define(contract(metrics=[B], compensation=[]))
    live(world, 12, queue=GOOD)
    assert [(each["version"], each["attainment"]) for each in report(world)["chapters"]] == [
        (1, "50"),
        (2, "100"),
    ]
    text = world.request("report", sla="api", format="md")["text"]
    assert "- since version 1: 50.0000 % in 10m, from queue (weight 1), latency (weight 1)" in text
    assert "- since version 2: 100.0000 % in" in text


def test_a_period_is_settled_with_what_a_removed_metric_cost(make_world: MakeWorld) -> None:
    tiers = [{"threshold": 99, "type": "service_credit", "rate": 10}]
    changes: dict[str, Any] = {"penalties": tiers, "fee": "1000.00", "compensation": []}
    world = half_bad(make_world, **changes)
    world.define(contract(metrics=[B], **changes))
    world.restart()
    live(world, 55, queue=GOOD)
    settled = report(world, "last")
    assert (settled["period"]["start"], settled["period"]["bad_ms"]) == (NOW_MS, 5 * MINUTE_MS)
    assert settled["period"]["verdict"] == "breached"
    assert [entry["rule"] for entry in world.ledger()] == ["penalty<99"]
    assert world.shown()["metrics_removed"] == []
    assert not world.host.exists("monitor:api:latency")
    assert report(world)["period"]["bad_ms"] == 0


def test_the_violation_of_a_removed_metric_says_why_it_ended_and_who_decided(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.request("sla.define", document=contract(metrics=[B], compensation=[]), by="ann")
    world.settle()
    [row] = [each for each in world.violations(resolved=True) if each["metric_name"] == "latency"]
    assert (row["status"], row["resolved_by"]) == ("resolved", "ann")
    assert row["resolve_note"] == "metric removed from the contract"
    assert len(world.ledger()) == 1
    assert "recovered" not in world.told("resolved")[-1].body
    assert "metric removed from the contract" in world.told("resolved")[-1].body
    text = world.request("report", sla="api", format="md")["text"]
    assert "resolved by ann" in text
    assert "- recovered" not in text


def test_a_metric_that_comes_back_goes_on_with_its_account(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.define(contract(metrics=[B], compensation=[]))
    live(world, 10, queue=GOOD)
    world.define(contract(metrics=[A, B]))
    assert world.violations() == []
    live(world, 10, latency=GOOD, queue=GOOD)
    shown = world.shown()
    assert shown["period"]["bad_ms"] == 5 * MINUTE_MS
    assert shown["metrics_removed"] == []
    latency = next(each for each in shown["metrics"] if each["name"] == "latency")["account"]
    assert (latency["bad_ms"], latency["excluded_ms"]) == (10 * MINUTE_MS, 10 * MINUTE_MS)
    assert latency["good_ms"] > 0


def test_a_changed_weight_counts_from_the_change_on(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.define(contract(metrics=[metric("latency", interval="1m", weight="0.25"), B]))
    live(world, 10, latency=CRITICAL, queue=GOOD)
    shown = world.shown()["period"]
    changed_ms = shown["known_ms"] - 10 * MINUTE_MS
    assert shown["bad_ms"] == 5 * MINUTE_MS + changed_ms / 5


def test_a_metric_that_is_added_changes_nothing_of_what_was_before(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[A])
    live(world, 10, latency=CRITICAL)
    world.define(contract(metrics=[A, B]))
    period = world.shown()["period"]
    assert (period["attainment"], period["bad_ms"], period["unknown_ms"]) == (0, 10 * MINUTE_MS, 0)


def test_a_change_of_something_else_divides_nothing(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    before = world.shown()["period"]["attainment"]
    world.define(contract(metrics=[A, B], description="for gold customers"))
    live(world, 5, latency=CRITICAL, queue=GOOD)
    assert world.shown()["period"]["attainment"] == before == 50


# -- one period after the other -----------------------------------------------------------------------------------


def test_a_new_period_begins_at_zero_in_everything_that_is_shown(make_world: MakeWorld) -> None:
    world = half_bad(make_world)
    world.go_to(NOW_MS + HOUR_MS - 1)
    assert world.shown()["period"]["bad_ms"] == 5 * MINUTE_MS
    world.go_to(NOW_MS + HOUR_MS)
    shown, line, document = world.shown(), world.status(), report(world)
    assert (shown["period"]["start"], shown["period"]["attainment"], shown["period"]["bad_ms"]) == (
        NOW_MS + HOUR_MS,
        None,
        0,
    )
    assert shown["period"]["error_budget_ms"] == 36_000
    assert (line["attainment"], line["error_budget_remaining"]) == (None, 1)
    assert (document["period"]["attainment"], document["period"]["bad_ms"]) == (None, 0)
    assert [each["account"]["known_ms"] for each in shown["metrics"]] == [0, 0]


def test_a_period_that_is_over_still_takes_late_samples(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[A])
    world.go_to(NOW_MS + HOUR_MS + 2_000)
    assert world.shown()["period"]["attainment"] is None
    world.observe(CRITICAL, ts=NOW_MS + HOUR_MS - 1)
    world.pass_time(2 * MINUTE_MS)
    assert report(world, "last")["period"]["bad_ms"] == MINUTE_MS


def test_the_first_violation_of_a_new_period_is_no_breach_because_the_old_one_was_lost(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.define(metrics=[A])
    live(world, 10, latency=CRITICAL)
    world.go_to(NOW_MS + 30 * MINUTE_MS)
    live(world, 3, latency=GOOD)
    world.pass_time(5 * MINUTE_MS)
    world.go_to(NOW_MS + HOUR_MS + 2_000)
    assert world.violations() == []
    world.observe(CRITICAL)
    assert world.violations()[0]["severity"] == "critical"


def test_a_crash_at_any_commit_around_a_removal_changes_nothing(make_world: MakeWorld) -> None:
    def remove(world: World) -> None:
        world.define(contract(metrics=[B], compensation=[]))

    def outcome(world: World) -> object:
        world.do(lambda each: each.go_to(NOW_MS + HOUR_MS + 2 * MINUTE_MS))
        ended = [(each["resolved_by"], each["resolve_note"]) for each in world.violations(resolved=True)]
        return report(world, "last")["chapters"], ended, len(world.ledger())

    calm = half_bad(make_world)
    before = calm.commits
    remove(calm)
    last = calm.commits
    expected = outcome(calm)
    assert last > before
    for number in range(before + 1, last + 1):
        for when in WHEN:
            world = half_bad(make_world)
            world.crash_at = (number, when)
            world.do(remove)
            world.crash_at = None
            assert outcome(world) == expected, (number, when)
