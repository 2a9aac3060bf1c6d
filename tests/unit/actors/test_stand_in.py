"""After a start contracts and monitors are made last. Until then their records speak for them, and nobody notices."""

from collections.abc import Callable

import pytest

from slakeeper.actors import neighbour
from slakeeper.actors.message import Observe
from slakeeper.actors.request import FEW_SAMPLES, is_light
from tests.unit.actors.cell_world import (
    CRITICAL,
    GOOD,
    HOUR_MS,
    INFO,
    MINUTE_MS,
    SECOND_MS,
    World,
    contract,
    metric,
)

MakeWorld = Callable[..., World]

CONTRACT = "contract:api"
LATENCY, QUEUE = "monitor:api:latency", "monitor:api:queue"
TWO = [metric("latency", interval="1m", aggregation="last"), metric("queue", interval="1m")]


def sleeps(world: World, address: str) -> bool:
    return bool(world.host.inspector.describe(address)["passive"])


def state(world: World) -> bytes:
    """Of the monitor of latency, as it would be recorded."""
    return world.host.codec.encode(world.host.inspector.describe(LATENCY)["state"])


def snapshot(world: World) -> None:
    assert world.partition is not None
    world.host.snapshot(world.partition)


def lost(make_world: MakeWorld) -> World:
    """A cell with a contract that a metric has broken for too long, though it is well again."""
    world = make_world()
    world.define(metrics=TWO)
    for value in (*10 * (CRITICAL,), *10 * (GOOD,)):
        world.observe(value)
        world.observe(GOOD, "queue")
        world.pass_time(MINUTE_MS)
    assert world.violations() == []
    return world


@pytest.fixture(params=["journal", "snapshot"])
def two(make_world: MakeWorld, request: pytest.FixtureRequest) -> World:
    """A cell with two metrics, one of them broken for ten minutes, that was killed and has come back just now."""
    world = lost(make_world)
    if request.param == "snapshot":
        snapshot(world)
    world.restart()
    return world


def test_contracts_and_monitors_are_made_after_the_start(two: World) -> None:
    assert sleeps(two, CONTRACT)
    assert sleeps(two, LATENCY)
    assert sleeps(two, QUEUE)
    two.turn()
    assert not sleeps(two, CONTRACT)
    assert not sleeps(two, LATENCY)
    assert not sleeps(two, QUEUE)


def test_the_catalog_is_complete_before_they_are(two: World) -> None:
    assert dict(two.environment.catalog.metrics()) == {"latency": ["api"], "queue": ["api"]}
    version = two.environment.catalog.version
    two.turn()
    assert two.environment.catalog.version == version


def test_a_sample_wakes_the_monitor_that_it_is_for_and_nobody_else(two: World) -> None:
    answer = two.handlers["samples"](two.host, {"samples": [["queue", GOOD, None, None, None]]})
    assert answer["accepted"] == [0]
    assert not sleeps(two, QUEUE)
    assert sleeps(two, LATENCY)
    assert sleeps(two, CONTRACT)


def test_of_many_contracts_with_one_metric_a_sample_wakes_the_one_it_names(make_world: MakeWorld) -> None:
    world = make_world()
    ids = [f"c{number}" for number in range(30)]
    for sla_id in ids:
        world.define(contract(id=sla_id, metrics=[metric("latency", labels={"zone": sla_id})]))
    world.restart()
    samples = [["latency", GOOD, None, "c3", {"zone": "c3"}], ["latency", GOOD, None, None, {"zone": "c7"}]]
    assert world.handlers["samples"](world.host, {"samples": samples})["accepted"] == [0, 1]
    awake = [each for each in ids if not sleeps(world, f"monitor:{each}:latency")]
    assert awake == ["c3", "c7"]


