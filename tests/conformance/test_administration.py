"""admin: start_child, terminate_child, restart_child, delete_child, and what is wrong with specs and flags."""

from typing import Any

import pytest

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    ONE_FOR_ONE,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    TEMPORARY,
    TRANSIENT,
    AutoShutdown,
    ChildSpec,
    Flags,
    SpecError,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import Family, Script, worker
from tests.conformance.host_family import Kin

FLAGS = Flags(ONE_FOR_ONE, 2, 3_600)
SIMPLE = Flags(SIMPLE_ONE_FOR_ONE, 2, 3_600)
NOT_FOUND = Error(Refusal.NOT_FOUND)


def reason_of(make: Any, *args: Any, **fields: Any) -> tuple[str, str]:
    with pytest.raises(SpecError) as caught:
        make(*args, **fields)
    return caught.value.where, caught.value.reason


def test_child_adm(kin: Kin) -> None:
    child = worker("child1")
    sup = kin.start(FLAGS, child)
    pid = sup.pid("child1")
    assert sup.counts() == (1, 1, 0, 1)
    assert sup.start_child(child) == Error(Refusal.ALREADY_STARTED, pid)

    assert sup.terminate_child("hej") == NOT_FOUND
    assert sup.terminate_child("child1") == Ok()
    assert kin.exits[pid] == "shutdown"
    assert sup.which_children() == [("child1", None)]
    assert sup.counts() == (1, 0, 0, 1)
    assert sup.terminate_child("child1") == Ok(), "again"
    assert sup.start_child(child) == Error(Refusal.ALREADY_PRESENT)

    assert sup.restart_child("child1") == Ok(sup.pid("child1"))
    assert sup.pid("child1") != pid
    assert sup.restart_child("child1") == Error(Refusal.RUNNING)
    assert sup.restart_child("child2") == NOT_FOUND

    assert sup.delete_child("child1") == Error(Refusal.RUNNING)
    assert sup.delete_child("hej") == NOT_FOUND
    assert (sup.terminate_child("child1"), sup.delete_child("child1")) == (Ok(), Ok())
    assert sup.restart_child("child1") == NOT_FOUND
    assert (sup.which_children(), sup.counts()) == ([], (0, 0, 0, 0))

    assert sup.start_child(child) == Ok(sup.pid("child1"))
    assert sup.terminate_child(sup.pid("child1")) == NOT_FOUND, "by pid under simple_one_for_one alone"
    assert sup.spawn() == Error(Refusal.INVALID_CHILD_SPEC)
    assert sup.counts() == (1, 1, 0, 1)


def test_child_adm_simple(kin: Kin) -> None:
    sup = kin.start(SIMPLE, worker("child"))
    assert (sup.which_children(), sup.counts()) == ([], (1, 0, 0, 0))
    first, second = sup.spawn().pid, sup.spawn().pid
    assert sorted(sup.which_children()) == [("", first), ("", second)]
    assert sup.counts() == (1, 2, 0, 2)

    refused = Error(Refusal.SIMPLE_ONE_FOR_ONE)
    assert sup.terminate_child("child") == refused
    assert sup.terminate_child(first) == Ok()
    assert kin.exits == {first: "shutdown"}
    assert sup.which_children() == [("", second)]
    # OTP says ok for a process that is dead, whoever's child it was. A pid here tells nothing of who is gone.
    assert sup.terminate_child(first) == NOT_FOUND
    assert sup.terminate_child(7_000) == NOT_FOUND
    assert sup.restart_child("child") == refused
    assert sup.delete_child("child") == refused
    assert sup.start_child(worker("child2")) == refused
    assert sup.counts() == (1, 1, 0, 1)


