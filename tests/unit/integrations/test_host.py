"""This machine as a source."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from slakeeper.integrations.host import HostPoller
from slakeeper.integrations.source import Poller, Reading, open_source
from slakeeper.sla.monitoring import (
    HostSource,
)
from tests.unit.integrations.asking import ask


def host() -> Poller:
    return open_source("host", HostSource(type="host"))


def burn(seconds: float) -> None:
    end_s = time.thread_time() + seconds
    while time.thread_time() < end_s:
        pass


def test_the_machine_tells_its_shares() -> None:
    queries = {"m": "memory_usage", "d": "disk_usage", "d2": "disk_usage:/", "l": "load", "l15": "load:15"}
    readings = host().poll(queries)
    assert [reading.metric for reading in readings] == list(queries)
    values = {reading.metric: reading.value for reading in readings}
    assert not [reading for reading in readings if reading.error or reading.ts_ms is not None]
    assert values["m"] is not None
    assert 0 < values["m"] <= 100
    assert values["d"] == values["d2"] == psutil.disk_usage("/").percent
    assert values["l"] is not None
    assert values["l"] >= 0


def test_cpu_usage_is_that_since_the_look_before_in_any_thread() -> None:
    poller = host()
    burn(0.3)
    first = ask(poller, "cpu_usage")
    assert first.value is not None
    assert 0 < first.value <= 100
    burn(0.3)
    found: list[Reading] = []
    thread = threading.Thread(target=lambda: found.append(ask(poller, "cpu_usage")))
    thread.start()
    thread.join()
    assert found[0].value is not None
    assert 0 < found[0].value <= 100


def test_cpu_usage_asked_twice_at_once_is_the_same() -> None:
    poller = host()
    burn(0.2)
    first = ask(poller, "cpu_usage")
    assert ask(poller, "cpu_usage") == first


def test_cpu_usage_agrees_with_what_the_kernel_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([(100.0, 1_000.0), (130.0, 1_100.0), (130.0, 1_200.0)])
    monkeypatch.setattr("slakeeper.integrations.host._cpu_times", lambda: next(times))
    monkeypatch.setattr("slakeeper.integrations.host._SHORTEST_S", 0.0)
    poller = HostPoller("host")
    assert ask(poller, "cpu_usage").value == 30.0
    assert ask(poller, "cpu_usage").value == 0.0


def test_a_process_is_up_until_it_ends() -> None:
    name = "slk-up-4711"
    code = f"import setproctitle; setproctitle.setproctitle({name!r}); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        poller = host()
        assert ask(poller, f"process_up:{name}") == Reading("a name of its own", 1.0)
        process.send_signal(signal.SIGKILL)
        # A zombie is not up either.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert ask(poller, f"process_up:{name}").value == 0.0
        process.wait()
    assert ask(poller, f"process_up:{name}").value == 0.0


@pytest.mark.parametrize(
    "query", ["", "cpu", "cpu_usage:1", "process_up", "process_up:", "load:2", "memory_usage:x", "../x"]
)
def test_a_query_the_machine_does_not_know_is_an_error_of_its_own(query: str) -> None:
    wrong, right = host().poll({"w": query, "r": "memory_usage"})
    assert wrong.value is None
    assert wrong.error is not None
    assert "unknown query" in wrong.error
    assert right.error is None


def test_a_disk_that_is_not_there_is_an_error_of_its_own() -> None:
    reading = ask(host(), "disk_usage:/no/such/disk")
    assert (reading.value, reading.error) == (None, "disk_usage:/no/such/disk: No such file or directory")
