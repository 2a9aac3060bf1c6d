"""Table ``soak``: a service under a steady stream of samples for as long as asked: memory, disk, pauses."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    memory: defaultdict[str, list[Memory]] = defaultdict(list)
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
                memory[name].append(memory_of(pid))
            disk_mib.append(disk_bytes(running.data) / MIB)
        report = end_load(load)
        counted = sum(accepted_of(running, each) for each in ids)
        pauses = list(cell_counts(running))
    rows: list[Row] = []
    for name, looks in memory.items():
        rows.append(row(f"memory of {name}", "MiB", [look.own_mib for look in looks]))
        rows.append(row(f"memory of {name}: growth", "%", [growth_pct(looks)], Limit("max", 5.0)))
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
        f"{name} [MiB]: its own {_series([look.own_mib for look in looks])}; "
        f"with what it shares {_series([look.all_mib for look in looks])}"
        for name, looks in memory.items()
    ]
    notes.append(f"disk [MiB]: {_series(disk_mib)}")
    return Table("soak", about, tuple(rows), notes=tuple(notes))


@dataclass(frozen=True)
class Memory:
    """What a process has in memory or in swap, without the pages of files.

    Those are the kernel's to drop and read again: programs and libraries, which count as a process's own whenever no
    other process on the machine happens to have them mapped.

    Attributes:
        own_mib: what nobody shares with it.
        all_mib: also what it shares with those it was forked from, or together with. The last that has a page has it
            for itself when the others have written theirs, so that ``own_mib`` grows without its doing; this does not.
    """

    own_mib: float
    all_mib: float


def memory_of(pid: int) -> Memory:
    """Looks at a process now."""
    kib: dict[str, int] = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        next(file)  # the addresses
        for line in file:
            name, value, *_ = line.split()
            kib[name.rstrip(":")] = int(value)
    swapped = kib["SwapPss"]
    return Memory((kib["Private_Dirty"] + swapped) / 1024, (kib["Anonymous"] + swapped) / 1024)


def growth_pct(looks: Sequence[Memory]) -> float:
    """How far the last quarter is above the one before, of what the process has for itself [%]; 0 when it is below.

    In the first half windows fill.
    """
    quarter = max(1, len(looks) // 4)
    before, after = looks[-2 * quarter : -quarter], looks[-quarter:]
    grown_mib = sum(look.all_mib for look in after) / quarter - sum(look.all_mib for look in before) / quarter
    own_mib = sum(look.own_mib for look in before) / quarter
    return max(0.0, 100 * grown_mib / own_mib)


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
