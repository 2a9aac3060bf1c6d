"""Every kind of process is lost in every way; the service comes back by itself."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from slakeeper.otp import attach, posix, run_file
from tests.system.running_system import PILLARS, System, below, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

Make = Callable[..., System]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP, signal.SIGABRT])
@pytest.mark.parametrize("name", ["cell-0", "gateway", "admin", *PILLARS])
def test_a_lost_process_comes_back(system: System, name: str, number: signal.Signals) -> None:
    until(system.works)
    before = system.processes()
    generation = system.run()["generation"]
    os.kill(before[name]["pid"], number)
    system.back_without(name, before[name]["pid"])
    # Only a pillar takes the others with it.
    others = {other: line["pid"] for other, line in system.processes().items() if other not in (name, "heart")}
    same = {other for other, pid in others.items() if pid == before[other]["pid"]}
    assert same == (set() if name in PILLARS else set(others))
    assert system.run()["generation"] == generation + (name in PILLARS)


def test_a_polite_signal_to_a_service_process_restarts_it(system: System) -> None:
    until(system.works)
    pid = system.pid("cell-1")
    os.kill(pid, signal.SIGTERM)
    system.back_without("cell-1", pid)
    assert system.logged("shutdown: SIGTERM")


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
    try:
        system.ask(request_name, payload, 0.5)
    except attach.TimedOut:
        pass
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


def test_many_restarts_leak_nothing(make_system: Make) -> None:
    system = make_system(intensity=1_000)
    system.start()

    def kill_cells(times: int) -> None:
        for _ in range(times):
            pid = system.pid("cell-0")
            posix.kill([pid])
            system.back_without("cell-0", pid)

    kill_cells(5)
    root = system.pid("root")
    open_before = len(os.listdir(f"/proc/{root}/fd"))
    kill_cells(30)
    assert system.pid("root") == root
    assert len(os.listdir(f"/proc/{root}/fd")) <= open_before + 3


def test_many_generations_leak_nothing_in_the_heart(make_system: Make) -> None:
    system = make_system()
    system.start()
    heart = system.heart
    assert heart is not None

    def lose_generations(times: int) -> None:
        for _ in range(times):
            pid = system.pid("root")
            posix.kill([pid])
            system.back_without("root", pid)

    lose_generations(1)
    open_before = len(os.listdir(f"/proc/{heart.pid}/fd"))
    lose_generations(4)
    assert len(os.listdir(f"/proc/{heart.pid}/fd")) == open_before
    assert len([path for path in Path(system.run()["runtime_dir"]).parent.glob("slakeeper-*") if path.is_dir()]) >= 1


def test_a_killed_heart_leaves_no_process(make_system: Make) -> None:
    system = make_system()
    system.start()
    run = system.run()
    assert system.heart is not None
    system.heart.kill()
    system.heart.communicate(timeout=10)
    until(lambda: not below(), 10)
    with pytest.raises(attach.NotRunning):
        system.run()
    # Its files are still there; the next start takes them away.
    assert Path(run["runtime_dir"]).exists()
    again = System(system.data)
    try:
        again.start()
        assert not Path(run["runtime_dir"]).exists()
        assert again.works()
        again.stop()
    finally:
        again.kill()


def test_a_heart_killed_at_any_moment_of_its_start_leaves_no_process(make_system: Make) -> None:
    system = make_system()
    for after_ms in range(0, 260, 20):
        heart = system.launch()
        until(lambda: run_file.holder(system.data))
        wait = iter(range(after_ms))
        until(lambda: next(wait, None) is None or None) if after_ms else None
        heart.kill()
        heart.communicate(timeout=10)
        until(lambda: not below(), 10)


def test_the_next_start_kills_what_outlived_a_killed_heart(make_system: Make) -> None:
    system = make_system()
    system.start()
    run = system.run()
    system.kill()
    until(lambda: not below(), 10)
    # Nothing of ours outlives the heart by itself: a stand-in does.
    stray = posix.identify(_fork_sleeper())
    assert stray is not None
    run["processes"].append({"name": "stray", "pid": stray.pid, "started": stray.started})
    # One whose pid has been used again by somebody else is left alone.
    innocent = posix.identify(_fork_sleeper())
    assert innocent is not None
    run["processes"].append({"name": "innocent", "pid": innocent.pid, "started": innocent.started - 1})
    run_file.write(system.data, run)
    again = System(system.data)
    try:
        again.start()
        until(lambda: not stray.alive())
        assert innocent.alive()
        again.stop()
    finally:
        again.kill()
        posix.kill([innocent.pid])


def _fork_sleeper() -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], dict(os.environ))


def test_too_many_crashes_start_the_next_generation(make_system: Make) -> None:
    system = make_system(intensity=1)
    system.start()
    for _ in range(2):
        pid = system.pid("cell-0")
        posix.kill([pid])
        until(lambda pid=pid: system.pid("cell-0") != pid and system.works())  # type: ignore[misc]
    until(lambda: system.run()["generation"] == 2 and system.works())


def test_a_system_that_cannot_start_again_keeps_trying(make_system: Make, tmp_path: Path) -> None:
    obstacle = tmp_path / "obstacle"
    processes = {"cell-0": {"start": "fail-if-file", "file": str(obstacle)}, "admin": {}}
    system = make_system(processes=processes)
    system.start()
    obstacle.touch()
    posix.kill([system.pid("root")])
    until(lambda: system.run()["state"] == "failing")
    assert "there is a file" in system.run()["reason"]
    obstacle.unlink()
    until(system.works)


def test_a_program_a_dead_service_was_running_is_killed(make_system: Make) -> None:
    system = make_system()
    system.start()
    program = posix.identify(system.ask("spawn")["pid"])
    assert program is not None
    # It has to be seen once, while its service lives.
    seen = system.run()["started_at_ms"]
    until(lambda: program.alive() and seen)
    wait_for_look(system)
    posix.kill([system.pid("admin")])
    until(lambda: not program.alive(), 10)
    until(system.works)


def wait_for_look(system: System) -> None:
    """The heart looks at programs about once a second; a write to its log file's folder is no sign of that."""
    import time

    end = time.monotonic() + 1.6
    until(lambda: time.monotonic() > end and system.works())


def test_programs_of_services_end_with_the_system(make_system: Make) -> None:
    system = make_system()
    system.start()
    program = posix.identify(system.ask("spawn")["pid"])
    assert program is not None
    system.stop()
    assert not program.alive()
