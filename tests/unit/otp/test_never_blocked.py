"""A supervisor is never blocked: OTP's waits for a child it stops, this one answers meanwhile.

On virtual time, in which a child that ignores its stop is a child that never ends. The same on real processes:
tests/system/test_supervised_starts.py.
"""

import pytest

from slakeeper.otp import supervisor as core
from slakeeper.otp.child_spec import INFINITY, TRANSIENT, Flags
from tests.conformance.fake_children import Family, Script, Supervisor, worker
from tests.unit.otp.supervisor_world import NAMED

EVERY_STRATEGY = pytest.mark.parametrize("strategy", NAMED)


def stopping_a_stubborn_child(strategy: str) -> tuple[Family, Supervisor]:
    family = Family()
    supervisor = family.start(
        Flags.from_map({"strategy": strategy}),
        worker("sibling"),
        worker("stubborn", script=Script(stop_ms=None), shutdown=INFINITY),
        worker("passing", restart=TRANSIENT),
    )
    supervisor.tell(core.TerminateRequested("stop", "stubborn"))
    assert family.log[-1] == "stop stubborn"
    return family, supervisor


@EVERY_STRATEGY
def test_while_a_child_ignores_its_stop_calls_about_its_siblings_are_answered_at_once(strategy: str) -> None:
    family, supervisor = stopping_a_stubborn_child(strategy)
    first = supervisor.pid("sibling")
    assert supervisor.terminate_child("sibling") == core.Ok()
    again = supervisor.restart_child("sibling")
    assert isinstance(again, core.Ok)
    assert again.pid != first
    assert isinstance(supervisor.start_child(worker("guest")), core.Ok)
    assert supervisor.terminate_child("guest") == core.Ok()
    assert supervisor.delete_child("guest") == core.Ok()
    supervisor.exit("passing", "normal")
    assert supervisor.counts() == (3, 2, 0, 3)
    assert family.now_ms == 0, "nobody had to wait"
    assert "stubborn" in supervisor.processes, "which is still not gone"


@EVERY_STRATEGY
def test_what_is_asked_about_the_stubborn_child_itself_comes_after_its_stop(strategy: str) -> None:
    _, supervisor = stopping_a_stubborn_child(strategy)
    supervisor.tell(core.RestartRequested("start", "stubborn"))
    former = supervisor.pid("stubborn")
    supervisor.exit("stubborn", "killed")
    assert supervisor.pid("stubborn") != former
