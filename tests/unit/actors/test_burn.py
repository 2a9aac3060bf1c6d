"""A contract that spends its error budget too fast is at risk: people hear of it once, and of its end."""

from collections.abc import Callable

import pytest

from slakeeper.actors.muting import INHIBITION_WAIT_MS
from slakeeper.sla.notification import NotificationKind
from slakeeper.sla.policy import Severity
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
from tests.unit.actors.test_audit import entries

MakeWorld = Callable[..., World]

# 99.9 % of 30 days with 5-minute windows, judged without waiting for late samples.
SLOW = metric("latency", interval="5m", lateness="0s", keep_for="0s")


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    made = make_world()
    made.define(contract(service_level="99.9", time_period="30d", metrics=[SLOW], compensation=[]))
    return made


def windows(world: World, values: list[float]) -> None:
    """A sample in each of the next windows, and the end of the last."""
    for value in values:
        world.pass_time(MINUTE_MS)
        world.observe(value)
        world.pass_time(4 * MINUTE_MS)


def burns(world: World) -> list[tuple[NotificationKind, str]]:
    kinds = (NotificationKind.BURN, NotificationKind.BURN_ENDED)
    return [(each.kind, each.severity.value) for each in world.told() if each.kind in kinds]


def test_one_bad_window_in_an_hour_burns_too_fast_until_it_is_over(world: World) -> None:
    windows(world, [GOOD] * 12)
    assert burns(world) == []
    assert world.status()["burn_alerts"] == []
    windows(world, [CRITICAL])
    # 1 of 12 windows: 83 times what 99.9 allows over the hour, 1000 times over the last 5 minutes.
    assert burns(world) == [(NotificationKind.BURN, "warning")]
    told = world.told("burn")[0]
    assert "83.33 times what is allowed over 1h and 1000 times what is allowed over 5m" in told.body
    line = world.status()
    first = line["burn_alerts"][0]
    assert (first["long_ms"], first["severity"], first["since"]) == (HOUR_MS, "warning", world.now_ms)
    windows(world, [GOOD] * 90)
    assert burns(world) == [(NotificationKind.BURN, "warning"), (NotificationKind.BURN_ENDED, "warning")]
    assert world.told("burn_ended")[0].dedup_key == told.dedup_key
    assert world.status()["burn_alerts"] == []


def test_its_beginning_and_end_stand_in_the_audit_chain(world: World) -> None:
    windows(world, [GOOD] * 12 + [CRITICAL] + [GOOD] * 90)
    found = {each["what"]: each["details"] for each in entries(world) if each["what"].startswith("burn.")}
    assert list(found) == ["burn.begun", "burn.ended"]
    assert found["burn.begun"]["alerts"][0] == {
        "long_ms": HOUR_MS, "short_ms": 5 * MINUTE_MS, "factor": "72/5", "burn_rate": "250/3"
    }  # fmt: skip


def test_a_burn_alert_is_no_violation_and_makes_the_contract_at_least_warning(world: World) -> None:
    windows(world, [GOOD] * 12 + [CRITICAL, GOOD, GOOD])
    assert [row["status"] for row in world.violations(resolved=True)] == ["resolved"]
    assert (world.status()["status"], world.status()["open_violations"]) == ("warning", 0)
    assert world.shown()["status_history"][-1]["status"] == "warning"


def test_it_survives_a_restart_and_is_told_once(world: World) -> None:
    windows(world, [GOOD] * 12 + [CRITICAL])
    before = world.status()["burn_alerts"]
    world.restart()
    assert world.status()["burn_alerts"] == before != []
    windows(world, [GOOD] * 2)
    assert burns(world) == [(NotificationKind.BURN, "warning")]


def test_in_maintenance_nobody_is_told_until_it_is_over(make_world: MakeWorld) -> None:
    world = make_world()
    start = NOW_MS // 1000 + 3600
    maintenance = [{"start": start, "duration": "10m", "mode": "good"}]
    world.define(
        contract(service_level="99.9", time_period="30d", metrics=[metric("latency", interval="5m", lateness="5m")],
                 compensation=[], maintenance=maintenance)
    )  # fmt: skip
    windows(world, [GOOD] * 11 + [CRITICAL])
    world.pass_time(9 * MINUTE_MS)
    assert burns(world) == []
    windows(world, [GOOD, GOOD])
    assert burns(world) == [(NotificationKind.BURN, "warning")]


