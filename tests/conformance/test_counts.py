"""counts: count_children, which_children, which_child, and what a child is an instance of."""

from slakeeper.otp.child_spec import ONE_FOR_ONE, SIMPLE_ONE_FOR_ONE, SUPERVISOR, TEMPORARY, ChildSpec, Flags
from slakeeper.otp.supervisor import Ok, which_children
from tests.conformance.fake_children import UP, Family, Script, Tree, subtree, worker
from tests.conformance.host_family import Kin
from tests.conformance.light import OnHost

SIMPLE = Flags(SIMPLE_ONE_FOR_ONE, 2, 3_600)


def test_count_children(kin: Kin) -> None:
    sup = kin.start(SIMPLE, worker("child", restart=TEMPORARY))
    for total in (1_000, 2_000):
        for _ in range(1_000):
            sup.spawn()
        assert sup.counts() == (1, total, 0, total)
        assert len(sup.which_children()) == total
    for _, pid in sup.which_children():
        sup.exit(pid, "killed")
    assert sup.counts() == (1, 0, 0, 0)


def test_count_children_supervisor(core: Family) -> None:
    sup = core.start(SIMPLE, ChildSpec("child", Tree(Flags()), TEMPORARY, type=SUPERVISOR))
    for total in (1_000, 2_000):
        for _ in range(1_000):
            sup.spawn()
        assert sup.counts() == (1, total, total, 0)
    sup.stop()
    assert len(core.exits) == 2_000


def test_count_restarting_children(kin: Kin) -> None:
    """Who is restarting is counted, and is not active."""
    for simple in (False, True):
        family = Family()
        if simple:
            sup = family.start(Flags(SIMPLE_ONE_FOR_ONE, 10, 10), worker("child"))
            pids = [sup.spawn(Script(iter([UP, *outcomes]))).pid for outcomes in (["no"], [], ["no"])]
        else:
            scripts = {"a": [UP, "no"], "b": [UP], "c": [UP, "no"]}
            sup = family.start(
                Flags(ONE_FOR_ONE, 10, 10), *(worker(name, outcomes) for name, outcomes in scripts.items())
            )
            pids = [sup.pid(name) for name in scripts]
        specs = 1 if simple else 3
        sup.exit(pids[0], "boom")
        assert sup.counts() == (specs, 2, 0, 3)
        sup.exit(pids[2], "boom")
        assert sup.counts() == (specs, 1, 0, 3)
        assert sorted(str(pid) for _, pid in sup.which_children()) == [
            str(pids[1]),
            "restarting",
            "restarting",
        ]
        family.later()
        assert sup.counts() == (specs, 3, 0, 3)
    assert kin.supervisors == {}


def test_which_children(kin: Kin) -> None:
    """The last to start first; which_child says the same of each."""
    sup = kin.start(Flags(), worker("a"), subtree("b", Flags()), worker("c"))
    sup.terminate_child("c")
    assert sup.which_children() == [("c", None), ("b", sup.pid("b")), ("a", sup.pid("a"))]
    listed = which_children(sup.state)
    assert [sup.which_child(info.id) for info in listed] == listed
    assert [info.type for info in listed] == ["worker", "supervisor", "worker"]
    assert sup.which_child("nobody") is None
    assert sup.which_child(sup.pid("a")) is None, "by pid under simple_one_for_one alone"


def test_which_children_simple_one_for_one(kin: Kin) -> None:
    sup = kin.start(Flags(SIMPLE_ONE_FOR_ONE, 10, 10), worker("child"))
    first, second = sup.spawn().pid, sup.spawn(Script(iter([UP, "no port"]))).pid
    assert sup.which_children() == [("", second), ("", first)]
    listed = which_children(sup.state)
    assert [sup.which_child(pid) for pid in (second, first)] == listed
    assert sup.which_child("child") is None
    sup.exit(second, "boom")
    restarting = sup.which_child(second)
    assert restarting is not None, "the last pid names it while it has none"
    assert (restarting.status, restarting.pid) == ("restarting", None)
    kin.later()
    assert sup.which_child(second) is None
    assert sup.terminate_child(first) == Ok()
    assert sup.which_child(first) is None


def test_get_callback_module(host: OnHost) -> None:
    """What OTP's release handler asks of a process: here the kind of an actor, and of a supervisor its strategy."""
    host.start(Flags(), worker("child1"))
    assert host.host.inspector.describe("child1")["kind"] == "puppet"
    tree = host.host.tree.describe()
    assert (tree["kind"], tree["strategy"]) == ("supervisor", "one_for_one")
