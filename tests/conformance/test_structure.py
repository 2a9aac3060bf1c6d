"""structure: trees, order, names, and children that go their own ways."""

from itertools import chain, repeat

import pytest

from slakeeper.otp.child_spec import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    ChildSpec,
    Flags,
    Strategy,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import UP, Family, Script, subtree, worker
from tests.conformance.host_family import Kin
from tests.conformance.light import Light


def test_child_unlink(core: Family) -> None:
    """A child that pays no heed to its supervisor is killed in time; meanwhile the supervisor answers."""
    naughty = worker("naughty", script=Script(stop_ms=None), shutdown=1_000)
    sup = core.start(Flags(), naughty)
    core.after(500, lambda: answers.append(sup.start_child(worker("other"))))
    answers: list[Ok | Error] = []
    assert sup.terminate_child("naughty") == Ok()
    assert core.now_ms == 1_000
    assert [isinstance(answer, Ok) for answer in answers] == [True]


def test_tree(light: Light) -> None:
    """A subtree that gave up is restarted as its specs say, so without what was added to it by request."""
    part = Flags(ONE_FOR_ONE, 4, 3_600)
    never_again = chain([UP], repeat("error"))
    light.start(
        Flags(ONE_FOR_ALL, 4, 3_600),
        subtree("supchild1", part, worker("child1"), worker("child2")),
        subtree("supchild2", part),
    )
    assert list(light.pids()) == ["supchild1", "supchild2"]
    assert light.start_child(worker("child3", never_again), under="supchild2") == "ok"
    assert light.start_child(worker("child4"), under="supchild2") == "ok"
    first, second = light.pids("supchild1"), light.pids("supchild2")
    assert list(first) == ["child1", "child2"]

    light.exit("child4", "abnormal")
    assert light.pids("supchild1") == first
    assert light.pids("supchild2")["child3"] == second["child3"]
    assert light.pids("supchild2")["child4"] != second["child4"]

    light.exit("child3", "abnormal")
    light.later()
    assert list(light.pids()) == ["supchild1", "supchild2"]
    assert light.pids("supchild2") == {}
    again = light.pids("supchild1")
    assert list(again) == ["child1", "child2"]
    assert not set(again.values()) & set(first.values())


@pytest.mark.parametrize("strategy", [ONE_FOR_ALL, REST_FOR_ONE])
def test_temporary_bystander(light: Light, strategy: Strategy) -> None:
    """A temporary sibling is stopped with the others and not started with them."""
    light.start(Flags(strategy, 2, 300), worker("child1"), worker("child2", restart=TEMPORARY))
    light.exit("child1", "normal")
    light.later()
    assert light.ended is None
    assert list(light.pids()) == ["child1"]
    assert light.start_child(worker("child2")) == "ok", "nothing of it was kept"


def test_simple_global_supervisor(light: Light) -> None:
    """Names lead to the new processes after every kind of restart: here an address is the name."""
    part = Flags(ONE_FOR_ALL, 3, 60)
    light.start(part, subtree("sup2", part, worker("server")))
    seen = [light.pids("sup2")["server"]]
    for reason in ("killed", "normal"):
        light.exit("server", reason)
        seen.append(light.pids("sup2")["server"])
    for _ in range(2):  # two more are too many for sup2, which comes back itself
        light.exit("server", "killed")
        seen.append(light.pids("sup2")["server"])
    assert len(set(seen)) == 5
    light.stop()
    assert light.ended == "shutdown"


def test_order_of_children(light: Light) -> None:
    """Started in order, stopped in reverse; a later one by request comes last."""
    flags = Flags(ONE_FOR_ALL, 3, 60)
    light.start(flags, worker("child1"), subtree("sub", flags, worker("child2")), worker("child3"))
    light.start_child(worker("child4"))
    started = [f"start child{number}" for number in (1, 2, 3, 4)]
    stopped = [f"stop child{number}" for number in (4, 3, 2, 1)]
    assert light.log == started
    light.exit("child3", "boom")
    assert light.log[4:] == [word for word in stopped if "3" not in word] + started
    light.stop()
    assert light.log[11:] == stopped


def test_already_started_outside_supervisor(kin: Kin) -> None:
    """What the start says is handed on; the supervisor has nothing of it."""
    sup = kin.start(Flags())
    answer = sup.start_child(worker("child1", ["already_started: 42"]))
    assert answer == Error(Refusal.START_ERROR, detail="already_started: 42")
    assert sup.which_children() == []
    taken = ChildSpec("child1", Script(), PERMANENT)
    assert isinstance(sup.start_child(taken), Ok)
