"""Whole systems that are lost, and what must not be left of them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slakeeper.otp import attach, posix, run_file
from tests.system.running_system import System, below, pause, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]

Make = Callable[..., System]


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
    assert (
        len([path for path in Path(system.run()["runtime_dir"]).parent.glob("slakeeper-*") if path.is_dir()])
        >= 1
    )


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
        pause(after_ms / 1000)
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


def test_files_that_were_removed_are_made_again(make_system: Make) -> None:
    system = make_system()
    system.start()
    run = system.run()
    run_file.remove(system.data)
    until(lambda: system.run().get("generation") == 1 and system.works())
    run_file.remove_runtime_dir(run["runtime_dir"])
    until(lambda: system.run().get("generation") == 2 and system.works())
    assert Path(system.run()["runtime_dir"]).is_dir()


def test_a_program_a_dead_service_was_running_is_killed(make_system: Make) -> None:
    system = make_system()
    system.start()
    program = posix.identify(system.ask("spawn")["pid"])
    assert program is not None
    # The heart must have seen it once while its service lives; it looks about once a second.
    pause(1.6)
    posix.kill([system.pid("admin")])
    until(lambda: not program.alive(), 10)
    until(system.works)


def test_programs_of_services_end_with_the_system(make_system: Make) -> None:
    system = make_system()
    system.start()
    program = posix.identify(system.ask("spawn")["pid"])
    assert program is not None
    system.stop()
    assert not program.alive()
