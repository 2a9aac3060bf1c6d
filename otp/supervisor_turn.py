"""One turn of a supervisor: its state while one event is worked on, and what the driver has to do about it.

A Turn lives for one call of ``supervisor.step``. Here is how children are started and stopped; which event leads to
what is decided in ``supervisor``, who comes back in ``supervisor_restart``.

Two rules shape it. What must happen in order (init, a strategy's restart, the end) is a Sequence: one child at a
time, the next after the answer to the one before. And nothing here waits: a Sequence is state, so that whatever is
asked meanwhile is answered, or kept in ``deferred`` where it would change the order.
"""

from collections.abc import Hashable, Iterable

from slakeeper.otp.child_spec import BRUTAL_KILL, IN_ORDER, PERMANENT, TEMPORARY, ChildSpec
from slakeeper.otp.child_table import RUNNING, STARTING, Child, Phase
from slakeeper.otp.supervisor_event import (
    Action,
    Asked,
    Error,
    Event,
    Ok,
    Ready,
    Ref,
    Refusal,
    Reply,
    Report,
    ReportKind,
    Request,
    StartChild,
    StartFailed,
    StopChild,
    Terminated,
    is_normal,
)
from slakeeper.otp.supervisor_state import Life, Purpose, Sequence, SupervisorState, find_child

AT_REST = (Phase.STOPPED, Phase.QUARANTINED)


