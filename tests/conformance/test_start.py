"""sup_start, sup_start_map: how supervisors and children come up, or do not."""

from typing import Any

import pytest

from slakeeper.otp.child_spec import (
    INFINITY,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    TEMPORARY,
    TRANSIENT,
    WORKER,
    AutoShutdown,
    ChildSpec,
    Flags,
    Restart,
    SpecError,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import IGNORE, UP, Family, Script, StartError, Tree, worker
from tests.conformance.host_family import Kin
from tests.conformance.light import Light

FLAGS = Flags(ONE_FOR_ONE, 2, 3_600)
SIMPLE = Flags(SIMPLE_ONE_FOR_ONE, 2, 3_600)


def test_sup_start_normal(light: Light) -> None:
    light.start(FLAGS)
    assert light.ended is None
    light.stop()
    assert light.ended == "shutdown"


def test_sup_start_ignore_init(core: Family) -> None:
    """A supervisor that chooses not to run is no failure, and nothing of it is left."""
    ignoring = ChildSpec("sub", Tree(FLAGS, (worker("child1"),), iter([IGNORE])), type=SUPERVISOR)
    sup = core.start(FLAGS, ignoring)
    assert sup.which_children() == [("sub", None)]
    assert (core.log, core.exits, sup.kinds()) == ([], {}, [])


def test_sup_start_ignore_child(kin: Kin) -> None:
    sup = kin.start(FLAGS, worker("child1", [IGNORE]), worker("child2"))
    assert sup.which_children() == [("child2", sup.pid("child2")), ("child1", None)]
    assert sup.start_child(worker("child3", [IGNORE])) == Ok(None)
    assert sup.which_children()[0] == ("child3", None)
    assert sup.counts() == (3, 1, 0, 3)


def test_sup_start_ignore_temporary_child(kin: Kin) -> None:
    sup = kin.start(FLAGS, worker("child1", [IGNORE], restart=TEMPORARY), worker("child2", restart=TEMPORARY))
    assert sup.which_children() == [("child2", sup.pid("child2"))]
    assert sup.counts() == (1, 1, 0, 1)


def test_sup_start_ignore_temporary_child_start_child(kin: Kin) -> None:
    sup = kin.start(FLAGS)
    assert sup.start_child(worker("child1", [IGNORE], restart=TEMPORARY)) == Ok(None)
    assert sup.start_child(worker("child2", restart=TEMPORARY)) == Ok(sup.pid("child2"))
    assert sup.which_children() == [("child2", sup.pid("child2"))]


def spawn_an_ignoring_child(kin: Kin, restart: Restart) -> None:
    """Whatever the restart type, there is no spec to be kept."""
    sup = kin.start(SIMPLE, worker("child", [IGNORE, UP], restart=restart))
    assert sup.spawn() == Ok(None)
    assert sup.counts() == (1, 0, 0, 0)
    assert isinstance(sup.spawn(), Ok)
    assert sup.counts() == (1, 1, 0, 1)


def test_sup_start_ignore_temporary_child_start_child_simple(kin: Kin) -> None:
    spawn_an_ignoring_child(kin, TEMPORARY)


def test_sup_start_ignore_permanent_child_start_child_simple(kin: Kin) -> None:
    spawn_an_ignoring_child(kin, PERMANENT)


def test_sup_start_error_return(kin: Kin) -> None:
    """What an init must not return: flags that are none, or a child that is no spec."""
    for flags, specs, reason in [
        ("one_for_one", (), "supervisor_data: invalid_type: 'one_for_one'"),
        (None, (), "supervisor_data: invalid_type: None"),
        (FLAGS, ("child1",), "start_spec: invalid_child_spec: 'child1'"),
    ]:
        wrong: Any = (flags, *specs)
        with pytest.raises(SpecError, match=reason):
            kin.start(*wrong)
    assert kin.supervisors == {}


def test_sup_start_fail(light: Light) -> None:
    """The start fails with the reason of the child, and what was started before is stopped again."""
    with pytest.raises(StartError, match=r"shutdown: failed_to_start_child child2: .*no port"):
        light.start(FLAGS, worker("child1"), worker("child2", ["no port"]), worker("child3"))
    assert light.log == ["start child1", "start child2", "stop child1"]


def test_sup_start_child_returns_error(light: Light) -> None:
    light.start(FLAGS)
    assert "no port" in light.start_child(worker("child1", ["no port"]))
    assert light.pids() == {}
    assert light.ended is None
    assert light.start_child(worker("child1")) == "ok", "its id is free"


def test_sup_start_child_returns_error_simple(kin: Kin) -> None:
    sup = kin.start(SIMPLE, worker("child"))
    assert sup.spawn(Script(iter(["no port"]))) == Error(Refusal.START_ERROR, detail="no port")
    assert sup.counts() == (1, 0, 0, 0)
    assert sup.which_children() == []
    assert sup.ended is None


def test_sup_start_restart_child_returns_error(kin: Kin) -> None:
    sup = kin.start(FLAGS, worker("child1", [UP, "no port"]))
    sup.terminate_child("child1")
    assert sup.restart_child("child1") == Error(Refusal.START_ERROR, detail="no port")
    assert sup.which_children() == [("child1", None)]
    assert sup.restart_child("child1") == Ok(sup.pid("child1"))


# -- sup_start_map --------------------------------------------------------------------------------------------


def test_sup_start_map(core: Family) -> None:
    """Defaults are filled in."""
    script = Script()
    sup = core.start(
        Flags.from_map({}),
        ChildSpec.from_map({"id": "child1", "start": script}),
        ChildSpec.from_map({"id": "child2", "start": script, "shutdown": 1_000}),
        ChildSpec.from_map({"id": "child3", "start": Tree(FLAGS), "type": "supervisor"}),
    )
    assert sup.get_childspec("child1") == ChildSpec(
        "child1", script, PERMANENT, 5_000, WORKER, significant=False
    )
    assert sup.get_childspec("child2") == ChildSpec(
        "child2", script, PERMANENT, 1_000, WORKER, significant=False
    )
    third = sup.get_childspec("child3")
    assert third is not None
    assert third.shutdown is INFINITY
    assert sup.get_childspec("nobody") is None
    assert sup.state.flags == Flags(ONE_FOR_ONE, 1, 5, None, AutoShutdown.NEVER)


def test_sup_start_map_simple(kin: Kin) -> None:
    template = ChildSpec.from_map({"id": "child", "start": Script()})
    sup = kin.start(Flags.from_map({"strategy": "simple_one_for_one"}), template)
    pids = [result.pid for result in (sup.spawn(), sup.spawn(), sup.spawn())]
    assert [sup.get_childspec(pid) for pid in pids] == [template] * 3
    assert sup.get_childspec("child") is None, "known by pid alone"


def test_sup_start_map_faulty_specs(kin: Kin) -> None:
    start = Script()
    for strategy in (ONE_FOR_ONE, ONE_FOR_ALL, SIMPLE_ONE_FOR_ONE):
        for given, reason in [
            ({"start": start}, "missing_id"),
            ({"id": "child1"}, "missing_start"),
            ({"id": "child1", "start": start, "restart": "permanetn"}, "invalid_restart_type"),
            ({"id": "child1", "start": start, "type": "wrkr"}, "invalid_child_type"),
            ({"id": "child1", "start": start, "shutdown": -1}, "invalid_shutdown"),
            ({"id": "child1", "start": start, "significant": "very"}, "invalid_significant"),
            ({"id": "child1", "start": start, "significant": True}, "bad_combination"),
            ({"id": "child1", "start": start, "restart": TRANSIENT, "significant": True}, "bad_combination"),
            ("child1", "invalid_child_spec"),
        ]:
            map_given: Any = given
            with pytest.raises(SpecError) as caught:
                kin.start(Flags(strategy), ChildSpec.from_map(map_given))
            assert caught.value.reason == reason
    kin.start(FLAGS, ChildSpec.from_map({"id": "child1", "start": start, "silly_key": 1}))