def test_labels_are_known_before_they_are_made(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", labels={"zone": "a"})])
    world.restart()
    refused = world.observe(GOOD)
    assert refused["rejected"] == [(0, "labels_do_not_match")]


def test_who_asks_for_a_contract_has_its_monitors_known(two: World) -> None:
    assert two.environment.accounts == {}
    known = two.environment.known("api")
    assert known is not None
    assert not known.is_broken
    assert set(two.environment.accounts["api"]) == {"latency", "queue"}
    assert sleeps(two, CONTRACT)
    two.turn()
    assert two.environment.known("api") == known


def test_a_neighbour_hears_of_one_that_sleeps(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(CRITICAL)
    world.restart()
    assert sleeps(world, CONTRACT)
    assert neighbour.answer(world.host, {"parents": ["api", "elsewhere"], "silences": ""})["broken"] == [
        "api"
    ]
    assert sleeps(world, CONTRACT)


def test_a_contract_that_cannot_be_read_is_unknown_and_its_monitors_go_on(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    assert world.partition is not None
    world.partition.rebase(CONTRACT, world.host.codec.encode("no state of a contract"))
    snapshot(world)
    world.restart()
    assert world.environment.known("api") is None
    assert dict(world.environment.catalog.metrics()) == {"latency": ["api"]}
    world.settle()
    assert world.environment.known("api") is None
    assert world.observe(CRITICAL)["accepted"] == [0]


def test_what_a_period_is_worth_is_known_before_they_are_made(two: World) -> None:
    asleep = two.environment.attainment("api")
    assert sleeps(two, LATENCY)
    two.turn()
    assert two.environment.attainment("api") == asleep
    assert asleep is not None
    assert 50 < asleep < 99


def test_a_breach_is_judged_by_all_metrics_though_the_others_sleep(make_world: MakeWorld) -> None:
    world = lost(make_world)
    world.restart()
    # Latency has lost the period; only its monitor knows, and it sleeps.
    world.host.cast(QUEUE, Observe(((world.now_ms, CRITICAL), (world.now_ms, CRITICAL))))
    world.host.drain()
    world.host.commit()
    assert sleeps(world, LATENCY)
    assert not sleeps(world, QUEUE)
    found = {each["metric_name"]: each["severity"] for each in world.violations()}
    assert found["queue"] == "breach"


def test_the_first_sample_finds_its_monitor(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", aggregation="last")])
    world.observe(GOOD)
    world.restart()
    assert sleeps(world, LATENCY)
    assert world.observe(CRITICAL)["accepted"] == [0]
    assert world.violation()["actual_value"] == CRITICAL
    assert world.metric()["samples_accepted"] == 2


def test_a_monitor_that_cannot_be_made_takes_nothing(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    assert world.partition is not None
    world.partition.rebase(LATENCY, world.host.codec.encode("no state of a monitor"))
    snapshot(world)
    world.restart()
    assert world.observe(CRITICAL)["rejected"] == [(0, "monitor_down")]
    assert world.violations() == []


def test_silence_and_the_end_of_a_period_are_noticed_without_a_sample(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    world.clock.advance(2 * HOUR_MS)
    world.restart()
    world.settle()
    assert world.metric()["state"] == "no_data"
    assert world.shown()["period"]["start"] == world.now_ms
    assert "metric.changed" in world.topics()


def test_what_for_waits_for_goes_on(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", **{"for": "15s"})])
    world.observe(CRITICAL)
    world.restart()
    assert world.violations() == []
    world.pass_time(15 * SECOND_MS)
    assert world.violation()["actual_value"] == CRITICAL


def test_a_stop_while_it_sleeps_takes_nothing_from_it(make_world: MakeWorld) -> None:
    world = make_world()
    world.define(metrics=[metric("latency", **{"for": "15s"})])
    world.observe(CRITICAL)
    world.restart()
    world.clock.advance(20 * SECOND_MS)
    world.host.stop()  # what it had to say of that time, nobody would have heard
    world.restart()
    world.settle()
    assert world.violation()["actual_value"] == CRITICAL


def test_a_polled_source_asks_for_those_that_sleep(make_world: MakeWorld) -> None:
    sources = {
        "prom": {
            "type": "prometheus",
            "url": "http://prom.invalid",
            "interval": "15s",
            "metrics": {"queue": "q"},
        }
    }
    world = make_world(monitoring={"sources": sources})
    world.define(metrics=[metric("latency", source="prom", query="l"), metric("queue")])
    world.restart()
    assert sleeps(world, LATENCY)
    assert world.environment.bound("prom") == {LATENCY: "l", QUEUE: "q"}
    assert sleeps(world, CONTRACT)


def test_a_metric_that_was_removed_counts_and_takes_no_samples(two: World) -> None:
    two.define(contract(metrics=[metric("queue", interval="1m")], compensation=[]))
    before = two.environment.attainment("api")
    two.restart()
    assert sleeps(two, LATENCY)
    assert two.environment.attainment("api") == before
    assert dict(two.environment.catalog.metrics()) == {"queue": ["api"]}


@pytest.mark.parametrize(
    "snapshots", [(), ("before",), ("between",), ("after",), ("before", "between", "after")]
)
def test_a_replay_over_new_versions_ends_where_it_was(
    make_world: MakeWorld, snapshots: tuple[str, ...]
) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    if "before" in snapshots:
        snapshot(world)
    world.define(metrics=[metric("latency", value=300, aggregation="last")])
    world.observe(INFO)
    if "between" in snapshots:
        snapshot(world)
    world.define(metrics=[metric("latency", value=200, aggregation="last")])
    world.observe(GOOD)
    if "after" in snapshots:
        snapshot(world)
    before = state(world)
    world.restart()
    assert sleeps(world, LATENCY)
    assert state(world) == before
    assert world.violations() == []
    world.observe(INFO)
    assert world.violation()["threshold_value"] == 200


def test_a_monitor_that_sleeps_takes_the_version_it_has_missed(make_world: MakeWorld) -> None:
    world = make_world()
    world.define()
    world.observe(GOOD)
    world.restart()
    world.request("sla.suspend", id="api", by="ann")
    world.restart()
    world.define(metrics=[metric("latency", value=200)])
    assert world.metric()["threshold"] == 200


def test_what_wakes_few_comes_first_while_actors_sleep() -> None:
    row = ["latency", GOOD, None, None, None]
    assert is_light("samples", {"samples": FEW_SAMPLES * [row]})
    assert not is_light("samples", {"samples": (FEW_SAMPLES + 1) * [row]})
    assert is_light("catalog", {})  # samples wait for it in the gateway
    assert is_light("violations", {"sla": "api"})
    assert is_light("violation.ack", {"id": "v1", "by": "ann"})
    assert not is_light("violations", {"sla": None})
    for act in ("sla.remove", "violation.resolve", "compensation.decide"):
        assert not is_light(act, {"id": "api", "by": "ann"})  # samples that came before count before it
    assert not is_light("status", {})
    assert not is_light("samples", None)
    assert not is_light("samples", {"samples": 7})
