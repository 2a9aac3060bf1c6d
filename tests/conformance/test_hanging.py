"""hanging: a supervisor in a loop of restarts that fail still answers, and can be stopped."""

from itertools import chain, repeat

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    SIMPLE_ONE_FOR_ONE,
    Flags,
    Strategy,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import UP, Family, Script, worker
from tests.conformance.host_family import Kin
from tests.conformance.light import OnHost


def looping() -> Script:
    """Starts once, then fails again and again, each time after a while."""
    return Script(chain([UP], repeat("error")))


def loops(core: Family, strategy: Strategy) -> None:
    """A child that hangs in its restarts is asked about, terminated, and brought back; at last all is stopped."""
    flags = Flags(strategy, 8, 10)
    sup = core.start(flags, worker("child1", script=looping(), shutdown=BRUTAL_KILL), worker("child2"))
    script = sup.processes["child1"].script
    pid = sup.pid("child1")
    sup.exit("child1", "error")
    script.start_ms = 2_000
    core.later(1_000)
    assert sup.start_child(worker("child1")) == Error(Refusal.ALREADY_PRESENT)
    assert sup.restart_child("child1") == Error(Refusal.RESTARTING)
    assert sup.delete_child("child1") == Error(Refusal.RESTARTING)
    assert sup.which_children()[-1] == ("child1", "restarting")
    assert sup.counts()[0] == 2
    assert sup.terminate_child("child1") == Ok()
    assert core.exits[pid] == "error"
    assert sup.which_children()[-1] == ("child1", None)
    core.later(60_000)
    assert sup.which_children()[-1] == ("child1", None), "its retry is cancelled"

    script.starts, script.start_ms = looping().starts, 0
    assert isinstance(sup.restart_child("child1"), Ok)
    sup.exit("child1", "error")
    sup.stop()
    assert sup.ended == "shutdown"
    assert sup.kinds().count("shutdown") == 0, "it has not given up"


def loops_on_hosts(strategy: Strategy) -> None:
    """The same, as far as a host goes: what is asked comes in between two tries."""
    for ended_by_request in (True, False):
        light = OnHost()
        light.start(Flags(strategy, 8, 10), worker("child1", script=looping()), worker("child2"))
        light.exit("child1", "error")
        assert light.host.inspector.describe("child1")["status"] == "restarting"
        assert "already_started" in light.start_child(worker("child1"))
        if ended_by_request:
            light.terminate_child("child1")
            mark = len(light.log)
            light.later(60_000)
            assert (light.log[mark:], light.ended) == ([], None)
        else:
            light.stop()
            assert light.ended == "shutdown"


def test_hanging_restart_loop(core: Family, host: OnHost) -> None:
    loops(core, ONE_FOR_ONE)
    loops_on_hosts(ONE_FOR_ONE)


def test_hanging_restart_loop_rest_for_one(core: Family, host: OnHost) -> None:
    loops(core, REST_FOR_ONE)
    loops_on_hosts(REST_FOR_ONE)


def test_hanging_restart_loop_simple(kin: Kin) -> None:
    sup = kin.start(Flags(SIMPLE_ONE_FOR_ONE, 8, 10), worker("child1", shutdown=BRUTAL_KILL))
    first = sup.spawn(looping()).pid
    sup.exit(first, "error")
    assert sup.restart_child("child1") == Error(Refusal.SIMPLE_ONE_FOR_ONE)
    assert sup.delete_child("child1") == Error(Refusal.SIMPLE_ONE_FOR_ONE)
    assert sup.which_children() == [("", "restarting")]
    assert sup.counts() == (1, 0, 0, 1)
    assert sup.terminate_child(first) == Ok(), "its last pid is what it is known by"
    assert sup.which_children() == []
    kin.later(60_000)
    assert sup.which_children() == []

    second = sup.spawn(looping()).pid
    sup.exit(second, "error")
    sup.stop()
    assert sup.ended == "shutdown"
    assert kin.exits[second] == "error"
