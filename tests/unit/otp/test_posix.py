"""Processes are told apart, found, tied to their parents and ended."""

import os
import pathlib
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from slakeeper.otp import posix


def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        select.select([], [], [], 0.005)


# One write for each line: processes that share the pipe must not mix theirs.
PRELUDE = """
from slakeeper.otp import posix
import os, time
def say(number):
    os.write(1, b"%d\\n" % number)
"""


def run(script: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + script],
        stdout=subprocess.PIPE,
        text=True,
    )


def lines(process: "subprocess.Popen[str]", count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_a_process_is_known_by_its_pid_and_start() -> None:
    me = posix.identify(os.getpid())
    assert me is not None
    assert me.alive()
    assert not posix.ProcessId(me.pid, me.started + 1).alive()


def test_looking_at_processes_interns_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    # A path interns each of its parts, and the heart looks several times a second for as long as the system runs.
    def intern(*_: object, **__: object) -> None:
        raise AssertionError("a path was made")

    monkeypatch.setattr(pathlib.PurePath, "__new__", intern)
    monkeypatch.setattr(pathlib.Path, "__new__", intern)
    me = posix.identify(os.getpid())
    assert me is not None
    assert me.alive()
    assert posix.children(os.getpid()) is not None
    assert posix.descendants(os.getpid()) is not None


def test_nobody_has_a_pid_beyond_the_largest() -> None:
    assert posix.identify(2**22 + 1) is None
    assert posix.children(2**22 + 1) == []


def test_a_zombie_does_not_count() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    until(lambda: posix.identify(child.pid) is None)
    assert child.pid in posix.children(os.getpid())
    child.wait()


def test_a_program_name_with_parentheses_is_no_trouble(tmp_path: "os.PathLike[str]") -> None:
    path = os.path.join(tmp_path, "a) (b")
    os.symlink("/bin/sleep", path)
    child = subprocess.Popen([path, "60"])
    try:
        until(lambda: child.pid in posix.children(os.getpid()))
        assert posix.identify(child.pid) is not None
        assert child.pid in posix.descendants(os.getpid())
    finally:
        child.kill()
        child.wait()


def test_the_end_of_any_process_can_be_awaited() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = posix.identify(child.pid)
    assert process is not None
    assert not posix.await_end(process, 0.05)
    child.kill()
    child.wait()
    assert posix.await_end(process, 5)
    assert posix.open_pidfd(process) is None


def test_killing_who_is_gone_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    posix.kill([child.pid])


FAMILY = """
posix.tie_children(True)
def sleep():
    time.sleep(600)
    os._exit(0)
child = os.fork()
if not child:
    grandchild = os.fork()
    if not grandchild:
        sleep()
    say(grandchild)
    sleep()
say(child)
sleep()
"""


def test_tied_children_and_theirs_end_with_their_parent() -> None:
    with run(FAMILY) as family:
        identities = [posix.identify(pid) for pid in lines(family, 2)]
        assert all(identities)
        family.kill()
    for one in identities:
        assert one is not None
        assert posix.await_end(one, 5)


def test_programs_are_not_tied() -> None:
    script = (
        "import subprocess\nposix.tie_children(True)\n"
        "say(subprocess.Popen(['sleep', '600'], stdout=-3).pid)\ntime.sleep(600)"
    )
    with run(script) as parent:
        (pid,) = lines(parent, 1)
        program = posix.identify(pid)
        parent.kill()
    assert program is not None
    try:
        assert not posix.await_end(program, 0.2)
    finally:
        posix.kill([pid])


ADOPTER = """
posix.adopt_orphans()
first = os.fork()
if not first:
    for _ in range(3):
        between = os.fork()
        if not between:
            os.setsid()
            if not os.fork():
                time.sleep(600)
            os._exit(0)
        os.waitpid(between, 0)
    os._exit(0)
os.waitpid(first, 0)
say(len(posix.descendants(os.getpid())))
say(len(posix.kill_descendants(5)))
say(len(posix.descendants(os.getpid())))
"""


def test_an_adopter_can_end_all_that_ran_away() -> None:
    with run(ADOPTER) as adopter:
        assert lines(adopter, 3) == [3, 0, 0]
        assert adopter.wait(timeout=20) == 0


def test_fatal_signals_are_fatal_again() -> None:
    script = (
        "import signal\nsignal.signal(signal.SIGSEGV, lambda *_: None)\n"
        "posix.restore_fatal_signals()\nos.kill(os.getpid(), signal.SIGSEGV)\ntime.sleep(60)"
    )
    with run(script) as process:
        assert process.wait(timeout=20) == -signal.SIGSEGV


def test_a_pidfd_becomes_readable_at_the_end() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = posix.identify(child.pid)
    assert process is not None
    pidfd = posix.open_pidfd(process)
    if pidfd is None:
        pytest.fail("this kernel has no pidfds")
    try:
        assert select.select([pidfd], [], [], 0)[0] == []
        child.kill()
        assert select.select([pidfd], [], [], 5)[0] == [pidfd]
    finally:
        os.close(pidfd)
        child.wait()
