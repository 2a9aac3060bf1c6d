"""Table ``cell``: a cell's loop in this process, fed without sockets."""

import logging
import secrets
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.service import contract
from bench.table import Row, Table, row
from slakeeper.config.loader import DEFAULT_DIR, load
from slakeeper.otp.loop import Loop
from slakeeper.supervisors.cell import CellSettings, make_loop

RUNS, RUNS_QUICK = 9, 2
CONTRACTS = 1_000
PARTITIONS = 2  # what one of two cells has of the four

BATCH = 100
FED_CONTRACTS = 100
FEED_S, FEED_S_QUICK = 2.0, 0.3
# Batches on their way at once, so that one turn's commit carries several, as senders beside each other do.
PIPELINED = 8

WAIT_S = 60.0


def measure(quick: bool) -> Table:
    """A whole cell on a disk."""
    runs = RUNS_QUICK if quick else RUNS
    # A crash is logged with its traceback; here that would be measured, and printed.
    logging.getLogger("slakeeper").setLevel(logging.CRITICAL)
    rows = [*contract_rows(runs, quick), *ingest_rows(runs, quick)]
    about = f"in this process: a cell with {PARTITIONS} partitions on a disk, durable"
    return Table("cell", about, tuple(rows))


def _timed_us(run: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    run()
    return (time.perf_counter() - began_s) * 1e6


# -- a whole cell -------------------------------------------------------------------------------------------------


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for the cell's data."""
    with tempfile.TemporaryDirectory(prefix="slakeeper-bench-") as directory:
        yield Path(directory)


def settings_in(directory: Path, contracts: Sequence[dict[str, Any]]) -> CellSettings:
    shipped = load(DEFAULT_DIR, {})
    return CellSettings(
        name="cell-0",
        data=directory,
        partitions={number: f"p{number:03d}" for number in range(PARTITIONS)},
        partition_count=PARTITIONS,
        contracts=tuple(contracts),
        enforcement=shipped.enforcement,
        monitoring=shipped.monitoring,
        socket_path=None,
        snapshot_interval_ms=3_600_000,
    )


@contextmanager
def cell(settings: CellSettings) -> Iterator[Loop]:
    """A running cell; stopped in order, which writes its snapshots."""

    def crashed(reason: str) -> None:
        raise AssertionError(reason)

    loop = make_loop(settings, crashed)
    loop.start(WAIT_S)
    try:
        _check(loop, settings)
        yield loop
    finally:
        loop.stop(WAIT_S)


def _check(loop: Loop, settings: CellSettings) -> None:
    """A cell that left a contract out would be fast."""
    there = len(loop.request("catalog", {}).result(WAIT_S)["slas"])
    if there != len(settings.contracts):
        raise RuntimeError(f"{there} of {len(settings.contracts)} contracts are there")


def contract_rows(runs: int, quick: bool) -> Iterator[Row]:
    """A cell with many contracts: made, found again from its journal, and from its snapshot."""
    count = CONTRACTS // 10 if quick else CONTRACTS
    contracts = [contract(f"sla_{number}", f"latency_{number}") for number in range(count)]
    made_ms, journal_ms, snapshot_ms, memory_kib = [], [], [], []
    for _ in range(min(runs, 5)):
        with scratch() as directory:
            settings = settings_in(directory, contracts)
            made_ms.append(_start_ms(settings, orderly=False))
            journal_ms.append(_start_ms(settings, orderly=True))
            snapshot_ms.append(_start_ms(settings, orderly=True))
    for _ in range(min(runs, 2)):
        with scratch() as directory:
            tracemalloc.start()
            try:
                with cell(settings_in(directory, contracts)):
                    memory_kib.append(tracemalloc.get_traced_memory()[0] / 1024 / count)
            finally:
                tracemalloc.stop()
    yield row(f"cell: {count} contracts defined", "ms", made_ms)
    yield row(f"cell: {count} contracts recovered from the journal", "ms", journal_ms)
    yield row(f"cell: {count} contracts recovered from a snapshot", "ms", snapshot_ms)
    yield row("cell: memory of a contract with one metric", "KiB", memory_kib)


def _start_ms(settings: CellSettings, *, orderly: bool) -> float:
    """How long until it serves; then it is stopped, in order or as by a kill, without a snapshot."""
    loop = make_loop(settings, lambda reason: None)
    began_s = time.perf_counter()
    loop.start(WAIT_S)
    took_ms = (time.perf_counter() - began_s) * 1000
    _check(loop, settings)
    partitions = [] if loop.host is None else list(loop.host.partitions.values())
    if not orderly:
        loop.post(_die)
    loop.stop(WAIT_S)
    for partition in partitions:
        partition.close()
    return took_ms


def _die() -> None:
    raise _Killed


class _Killed(Exception):
    """Ends a cell's loop where it stands."""


def ingest_rows(runs: int, quick: bool) -> Iterator[Row]:
    feed_s = FEED_S_QUICK if quick else FEED_S
    contracts = [contract(f"sla_{number}", f"latency_{number}") for number in range(FED_CONTRACTS)]
    spread = [[f"latency_{number}", 1.0, None, None, None] for number in range(BATCH)]
    single = [["latency_0", 1.0, None, None, None]] * BATCH
    with scratch() as directory, cell(settings_in(directory, contracts)) as loop:
        for name, samples in (("one metric", single), (f"{FED_CONTRACTS} contracts", spread)):
            rates = [feed_per_s(loop, samples, feed_s) for _ in range(runs)]
            yield row(f"cell: ingest, batches of {BATCH} to {name}", "samples/s", rates)
            waits = acknowledged_ms(loop, samples, 20 if quick else 300)
            yield row(f"cell: a batch of {BATCH} to {name} until durable", "ms", waits)
        counts = loop.request("status", {}).result(WAIT_S)["counts"]
        if counts.get("crashes") or counts.get("dead_letters"):
            raise RuntimeError(f"not every sample reached its monitor: {counts}")


def next_batch(samples: list[list[Any]]) -> dict[str, Any]:
    """As the gateway sends them: each under an id of its own."""
    return {"samples": samples, "batch_id": secrets.token_hex(8)}


def feed_per_s(loop: Loop, samples: list[list[Any]], for_s: float) -> float:
    """Durable samples a second, with a few batches on their way at once."""
    began_s = time.perf_counter()
    count = 0
    waiting = [loop.request("samples", next_batch(samples)) for _ in range(PIPELINED)]
    while waiting:
        answer = waiting.pop(0).result(WAIT_S)
        if answer["rejected"]:
            raise RuntimeError(f"samples were rejected: {answer['rejected'][0]}")
        count += len(answer["accepted"])
        if time.perf_counter() - began_s < for_s:
            waiting.append(loop.request("samples", next_batch(samples)))
    return count / (time.perf_counter() - began_s)


def acknowledged_ms(loop: Loop, samples: list[list[Any]], count: int) -> list[float]:
    """One batch after the other: each from the request to the acknowledgement."""
    return [
        _timed_us(lambda: loop.request("samples", next_batch(samples)).result(WAIT_S)) / 1000
        for _ in range(count)
    ]