class Turn:
    """A supervisor's state at work.

    Attributes:
        state: the supervisor's, changed in place.
        now_ms: the monotonic time [ms].
        actions: what the driver has to do, in this order.
        replay: events that this one set free; they are worked on before the step ends.
    """

    __slots__ = ("actions", "now_ms", "replay", "state")

    def __init__(self, state: SupervisorState, now_ms: int) -> None:
        self.state = state
        self.now_ms = now_ms
        self.actions: list[Action] = []
        self.replay: tuple[Event, ...] = ()

    # -- small things ---------------------------------------------------------------------------------------

    def reply(self, ref: Ref, result: Ok | Error) -> None:
        self.actions.append(Reply(ref, result))

    def report(self, kind: ReportKind, child: Child, reason: str, detail: str = "") -> None:
        self.actions.append(Report(kind, child.spec.id, reason, detail))

    def find(self, name: Hashable) -> Child | None:
        """A child by what requests call it."""
        return find_child(self.state.children, self.state.template, name)

    def rest(self, child: Child, phase: Phase = Phase.STOPPED) -> None:
        """A child that has nothing running and nothing ahead; one that nobody could start again is dropped."""
        if child.spec.restart is TEMPORARY or self.state.template is not None:
            self.state.children.drop(child)
        else:
            child.phase = phase
            child.pid = None

    # -- starting -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the initial children that do not run already."""
        self.state.life = Life.STARTING
        missing = [child for child in self.state.children.ordered() if child.phase is not RUNNING]
        for child in missing:
            child.phase = Phase.WAITING
        self.state.sequence = Sequence(Purpose.INIT, starts=ids_of(missing))
        self.advance()

    def start_requested(self, child: Child, request: Request, fallback: Phase | None = None) -> None:
        """Starts a child because somebody asked; where the order counts, nothing else starts meanwhile.

        Args:
            fallback: what it becomes if it does not start; None: its spec is dropped.
        """
        child.starter, child.fallback = request, fallback
        if self.state.flags.strategy in IN_ORDER:
            child.phase = Phase.WAITING
            self.state.sequence = Sequence(Purpose.REQUEST, starts=(child.spec.id,))
            self.advance()
        else:
            self.start(child)

    def start(self, child: Child, again: bool = False) -> None:
        """Has a child started, ``again`` if the supervisor itself wants it back."""
        state = self.state
        state.last_incarnation += 1
        self.actions.append(StartChild(child.spec, state.last_incarnation, child.extra or ()))
        if child.spec.restart is TEMPORARY and not again and child.fallback is None:
            # What it was started with is not needed any more, and there may be much of it.
            child.spec = child.spec.forgotten()
            child.extra = None if child.extra else ()
        child.phase = STARTING
        child.incarnation = state.last_incarnation
        child.pid = None
        child.restarts += again

    # -- stopping -------------------------------------------------------------------------------------------

    def stop(self, child: Child) -> None:
        """Asks a running or starting child to stop."""
        child.phase = Phase.STOPPING
        self.actions.append(StopChild(child.spec.id, child.incarnation, "shutdown", child.spec.shutdown))

    def stopped(self, child: Child, reason: str | None) -> None:
        """A child that was to stop is gone, with this reason; None if it had not come up yet."""
        if reason is not None and not _stopped_well(child.spec, reason):
            self.report(ReportKind.SHUTDOWN_ERROR, child, reason)
        starter, stoppers, waiting = child.starter, child.stoppers, child.waiting
        child.starter, child.stoppers, child.waiting = None, (), ()
        # Without anybody who asked it was the sequence that stopped it, or would have.
        sequence = self.state.sequence
        in_restart = sequence is not None and sequence.purpose is Purpose.RESTART
        comes_back = in_restart and not stoppers
        self.rest(child, Phase.WAITING if comes_back else Phase.STOPPED)
        if starter is not None:
            self.reply(starter.ref, Error(Refusal.START_ERROR, detail="terminated before it had started"))
        for ref in stoppers:
            self.reply(ref, Ok())
        self.replay = (*self.replay, *waiting)
        self.advance()

    def end(self, reason: str, purpose: Purpose) -> None:
        """Stops all children in reverse and ends; whoever waits for something else is told."""
        state = self.state
        state.life = Life.ENDING
        state.reason = reason
        waiting = [*state.deferred, *self.replay]
        self.replay = ()
        state.deferred.clear()
        ordered = state.children.ordered()
        for child in ordered:
            if child.starter is not None:
                self.reply(child.starter.ref, Error(Refusal.SHUTDOWN))
            waiting.extend(child.waiting)
            child.starter, child.waiting = None, ()
            if not child.is_live and child.phase not in AT_REST:
                self.rest(child)
        for event in waiting:
            if isinstance(event, Asked):
                self.reply(event.ref, Error(Refusal.SHUTDOWN))
        live = [child for child in reversed(ordered) if child.is_live]
        if state.template is not None:
            for child in live:  # they do not know each other: all at once
                if child.phase is not Phase.STOPPING:
                    self.stop(child)
        state.sequence = Sequence(purpose, stops=ids_of(live), last_incarnation=state.last_incarnation)
        self.advance()

    # -- the sequence ---------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Takes the sequence, if there is one, to where it has to wait for an answer, or to its end."""
        while (sequence := self.state.sequence) is not None:
            stop_count = len(sequence.stops)
            if sequence.at < stop_count:
                child = self.state.children.get(sequence.stops[sequence.at])
                if child is not None and child.is_live:
                    if child.phase is not Phase.STOPPING:
                        self.stop(child)
                    return
            elif sequence.at < stop_count + len(sequence.starts):
                child = self.state.children.get(sequence.starts[sequence.at - stop_count])
                if child is not None and child.phase is Phase.WAITING:
                    self.start(child, again=sequence.purpose is Purpose.RESTART)
                    return
                if child is not None and child.phase in (Phase.STARTING, Phase.STOPPING):
                    return
            else:
                self._finish(sequence.purpose)
                return
            sequence.at += 1

    def _finish(self, purpose: Purpose) -> None:
        state = self.state
        state.sequence = None
        if purpose is Purpose.INIT:
            state.life = Life.RUNNING
            self.actions.append(Ready())
        elif purpose is Purpose.INIT_FAILED:
            state.life = Life.ENDED
            self.actions.append(StartFailed(state.reason, state.culprit))
        elif purpose is Purpose.SHUTDOWN:
            state.life = Life.ENDED
            self.actions.append(Terminated(state.reason))


def ids_of(children: Iterable[Child]) -> tuple[str, ...]:
    """Their ids, in the same order."""
    return tuple(child.spec.id for child in children)


def _stopped_well(spec: ChildSpec, reason: str) -> bool:
    """Whether a child that was asked to stop ended as asked. Source: supervisor.erl, shutdown/1."""
    if reason == ("killed" if spec.shutdown is BRUTAL_KILL else "shutdown"):
        return True
    return spec.restart is not PERMANENT and is_normal(reason)
