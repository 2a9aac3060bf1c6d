"""Table ``soak``: a service under a steady stream of samples for as long as asked: memory, disk, pauses."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from bench.durability import BATCH, GOOD, HTTP_CONNECTIONS, accepted_of, metrics_of, owned_ids, wide_contract
from bench.load import Plan, end_load, start_load
from bench.service import Service, service
from bench.table import Limit, Row, Table, row

SAMPLES_PER_S = 10_000
CONTRACTS = 100
MINUTES, MINUTES_QUICK = 5.0, 0.5

# Looks at the processes while it lasts.
LOOKS = 60

MIB = 2**20


def measure(quick: bool, minutes: float | None = None) -> Table:
    """For ``minutes``, by default five."""
    minutes = minutes or (MINUTES_QUICK if quick else MINUTES)
    ids = owned_ids(CONTRACTS)
    metrics = tuple(metric for each in ids for metric in metrics_of(each))
    memory_mib: defaultdict[str, list[float]] = defaultdict(list)
    disk_mib: list[float] = []
    with service([wide_contract(each) for each in ids]) as running:
        running.start()
        plan = Plan(
            running.facts()["token"], metrics, GOOD, SAMPLES_PER_S, BATCH, HTTP_CONNECTIONS, insist=True
        )
        load = start_load(running.facts()["http"], plan)
        for _ in range(LOOKS):
            time.sleep(minutes * 60 / LOOKS)
            for name, pid in running.pids().items():
                memory_mib[name].append(psutil.Process(pid).memory_full_info().uss / MIB)
            disk_mib.append(disk_bytes(running.data) / MIB)
        report = end_load(load)
        counted = sum(accepted_of(running, each) for each in ids)
        pauses = list(cell_counts(running))
    rows: list[Row] = []
    for name, values in memory_mib.items():
        rows.append(row(f"memory of {name}", "MiB", values))
        rows.append(row(f"memory of {name}: growth", "%", [growth_pct(values)], Limit("max", 5.0)))
    rows.append(row("disk", "MiB", disk_mib))
    rows.append(row("POST -> 202", "ms", report["latencies_ms"]))
    rows.append(row("longest pause for a snapshot, of a cell", "ms", [longest for _, _, longest in pauses]))
    over, all_of_them = sum(over for _, over, _ in pauses), sum(count for count, _, _ in pauses)
    share_pct = 100 * over / all_of_them if all_of_them else 0.0
    rows.append(row("pauses for snapshots over 50 ms", "%", [share_pct], Limit("max", 1.0)))
    rows.append(row("lost or counted twice", "samples", [abs(counted - report["accepted"])], Limit("max", 0)))
    about = f"{SAMPLES_PER_S} samples/s for {minutes:g} min; {CONTRACTS} contracts, {len(metrics)} metrics; 2 cells"
    notes = [
        f"{report['accepted']} samples, {all_of_them:.0f} snapshots, {report['refused']} requests sent again"
    ]
    notes += [
        f"{name} [MiB]: {_series(values)}" for name, values in (*memory_mib.items(), ("disk", disk_mib))
    ]
    return Table("soak", about, tuple(rows), notes=tuple(notes))


def growth_pct(values: Sequence[float]) -> float:
    """How far the last quarter is above the one before [%], 0 when it is below.

    In the first half windows fill, and pages that a process shares with the one it was forked from become its own.
    """
    quarter = max(1, len(values) // 4)
    before, after = (sum(part) / quarter for part in (values[-2 * quarter : -quarter], values[-quarter:]))
    return max(0.0, 100 * (after - before) / before)


def disk_bytes(directory: Path) -> int:
    """What the files in a directory take on the disk; one that is removed meanwhile takes nothing."""
    taken = 0
    for path in directory.rglob("*"):
        try:
            taken += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return taken


def cell_counts(running: Service) -> Iterator[tuple[float, float, float]]:
    """Of each cell: snapshots, those that paused it for over 50 ms, the longest pause [ms]."""
    _, status = running.client().request("GET", "/v1/status")
    for cell in status["cells"]:
        counts = cell["counts"]
        names = ("snapshots", "snapshots_over_50_ms", "snapshot_longest_ms")
        count, over, longest = (float(counts.get(name, 0)) for name in names)
        yield count, over, longest


def _series(values: Sequence[float]) -> str:
    step = max(1, len(values) // 12)
    return " ".join(f"{value:.1f}" for value in values[::step])
