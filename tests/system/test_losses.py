"""Every kind of process is lost in every way; the service comes back by itself."""

import contextlib
import os
import signal

import pytest

from slakeeper.otp import attach
from tests.system.running_system import PILLARS, System, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGABRT])
@pytest.mark.parametrize("name", ["cell-0", "gateway", "admin", *PILLARS])
def test_a_lost_process_comes_back(system: System, name: str, number: signal.Signals) -> None:
    until(system.works)
    before = system.processes()
    generation = system.run()["generation"]
    os.kill(before[name]["pid"], number)
    system.back_without(name, before[name]["pid"])
    # Only a pillar takes the others with it.
    others = {
        other: line["pid"] for other, line in system.processes().items() if other not in (name, "heart")
    }
    same = {other for other, pid in others.items() if pid == before[other]["pid"]}
    assert same == (set() if name in PILLARS else set(others))
    assert system.run()["generation"] == generation + (name in PILLARS)


def test_a_polite_signal_to_a_service_process_restarts_it(system: System) -> None:
    until(system.works)
    pid = system.pid("cell-1")
    os.kill(pid, signal.SIGTERM)
    system.back_without("cell-1", pid)
    assert system.logged("shutdown: SIGTERM")


def test_a_polite_signal_to_the_root_starts_the_next_generation(system: System) -> None:
    until(system.works)
    pid = system.pid("root")
    os.kill(pid, signal.SIGTERM)
    system.back_without("root", pid)


def test_a_terminal_cannot_interrupt_what_is_below_the_heart(system: System) -> None:
    until(system.works)
    before = {name: line["pid"] for name, line in system.processes().items()}
    for name in ("cell-0", "root"):
        os.kill(before[name], signal.SIGINT)
        os.kill(before[name], signal.SIGHUP)
    assert system.works()
    assert {name: line["pid"] for name, line in system.processes().items()} == before


@pytest.mark.parametrize(
    ("request_name", "payload", "reason"),
    [
        ("crash", {}, "told to crash"),
        ("die in a thread", {}, "thread doomed: RuntimeError: told to die in a thread"),
        ("segfault", {}, "killed by SIGSEGV"),
        ("beat", {"trouble": "raise"}, "hung: beat: RuntimeError: told to raise in beat"),
        ("beat", {"trouble": "age"}, "hung: its loop has not turned for 3600000 ms"),
        ("beat", {"trouble": "stuck"}, "hung: silent for"),
    ],
)
def test_a_crash_is_reported_with_its_reason(
    system: System, request_name: str, payload: dict[str, str], reason: str
) -> None:
    until(system.works)
    pid = system.pid("admin")
    # It may end before its answer has left.
    with contextlib.suppress(attach.TimedOut):
        system.ask(request_name, payload, 0.5)
    system.back_without("admin", pid)
    until(lambda: system.logged(f"child_terminated admin: {reason}"))


def test_a_crashing_interpreter_leaves_a_traceback(system: System) -> None:
    until(system.works)
    pid = system.pid("cell-0")
    os.kill(pid, signal.SIGSEGV)
    system.back_without("cell-0", pid)
    assert "Fatal Python error: Segmentation fault" in (system.data / "log" / "output.log").read_text()


def test_a_restarted_service_knows_its_restarts_and_the_facts_of_today(system: System) -> None:
    until(system.works)
    before = system.ask("facts")
    os.kill(system.pid("admin"), signal.SIGKILL)
    system.back_without("admin", before["pid"])
    after = system.ask("facts")
    assert after["restarts"] == before["restarts"] + 1
    assert after["generation"] == before["generation"]
    assert set(after["shared"]) >= {"cell-0", "cell-1", "gateway", "run"}
