"""The service starts in the background, and after a stop nothing of it is left."""

import json
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import attach, posix, run_file
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import assert_gone, until
from tests.system.service import COMMAND, ROOT, MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(
        tmp_path / "config", [contract("one", [metric("latency")]), contract("two", [metric("errors")])]
    )


def started(run: dict[str, Any]) -> set[str]:
    return {row["name"] for row in run["processes"] if row.get("pid")}


# How far a start has got when it is stopped.
STAGES: list[tuple[str, Callable[[dict[str, Any]], bool]]] = [
    ("the heart has the data directory", lambda run: True),
    ("the first generation has begun", lambda run: run.get("runtime_dir") is not None),
    ("some process runs", lambda run: bool(started(run))),
    ("the root runs", lambda run: "root" in started(run)),
    ("a cell runs", lambda run: "cell-0" in started(run)),
    ("the gateway runs", lambda run: "gateway" in started(run)),
]


def test_start_detached_prints_its_facts_and_lets_a_pipe_end(make_service: MakeService, config: Path) -> None:
    service = make_service(config)
    arguments = [*COMMAND, "--data", str(service.data), "--json", *service.start_arguments, "--detach"]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as starting:
        # Ends only when nobody holds the writing end any more.
        printed = subprocess.run(["cat"], stdin=starting.stdout, capture_output=True, timeout=30, check=True)
    assert starting.returncode == 0
    facts = json.loads(printed.stdout)
    run = service.run()
    assert facts == {"pid": run["pid"], "http": run["http"], "data": str(service.data), "cells": 2}
    assert facts["http"].startswith("127.0.0.1:")
    assert stat.S_IMODE((service.data / "run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(service.data.stat().st_mode) == 0o700
    assert json.loads((service.data / "run.json").read_text())["token"] == run["token"]
    assert service.is_whole()
    assert {row["id"] for row in service.get("/v1/slas")} == {"one", "two"}
    service.stop()
    assert not (service.data / "run.json").exists()
    assert not Path(run["runtime_dir"]).exists()


def test_stop_leaves_nothing_20_times_in_a_row(make_service: MakeService, config: Path) -> None:
    service = make_service(config)
    for number in range(20):
        if number % 3 == 1:
            service.start()
            assert service.is_whole()
            service.stop()
        else:
            stop_while_starting(service, *STAGES[number % len(STAGES)])
        assert attached_to(service.data) == []
        assert run_file.read(service.data) is None


def stop_while_starting(service: Service, stage: str, reached: Callable[[dict[str, Any]], bool]) -> None:
    def is_reached() -> bool:
        try:
            return reached(service.run())
        except attach.NotRunning:
            return False

    with service.launch() as starting:
        until(is_reached, what=stage)
        processes, sockets = service.everything(), service.sockets()
        answer = service.cli("stop")
        assert (answer.code, answer.err) == (0, ""), (stage, answer)
        assert_gone(processes, sockets)
        _, complaint = starting.communicate(timeout=30)
        # Either it was quicker than the stop, or it says in one line that it did not start.
        assert (starting.returncode, complaint.count("\n")) in ((0, 0), (1, 1)), complaint


def attached_to(data: Path) -> list[str]:
    """The titles of all processes that name the data directory."""
    posix.reap()
    titles = []
    for pid in posix.descendants(os.getpid()):
        try:
            titles.append(Path(f"/proc/{pid}/cmdline").read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [title for title in titles if str(data) in title]


def test_a_killed_heart_takes_all_with_it_and_the_next_start_goes_on(
    make_service: MakeService, config: Path
) -> None:
    service = make_service(config)
    service.start()
    service.observe("latency", 500)
    (violation,) = service.violations()
    processes, sockets = service.everything(), service.sockets()
    posix.kill([service.pid("heart")])
    for process in processes:
        assert posix.await_end(process, 10)
    assert_gone(processes, sockets)
    assert service.cli("status").code == 3
    service.start()
    assert [row["id"] for row in service.violations()] == [violation["id"]]
    service.stop()
