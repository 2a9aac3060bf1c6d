"""What a start brings into the data directory, where it looks for it, and how it is stopped before it is done."""

import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slakeeper.otp import attach, run_file
from slakeeper.otp.daemon import INTERRUPTED
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import COMMAND, ROOT, MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path / "config", [contract("one", [metric("latency")])])


def versions(service: Service) -> dict[str, int]:
    with attach.Client(service.data) as client:
        rows = client.request("slas", {}, 10.0)["slas"]
        return {row["id"]: client.request("sla", {"id": row["id"]}, 10.0)["version"] for row in rows}


def is_another(service: Service, name: str, pid: int) -> bool:
    return service.is_whole() and service.pid(name) != pid


def test_a_relative_configuration_is_the_one_beside_whoever_started_it(
    make_service: MakeService, config: Path
) -> None:
    service = make_service()
    start = [*COMMAND, "--data", str(service.data), "start", "--detach", "--http", "127.0.0.1:0"]
    subprocess.run(
        [*start, "--config", "config"], cwd=config.parent, check=True, capture_output=True, timeout=60
    )
    assert list(versions(service)) == ["one"]
    service.stop()
    subprocess.run(start, cwd="/", check=True, capture_output=True, timeout=60)
    assert list(versions(service)) == ["one"]


def test_a_contract_removed_by_command_stays_removed_until_somebody_starts_again(
    make_service: MakeService, config: Path
) -> None:
    service = make_service(config, cells=1)
    service.start()
    assert service.invoke("sla", "remove", "one").code == 0
    for name in ("cell-0", "root"):
        pid = service.pid("cell-0")
        assert service.invoke("actor", "kill", name).code == 0
        until(lambda pid=pid: is_another(service, "cell-0", pid), what=f"a kill of {name} is mended")  # type: ignore[misc]
        assert versions(service) == {}, name
    service.stop()
    service.start()
    assert versions(service) == {"one": 2}


def test_a_crash_defines_nothing_and_loses_nothing(make_service: MakeService, config: Path) -> None:
    service = make_service(config, cells=1)
    service.start()
    pid = service.pid("cell-0")
    assert service.invoke("actor", "kill", "cell-0").code == 0
    until(lambda: is_another(service, "cell-0", pid))
    assert versions(service) == {"one": 1}


def test_a_start_that_fails_on_its_port_leaves_no_contract_behind(
    make_service: MakeService, config: Path, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        service = make_service(config, http=f"127.0.0.1:{taken.getsockname()[1]}")
        answer = service.cli(*service.start_arguments, "--detach")
    assert answer.code == 1
    assert "the port is in use" in answer.complaint
    assert answer.complaint.startswith("slakeeper: gateway did not start: cannot listen on 127.0.0.1:")
    other = write_config(tmp_path / "other", [contract("two", [metric("errors")])])
    service.config, service.address = other, "127.0.0.1:0"
    service.start()
    assert list(versions(service)) == ["two"]


def has_pending(pid: int, number: int) -> bool:
    """Whether a signal waits for a process that is held."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


@pytest.mark.parametrize("mode", [["--detach"], ["--no-view"], []])
def test_a_start_is_found_and_stopped_before_it_has_read_anything(
    make_service: MakeService, tmp_path: Path, mode: list[str]
) -> None:
    service = make_service(write_config(tmp_path / "slow", []))
    arguments = [*COMMAND, "--data", str(service.data), *service.start_arguments, *mode]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as starting:
        heart = until(lambda: run_file.holder(service.data), what="the lock is taken")
        # Held as early as a test can, until the command has said that it is to stop.
        os.kill(heart.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            stopping = pool.submit(service.cli, "stop")
            until(lambda: has_pending(heart.pid, signal.SIGTERM), what="it is told to stop")
            os.kill(heart.pid, signal.SIGCONT)
            assert stopping.result().code == 0
        out, err = starting.communicate(timeout=30)
    assert (out, err) == ("", "slakeeper: stopped while it was starting\n")
    assert starting.returncode == (1 if mode == ["--detach"] else 0)
    assert run_file.holder(service.data) is None


@pytest.mark.parametrize("who", ["the caller alone", "the terminal"])
def test_ctrl_c_in_the_middle_of_the_daemons_fork_is_not_lost(
    make_service: MakeService, tmp_path: Path, who: str
) -> None:
    service = make_service(write_config(tmp_path / "config", []))
    press = "os.kill(os.getpid()" if who == "the caller alone" else "os.killpg(0"
    # At the first fork. The terminal's child waits for the key (a quick one has left the terminal before it), and
    # then takes its time to say so.
    pressed_once = (
        "import os, signal, sys, time; from slakeeper.cli import main; here = os.getpid(); forks = iter([here]);"
        f"press = lambda: next(forks, None) == os.getpid() and {press}, signal.SIGINT);"
        f"wait = lambda: {who == 'the terminal'} and os.getppid() == here and signal.sigwait([signal.SIGINT])"
        " and (time.sleep(1), os.kill(os.getpid(), signal.SIGINT));"
        "os.register_at_fork(after_in_parent=press, after_in_child=wait); main(sys.argv[1:], prog_name='slakeeper')"
    )
    arguments = ["--data", str(service.data), *service.start_arguments, "--detach"]
    done = subprocess.run(
        [sys.executable, "-c", pressed_once, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        start_new_session=True,
    )
    if who == "the terminal":
        assert (done.returncode, done.stderr) == (1, "slakeeper: stopped while it was starting\n"), done
        assert run_file.holder(service.data) is None
        return
    # It may be ready before the command is asked what became of it.
    assert (done.returncode, done.stderr) in ((1, f"slakeeper: {INTERRUPTED}\n"), (0, "")), done
    until(service.is_whole, what="it has started in the background")
    service.stop()


def test_a_start_that_is_stopped_when_its_processes_come_up_says_so(
    make_service: MakeService, config: Path
) -> None:
    service = make_service(config)
    with service.launch() as starting:
        until(lambda: (run_file.read(service.data) or {}).get("admin_port"), what="a generation has begun")
        assert service.cli("stop").code == 0
        _, complaint = starting.communicate(timeout=30)
    # On a machine that is quick enough it was up before.
    assert (starting.returncode, complaint) in (
        (1, "slakeeper: stopped while it was starting\n"), (0, ""),
    )  # fmt: skip


def test_restarts_are_counted_over_generations(make_service: MakeService) -> None:
    service = make_service(cells=1)
    service.start()
    for name in ("cell-0", "root", "cell-0"):
        pid = service.pid("cell-0")
        assert service.invoke("actor", "kill", name).code == 0
        until(lambda pid=pid: is_another(service, "cell-0", pid), what=f"a kill of {name} is mended")  # type: ignore[misc]
    status = service.show("status")
    restarts = {row["name"]: row["restarts"] for row in status["processes"]}
    assert (restarts["cell-0"], restarts["gateway"], restarts["root"], restarts["heart"]) == (3, 1, 1, 0)
    assert status["generation"] == 2
