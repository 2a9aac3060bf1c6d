"""Programs whose service was killed end, whenever they began; what detached itself before is left alone."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from slakeeper.integrations import program
from slakeeper.otp import orphan, posix

WAIT_S = 30

# Starts a program as a remedy does, hands on its pid and what it says first, and waits.
SERVICE = """
import subprocess, sys, time
from slakeeper.integrations import program
started = program.start(sys.argv[1:], program.environment({}), None, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
line = started.stdout.readline().decode().strip()
if line.endswith("ends"):
    started.wait()
print(started.pid, line.split()[0], flush=True)
time.sleep(600)
"""

# A process that adopts orphans, looks once with the service alive or not at all, kills it, and looks again.
HEART = """
import json, os, subprocess, sys
from slakeeper.otp import posix
from slakeeper.otp.orphan import STARTED_BY, Orphans
service_code, sees, inherits, *argv = sys.argv[1:]
posix.adopt_orphans()
orphans = Orphans()
with subprocess.Popen([sys.executable, "-c", service_code, *argv], stdout=subprocess.PIPE, text=True) as service:
    pids = [int(each) for each in service.stdout.readline().split()]
    first, second = (posix.identify(pid) or posix.ProcessId(pid, 0) for pid in pids)
    if sees == "yes":
        assert orphans.look([service.pid]) == []
    if inherits == "yes":
        os.environ[STARTED_BY] = str(service.pid)
    service.kill()
killed = [pid == first.pid for pid in orphans.look([])]
if killed:
    posix.await_end(first, 5)
    posix.await_end(second, 0.2)
    killed += [pid == first.pid for pid in orphans.look([])]
print(json.dumps([killed, first.alive(), second.alive()]))
posix.kill_descendants(5)
"""

IN_ITS_GROUP = ("/bin/sh", "-c", "sleep 600 & echo $!; wait")
A_DAEMON = ("/bin/sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & wait")
A_DAEMON_AND_ENDS = ("/bin/sh", "-c", "setsid sh -c 'echo $$ ends; exec sleep 600 >/dev/null' &")


def heart(*argv: str, sees: bool = False, inherits: bool = False) -> Any:
    """What it saw: whether each of those that it killed was the program; whether that and what it started live."""
    flags = ["yes" if each else "no" for each in (sees, inherits)]
    done = subprocess.run(
        [sys.executable, "-c", HEART, SERVICE, *flags, *argv], capture_output=True, timeout=WAIT_S, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("sees", [False, True])
def test_a_program_ends_with_its_service_also_when_nobody_has_seen_them_together(sees: bool) -> None:
    assert heart(*IN_ITS_GROUP, sees=sees) == [[True], False, False]


def test_a_daemon_that_was_detached_while_its_service_lived_is_left_alone() -> None:
    assert heart(*A_DAEMON_AND_ENDS, sees=True) == [[], False, True]


def test_a_daemon_of_a_program_that_still_runs_is_left_alone() -> None:
    assert heart(*A_DAEMON) == [[True], False, True]


def test_what_a_heart_was_told_itself_says_nothing_about_its_children() -> None:
    """As of a system that a remedy of another one has started: its own processes have inherited the variable."""
    assert heart(*IN_ITS_GROUP, inherits=True) == [[], True, True]


def test_both_rooms_mean_the_same_variable() -> None:
    assert program.STARTED_BY == orphan.STARTED_BY


def test_a_variable_is_what_the_process_was_given() -> None:
    with subprocess.Popen(
        ["sh", "-c", "echo begun; cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"AB": "2", "A": "1"},
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert posix.variable(child.pid, "A") == "1"
        assert posix.variable(child.pid, "B") is None
    assert posix.variable(child.pid, "A") is None
    assert posix.variable(os.getpid(), "NEVER_SET") is None
