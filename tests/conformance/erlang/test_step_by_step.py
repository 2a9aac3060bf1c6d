"""Ours and the naive supervisor side by side, each step chosen after the last one, and a difference made small.

The scripts of ``author`` are many and as they come; here hypothesis looks for a difference, and takes away from the
steps that led to one what it does not need.
"""

from dataclasses import replace

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    INFINITY,
    PERMANENT,
    SIMPLE_ONE_FOR_ONE,
    SUPERVISOR,
    WORKER,
    AutoShutdown,
    ChildType,
    Restart,
    Shutdown,
    Strategy,
)
from tests.conformance.erlang.naive import Naive
from tests.conformance.erlang.ours import Ours
from tests.conformance.erlang.script import (
    AS_ASKED,
    EXITS,
    FAILURES,
    GRACE_MS,
    IGNORE,
    INFO,
    NEVER,
    SHORT_GRACE_MS,
    UP,
    Ask,
    Branch,
    Change,
    Exit,
    Happening,
    Script,
    Settings,
    Start,
    Stop,
    Under,
    Worker,
)
from tests.conformance.erlang.trace import Line, Subject, difference

# It takes seconds; but what it found takes minutes to be made small, and is not told if that is cut short.
pytestmark = pytest.mark.timeout(400)

_IDS, _BELOW, _BRANCH = ("c1", "c2", "c3", "c4"), ("bx", "by"), "b"

reasons = st.sampled_from(list(EXITS))
outcomes = st.sampled_from([UP, UP, INFO, IGNORE, *FAILURES])
requests = st.sampled_from(["terminate_child", "restart_child", "delete_child"])
settings = st.builds(
    Settings,
    st.sampled_from([strategy for strategy in Strategy if strategy is not SIMPLE_ONE_FOR_ONE]),
    st.integers(0, 4),
    st.sampled_from(AutoShutdown),
)
simple = st.builds(Settings, st.just(SIMPLE_ONE_FOR_ONE), st.integers(0, 4))


def _worker(
    child_id: str,
    restart: Restart,
    significant: bool,
    stop: tuple[Shutdown, str],
    kind: ChildType,
    starts: list[str],
) -> Worker:
    return Worker(child_id, restart, significant, stop[0], kind, stop[1], tuple(starts))


def workers(*ids: str) -> st.SearchStrategy[Worker]:
    """A worker with one of these ids."""
    stops = st.sampled_from(
        [
            *((GRACE_MS, stop) for stop in (AS_ASKED, "normal", "odd")),
            *((INFINITY, stop) for stop in (AS_ASKED, "normal")),
            *((BRUTAL_KILL, stop) for stop in (AS_ASKED, NEVER)),
            (SHORT_GRACE_MS, NEVER),
        ]
    )
    return st.builds(
        _worker,
        st.sampled_from(ids),
        st.sampled_from(Restart),
        st.booleans(),
        stops,
        st.sampled_from([WORKER, WORKER, SUPERVISOR]),
        st.lists(outcomes, max_size=3),
    )


def several_workers(*ids: str) -> st.SearchStrategy[list[Worker]]:
    return st.lists(workers(*ids), max_size=len(ids), unique_by=lambda worker: worker.id)


def fitting(flags: Settings, some: list[Worker]) -> tuple[Worker, ...]:
    """The same workers, none of them significant where that is refused."""
    nobody = flags.auto_shutdown is AutoShutdown.NEVER
    return tuple(
        replace(one, significant=one.significant and not nobody and one.restart is not PERMANENT)
        for one in some
    )


branches = st.builds(
    lambda worker, flags, some: replace(
        worker, type=SUPERVISOR, shutdown=INFINITY, below=Branch(flags, fitting(flags, some))
    ),
    workers(_BRANCH),
    settings,
    several_workers(*_BELOW),
)
exits = st.builds(Exit, st.sampled_from(_IDS), reasons)
happenings: st.SearchStrategy[Happening] = st.one_of(
    exits,
    exits,
    st.builds(Start, workers(*_IDS)),
    st.builds(Start, branches),
    st.builds(Ask, requests, st.sampled_from([*_IDS, _BRANCH])),
)
happenings_below: st.SearchStrategy[Exit | Start | Ask] = st.one_of(
    st.builds(Exit, st.sampled_from(_BELOW), reasons),
    st.builds(Start, workers(*_BELOW)),
    st.builds(Ask, requests, st.sampled_from(_BELOW)),
)


templates = workers("t").map(lambda worker: replace(worker, significant=False))
happenings_to_spawned: st.SearchStrategy[Exit | Start | Ask] = st.one_of(
    exits, exits, st.builds(Start, workers("s")), st.builds(Ask, requests, st.sampled_from(_IDS))
)