def test_what_is_at_this_rate_is_shown_everywhere(world: World) -> None:
    windows(world, [GOOD] * 12 * 29 + [CRITICAL])
    # 30 h look-back: one of 360 windows is bad. 43 min 12 s are the budget, 5 min of it are spent.
    line, shown = world.status(), world.shown()
    assert line["burn_look_back_ms"] == 30 * HOUR_MS
    left_ms = line["error_budget_remaining_ms"]
    assert left_ms == 43 * MINUTE_MS + 12_000 - 5 * MINUTE_MS
    ends_at_ms = world.now_ms + left_ms * 349  # one of the 349 windows that are known
    assert line["budget_ends_at_ms"] == shown["period"]["budget_ends_at_ms"] == ends_at_ms
    assert line["burn_rate"] == pytest.approx(1000 / 349)
    report = world.request("report", sla="api")["document"]
    assert report["budget"]["ends_at"] == ends_at_ms
    for form in ("md", "html"):
        assert "At the present rate it ends at" in world.request("report", sla="api", format=form)["text"]


def test_a_day_has_no_burn_alerts_and_still_a_projection(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(contract(service_level="90", time_period="1d", metrics=[SLOW], compensation=[]))
    windows(world, [GOOD] * 9 + [CRITICAL] * 3)
    line = world.status()
    assert (line["burn_alerts"], line["burn_rate"]) == ([], 2.5)
    # 144 min are allowed, 15 are spent, a quarter of the time is bad.
    assert line["budget_ends_at_ms"] == NOW_MS + HOUR_MS + 4 * 129 * MINUTE_MS
    assert line["budget_ends_at_ms"] < NOW_MS + DAY_MS


def test_a_suspension_and_a_removal_end_it(world: World) -> None:
    for act in ("sla.suspend", "sla.remove"):
        windows(world, [GOOD] * 12 + [CRITICAL] + [GOOD])
        assert burns(world)[-1] == (NotificationKind.BURN, "warning")
        world.request(act, id="api", by="ann")
        world.settle()
        assert burns(world)[-1] == (NotificationKind.BURN_ENDED, "warning")
        if act == "sla.suspend":
            assert world.status()["burn_alerts"] == []
            world.pass_time(HOUR_MS)
            world.request("sla.resume", id="api", by="ann")


def test_while_the_contract_it_depends_on_is_broken_nobody_hears_of_it(make_world: MakeWorld) -> None:
    world = make_world()
    network = contract(id="network", metrics=[metric("ping")], compensation=[])
    world.define(network)
    world.define(
        contract(
            service_level="99.9", time_period="30d", metrics=[SLOW], compensation=[], depends_on=["network"]
        )
    )
    windows(world, [GOOD] * 12)
    world.observe(CRITICAL, "ping")
    windows(world, [CRITICAL, GOOD])
    assert burns(world) == []
    world.recover("ping")
    windows(world, [CRITICAL])
    assert burns(world) == [(NotificationKind.BURN, "warning")]


def test_it_ends_with_the_contract(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(
        contract(service_level="99.9", time_period="30d", term="70m", metrics=[SLOW], compensation=[])
    )  # whose only period is the term's 70 minutes
    assert world.status()["burn_alerts"] == []
    world.define(
        contract(service_level="99.9", time_period="30d", term="40d", metrics=[SLOW], compensation=[])
    )
    windows(world, [GOOD] * 12 + [CRITICAL, GOOD])
    assert burns(world) == [(NotificationKind.BURN, "warning")]
    world.pass_time(41 * DAY_MS)
    assert burns(world)[-1] == (NotificationKind.BURN_ENDED, "warning")


def test_nobody_is_told_before_it_can_be_known_what_is_broken_in_other_cells(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(contract(metrics=[SLOW], compensation=[], depends_on=["elsewhere"]))
    world.restart()
    known = world.environment.known("api")
    assert known is not None
    assert world.environment.mutes_burn(known.contract, Severity.WARNING, world.now_ms)
    assert not world.environment.mutes_burn(
        known.contract, Severity.WARNING, world.now_ms + INHIBITION_WAIT_MS
    )
