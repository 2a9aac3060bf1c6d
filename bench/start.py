"""Table ``start``: how long ``start --detach`` and ``stop`` take, and whether anything is left after them."""

from collections import defaultdict
from pathlib import Path

from bench.service import is_open, left_processes, service
from bench.table import Limit, Table, row
from slakeeper.otp import posix

ROUNDS, ROUNDS_QUICK = 20, 3


def measure(quick: bool) -> Table:
    """Starts and stops in a row, on one data directory with the shipped configuration: the first makes it."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    with service() as running:
        for _ in range(ROUNDS_QUICK if quick else ROUNDS):
            started = running.start()
            system_cpu_s = running.cpu_s()
            asked = running.run("status")
            facts = running.facts()
            pids = [posix.identify(pid) for pid in running.pids().values()]
            stopped = running.stop()
            found["ready_s"].append(started.wall_s)
            found["ready_cpu_s"].append(started.cpu_s + system_cpu_s)
            found["command_cpu_s"].append(started.cpu_s)
            found["status_s"].append(asked.wall_s)
            found["status_cpu_s"].append(asked.cpu_s)
            found["stop_s"].append(stopped.wall_s)
            alive = {one.pid for one in pids if one is not None and one.alive()}
            found["processes_left"].append(len(alive | set(left_processes())))
            found["ports_left"].append(sum(map(is_open, (facts["http"], facts["admin_address"]))))
            runtime_dir = Path(facts["runtime_dir"])
            found["files_left"].append(
                sum(path.exists() for path in (runtime_dir, running.data / "run.json"))
            )
    none = Limit("max", 0)
    rows = (
        row("start --detach: until ready", "s", found["ready_s"], Limit("max", 2.0)),
        row("start --detach: CPU of all processes", "s", found["ready_cpu_s"]),
        row("start --detach: CPU of the command", "s", found["command_cpu_s"]),
        row("status", "s", found["status_s"], Limit("p50", 0.4)),
        row("status: CPU of the command", "s", found["status_cpu_s"]),
        row("stop", "s", found["stop_s"]),
        row("processes left", "", found["processes_left"], none),
        row("ports left", "", found["ports_left"], none),
        row("run.json or sockets left", "", found["files_left"], none),
    )
    return Table("start", "start, status and stop in a row; 2 cells, the shipped configuration", rows)
