"""Table ``sla``: the mathematics of contracts alone, on one core, without actors or a disk (a history aside)."""

import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from bench.table import Limit, Row, Table, row
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.sample import Sample

RUNS, RUNS_QUICK = 9, 2
SAMPLES, SAMPLES_QUICK = 500_000, 50_000
BATCH = 1_000
CADENCE_MS = 100
START_MS = 1_767_225_600_000
THRESHOLD = Decimal("0.95")
MONITORS = 2_000

YEAR_SAMPLES, YEAR_SAMPLES_QUICK = 1_051_200, 105_120
YEAR_CADENCE_MS = 30_000

KINDS: dict[str, tuple[dict[str, Any], float]] = {
    "avg": ({"aggregation": "avg"}, 1_000_000),
    "min": ({"aggregation": "min", "condition": "gt", "value": 10}, 1_000_000),
    "max": ({"aggregation": "max"}, 1_000_000),
    "sum": ({"aggregation": "sum", "value": 1_000_000}, 1_000_000),
    "p95": ({"type": "percentile", "percentile": 95}, 400_000),
}


def measure(quick: bool) -> Table:
    """Evaluation, a year's history, memory."""
    runs = RUNS_QUICK if quick else RUNS
    rows = [*evaluation_rows(runs, quick), *history_rows(runs, quick), memory_row(runs)]
    about = f"one core: a metric of 5 minutes, ten samples a second in batches of {BATCH}; a year's history in a CSV"
    return Table("sla", about, tuple(rows))


def contract(interval: str = "5m", **metric: Any) -> Sla:
    promised = {
        "name": "latency",
        "value": 250,
        "unit": "ms",
        "condition": "lt",
        "interval": interval,
        **metric,
    }
    document = {"id": "api", "calendar": "month", "effective_date": START_MS // 1000, "metrics": [promised]}
    return Sla.from_document(document)


def noise(count: int) -> list[float]:
    """Latencies about 120 ms, none of which breaks the promise."""
    dice = random.Random(1)
    return [round(min(230.0, max(20.0, dice.gauss(120, 20))), 3) for _ in range(count)]


# -- evaluation -------------------------------------------------------------------------------------------------------


def evaluation_rows(runs: int, quick: bool) -> Iterator[Row]:
    values = noise(SAMPLES_QUICK if quick else SAMPLES)
    samples = [(START_MS + number * CADENCE_MS, value) for number, value in enumerate(values)]
    batches = [samples[first : first + BATCH] for first in range(0, len(samples), BATCH)]
    for name, (metric, wanted) in KINDS.items():
        rates = [_evaluated_per_s(contract(**metric), batches) for _ in range(runs)]
        yield row(f"{name}: samples evaluated", "1/s of CPU", rates, Limit("p50", at_least=wanted))


def _evaluated_per_s(promised: Sla, batches: list[list[Sample]]) -> float:
    monitor = Monitor(promised, promised.metrics[0], START_MS, THRESHOLD)
    began_s = time.process_time()
    for batch in batches:
        monitor.observe(batch, batch[-1][0])
    took_s = time.process_time() - began_s
    count = sum(map(len, batches))
    if monitor.counters.accepted != count:
        raise RuntimeError(f"{monitor.counters.accepted} of {count} samples were accepted")
    return count / took_s


# -- a history --------------------------------------------------------------------------------------------------------

CONTRACT = """
slas:
  - id: api
    calendar: month
    service_level: 99.9
    fee: "1000"
    metrics:
      - {{name: latency, value: 250, unit: ms, condition: lt, interval: {interval}}}
    penalties:
      - {{threshold: 99.9, type: service_credit, rate: 10}}
"""


def history_rows(runs: int, quick: bool) -> Iterator[Row]:
    """``slakeeper simulate`` as a process of its own, from the file to the printed result."""
    count = YEAR_SAMPLES_QUICK if quick else YEAR_SAMPLES
    with tempfile.TemporaryDirectory(prefix="slakeeper-bench-") as directory:
        history = Path(directory) / "history.csv"
        _write_history(history, count)
        for interval in ("5m", "1m"):
            contracts = Path(directory) / f"{interval}.yaml"
            contracts.write_text(CONTRACT.format(interval=interval))
            took = [_simulated_s(contracts, history, count) for _ in range(runs)]
            figure = f"simulate: {count} samples at 30 s, windows of {interval}"
            limit = None if quick else Limit("p50", at_most=2.0)
            yield row(f"{figure}, whole process", "s", [wall_s for wall_s, _ in took], limit)
            yield row(f"{figure}, its CPU", "s", [cpu_s for _, cpu_s in took])


def _write_history(path: Path, count: int) -> None:
    """A month or so between incidents of 20 minutes."""
    dice = random.Random(7)
    with path.open("w") as file:
        file.write("ts,metric,value\n")
        for number in range(count):
            value = dice.gauss(120, 20) + (400 if number // 40 % 2_200 == 17 else 0)
            file.write(f"{START_MS + number * YEAR_CADENCE_MS},latency,{value:.3f}\n")


def _simulated_s(contracts: Path, history: Path, count: int) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    command = [
        sys.executable,
        "-m",
        "slakeeper",
        "simulate",
        "--config",
        str(contracts),
        "--samples",
        str(history),
    ]
    before_s = _children_s()
    began_s = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    wall_s = time.perf_counter() - began_s
    if f"{count} samples" not in done.stdout:
        raise RuntimeError(f"not every sample was taken: {done.stdout[-200:]}")
    return wall_s, _children_s() - before_s


def _children_s() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# -- memory -----------------------------------------------------------------------------------------------------------


def memory_row(runs: int) -> Row:
    """What one more monitor takes that has seen a sample and waits for the next; all of one contract."""
    return row(
        f"memory of an idle monitor, of {MONITORS}",
        "bytes",
        [_monitor_bytes() for _ in range(min(runs, 3))],
        Limit("max", at_most=4_096),
    )


def _monitor_bytes() -> float:
    promised = contract()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        monitors = [Monitor(promised, promised.metrics[0], START_MS, THRESHOLD) for _ in range(MONITORS)]
        for monitor in monitors:
            monitor.observe([(START_MS + 1, 100.0)], START_MS + 1)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / len(monitors)
