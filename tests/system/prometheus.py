"""A real Prometheus server that scrapes one page and writes what it finds to us."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest
import yaml

from tests.system.remains import until

COMMAND = shutil.which("prometheus")


def needs_prometheus() -> None:
    """Skips a test where there is no server; where everything is to be tried it fails."""
    if COMMAND is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the command prometheus is not there; tools/servers.sh installs it")
        pytest.skip("the command prometheus is not there")


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Prometheus:
    """The server, while the block lasts."""

    def __init__(self, folder: Path, target: str, write_to: str, token_file: Path) -> None:
        self._folder = folder
        self._address = f"127.0.0.1:{free_port()}"
        folder.mkdir()
        settings = {
            "global": {"scrape_interval": "250ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {"job_name": "shop", "static_configs": [{"targets": [target]}]},
                {"job_name": "itself", "static_configs": [{"targets": [self._address]}]},
            ],
            "remote_write": [
                {
                    "url": write_to,
                    "authorization": {"credentials_file": str(token_file)},
                    "queue_config": {"batch_send_deadline": "200ms", "max_backoff": "500ms"},
                }
            ],
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))

    def __enter__(self) -> Self:
        assert COMMAND is not None
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    COMMAND, f"--config.file={self._folder}/prometheus.yml", f"--storage.tsdb.path={self._folder}/data",
                    f"--web.listen-address={self._address}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._process.kill()
        self._process.wait()

    @property
    def log(self) -> str:
        return (self._folder / "log").read_text()

    def query(self, expression: str) -> float | None:
        """The one value of a query; None while there is none."""
        url = f"http://{self._address}/api/v1/query?{urlencode({'query': expression})}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except OSError:
            return None
        return float(found[0]["value"][1]) if found else None

    def wait_for(self, expression: str, at_least: float) -> None:
        """Waits for a value."""
        until(lambda: (self.query(expression) or 0) >= at_least, 30, f"{expression} >= {at_least:g}")
