"""Table ``durability``: how fast samples become durable, and how soon a killed cell detects again under load."""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.load import Plan, end_load, start_load
from bench.machine import ROOT
from bench.path import listening
from bench.restart import CELLS, PARTITIONS, detects, is_whole, until
from bench.service import Service, contract, service
from bench.table import Limit, Row, Table, row
from slakeeper.otp.placement import owner_of, partition_of

BATCH = 100
METRICS_EACH = 3

# Through HTTP: at this rate, and as fast as it goes.
HTTP_CONTRACTS = 100
HTTP_PER_S = 50_000
HTTP_CONNECTIONS = 16
HTTP_S, HTTP_S_QUICK = 10.0, 2.0
HTTP_RUNS, HTTP_RUNS_QUICK = 3, 1
WARM_UP_S = 1.0

# Straight into a cell.
SOCKET_CONTRACTS = 100
SOCKET_IN_FLIGHT = 32
SOCKET_S, SOCKET_S_QUICK = 3.0, 0.5
SOCKET_RUNS, SOCKET_RUNS_QUICK = 5, 1

# A killed cell.
LOST_CONTRACTS = 1_000
LOST_PER_S = 10_000
KILLS, KILLS_QUICK = 24, 3
# The root gives up after ten restarts in a minute; at random, so that snapshots are of every age.
BETWEEN_KILLS_S = (6.5, 8.5)

GOOD = 1.0


def measure(quick: bool) -> Table:
    rows: list[Row] = []
    notes: list[str] = []
    for part in (http_rows, socket_rows, lost_rows):
        rows += part(quick, notes)
    about = (
        f"2 cells, durable, batches of {BATCH}, each sample for another metric where there are many; the killed cell "
        f"has {LOST_CONTRACTS} contracts and gets {LOST_PER_S} samples/s"
    )
    return Table("durability", about, tuple(rows), notes=tuple(notes))


# -- contracts ----------------------------------------------------------------------------------------------------


def owned_ids(count: int, cell: int | None = None) -> list[str]:
    """Ids of contracts, of one cell alone if one is given."""
    names = (f"sla_{number}" for number in range(100 * count))
    mine = (each for each in names if cell is None or owner_of(partition_of(each, PARTITIONS), CELLS) == cell)
    return [next(mine) for _ in range(count)]


def wide_contract(sla_id: str) -> dict[str, Any]:
    """A contract with a few metrics of different kinds, all kept by ``GOOD``."""
    kinds: tuple[dict[str, Any], ...] = (
        {"aggregation": "avg"},
        {"aggregation": "max"},
        {"type": "percentile", "percentile": 95},
    )
    metrics = [
        {"name": name, "value": 100, "unit": "ms", "condition": "lt", "interval": "1m", **kind}
        for name, kind in zip(metrics_of(sla_id), kinds, strict=True)
    ]
    return {"id": sla_id, "name": sla_id, "service_level": 99.5, "metrics": metrics}


def metrics_of(sla_id: str) -> list[str]:
    return [f"{sla_id}_{number}" for number in range(METRICS_EACH)]


# -- through HTTP -------------------------------------------------------------------------------------------------


def http_rows(quick: bool, notes: list[str]) -> Iterator[Row]:
    for_s, runs = (HTTP_S_QUICK, HTTP_RUNS_QUICK) if quick else (HTTP_S, HTTP_RUNS)
    for name, count in ((f"{HTTP_CONTRACTS} contracts", HTTP_CONTRACTS), ("one contract", 1)):
        ids = owned_ids(count)
        metrics = tuple(metric for each in ids for metric in metrics_of(each))
        with service([wide_contract(each) for each in ids]) as running:
            running.start()
            for content in ("json", "msgpack"):
                label = f"HTTP, {content}, {name}"
                paced = [
                    loaded(running, _plan(running, metrics, content, HTTP_PER_S), for_s) for _ in range(runs)
                ]
                most = [loaded(running, _plan(running, metrics, content, 0), for_s) for _ in range(runs)]
                yield from _paced_rows(label, paced)
                rates = [rate for each in most for rate in each["per_second"][1:]]
                yield row(
                    f"{label}: as many as are taken", "samples/s", rates, Limit("p50", at_least=HTTP_PER_S)
                )
                if refused := sum(each["refused"] for each in (*paced, *most)):
                    notes.append(f"{label}: {refused} requests were refused")
                notes += [f"{label}: runs {_listed(paced)}; as many as are taken: {_listed(most)}"]
                notes += [f"{label}: CPU {shares_text([each['cpu'] for each in paced])}"]


def _paced_rows(label: str, found: Sequence[dict[str, Any]]) -> Iterator[Row]:
    waits = [wait for each in found for wait in each["latencies_ms"]]
    yield row(f"{label}: {HTTP_PER_S} samples/s, POST -> 202", "ms", waits, Limit("p95", 25.0))
    rates = [rate for each in found for rate in each["per_second"][1:]]
    yield row(f"{label}: {HTTP_PER_S} samples/s, accepted", "samples/s", rates)


def _plan(running: Service, metrics: tuple[str, ...], content: str, per_s: float) -> Plan:
    return Plan(running.facts()["token"], metrics, GOOD, per_s, BATCH, HTTP_CONNECTIONS, content)


def _listed(found: Sequence[dict[str, Any]]) -> str:
    """Each run: samples a second over all of it, and the p95 of the acknowledgements."""
    lines = []
    for each in found:
        waits = row("", "", each["latencies_ms"])
        lines.append(f"{each['accepted'] / each['took_s']:.0f}/s p95 {waits.p95:.1f} ms")
    return ", ".join(lines)


