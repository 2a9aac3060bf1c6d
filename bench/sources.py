"""Table ``sources``: 10 000 metrics of one real Prometheus every ten seconds, and what a minute without it costs."""

import json
import tempfile
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil

from bench.prometheus import Exposition, Prometheus, is_installed
from bench.service import Service, service
from bench.table import Limit, Row, Table, row

PEER = "Prometheus"

METRICS = 10_000
CONTRACTS = 100
INTERVAL_S = 10
MINUTES, MINUTES_QUICK = 3.0, 0.5
DOWN_S, DOWN_S_QUICK = 60.0, 20.0
# In the first poll the server is asked for everything for the first time, and every monitor begins; a window is judged
# an interval after its end, so those in which some had not begun are known then.
SETTLED_AFTER_S = 45.0
JUDGED_AFTER_S = 3.0 * INTERVAL_S
LOOK_EVERY_S = 0.5
CAUGHT_UP_WITHIN_S = 600.0

MIB = 2**20


def measure(quick: bool) -> Table:
    """Everything on the loopback; without Prometheus a table that says so."""
    about = (
        f"{METRICS} metrics of {CONTRACTS} contracts, asked of one Prometheus every {INTERVAL_S} s; 2 cells"
    )
    if not is_installed():
        return Table("sources", about, (), absent=(PEER,))
    lines = "".join(f'bench_value{{n="{number}"}} {number % 90}\n' for number in range(METRICS))
    with (
        tempfile.TemporaryDirectory(prefix="slakeeper-bench-") as directory,
        Exposition(lambda: lines) as exposition,
        service(list(_contracts())) as running,
        # The last, so that it has ended when the service looks for what is left.
        Prometheus(Path(directory), exposition.target, INTERVAL_S * 1_000) as server,
    ):
        while server.value("count(bench_value)") != METRICS:
            time.sleep(LOOK_EVERY_S)
        _bind(running, server.url)
        running.start()
        time.sleep(SETTLED_AFTER_S)
        before_ms = _unknown_ms(running)
        rows = [*_polling(running, server, quick), *_catching_up(running, quick)]
        time.sleep(JUDGED_AFTER_S)
        unknown_s = (_unknown_ms(running) - before_ms) / 1_000
        rows.append(row("windows left unknown, all in all", "s", [unknown_s], Limit("max", 0)))
        running.stop()
    return Table("sources", about, tuple(rows))


def _contracts() -> Iterator[dict[str, Any]]:
    each = METRICS // CONTRACTS
    for place in range(CONTRACTS):
        metrics = [
            {
                "name": f"m{number}", "value": 100, "condition": "lt", "interval": f"{INTERVAL_S}s", "weight": 0.01,
                "source": "prom", "query": f'bench_value{{n="{number}"}}',
            }
            for number in range(place * each, (place + 1) * each)
        ]  # fmt: skip
        yield {"id": f"c{place}", "name": f"c{place}", "service_level": 99.5, "metrics": metrics}


def _bind(running: Service, url: str) -> None:
    source = {"type": "prometheus", "url": url, "interval": f"{INTERVAL_S}s", "timeout": f"{INTERVAL_S}s"}
    (running.config / "monitoring.yaml").write_text(
        json.dumps({"sources": {"prom": source}}), encoding="utf-8"
    )


def _polling(running: Service, server: Prometheus, quick: bool) -> Iterator[Row]:
    peer = psutil.Process(server.pid)
    cells = {name: psutil.Process(pid) for name, pid in running.pids().items() if name.startswith("cell-")}
    before, cpu_before_s, peer_before_s = _rows(running), _cpu_s(*cells.values()), _cpu_s(peer)
    began_s, took_ms = time.monotonic(), []
    while time.monotonic() - began_s < (MINUTES_QUICK if quick else MINUTES) * 60:
        time.sleep(INTERVAL_S)
        took_ms += [float(each["took_ms"]) for each in _rows(running)]
    span_s = time.monotonic() - began_s
    after = _rows(running)
    none = Limit("max", 0)
    yield row("missed intervals", "", [float(_sum(after, "missed"))], none)
    yield row("readings that were errors", "", [float(_sum(after, "errors") - _sum(before, "errors"))], none)
    yield row("a poll of a cell", "ms", took_ms)
    yield row("CPU of the cells", "% of a core", [100 * (_cpu_s(*cells.values()) - cpu_before_s) / span_s])
    yield row(
        "CPU of Prometheus, its scrapes too", "% of a core", [100 * (_cpu_s(peer) - peer_before_s) / span_s]
    )
    for name, process in cells.items():
        yield row(f"memory of {name}", "MiB", [process.memory_full_info().uss / MIB])
    yield row("memory of Prometheus", "MiB", [peer.memory_full_info().uss / MIB])


def _catching_up(running: Service, quick: bool) -> Iterator[Row]:
    running.stop()
    down_s = DOWN_S_QUICK if quick else DOWN_S
    time.sleep(down_s)
    running.start()
    began_s, cpu_before_s = time.monotonic(), running.cpu_s()
    unanswered = 0
    while True:
        try:
            if _has_caught_up(_rows(running)):
                break
        except RuntimeError:
            unanswered += 1  # the cells are busy
        if time.monotonic() - began_s > CAUGHT_UP_WITHIN_S:
            raise RuntimeError("it does not catch up")
        time.sleep(LOOK_EVERY_S)
    yield row(f"after {down_s:g} s down: looks without an answer in 5 s", "", [float(unanswered)])
    yield row(f"after {down_s:g} s down: all caught up", "s", [time.monotonic() - began_s])
    yield row(f"after {down_s:g} s down: CPU until then", "s", [running.cpu_s() - cpu_before_s])


def _has_caught_up(rows: list[dict[str, Any]]) -> bool:
    return _sum(rows, "metrics") == METRICS and all(
        each["polled_at_ms"] and not each["catching_up"] for each in rows
    )


def _rows(running: Service) -> list[dict[str, Any]]:
    """How the source does, of each cell that has one; a look at one actor costs the cells next to nothing."""
    addresses = [f"source:prom@{name}" for name in running.pids() if name.startswith("cell-")]
    return [json.loads(running.run("actor", "state", each).output)["state"] for each in addresses]


def _unknown_ms(running: Service) -> int:
    """The time that all metrics together lack [ms]. To look costs the cells as much as a poll."""
    client = running.client()
    total_ms = 0
    for place in range(CONTRACTS):
        status, document = client.request("GET", f"/v1/slas/c{place}")
        if status != HTTPStatus.OK:
            raise RuntimeError(f"c{place}: status {status}")
        total_ms += sum(each["account"]["unknown_ms"] for each in document["metrics"])
    client.close()
    return total_ms


def _sum(rows: list[dict[str, Any]], key: str) -> int:
    return sum(each[key] for each in rows)


def _cpu_s(*processes: psutil.Process) -> float:
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))
