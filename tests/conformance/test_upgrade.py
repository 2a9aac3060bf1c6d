"""upgrade: other flags and specs for a supervisor that runs."""

import pytest

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    ONE_FOR_ONE,
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    ChildSpec,
    Flags,
    SpecError,
)
from slakeeper.otp.supervisor import Error, Ok, Refusal
from tests.conformance.fake_children import Family, Script, worker
from tests.conformance.host_family import Kin


def refusal(answer: Ok | Error) -> str:
    assert isinstance(answer, Error)
    return answer.reason.value


def test_code_change(core: Family) -> None:
    """Specs are merged by id: what is named anew is taken, what is new waits, what is not named stays."""
    flags = Flags(ONE_FOR_ONE, 0, 1)
    sup = core.start(flags)
    assert sup.code_change(Flags(ONE_FOR_ONE, 1, 3)) == Ok()
    assert sup.state.flags.intensity == 1
    assert refusal(sup.code_change(flags, worker("child1"), worker("child1"))) == "duplicate_child_name"
    assert sup.state.flags.intensity == 1, "a change that is refused has changed nothing"

    assert (
        sup.code_change(flags, worker("child1", shutdown=2_000), worker("child2", shutdown=BRUTAL_KILL))
        == Ok()
    )
    assert sup.which_children() == [("child2", None), ("child1", None)]
    first, second = sup.restart_child("child1").pid, sup.restart_child("child2").pid
    assert sup.which_children() == [("child2", second), ("child1", first)]

    stubborn = Script(stop_ms=None)
    changed = worker("child1", script=stubborn, shutdown=1_000)
    assert sup.code_change(flags, changed, worker("child3")) == Ok()
    assert sup.which_children() == [("child2", second), ("child3", None), ("child1", first)]
    assert sup.get_childspec("child1") == changed
    assert core.exits == {}
    sup.processes["child1"].script = stubborn
    sup.terminate_child("child1")
    assert (core.now_ms, core.exits) == (1_000, {first: "killed"}), "the new spec counts"
    assert sup.restart_child("child3") == Ok(sup.pid("child3"))


def test_code_change_map(core: Family) -> None:
    sup = core.start(Flags.from_map({}))
    assert sup.code_change(Flags.from_map({"intensity": 1, "period_s": 3})) == Ok()
    with pytest.raises(SpecError, match="missing_start"):
        ChildSpec.from_map({"id": "faulty_child"})
    with pytest.raises(SpecError, match="supervisor_data: invalid_intensity"):
        Flags.from_map({"intensity": "faulty_intensity"})
    given = {"id": "child1", "start": Script(), "shutdown": 2_000}
    assert sup.code_change(Flags.from_map({}), ChildSpec.from_map(given)) == Ok()
    first = sup.restart_child("child1").pid
    changed = ChildSpec.from_map({**given, "shutdown": 1_000, "restart": "temporary"})
    assert sup.code_change(Flags.from_map({}), changed) == Ok()
    found = sup.get_childspec("child1")
    assert found is not None
    assert (found.shutdown, found.restart) == (1_000, TEMPORARY)
    assert sup.which_children() == [("child1", first)]
    sup.exit("child1", "boom")
    assert sup.which_children() == [], "temporary from now on"


def test_code_change_simple(core: Family) -> None:
    """Exactly one spec, before and after; it is the template of the children that run as well."""
    flags = Flags(SIMPLE_ONE_FOR_ONE, 3, 10)
    sup = core.start(flags, worker("child1", shutdown=BRUTAL_KILL))
    pid = sup.spawn().pid
    changed = worker("child1", shutdown=1_000)
    assert sup.code_change(flags, changed) == Ok()
    assert sup.get_childspec(pid) == changed
    assert sup.which_children() == [("", pid)]
    assert refusal(sup.code_change(flags, worker("child1"), worker("child2"))) == "bad_start_spec"
    assert refusal(sup.code_change(flags)) == "bad_start_spec"
    assert refusal(sup.code_change(Flags(), worker("child1"))) == "bad_combination"
    sup.exit(pid, "boom")
    again = sup.which_children()[0][1]
    assert sup.processes["child1-1"].script is changed.start, "what comes back is made of the new template"
    sup.stop()
    assert core.exits[again] == "shutdown"


def test_code_change_simple_map(kin: Kin) -> None:
    flags = Flags.from_map({"strategy": "simple_one_for_one"})
    given = {"id": "child1", "start": Script()}
    sup = kin.start(flags, ChildSpec.from_map(given))
    assert sup.code_change(flags, ChildSpec.from_map({**given, "shutdown": 1_000})) == Ok()
    other = ChildSpec.from_map({**given, "id": "child2"})
    assert sup.code_change(flags, ChildSpec.from_map(given), other).reason is Refusal.BAD_START_SPEC  # type: ignore[union-attr]
    assert sup.code_change(flags, other) == Ok(), "the template may change its name"
    pid = sup.spawn().pid
    assert sup.get_childspec(pid) == other
