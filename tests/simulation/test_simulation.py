"""The whole SLA tree under faults: whatever goes wrong, nothing is lost, nothing is done twice, all comes to rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from slakeeper.otp.sim_fault import Point
from tests.simulation import soak
from tests.simulation.client import HOUR_MS
from tests.simulation.world import CLIMATES, SlaWorld

ROOT = Path(__file__).parents[2]

# Each test takes so many seeds one after the other, so that workers can share them.
SEEDS, SEEDS_A_TEST = 200, 5
HOURS = 0.5


# Hours of virtual time take a minute of a busy machine; what hangs is found by this, too.
pytestmark = [pytest.mark.usefixtures("quiet"), pytest.mark.timeout(240)]


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_A_TEST))
def test_what_has_to_hold_holds_whatever_goes_wrong(first: int) -> None:
    for seed in range(first, first + SEEDS_A_TEST):
        outcome = soak.run(seed, HOURS, "storm")
        assert outcome.problems == [], soak.command(seed, HOURS, "storm")


@pytest.mark.slow
def test_what_has_to_hold_holds_for_days() -> None:
    outcome = soak.run(1, 72, "weather")
    assert outcome.problems == [], soak.command(1, 72, "weather")


def test_without_faults_all_is_well_too() -> None:
    world = SlaWorld(1, CLIMATES["calm"])
    assert world.run(2 * HOUR_MS) == []
    assert [cell.deaths for cell in world.system.cells.values()] == [{"restart": 1}, {"restart": 1}]


@pytest.mark.slow
def test_much_goes_wrong_and_much_is_done() -> None:
    worlds = [SlaWorld(seed) for seed in range(6)]
    for world in worlds:
        assert world.run(3 * HOUR_MS) == []
    deaths = {why for world in worlds for cell in world.system.cells.values() for why in cell.deaths}
    assert deaths >= {f"killed, {point.value}" for point in Point}
    assert sum(world.crashed_on["monitor:api:latency"] for world in worlds) > 0
    topics = set().union(*(world.topics for world in worlds))
    assert topics >= {
        "actor.crashed", "actor.quarantined", "violation.opened", "violation.acknowledged", "violation.resolved",
        "escalation.sent", "escalation.failed", "remediation.ended", "compensation.booked", "compensation.decided",
        "sla.changed",
    }  # fmt: skip
    assert sum(sum(world.outside.remedied.values()) for world in worlds) > 10
    for channel in ("chat", "pager", "sms"):
        assert sum(world.outside.messages(channel) for world in worlds) > 10
    assert all(world.outside.asked for world in worlds)


def trace_of_a_process(seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.soak", "--seed", str(seed), "--hours", "1", "--trace"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=50
    ).stdout


def test_a_run_is_the_same_byte_for_byte_in_another_process() -> None:
    trace = trace_of_a_process(3, "1")
    assert trace == trace_of_a_process(3, "2")
    assert trace.count("\n") > 500