class _SideBySide(RuleBasedStateMachine):
    """Both supervisors; once they have ended, others begin."""

    def __init__(self) -> None:
        super().__init__()
        self.script = Script(Settings(Strategy.ONE_FOR_ONE, 0), (), ())
        self.sides: tuple[Subject, Subject] | None = None

    def begin_with(self, flags: Settings, some: tuple[Worker, ...]) -> None:
        self.script = Script(flags, some, ())
        ours, naive = self.sides = Ours(self.script), Naive(self.script)
        self._compare(ours.begin(), naive.begin())

    def happen(self, *step: Happening) -> None:
        assert self.sides is not None
        ours, naive = self.sides
        self.script = replace(self.script, steps=(*self.script.steps, step))
        self._compare(ours.step(step), naive.step(step))

    def _compare(self, ours: list[Line], naive: list[Line]) -> None:
        found = difference(self.script, ("ours", ours), ("naive", naive))
        if found is not None:
            self.sides = None  # so that the teardown does not say it again, in other words
            raise AssertionError(found)

    @property
    def runs(self) -> bool:
        return self.sides is not None and not self.sides[1].ended

    @precondition(lambda self: self.runs)
    @rule(really=st.integers(0, 9))
    def stop(self, really: int) -> None:
        if really == 9:  # now and then, so that most get further
            self.happen(Stop())

    def teardown(self) -> None:
        if self.runs:
            self.happen(Stop())


class NamedSideBySide(_SideBySide):
    """Under the three strategies whose children have names; a supervisor below is one of them."""

    @initialize(flags=settings, some=several_workers(*_IDS), branch=st.none() | branches)
    def first(self, flags: Settings, some: list[Worker], branch: Worker | None) -> None:
        self.begin_with(flags, fitting(flags, [*some, *([branch] if branch else [])]))

    @precondition(lambda self: not self.runs)
    @rule(flags=settings, some=several_workers(*_IDS), branch=st.none() | branches)
    def begin_anew(self, flags: Settings, some: list[Worker], branch: Worker | None) -> None:
        self.first(flags, some, branch)

    @precondition(lambda self: self.runs)
    @rule(one=happenings)
    def one_thing(self, one: Happening) -> None:
        self.happen(one)

    @precondition(lambda self: self.runs)
    @rule(some=st.lists(happenings, min_size=2, max_size=4))
    def several_things_at_once(self, some: list[Happening]) -> None:
        self.happen(*some)

    @precondition(lambda self: self.runs)
    @rule(what=happenings_below)
    def something_below(self, what: Exit | Start | Ask) -> None:
        self.happen(Under(_BRANCH, what))

    @precondition(lambda self: self.runs)
    @rule(flags=settings, some=several_workers(*_IDS))
    def code_change(self, flags: Settings, some: list[Worker]) -> None:
        self.happen(Change(flags, fitting(flags, some)))


class SimpleSideBySide(_SideBySide):
    """Under simple_one_for_one: each child is another, and it is the latest few that something happens to."""

    @initialize(flags=simple, template=templates)
    def first(self, flags: Settings, template: Worker) -> None:
        self.spawned = 0
        self.begin_with(flags, (template,))

    @precondition(lambda self: not self.runs)
    @rule(flags=simple, template=templates)
    def begin_anew(self, flags: Settings, template: Worker) -> None:
        self.first(flags, template)

    @precondition(lambda self: self.runs)
    # Without repetition: a second terminate_child would name the pid of a dead one, which is a difference on purpose.
    @rule(some=st.lists(happenings_to_spawned, min_size=1, max_size=4, unique=True))
    def things_at_once(self, some: list[Exit | Start | Ask]) -> None:
        latest = self.spawned
        named: list[Happening] = []
        for one in some:
            if isinstance(one, Start):
                self.spawned += 1
                named.append(Start(replace(one.worker, id=f"s{self.spawned}")))
            else:
                named.append(replace(one, id=f"s{latest - _IDS.index(one.id)}"))
        self.happen(*named)

    @precondition(lambda self: self.runs)
    @rule()
    def the_template_is_no_child(self) -> None:
        self.happen(Ask("terminate_id", "t"))

    @precondition(lambda self: self.runs)
    @rule(flags=simple, template=templates)
    def code_change(self, flags: Settings, template: Worker) -> None:
        self.happen(Change(flags, (template,)))


# Without the explanation, which takes minutes and tells nothing: where the traces are compared is known.
_PHASES = [Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink]
_FEW = hypothesis_settings(max_examples=50, stateful_step_count=20, deadline=None, phases=_PHASES)
_MANY = hypothesis_settings(_FEW, max_examples=120)

TestNamedSideBySide = NamedSideBySide.TestCase
TestNamedSideBySide.settings = _FEW
TestSimpleSideBySide = SimpleSideBySide.TestCase
TestSimpleSideBySide.settings = _FEW


@pytest.mark.slow
@pytest.mark.parametrize("machine", [NamedSideBySide, SimpleSideBySide])
def test_many_more_steps(machine: type[RuleBasedStateMachine]) -> None:
    run_state_machine_as_test(machine, settings=_MANY)
