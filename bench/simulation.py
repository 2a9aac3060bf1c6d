"""Table ``simulation``: how fast the whole SLA tree runs on virtual time with faults, and whether all holds."""

import os
import time

from bench.table import Limit, Row, Table, row
from tests.simulation import soak

# What is asked of it: 10 000 hours within five minutes, and nothing wrong in them.
HOURS, HOURS_QUICK = 10_000, 400
MOST_S = 300.0

# One run: long enough that starting it and coming to rest at its end are little of it.
HOURS_A_SEED, HOURS_A_SEED_QUICK = 250, 100

# What a sample of each metric every minute costs, beside one every five.
MINUTELY_SEEDS, MINUTELY_HOURS = 2, 50

_ABOUT = (
    "the SLA tree on virtual time: 2 cells, 3 partitions, 3 contracts, 6 metrics, a sample of each every 5 min; every "
    "cell killed every 4 h, an actor every 1 h, a disk fails every 24 h; 2 % of messages lost, late, doubled each"
)


def measure(quick: bool) -> Table:
    """Seeds one after the other on as many processes as there are cores."""
    hours, a_seed = (HOURS_QUICK, HOURS_A_SEED_QUICK) if quick else (HOURS, HOURS_A_SEED)
    jobs = os.cpu_count() or 1
    began_s = time.perf_counter()
    outcomes = list(soak.run_all(range(hours // a_seed), a_seed, "weather", jobs))
    took_s = time.perf_counter() - began_s
    minutely = list(soak.run_all(range(MINUTELY_SEEDS), MINUTELY_HOURS, "minutely", jobs))
    problems = [float(len(outcome.problems)) for outcome in (*outcomes, *minutely)]
    rows: tuple[Row, ...] = (
        row(f"{HOURS} hours", "s", [took_s * HOURS / hours], None if quick else Limit("max", MOST_S)),
        row("CPU of an hour", "ms", [outcome.cpu_s * 1000 / a_seed for outcome in outcomes]),
        row(
            "CPU of an hour, a sample every minute",
            "ms",
            [outcome.cpu_s * 1000 / MINUTELY_HOURS for outcome in minutely],
        ),
        row("what did not hold, in a seed", "problems", problems, Limit("max", 0)),
    )
    deaths, messages = sum(each.deaths for each in outcomes), sum(each.messages for each in outcomes)
    notes = [
        f"{jobs} processes, {len(outcomes)} seeds of {a_seed} h; cells died {deaths} times, {messages} messages came"
    ]
    if quick:
        notes.append(f"extrapolated from {hours} h")
    notes += [f"again: {soak.command(each.seed, a_seed, 'weather')}" for each in outcomes if each.problems]
    return Table("simulation", _ABOUT, rows, notes=tuple(notes))
