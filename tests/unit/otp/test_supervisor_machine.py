"""Rules that hold for a supervisor whatever happens to its children, and in whatever order."""

from copy import deepcopy
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from slakeeper.otp import supervisor as core
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    ONE_FOR_ONE,
    AutoShutdown,
    Flags,
    Quarantine,
    Restart,
    Strategy,
)
from tests.unit.otp.supervisor_world import HANG, IGNORE, NAMED, UP, World, spec

IDS = ("a", "b", "c", "d")
REQUESTS_BY_ID = (
    core.TerminateRequested,
    core.RestartRequested,
    core.DeleteRequested,
    core.ReleaseRequested,
)

ids = st.sampled_from(IDS)
specs = st.builds(
    lambda child_id, restart, significant, shutdown: spec(
        child_id,
        restart=restart,
        significant=significant and restart is not Restart.PERMANENT,
        shutdown=shutdown,
    ),
    ids,
    st.sampled_from(list(Restart)),
    st.booleans(),
    st.sampled_from([100, BRUTAL_KILL]),
)
outcomes = st.sampled_from([UP, UP, HANG, IGNORE, "no port"])
reasons = st.sampled_from(["normal", "shutdown", "shutdown: done", "boom", "killed"])
quarantines = st.none() | st.builds(
    lambda intensity: Quarantine(intensity, 5, Backoff(100, 200)), st.integers(0, 3)
)


