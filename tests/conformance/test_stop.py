"""sup_stop: how long a supervisor waits for its children, and what it makes of those that do not end as asked."""

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    ONE_FOR_ONE,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    Flags,
)
from tests.conformance.fake_children import Family, Script, worker
from tests.conformance.host_family import Kin, KinSupervisor

FLAGS = Flags(ONE_FOR_ONE, 2, 3_600)
SIMPLE = Flags(SIMPLE_ONE_FOR_ONE, 2, 3_600)
NEVER = Script(stop_ms=None)


def spawned(sup: KinSupervisor, *scripts: Script) -> list[int]:
    """The pids of new children."""
    return [sup.spawn(script).pid for script in scripts]


def test_sup_stop_infinity(core: Family) -> None:
    """Waited for without end, workers too."""
    slow = Script(stop_ms=3_600_000)
    sup = core.start(
        FLAGS, worker("child1", shutdown=INFINITY), worker("child2", script=slow, shutdown=INFINITY)
    )
    pids = sup.pid("child1"), sup.pid("child2")
    sup.stop()
    assert [core.exits[pid] for pid in pids] == ["shutdown", "shutdown"]
    assert core.now_ms == 3_600_000


def test_sup_stop_timeout(core: Family) -> None:
    """The one that sleeps is killed when its own time is over; its siblings end as asked."""
    sup = core.start(
        FLAGS,
        worker("child1", shutdown=1_000),
        worker("child2", script=NEVER, shutdown=1_000),
        worker("child3", script=Script(stop_ms=900), shutdown=1_000),
    )
    pids = [sup.pid(child_id) for child_id in ("child1", "child2", "child3")]
    sup.stop()
    assert [core.exits[pid] for pid in pids] == ["shutdown", "killed", "shutdown"]
    assert core.now_ms == 1_900, "one after the other, each with a time of its own"
    assert [(report.child_id, report.reason) for report in sup.reports[-1:]] == [("child2", "killed")]


def test_sup_stop_timeout_dynamic(core: Family) -> None:
    sup = core.start(SIMPLE, worker("child", shutdown=1_000))
    pids = spawned(sup, Script(), NEVER, Script(stop_ms=900), NEVER)
    sup.stop()
    assert [core.exits[pid] for pid in pids] == ["shutdown", "killed", "shutdown", "killed"]
    assert core.now_ms == 1_000, "all at once, with one timer"


def test_sup_stop_brutal_kill(core: Family) -> None:
    sup = core.start(FLAGS, worker("child1", shutdown=1_000), worker("child2", shutdown=BRUTAL_KILL))
    pids = sup.pid("child1"), sup.pid("child2")
    sup.stop()
    assert [core.exits[pid] for pid in pids] == ["shutdown", "killed"]
    assert sup.kinds() == [], "as asked"


def test_sup_stop_brutal_kill_dynamic(core: Family) -> None:
    sup = core.start(SIMPLE, worker("child", shutdown=BRUTAL_KILL))
    pids = spawned(sup, Script(), NEVER)
    sup.stop()
    assert [core.exits[pid] for pid in pids] == ["killed", "killed"]
    assert (core.now_ms, sup.kinds()) == (0, [])


def test_sup_stop_race(kin: Kin) -> None:
    """Children that end by themselves while they are stopped, or wait for it, neither hold up the stop nor return."""
    for flags in (FLAGS, SIMPLE):
        for restart in (PERMANENT, TRANSIENT, TEMPORARY):
            family = Family()
            slow = Script(stop_ms=500)
            if flags is SIMPLE:
                sup = family.start(flags, worker("child", script=slow, restart=restart))
                pids = spawned(sup, slow, slow, slow)
            else:
                sup = family.start(
                    flags, *(worker(f"child{number}", script=slow, restart=restart) for number in (1, 2, 3))
                )
                pids = [sup.pid(f"child{number}") for number in (1, 2, 3)]
            family.after(100, lambda sup=sup, pid=pids[0]: sup.exit(pid, "boom"))  # type: ignore[misc]
            family.after(200, lambda sup=sup, pid=pids[2]: sup.exit(pid, "normal"))  # type: ignore[misc]
            sup.stop()
            assert sup.ended == "shutdown"
            assert [family.exits[pid] for pid in pids] == ["boom", "shutdown", "normal"]
            assert len([word for word in family.log if word.startswith("start")]) == 3
    assert kin.supervisors == {}


def test_sup_stop_non_shutdown_exit_dynamic(core: Family) -> None:
    """Whatever they end with, the stop is a clean one; what is no proper end is reported."""
    for restart, proper in ((PERMANENT, 1), (TRANSIENT, 3), (TEMPORARY, 3)):
        sup = core.start(SIMPLE, worker("child", shutdown=1_000, restart=restart))
        scripts = [
            Script(stop_reason=reason) for reason in ("shutdown", "normal", "shutdown: done", "boom", "")
        ]
        pids = spawned(sup, *scripts)
        sup.stop()
        assert [core.exits[pid] for pid in pids] == [script.stop_reason for script in scripts]
        assert sup.kinds() == ["shutdown_error"] * (5 - proper)
        assert sup.ended == "shutdown"