def test_extra_return(core: Family) -> None:
    """What a child says when it is up is handed to who asked for the start, and no use is made of it."""
    child = worker("child1", script=Script(info="extra_return"), shutdown=1_000)
    sup = core.start(FLAGS, child)
    assert sup.which_children() == [("child1", sup.pid("child1"))]
    sup.terminate_child("child1")
    assert sup.restart_child("child1") == Ok(sup.pid("child1"), "extra_return")
    assert sup.which_children() == [("child1", sup.pid("child1"))]
    sup.terminate_child("child1")
    sup.delete_child("child1")
    assert sup.start_child(child) == Ok(sup.pid("child1"), "extra_return")


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"start": None}, "missing_start"),
    ({"restart": "prmanent"}, "invalid_restart_type"),
    ({"shutdown": -10}, "invalid_shutdown"),
    ({"shutdown": "soon"}, "invalid_shutdown"),
    ({"type": "wrkr"}, "invalid_child_type"),
    ({"significant": 1}, "invalid_significant"),
    ({"significant": True}, "bad_combination"),
]
RIGHT: list[dict[str, Any]] = [
    {"shutdown": INFINITY, "type": SUPERVISOR},
    {"shutdown": 1_000, "type": SUPERVISOR},
    {"restart": TEMPORARY, "shutdown": 1_000},
    {"restart": TRANSIENT, "shutdown": BRUTAL_KILL},
    {"restart": PERMANENT, "shutdown": INFINITY},
]


def test_child_specs(kin: Kin) -> None:
    given: dict[str, Any] = {"id": "child", "start": Script()}
    for wrong, reason in WRONG:
        assert reason_of(ChildSpec, **{**given, **wrong}) == ("", reason)
    for right in RIGHT:
        kin.start(FLAGS, ChildSpec(**{**given, **right, "start": Script(), "type": "worker"}))
    twice = [ChildSpec(**given), ChildSpec(**{**given, "restart": TEMPORARY})]
    assert reason_of(kin.start, FLAGS, *twice) == ("start_spec", "duplicate_child_name")
    assert reason_of(kin.start, SIMPLE) == ("", "bad_start_spec")
    assert reason_of(kin.start, SIMPLE, *twice) == ("", "bad_start_spec")


def test_child_specs_map(kin: Kin) -> None:
    given: dict[str, Any] = {"id": "child", "start": Script()}
    for wrong, reason in WRONG:
        assert reason_of(ChildSpec.from_map, {**given, **wrong}) == ("", reason)
    assert reason_of(ChildSpec.from_map, {"start": Script()}) == ("", "missing_id")
    assert reason_of(ChildSpec.from_map, {"id": "child"}) == ("", "missing_start")
    assert reason_of(ChildSpec.from_map, "child") == ("", "invalid_child_spec")
    for right in RIGHT:
        spec = ChildSpec.from_map({**given, **right, "modules": ["m"]})
        assert spec == ChildSpec(**{**given, **right})
    twice = [ChildSpec.from_map(given)] * 2
    assert reason_of(kin.start, FLAGS, *twice) == ("start_spec", "duplicate_child_name")
    assert reason_of(kin.start, SIMPLE, *twice) == ("", "bad_start_spec")
    mindful = Flags(auto_shutdown=AutoShutdown.ANY_SIGNIFICANT)
    significant = ChildSpec.from_map({**given, "restart": "transient", "significant": True})
    assert reason_of(kin.start, FLAGS, significant) == ("start_spec", "bad_combination")
    kin.start(mindful, significant)


def test_sup_flags(kin: Kin) -> None:
    for wrong, reason in [
        ({"strategy": "none_for_one"}, "invalid_strategy"),
        ({"intensity": "infinity"}, "invalid_intensity"),
        ({"intensity": -1}, "invalid_intensity"),
        ({"period_s": 0}, "invalid_period"),
        ({"period_s": "infinity"}, "invalid_period"),
        ({"auto_shutdown": "sometimes"}, "invalid_auto_shutdown"),
        ({"strategy": SIMPLE_ONE_FOR_ONE, "auto_shutdown": "any_significant"}, "bad_combination"),
        (("one_for_one", 2), "invalid_type"),
    ]:
        given: Any = wrong
        assert reason_of(Flags.from_map, given) == ("supervisor_data", reason)
    sup = kin.start(Flags.from_map({"silly_flag": True}))
    sup.stop()
    assert sup.ended == "shutdown"
