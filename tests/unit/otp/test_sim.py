"""A simulated system: the same seed is the same run, faults happen, planted bugs are found."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp.journal import JournalError
from slakeeper.otp.sim_fault import NO_FAULTS, Faults, Link, Moment, Point
from tests.unit.otp.sim_world import (
    FAULTS,
    MINUTE_MS,
    ORDERS,
    Counter,
    ForgetfulCounter,
    QuietCounter,
    UnsyncedFileSystem,
    World,
    without,
)

SEEDS = range(10)
ROOT = Path(__file__).parents[3]


def traced(seed: int, faults: Faults = FAULTS) -> tuple[World, str]:
    lines: list[str] = []
    world = World(seed, faults, write_trace=lines.append)
    assert world.run() == []
    return world, "\n".join(lines)


def trace_of_a_process(seed: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-m", "tests.unit.otp.sim_world", str(seed)]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=30
    ).stdout


def test_the_same_seed_is_the_same_run_byte_for_byte_also_in_another_process() -> None:
    here = traced(7)[1] + "\n"
    assert here == traced(7)[1] + "\n"
    assert here == trace_of_a_process(7, "1") == trace_of_a_process(7, "2")


def test_another_seed_is_another_run() -> None:
    assert traced(1)[1] != traced(2)[1]


def test_a_trace_changes_nothing_but_that_it_is_there() -> None:
    world = World(3)
    assert world.run() == []
    with_trace = traced(3)[0]
    assert (world.told, world.ended, world.killed) == (with_trace.told, with_trace.ended, with_trace.killed)


@pytest.mark.parametrize("seed", SEEDS)
def test_with_all_faults_every_order_is_counted_once_and_told(seed: int) -> None:
    assert World(seed).run() == []


def test_without_faults_nothing_goes_wrong() -> None:
    world, trace = traced(1, NO_FAULTS)
    assert (world.ended, world.killed, len(world.told)) == ([], [], ORDERS)
    assert not any(word in trace for word in ("lost", "late", "twice", "dead letter"))


def test_after_healing_nothing_goes_wrong_any_more() -> None:
    world = World(4)
    world.system.run_for(2 * MINUTE_MS)
    world.system.heal()
    world.system.run_for(MINUTE_MS)
    before = len(world.ended), len(world.killed)
    world.system.run_for(10 * MINUTE_MS)
    assert (len(world.ended), len(world.killed)) == before


@pytest.mark.parametrize(
    ("faults", "seen"),
    [
        (without(FAULTS, request=Link(lost_ratio=0.3)), "request order #"),
        (without(FAULTS, request=Link(late_ratio=0.3)), "late, "),
        (without(FAULTS, request=Link(twice_ratio=0.3)), "twice, again in"),
        (without(FAULTS, reply=Link(lost_ratio=0.3)), "client     reply order #"),
        (without(FAULTS, reply=Link(twice_ratio=0.3)), "twice, again in"),
        (without(FAULTS, result=Link(lost_ratio=0.3)), "result lost"),
        (without(FAULTS, result=Link(late_ratio=0.3)), "result late"),
        (without(FAULTS, result=Link(twice_ratio=0.3)), "result twice"),
        (without(FAULTS, effect_lost_ratio=0.3), "which will be lost"),
        (without(FAULTS, clock_jump_every_ms=MINUTE_MS, clock_jump_ms=(1_000, 2_000)), "clock jumps"),
        (without(FAULTS, disk_failed_every_ms=10_000), "Input/output error"),
    ],
)
def test_each_fault_of_delivery_clock_and_disk_happens(faults: Faults, seen: str) -> None:
    assert seen in traced(5, faults)[1]


def test_a_cell_is_killed_at_every_point_with_and_without_its_machine() -> None:
    faults = without(FAULTS, cell_killed_every_ms=5_000)
    runs = [traced(seed, faults) for seed in range(4)]
    ended = {why for world, _ in runs for why in world.ended}
    assert ended >= {f"killed, {point.value}" for point in Point}
    assert "starting, killed, disk" in ended
    text = "".join(trace for _, trace in runs)
    assert "killed, committed and the machine's power" in text
    assert "killed, committed\n" in text


def test_an_actor_is_killed_at_every_moment_of_a_handler() -> None:
    world = World(1, without(FAULTS, actor_killed_every_ms=2_000))
    assert world.run() == []
    assert set(world.killed) == {moment.value for moment in Moment}
    assert world.ended == []


def problems(seed: int, **planted: Any) -> list[str]:
    """What a run finds; a partition that cannot be opened any more is a find too."""
    try:
        return World(seed, **planted).run()
    except JournalError as error:
        return [str(error)]


@pytest.mark.parametrize(
    "planted", [{"kind": ForgetfulCounter}, {"kind": QuietCounter}, {"disk": UnsyncedFileSystem}]
)
def test_a_planted_bug_is_found_by_a_handful_of_seeds(planted: dict[str, Callable[..., Any]]) -> None:
    assert any(problems(seed, **planted) for seed in SEEDS)


def test_what_was_planted_is_what_is_found() -> None:
    assert not any(problems(seed, kind=Counter) for seed in SEEDS)