def shares_text(found: Sequence[Mapping[str, float]]) -> str:
    """What each process took of a core, mean of the runs."""
    names = {name for each in found for name in each}
    means = {name: sum(each.get(name, 0.0) for each in found) / len(found) for name in names}
    shown = sorted((share, name) for name, share in means.items() if share >= 0.01)
    return ", ".join(f"{name} {share:.0%}" for share, name in reversed(shown))


def loaded(running: Service, plan: Plan, for_s: float) -> dict[str, Any]:
    """One run of a load: what it saw, ``took_s``, and the share of a core that each process took as ``cpu``."""
    load = start_load(running.facts()["http"], plan)
    time.sleep(WARM_UP_S)
    pids = {**running.pids(), "load": load.pid}
    before, began_s = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
    time.sleep(for_s)
    took_s = time.perf_counter() - began_s
    shares = {name: (cpu_s(pid) - before[name]) / took_s for name, pid in pids.items()}
    return {**end_load(load), "took_s": WARM_UP_S + for_s, "cpu": shares}


def cpu_s(pid: int) -> float:
    """User and system time of a process so far [s]."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- straight into a cell -----------------------------------------------------------------------------------------


def socket_rows(quick: bool, notes: list[str]) -> Iterator[Row]:
    for_s, runs = (SOCKET_S_QUICK, SOCKET_RUNS_QUICK) if quick else (SOCKET_S, SOCKET_RUNS)
    ids = owned_ids(SOCKET_CONTRACTS, 0)
    with service([contract(each, f"{each}_latency") for each in ids]) as running:
        running.start()
        for name, count in ((f"{SOCKET_CONTRACTS} contracts", SOCKET_CONTRACTS), ("one metric", 1)):
            metrics = [f"{ids[number % count]}_latency" for number in range(BATCH)]
            found = [fed(running, metrics, for_s) for _ in range(runs)]
            label = f"a cell's socket, {name}"
            least = Limit("p50", at_least=200_000)
            yield row(f"{label}: durable", "samples/s", [each["per_s"] for each in found], least)
            yield row(f"{label}: CPU of the cell", "µs/sample", [each["cpu_us"] for each in found])
            yield row(f"{label}: until durable", "ms", [wait for each in found for wait in each["waits_ms"]])


def fed(running: Service, metrics: list[str], for_s: float) -> dict[str, Any]:
    """Runs :mod:`bench.feed` against the socket of ``cell-0``."""
    cells = running.facts()["topology"]["cells"]
    path = next(cell["socket"] for cell in cells if cell["name"] == "cell-0")
    pid = running.pids()["cell-0"]
    before_s = cpu_s(pid)
    command = [
        sys.executable,
        "-m",
        "bench.feed",
        path,
        str(for_s),
        str(SOCKET_IN_FLIGHT),
        json.dumps(metrics),
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60 + for_s)
    found: dict[str, Any] = json.loads(done.stdout)
    return {**found, "cpu_us": (cpu_s(pid) - before_s) / found["count"] * 1e6}


# -- a killed cell ------------------------------------------------------------------------------------------------


def lost_rows(quick: bool, notes: list[str]) -> Iterator[Row]:
    kills = KILLS_QUICK if quick else KILLS
    ids = owned_ids(LOST_CONTRACTS + kills, 0)
    loaded_ids, fresh = ids[:LOST_CONTRACTS], ids[LOST_CONTRACTS:]
    pause = random.Random(1)
    opened_ms, listed_ms, cpu_ms = [], [], []
    with service([contract(each, f"{each}_latency") for each in ids]) as running:
        running.start()
        metrics = tuple(f"{each}_latency" for each in loaded_ids)
        plan = Plan(running.facts()["token"], metrics, GOOD, LOST_PER_S, BATCH, HTTP_CONNECTIONS, insist=True)
        load = start_load(running.facts()["http"], plan)
        # The first sample of each metric is news, too much of it for one who also reads samples.
        time.sleep(2 * WARM_UP_S)
        with listening(running.client()) as events:
            for sla_id in fresh:
                time.sleep(pause.uniform(*BETWEEN_KILLS_S))
                began_s = time.perf_counter()
                running.kill("cell-0")
                detects(running, sla_id)
                listed_ms.append((time.perf_counter() - began_s) * 1000)
                opened_ms.append((events.opened_s(sla_id) - began_s) * 1000)
                until(lambda: is_whole(running))
                cpu_ms.append(cpu_s(running.pids()["cell-0"]) * 1000)
        report = end_load(load)
        counted = sum(accepted_of(running, each) for each in loaded_ids)
    label = "kill -9 of the cell"
    yield row(f"{label}: violation.opened", "ms", opened_ms, Limit("p95", 250.0))
    yield row(f"{label}: listed", "ms", listed_ms)
    yield row(f"{label}: CPU of the new process until then", "ms", cpu_ms)
    yield row(f"{label}: POST -> 202", "ms", report["latencies_ms"])
    difference = abs(counted - report["accepted"])
    yield row(f"{label}: lost or counted twice", "samples", [float(difference)], Limit("max", 0))
    notes.append(
        f"{label}: {report['accepted']} samples acknowledged, {report['refused']} requests sent again"
    )


def accepted_of(running: Service, sla_id: str) -> int:
    """Samples that a contract's metrics have counted."""
    status, document = running.client().request("GET", f"/v1/slas/{sla_id}")
    if status != 200:
        raise RuntimeError(f"{sla_id}: status {status}")
    return sum(int(metric["samples_accepted"]) for metric in document["metrics"])
