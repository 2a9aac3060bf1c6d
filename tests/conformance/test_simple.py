"""simple_one_for_one: many children of one template."""

from itertools import chain, repeat

from slakeeper.otp.child_spec import PERMANENT, SIMPLE_ONE_FOR_ONE, TEMPORARY, TRANSIENT, Flags
from slakeeper.otp.supervisor import Ok
from tests.conformance.fake_children import IGNORE, UP, Family, Script, worker
from tests.conformance.host_family import Kin


def flags(intensity: int = 2) -> Flags:
    return Flags(SIMPLE_ONE_FOR_ONE, intensity, 3_600)


def test_simple_one_for_one(kin: Kin) -> None:
    sup = kin.start(flags(), worker("child"))
    first, second = sup.spawn().pid, sup.spawn().pid
    sup.exit(first, "boom")
    pids = [pid for _, pid in sup.which_children()]
    assert second in pids
    assert first not in pids
    assert sup.counts() == (1, 2, 0, 2)
    sup.exit(second, "boom")
    assert sup.ended is None
    sup.exit(sup.which_children()[0][1], "boom")
    assert sup.ended == "shutdown"


def test_simple_one_for_one_shutdown(core: Family) -> None:
    """All are asked at once, and one timer is for all: the slowest counts, not the sum."""
    sup = core.start(flags(), worker("child", shutdown=2_000))
    pids = [sup.spawn(Script(stop_ms=stop_ms)).pid for stop_ms in (1_000, 1_000, 5_000)]
    sup.stop()
    assert core.now_ms == 2_000
    assert [core.exits[pid] for pid in pids] == ["shutdown", "shutdown", "killed"]


def test_simple_one_for_one_extra(core: Family) -> None:
    """A child whose start says more than a pid is restarted like any other, with the same arguments."""
    sup = core.start(flags(), worker("child"))
    script = Script(info="extra_info")
    assert sup.spawn(script) == Ok(1, "extra_info")
    sup.spawn(script, "argument")
    sup.exit(1, "boom")
    sup.exit(2, "boom")
    assert sup.counts() == (1, 2, 0, 2)
    assert [process.script for process in sup.processes.values()] == [script, script]
    assert {child.extra for child in sup.state.children} == {(script,), (script, "argument")}


def test_simple_one_for_one_escalation(kin: Kin) -> None:
    sup = kin.start(flags(4), worker("child"))
    first = sup.spawn(Script(chain([UP], repeat("error")))).pid
    second = sup.spawn().pid
    sup.exit(first, "boom")
    kin.later()
    assert sup.ended == "shutdown"
    assert kin.exits[second] == "shutdown"


def test_simple_one_for_one_corruption(core: Family) -> None:
    """What one child was started with is its own: it does not get into the template, nor stay with a temporary one."""
    for restart, kept in ((TEMPORARY, False), (TRANSIENT, True), (PERMANENT, True)):
        template = worker("child", restart=restart)
        sup = core.start(flags(), template)
        arguments = [object() for _ in range(3)]
        pids = [sup.spawn(argument).pid for argument in arguments]
        assert [sup.get_childspec(pid) for pid in pids] == [template] * 3
        extra = {child.extra for child in sup.state.children}
        assert extra == ({(argument,) for argument in arguments} if kept else {None})


def test_simple_one_for_one_restart_ignore(kin: Kin) -> None:
    """A child that chooses not to come back is gone."""
    sup = kin.start(flags(), worker("child"))
    sup.spawn(Script(iter([UP, IGNORE])))
    sup.spawn()
    sup.exit(1, "boom")
    assert sup.which_children() == [("", 2)]
    assert sup.counts() == (1, 1, 0, 1)