class Watched(World):
    """A World that also checks the order of what it is told to do, and keeps count of restarts."""

    def __init__(self, *args: Any, **fields: Any) -> None:
        self.restarts_s: list[int] = []
        self.restarts_seen: dict[str, int] = {}
        self.first_starts: dict[str, int] = {}
        super().__init__(*args, **fields)

    def order_of(self, child_id: str) -> int:
        return core.child_ids(self.state).index(child_id)

    def _perform(self, action: core.Action) -> None:
        ordered = self.state.flags.strategy is not ONE_FOR_ONE or not self.was_ready
        stopping = self.state.life == "ending"
        if isinstance(action, core.StartChild) and ordered and self.ended is None:
            assert not self.starting, "in order means one at a time"
        if isinstance(action, core.StopChild) and stopping and action.child_id in self.live:
            later = [other for other in self.live if self.order_of(other) > self.order_of(action.child_id)]
            assert not later, f"{action.child_id} stopped before {later}"
        if isinstance(action, core.StartChild):
            self.first_starts.setdefault(action.spec.id, action.incarnation)
            again = core.child_restarts(self.state, action.spec.id)
            if again > self.restarts_seen.get(action.spec.id, 0):
                self.restarts_s.append(self.now_ms // 1_000)
            self.restarts_seen[action.spec.id] = again
        super()._perform(action)

    def restarts_within_the_period(self) -> int:
        since_s = self.now_ms // 1_000 - self.state.flags.period_s
        return sum(at_s >= since_s for at_s in self.restarts_s)


class SupervisorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = Watched(begin=False)
        self.refs: list[int | str] = []
        self._refs = 0
        self.mentioned: list[core.ChildExited] = []

    @initialize(
        strategy=st.sampled_from(NAMED),
        intensity=st.integers(0, 4),
        period_s=st.integers(1, 3),
        quarantine=quarantines,
        auto_shutdown=st.sampled_from([AutoShutdown.ANY_SIGNIFICANT, AutoShutdown.ALL_SIGNIFICANT]),
        children=st.lists(specs, max_size=4, unique_by=lambda child: child.id),
        first=st.lists(st.tuples(ids, outcomes), max_size=3),
    )
    def begin(
        self,
        strategy: Strategy,
        intensity: int,
        period_s: int,
        quarantine: Quarantine | None,
        auto_shutdown: AutoShutdown,
        children: list[Any],
        first: list[tuple[str, str]],
    ) -> None:
        flags = Flags(
            strategy, intensity, period_s, quarantine if strategy is ONE_FOR_ONE else None, auto_shutdown
        )
        self.world = Watched(flags, *children, begin=False)
        for child_id, outcome in first:
            self.world.starts[child_id].append(outcome)
        self.world.tell(core.Begin())
        started = list(self.world.first_starts)
        assert started == [child.id for child in children][: len(started)]

    # -- what happens to children ---------------------------------------------------------------------------

    @rule(child_id=ids, outcome=outcomes)
    def next_start(self, child_id: str, outcome: str) -> None:
        self.world.starts[child_id].append(outcome)

    @rule(child_id=ids)
    def stops_slowly_or_not(self, child_id: str) -> None:
        self.world.slow_stops ^= {child_id}

    @precondition(lambda self: self.world.live)
    @rule(data=st.data(), reason=reasons)
    def crash(self, data: st.DataObject, reason: str) -> None:
        child_id = data.draw(st.sampled_from(sorted(self.world.live)))
        event = self.world.exit_of(child_id, reason)
        self.mentioned.append(event)
        self.world.tell(event)

    @precondition(lambda self: self.world.starting)
    @rule(data=st.data(), outcome=st.sampled_from([UP, IGNORE, "no port"]))
    def finish_start(self, data: st.DataObject, outcome: str) -> None:
        self.world.finish_start(data.draw(st.sampled_from(sorted(self.world.starting))), outcome)

    @precondition(lambda self: self.world.asked_to_stop)
    @rule(data=st.data(), reason=reasons)
    def finish_stop(self, data: st.DataObject, reason: str) -> None:
        self.world.finish_stop(data.draw(st.sampled_from(sorted(self.world.asked_to_stop))), reason)

    @rule(after_ms=st.sampled_from([0, 0, 100, 999, 1_000, 5_000]))
    def time_passes(self, after_ms: int) -> None:
        self.world.later(after_ms)

    @precondition(lambda self: self.mentioned)
    @rule(data=st.data())
    def an_old_exit_is_heard_again(self, data: st.DataObject) -> None:
        event = data.draw(st.sampled_from(self.mentioned))
        known = self.world.state.children.get(event.child_id)
        if known is None or known.phase != "exited":
            before, mark = deepcopy(self.world.state), self.world.mark
            self.world.tell(event)
            assert self.world.state == before
            assert self.world.since(mark) == []

    # -- what is asked --------------------------------------------------------------------------------------

    @rule(child=specs)
    def start_child(self, child: Any) -> None:
        self.refs.append(self.world.send(core.StartRequested, child))

    @rule(child_id=ids, kind=st.sampled_from(REQUESTS_BY_ID))
    def request(self, child_id: str, kind: Any) -> None:
        self.refs.append(self.world.send(kind, child_id))

    @rule(children=st.lists(specs, max_size=4, unique_by=lambda child: child.id))
    def code_change(self, children: list[Any]) -> None:
        self._refs += 1
        ref = f"change {self._refs}"
        self.refs.append(ref)
        self.world.tell(core.ChangeRequested(ref, self.world.state.flags, tuple(children)))

    @rule(reason=st.sampled_from(["shutdown", "enough"]), really=st.integers(0, 9))
    def stop(self, reason: str, really: int) -> None:
        if really == 0:  # now and then, so that most runs get further
            self.world.tell(core.StopRequested(reason))

    # -- what holds -----------------------------------------------------------------------------------------

    @invariant()
    def the_state_says_who_is_alive(self) -> None:
        for child in core.which_children(self.world.state):
            alive = child.id in self.world.live
            if child.status == "running":
                assert alive
            elif child.status in ("stopped", "quarantined"):
                assert not alive
            if child.pid is not None:
                assert child.pid == f"pid-{self.world.live[child.id]}"
        assert set(self.world.live) <= set(core.child_ids(self.world.state))

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Who is restarting has a start in flight, a retry scheduled, or a sequence that goes on."""
        state = self.world.state
        for child in core.which_children(state):
            if child.status == "restarting" and state.sequence is None:
                known = state.children.get(child.id)
                assert known is not None
                retry = core.RetryDue(child.id, known.incarnation)
                assert child.id in self.world.starting or retry in [due for _, due in self.world.retries]

    @invariant()
    def no_more_restarts_than_the_intensity_allows(self) -> None:
        flags = self.world.state.flags
        if flags.strategy is ONE_FOR_ONE and flags.quarantine is None:
            assert self.world.restarts_within_the_period() <= flags.intensity

    @invariant()
    def it_gives_up_only_when_the_intensity_is_used_up(self) -> None:
        flags, state = self.world.state.flags, self.world.state
        gave_up = self.world.kinds()["shutdown"] > 0
        assert not (gave_up and state.life not in ("ending", "ended"))
        assert not (gave_up and flags.quarantine is not None)
        assert self.world.kinds()["quarantined"] == 0 or flags.quarantine is not None

    def teardown(self) -> None:
        """Once everything slow has come to its end, all is settled, everybody has an answer, and a stop ends it."""
        world = self.world
        world.starts.clear()
        world.slow_stops.clear()
        while world.starting or world.asked_to_stop or world.retries:
            if world.asked_to_stop:
                world.finish_stop(min(world.asked_to_stop))
            elif world.starting:
                world.finish_start(min(world.starting))
            else:
                world.later(10_000)
        if world.state.life != "new":
            assert set(world.replies) == set(self.refs)
            assert world.state.sequence is None
            assert not world.state.deferred
            assert {child.status for child in core.which_children(world.state)} <= {
                "running",
                "stopped",
                "quarantined",
            }
        world.tell(core.StopRequested("shutdown"))
        assert world.ended is not None
        assert set(world.replies) == set(self.refs)
        assert world.state.life == "ended"


TestSupervisorMachine = SupervisorMachine.TestCase
TestSupervisorMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
