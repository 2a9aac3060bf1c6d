"""Starting, stopping, and what may go wrong with either."""

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import attach, run_file
from tests.system.running_system import PROCESSES, ROOT, System, below, listening, pause, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

Make = Callable[..., System]


def bindable(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def test_everything_is_ready_within_a_second_and_a_bit(make_system: Make) -> None:
    took_s = []
    for number in range(3):
        system = make_system(f"data-{number}")
        facts = system.start()
        took_s.append(time.time() - facts["started_at_ms"] / 1000)
        system.stop()
    # The best of three: the machine may have other things to do.
    assert min(took_s) < 1.2


def test_ready_facts_name_the_system_and_keep_its_secrets(make_system: Make) -> None:
    system = make_system()
    facts = system.start()
    assert facts["pid"] == system.heart.pid  # type: ignore[union-attr]
    assert facts["data"] == str(system.data)
    assert facts["cells"] == 2
    assert facts["http"].startswith("127.0.0.1:")
    assert facts["admin_address"].startswith("127.0.0.1:")
    assert not {"token", "nonce", "thespian_key"} & set(facts)
    run = system.run()
    assert len(run["token"]) > 30
    assert stat.S_IMODE((system.data / "run.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(run["runtime_dir"]).stat().st_mode) == 0o700
    assert set(system.processes()) == {
        "heart",
        "launcher",
        "thespian-admin",
        "thespian-logger",
        "root",
        *PROCESSES,
    }


def test_every_process_says_its_name(make_system: Make) -> None:
    system = make_system()
    system.start()
    for name, line in system.processes().items():
        title = Path(f"/proc/{line['pid']}/cmdline").read_text().rstrip("\0")
        assert title == f"slakeeper: {name} [{system.data}]"


def test_stop_leaves_nothing_twenty_times_in_a_row(make_system: Make) -> None:
    system = make_system()
    token = ""
    for _ in range(20):
        system.start()
        run = system.run()
        ports = listening([one["pid"] for one in run["processes"]])
        assert len(ports) >= 6
        attach.stop_system(system.data, 30.0)
        assert below() == [system.heart.pid] or below() == []  # type: ignore[union-attr]
        system.heart.communicate(timeout=10)  # type: ignore[union-attr]
        assert system.heart.returncode == 0  # type: ignore[union-attr]
        assert below() == []
        assert all(bindable(port) for port in ports)
        assert not Path(run["runtime_dir"]).exists()
        assert run_file.read(system.data) is None
        assert run["token"] == (token or run["token"])
        token = run["token"]


@pytest.mark.parametrize("after_ms", [0, 20, 40, 60, 80, 100, 130, 160, 200, 260, 330, 400])
def test_stop_during_a_start_leaves_nothing(make_system: Make, after_ms: int) -> None:
    system = make_system()
    heart = system.launch()
    until(lambda: run_file.holder(system.data))
    pause(after_ms / 1000)
    attach.stop_system(system.data, 30.0)
    heart.communicate(timeout=30)
    assert below() == []
    assert run_file.read(system.data) is None


def test_a_signal_in_the_moment_the_system_is_up_stops_it(make_system: Make) -> None:
    system = make_system(stop_when_ready=True, times={"shutdown_ms": 60_000})
    heart = system.launch()
    heart.communicate(timeout=20)
    assert heart.returncode == 0
    assert below() == []


def test_services_stop_in_reverse_order(make_system: Make, tmp_path: Path) -> None:
    order = tmp_path / "order"
    names = ("cell-0", "cell-1", "admin")
    system = make_system(processes={name: {"stop_file": str(order)} for name in names})
    system.start()
    system.stop()
    assert order.read_text().split() == list(reversed(names))


def test_a_service_that_does_not_stop_is_killed_when_its_time_is_over(
    make_system: Make, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    processes = {"first": {"stop_file": str(order)}, "stubborn": {"ignore_stop": True}, "admin": {}}
    system = make_system(processes=processes)
    system.start()
    began = time.monotonic()
    system.stop()
    assert 1.9 < time.monotonic() - began < 8
    assert order.read_text() == "first\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_system(make_system: Make, number: signal.Signals) -> None:
    system = make_system()
    system.start()
    system.heart.send_signal(number)  # type: ignore[union-attr]
    system.heart.communicate(timeout=30)  # type: ignore[union-attr]
    assert system.heart.returncode == 0  # type: ignore[union-attr]
    assert below() == []


def test_a_signal_to_all_processes_at_once_is_an_orderly_stop(make_system: Make, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    names = ("cell-0", "cell-1", "admin")
    system = make_system(processes={name: {"stop_file": str(stopped)} for name in names})
    system.start()
    for line in system.processes().values():
        os.kill(line["pid"], signal.SIGTERM)
    system.heart.communicate(timeout=30)  # type: ignore[union-attr]
    assert system.heart.returncode == 0  # type: ignore[union-attr]
    assert set(stopped.read_text().split()) == set(names)
    assert below() == []


def test_a_second_signal_does_not_wait(make_system: Make) -> None:
    system = make_system(
        processes={"stubborn": {"ignore_stop": True}, "admin": {}}, times={"shutdown_ms": 60_000}
    )
    system.start()
    heart = system.heart
    assert heart is not None
    heart.terminate()
    until(lambda: system.run()["state"] == "stopping")
    # Sooner it would be taken for the same one.
    pause(1.1)
    heart.terminate()
    heart.communicate(timeout=10)
    assert below() == []


def test_sighup_is_ignored(make_system: Make) -> None:
    system = make_system()
    system.start()
    system.heart.send_signal(signal.SIGHUP)  # type: ignore[union-attr]
    assert system.works()


def test_stop_kills_a_heart_that_is_stuck(make_system: Make) -> None:
    system = make_system()
    system.start()
    system.heart.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
    attach.stop_system(system.data, 1.0)
    system.heart.communicate(timeout=10)  # type: ignore[union-attr]
    assert below() == []
    assert run_file.read(system.data) is None


def test_stopping_what_does_not_run_says_so(tmp_path: Path) -> None:
    with pytest.raises(attach.NotRunning):
        attach.stop_system(tmp_path / "nowhere")


def test_a_second_heart_refuses_and_names_the_first(make_system: Make) -> None:
    system = make_system()
    system.start()
    second = System(system.data)
    began = time.monotonic()
    errors = second.failure()
    assert errors == (
        f"AlreadyRunning: {system.data} is in use by process {system.heart.pid}; "  # type: ignore[union-attr]
        "stop that one first, or choose another data directory\n"
    )
    assert time.monotonic() - began < 5
    assert system.works()


def test_an_unwritable_data_directory_is_named(make_system: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    errors = make_system("file/data").failure()
    assert (
        errors
        == f"DataDirUnusable: cannot write to the data directory {tmp_path}/file/data: Not a directory\n"
    )


def test_a_service_that_cannot_start_fails_the_start_with_its_reason(make_system: Make) -> None:
    system = make_system(processes={"cell-0": {}, "broken": {"start": "fail"}, "admin": {}})
    errors = system.failure()
    assert "StartFailed" in errors
    assert "broken: RuntimeError: told to fail" in errors
    assert below() == []
    assert run_file.read(system.data) is None


def test_a_service_whose_start_hangs_fails_the_start(make_system: Make) -> None:
    processes = {"slow": {"start": "hang"}, "admin": {}}
    system = make_system(processes=processes, times={"start_timeout_ms": 500})
    assert "slow: not started within 500 ms" in system.failure()


def test_processes_that_cannot_be_worked_out_fail_the_start(make_system: Make) -> None:
    system = make_system(times={"heartbeat_ms": 0})
    assert "StartFailed: ValueError: the times of process 'cell-0' must not be negative" in system.failure()
    assert run_file.read(system.data) is None


def test_an_unknown_entry_fails_the_start(make_system: Make) -> None:
    system = make_system(entry="tests.system.echo_service:nothing")
    assert "AttributeError" in system.failure()


DETACH = """
import sys
from pathlib import Path
from slakeeper.otp import run_file
from slakeeper.otp.daemon import NotStarted, start_detached
from slakeeper.otp.heart import Heart
from tests.system.run_heart import system
settings = {settings!r}
data = Path(settings["data"])
run_file.prepare(data)
def run(ready):
    return Heart(data, lambda facts: system(settings), ready).run()
try:
    print(start_detached(run, data / "log" / "output.log", 30.0)["http"])
except NotStarted as error:
    print(error.kind, error)
"""


def detach(system: System) -> subprocess.CompletedProcess[str]:
    script = DETACH.format(settings=system.settings)
    # Through a pipe into another program, which ends only when nobody holds the pipe any more.
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(script)} | cat"
    return subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )


def test_a_detached_start_returns_when_ready_and_holds_no_pipe(make_system: Make) -> None:
    system = make_system()
    done = detach(system)
    try:
        assert done.stdout.startswith("127.0.0.1:"), done.stderr
        run = system.run()
        assert os.getsid(run["pid"]) != os.getsid(0)
        for one in run["processes"]:
            assert os.readlink(f"/proc/{one['pid']}/fd/0") == "/dev/null"
        assert system.works()
    finally:
        system.stop()
    assert below() == []


def test_a_detached_start_tells_why_it_failed(make_system: Make) -> None:
    broken: dict[str, dict[str, Any]] = {"broken": {"start": "fail"}}
    done = detach(make_system(processes=broken))
    assert done.stdout.startswith("StartFailed shutdown:"), done.stderr
    assert "broken: RuntimeError: told to fail" in done.stdout
    until(lambda: below() == [])
