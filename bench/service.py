"""A real service in a directory of its own, started and stopped by its command line, hurt by signals."""

import contextlib
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.machine import ROOT
from slakeeper.config.loader import DEFAULT_DIR
from slakeeper.otp import attach, posix

COMMAND_TIMEOUT_S = 90.0


@dataclass(frozen=True)
class Ran:
    """One run of the command line: its output, wall time and CPU time (user and system, of itself) [s]."""

    output: str
    wall_s: float
    cpu_s: float


class Service:
    """The service on one data directory, two cells, any port.

    Args:
        directory: everything lies in it.
        contracts: documents of the contracts; the shipped ones when None.
    """

    def __init__(self, directory: Path, contracts: Sequence[dict[str, Any]] | None = None) -> None:
        self.data = directory / "data"
        self.config = directory / "config"
        shutil.copytree(DEFAULT_DIR, self.config, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
        if contracts is not None:
            # JSON is YAML, and keeps 99.5 the text it is.
            text = json.dumps({"slas": list(contracts)})
            (self.config / "sla_definitions.yaml").write_text(text, encoding="utf-8")
        service = self.config / "service.yaml"
        settings = yaml.safe_load(service.read_text(encoding="utf-8"))
        settings["log_level"] = "warning"
        service.write_text(json.dumps(settings), encoding="utf-8")

    # -- the command line -----------------------------------------------------------------------------------------

    def run(self, *arguments: str) -> Ran:
        """One command with ``--json``.

        Raises:
            RuntimeError: it failed; the text is what it said.
        """
        command = [sys.executable, "-m", "slakeeper", "--data", str(self.data), "--json", *arguments]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        began_s = time.perf_counter()
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
        wall_s = time.perf_counter() - began_s
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: status {done.returncode}: {done.stderr.strip()}")
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Ran(done.stdout, wall_s, cpu_s)

    def start(self) -> Ran:
        return self.run(
            "start", "--detach", "--config", str(self.config), "--http", "127.0.0.1:0", "--cells", "2"
        )

    def stop(self) -> Ran:
        return self.run("stop")

    # -- what runs ------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """``run.json``; empty when nothing runs."""
        try:
            return attach.running(self.data)
        except attach.NotRunning:
            return {}

    def pids(self) -> dict[str, int]:
        """Every process that run.json names, heart first."""
        return {one["name"]: one["pid"] for one in self.facts().get("processes", ()) if one.get("pid")}

    def cpu_s(self) -> float:
        """CPU time of all processes so far [s]."""
        total_s = 0.0
        for pid in self.pids().values():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                total_s += times.user + times.system
        return total_s

    def kill(self, name: str) -> None:
        """SIGKILL to the process of that name."""
        os.kill(self.pids()[name], signal.SIGKILL)

    # -- HTTP -----------------------------------------------------------------------------------------------------

    def client(self) -> "Http":
        facts = self.facts()
        return Http(facts["http"], facts["token"])


class Http:
    """One kept-alive connection; opens another after an error."""

    def __init__(self, address: str, token: str) -> None:
        host, _, port = address.rpartition(":")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection(host, int(port), timeout=10.0)

    def request(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        """Status and JSON of the answer.

        Raises:
            OSError: no answer.
            http.client.HTTPException: half an answer.
        """
        body = None if document is None else json.dumps(document)
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        return answer.status, json.loads(text) if text[:1] in (b"{", b"[") else None

    def post_sample(self, metric: str, value: float) -> int:
        """The status of a POST of one sample."""
        return self.request("POST", "/v1/samples", {"samples": [{"metric": metric, "value": value}]})[0]

    def open_violations(self, sla_id: str) -> list[dict[str, Any]]:
        """The contract's open violations; none while the service does not answer 200."""
        status, rows = self.request("GET", f"/v1/violations?sla={sla_id}")
        return list(rows) if status == 200 else []

    def close(self) -> None:
        self._connection.close()

    def events(self) -> http.client.HTTPResponse:
        """The event stream, to be read line by line; the connection is its own."""
        connection = http.client.HTTPConnection(self._connection.host, self._connection.port, timeout=30.0)
        connection.request("GET", "/v1/events", headers=self._headers)
        return connection.getresponse()


@contextlib.contextmanager
def service(contracts: Sequence[dict[str, Any]] | None = None) -> Iterator[Service]:
    """A service that is not started yet; whatever becomes of it, nothing of it is left."""
    posix.adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="slakeeper-bench-") as directory:
        one = Service(Path(directory), contracts)
        try:
            yield one
        finally:
            with contextlib.suppress(attach.NotRunning):
                attach.stop_system(one.data, COMMAND_TIMEOUT_S)
            left_processes()


def tell(
    running: Service,
    webhooks: Mapping[str, Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Adds webhooks to the shipped channels, and has alerts go there, too; ``sources`` replace the shipped ones."""
    enforcement, monitoring = running.config / "enforcement.yaml", running.config / "monitoring.yaml"
    policy = yaml.safe_load(enforcement.read_text(encoding="utf-8"))
    policy["channels"] |= {name: {"type": "webhook", **settings} for name, settings in webhooks.items()}
    enforcement.write_text(json.dumps(policy), encoding="utf-8")
    watched = yaml.safe_load(monitoring.read_text(encoding="utf-8"))
    watched["alert_channels"] = [*watched["alert_channels"], *webhooks]
    if sources is not None:
        del watched["metrics_sources"]
        watched["sources"] = sources
    monitoring.write_text(json.dumps(watched), encoding="utf-8")


def left_processes() -> list[int]:
    """The processes that a stopped service left: orphans come to this process. They are killed."""
    posix.reap()
    found = posix.descendants(os.getpid())
    posix.kill(found)
    posix.kill_descendants(10.0)
    return found


def is_open(address: str) -> bool:
    """Whether somebody listens on a loopback ``host:port``."""
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((host, int(port))) == 0


def contract(sla_id: str, metric: str) -> dict[str, Any]:
    """A contract with one metric that any sample of 100 or more breaks at once."""
    promise = {
        "name": metric, "value": 100, "unit": "ms", "condition": "lt", "aggregation": "last", "interval": "1m",
    }  # fmt: skip
    return {"id": sla_id, "name": sla_id, "service_level": 99.5, "metrics": [promise]}
