"""A whole service for the tests: started and asked through its command line and over HTTP, ended whatever happens."""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from slakeeper.cli import main
from slakeeper.otp import attach, posix
from slakeeper.otp.posix import ProcessId
from tests.system.remains import Listener, assert_gone, listening

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "slakeeper")

Rows = list[dict[str, Any]]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as one JSON document; fails when there is anything else."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on standard error; fails when there are more or none."""
        (line,) = self.err.splitlines()
        return line


@dataclass(frozen=True)
class Reply:
    """An answer over HTTP."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


def command(*arguments: str, limit_s: float = 60.0, program: Sequence[str] = COMMAND) -> Answer:
    """Runs ``slakeeper …`` as a process of its own."""
    # As a user's is: with unbuffered output some things go well that do not without.
    kept_out = ("SLAKEEPER_", "PYTHONUNBUFFERED")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(kept_out)}
    done = subprocess.run(
        [*program, *arguments],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


class Service:
    """The service on one data directory; ``config`` None begins without contracts, ``program`` is what to run."""

    def __init__(
        self,
        data: Path,
        config: Path | None = None,
        *,
        cells: int = 2,
        http: str = "127.0.0.1:0",
        program: Sequence[str] = COMMAND,
    ):
        self.data = data
        self.config = config
        self.cells = cells
        self.address = http
        self.program = program

    # -- the command line ---------------------------------------------------------------------------------------

    @property
    def start_arguments(self) -> list[str]:
        configured = ["--no-config"] if self.config is None else ["--config", str(self.config)]
        return ["start", "--http", self.address, "--cells", str(self.cells), *configured]

    def cli(self, *arguments: str) -> Answer:
        """A command on this data directory."""
        return command("--data", str(self.data), *arguments, program=self.program)

    def show(self, *arguments: str) -> Any:
        """What a command that succeeds shows with ``--json``."""
        answer = self.cli("--json", *arguments)
        assert (answer.code, answer.err) == (0, ""), answer
        return answer.document

    def invoke(self, *arguments: str) -> Answer:
        """A command carried out in this process, which is a quarter of a second quicker."""
        result = CliRunner().invoke(main, ["--data", str(self.data), *arguments], prog_name="slakeeper")
        return Answer(result.exit_code, result.stdout, result.stderr)

    def answers(self, commands: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Answer]:
        """The answers to several commands that are given at once."""
        listed = list(commands)
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(listed, pool.map(lambda one: self.cli(*one), listed), strict=True))

    def shown(self, commands: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], Any]:
        """What several commands that succeed show with ``--json``."""
        listed = list(commands)
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(listed, pool.map(lambda one: self.show(*one), listed), strict=True))

    def start(self) -> dict[str, Any]:
        """Starts it in the background and returns the facts."""
        facts: dict[str, Any] = self.show(*self.start_arguments, "--detach")
        return facts

    def launch(self) -> "subprocess.Popen[str]":
        """Begins to start it in the background and does not wait."""
        return subprocess.Popen(
            [*self.program, "--data", str(self.data), *self.start_arguments, "--detach"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> None:
        """Stops it with the command; nothing of it is left then."""
        processes, sockets = self.everything(), self.sockets()
        assert self.show("stop") == {"stopped": True}
        assert_gone(processes, sockets)

    # -- the run ------------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """``run.json`` of the running service, its token among it."""
        return attach.running(self.data)

    def processes(self) -> dict[str, ProcessId]:
        """Every process of it that the service itself knows, by name."""
        rows = self.run()["processes"]
        return {row["name"]: ProcessId(row["pid"], row["started"]) for row in rows if row.get("pid")}

    def pid(self, name: str) -> int:
        return self.processes()[name].pid

    def everything(self) -> list[ProcessId]:
        """The heart and all that is below it, whether the service knows of it or not."""
        heart = self.run()["pid"]
        found = (posix.identify(pid) for pid in (heart, *posix.descendants(heart)))
        return [process for process in found if process is not None]

    def sockets(self) -> set[Listener]:
        """The TCP sockets it listens on."""
        return listening(process.pid for process in self.everything())

    def is_whole(self) -> bool:
        """Whether every process that belongs to it runs and HTTP and the command line are answered."""
        try:
            run = self.run()
            wanted = {"heart", "launcher", "thespian-admin", "thespian-logger", "root", "gateway", "admin"}
            wanted |= {cell["name"] for cell in run.get("topology", {}).get("cells", ())}
            alive = {name for name, process in self.processes().items() if process.alive()}
            if run["state"] != "running" or wanted - alive:
                return False
            with attach.Client(self.data) as client:
                client.request("ping", {}, 2.0)
            return self.http("GET", "/readyz").status == 200
        except (OSError, attach.NotRunning, attach.TimedOut, http.client.HTTPException):
            return False

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def http(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        token: str | None = None,
        limit_s: float = 20.0,
    ) -> Reply:
        """Asks the HTTP interface; a body that is no bytes is sent as JSON, and a token of "" is none at all."""
        run = self.run()
        host, _, port = (run.get("http") or "127.0.0.1:1").rpartition(":")
        given = {"content-type": "application/json", **(headers or {})}
        if token != "":
            given["authorization"] = f"Bearer {run.get('token', '') if token is None else token}"
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection(host, int(port), timeout=limit_s)
        with contextlib.closing(connection):
            connection.request(method, path, data, given)
            answer = connection.getresponse()
            return Reply(answer.status, dict(answer.headers.items()), answer.read())

    def get(self, path: str) -> Any:
        """The document at a path."""
        reply = self.http("GET", path)
        assert reply.status == 200, reply
        return reply.document

    def post(self, path: str, body: Any) -> Any:
        """The document that a POST is answered with."""
        reply = self.http("POST", path, body)
        assert reply.status in (200, 202), reply
        return reply.document

    def observe(self, metric: str, value: float, **more: Any) -> None:
        """Reports one sample, which is accepted."""
        answer = self.post("/v1/samples", {"samples": [{"metric": metric, "value": value, **more}]})
        assert answer == {"accepted": 1, "rejected": []}, answer

    def violations(self, *, resolved: bool = False) -> Rows:
        """Open violations, with ``resolved`` the others too."""
        rows: Rows = self.get("/v1/violations" + ("?all=1" if resolved else ""))
        return rows

    def violation(self, metric: str, status: str = "open") -> dict[str, Any] | None:
        """The newest violation of a metric with that status."""
        rows = (row for row in self.violations(resolved=True) if row["metric_name"] == metric)
        return next((row for row in rows if row["status"] == status), None)

    def metric(self, sla_id: str, name: str) -> dict[str, Any]:
        """How a metric of a contract stands."""
        rows: Rows = self.get(f"/v1/slas/{sla_id}")["metrics"]
        return next(row for row in rows if row["name"] == name)

    def actor(self, address: str) -> dict[str, Any]:
        """The state of one actor."""
        with attach.Client(self.data) as client:
            return client.request("actor", {"operation": "state", "address": address}, 10.0)


MakeService = Callable[..., Service]
