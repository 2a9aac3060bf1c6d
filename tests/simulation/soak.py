"""``python -m tests.simulation.soak``: many seeds, each a run of the whole SLA tree with faults.

Prints how it goes, and for every seed that fails what is wrong and the one command that runs it again with its trace.
Exit status: 0 nothing is wrong, 1 something is, 2 bad usage.
"""

import argparse
import gc
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from tests.simulation.client import HOUR_MS
from tests.simulation.world import CLIMATES, SlaWorld

DEFAULT_SEEDS, DEFAULT_HOURS, DEFAULT_CLIMATE = 100, 3.0, "storm"

# Of one seed; the rest is more of the same.
SHOWN_PROBLEMS = 5

PROGRESS_EVERY_S = 10.0

# Objects, of which there is room for some generations: hardly anything in a world is a circle but its crashed actors.
GC_THRESHOLD = 200_000


@dataclass(frozen=True)
class Outcome:
    """How one seed went: what is wrong, the CPU it took, and what happened in it."""

    seed: int
    problems: list[str]
    cpu_s: float
    deaths: int
    messages: int


def run(seed: int, hours: float, climate: str, *, trace: bool = False) -> Outcome:
    """Runs one seed for so many virtual hours."""
    began_s = time.process_time()
    world = SlaWorld(seed, CLIMATES[climate], _print if trace else None)
    try:
        problems = world.run(int(hours * HOUR_MS))
    except Exception:  # noqa: BLE001  whatever a run raises is what it has found
        problems = [traceback.format_exc()]
    deaths = sum(sum(cell.deaths.values()) for cell in world.system.cells.values())
    messages = world.outside.messages()
    del world
    gc.collect()  # a world is one big circle
    return Outcome(seed, problems, time.process_time() - began_s, deaths, messages)


def quieten() -> None:
    """For a process that runs thousands of crashes: no logs of them, and a garbage collector that looks less often."""
    logging.disable(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def run_all(seeds: range, hours: float, climate: str, jobs: int) -> Iterator[Outcome]:
    """Runs seeds on so many processes; yields each as it ends."""
    if jobs == 1:
        for seed in seeds:
            yield run(seed, hours, climate)
        return
    with ProcessPoolExecutor(jobs, initializer=quieten) as pool:
        running = [pool.submit(run, seed, hours, climate) for seed in seeds]
        for ended in as_completed(running):
            yield ended.result()


def command(seed: int, hours: float, climate: str) -> str:
    """What runs a seed again, with its trace."""
    return f"make soak SEED={seed} HOURS={hours:g} CLIMATE={climate} TRACE=1"


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=DEFAULT_SEEDS, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument(
        "--hours", type=float, default=DEFAULT_HOURS, help="virtual hours with faults, each seed"
    )
    parser.add_argument("--climate", choices=CLIMATES, default=DEFAULT_CLIMATE, help="how much goes wrong")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--trace", action="store_true", help="print every event")
    given = parser.parse_args(arguments)
    quieten()
    if given.seed is not None:
        outcome = run(given.seed, given.hours, given.climate, trace=given.trace)
        _print(*(outcome.problems or [f"seed {given.seed}: nothing is wrong"]))
        return 1 if outcome.problems else 0
    if given.trace:
        parser.error("--trace goes with --seed")
    seeds = range(given.first, given.first + given.seeds)
    return _soak(seeds, given.hours, given.climate, given.jobs)


def _soak(seeds: range, hours: float, climate: str, jobs: int) -> int:
    began_s = said_s = time.perf_counter()
    failed: list[int] = []
    done = deaths = messages = 0
    for outcome in run_all(seeds, hours, climate, jobs):
        done, deaths, messages = done + 1, deaths + outcome.deaths, messages + outcome.messages
        if outcome.problems:
            failed.append(outcome.seed)
            _print(f"seed {outcome.seed} FAILED, {len(outcome.problems)} problems:")
            _print(*(f"  {problem}" for problem in outcome.problems[:SHOWN_PROBLEMS]))
            _print(f"  again: {command(outcome.seed, hours, climate)}")
        now_s = time.perf_counter()
        if now_s - said_s >= PROGRESS_EVERY_S or done == len(seeds):
            said_s = now_s
            per_s = done * hours / (now_s - began_s)
            _print(
                f"{done}/{len(seeds)} seeds, {done * hours:g} virtual hours, {per_s:.1f} h/s, {len(failed)} failed"
            )
    _print(
        f"cells died {deaths} times, {messages} messages were received; failed seeds: {sorted(failed) or 'none'}"
    )
    return 1 if failed else 0


def _print(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
