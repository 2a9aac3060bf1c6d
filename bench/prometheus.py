"""A real Prometheus on the loopback, what it scrapes, and Alertmanager: for one measurement or test, ended with it."""

import json
import shutil
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

PROGRAM, ALERTMANAGER = "prometheus", "prometheus-alertmanager"
READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.05


def is_installed(program: str = PROGRAM) -> bool:
    return shutil.which(program) is not None


class Exposition:
    """An address with what ``text`` says, in Prometheus's text format, while the ``with`` block lasts."""

    def __init__(self, text: Callable[[], str]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = text().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="exposition")
        self.target = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_server(
    program: str, arguments: Sequence[str], url: str, log_path: Path
) -> "subprocess.Popen[bytes]":
    """Starts Prometheus or Alertmanager; returns when it is ready.

    Raises:
        RuntimeError: it ended, or was not ready in time.
    """
    with log_path.open("ab") as log:
        process = subprocess.Popen([program, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    end_s = time.monotonic() + READY_WITHIN_S
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > end_s:
            end_server(process)
            raise RuntimeError(f"{program} is not ready: {log_path}")
        time.sleep(LOOK_EVERY_S)
    return process


def end_server(process: "subprocess.Popen[bytes]") -> None:
    """Asks it to end, and kills it if it does not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(READY_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Prometheus:
    """A server with its data in ``directory``; it can be stopped and started again on the same port.

    Args:
        target: ``host:port`` of what it scrapes.
        scrape_ms: how often, and how often its rules are evaluated [ms].
        job: the name under which it scrapes ``target``.
        itself: whether it scrapes what it says of itself, too.
        token: what it shows to ``target``.
        more: further keys of its configuration (``remote_write``, ``rule_files``, ``alerting``).
    """

    def __init__(
        self,
        directory: Path,
        target: str,
        scrape_ms: int = 1_000,
        *,
        job: str = "target",
        itself: bool = False,
        token: str | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._directory = directory
        jobs: list[dict[str, Any]] = [{"job_name": job, "static_configs": [{"targets": [target]}]}]
        if token is not None:
            jobs[0]["authorization"] = {"credentials": token}
        if itself:
            jobs.append({"job_name": "itself", "static_configs": [{"targets": [f"127.0.0.1:{self.port}"]}]})
        config = {
            "global": dict.fromkeys(
                ("scrape_interval", "scrape_timeout", "evaluation_interval"), f"{scrape_ms}ms"
            ),
            "scrape_configs": jobs,
            **(more or {}),
        }
        # JSON is YAML.
        (directory / "prometheus.yml").write_text(json.dumps(config), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise LookupError("it does not run")
        return self._process.pid

    def start(self) -> None:
        """Returns when it is ready.

        Raises:
            RuntimeError: it ended, or was not ready in time.
        """
        arguments = (
            f"--config.file={self._directory / 'prometheus.yml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        self._process = start_server(PROGRAM, arguments, self.url, self._directory / "log")

    @property
    def log(self) -> str:
        """What it has said."""
        return (self._directory / "log").read_text(encoding="utf-8")

    def value(self, query: str) -> float | None:
        """What an instant query of one series says; None when there is none."""
        result = self.ask("query", query=query)["result"]
        return float(result[0]["value"][1]) if result else None

    def ask(self, path: str, **parameters: str) -> Any:
        """The ``data`` of an answer of its API, ``/api/v1/PATH``."""
        address = f"{self.url}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def stop(self) -> None:
        """Ends it; what it has is on disk."""
        process, self._process = self._process, None
        if process is not None:
            end_server(process)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class Alertmanager:
    """Tells ``webhook`` at once of each alert by itself, while the ``with`` block lasts.

    Args:
        labels: that tell one alert from another.
    """

    def __init__(self, directory: Path, webhook: str, labels: Sequence[str]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.address = f"127.0.0.1:{free_port()}"
        self._directory = directory
        route = {"receiver": "hook", "group_by": list(labels), "group_wait": "0s"}
        receivers = [{"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": False}]}]
        config = {"route": route, "receivers": receivers}
        (directory / "alertmanager.yml").write_text(json.dumps(config), encoding="utf-8")

    def __enter__(self) -> Self:
        arguments = (
            f"--config.file={self._directory / 'alertmanager.yml'}",
            f"--storage.path={self._directory / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        )
        self._process = start_server(
            ALERTMANAGER, arguments, f"http://{self.address}", self._directory / "log"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end_server(self._process)
