"""One turn of a supervisor: the state taken apart, changed, and put together again.

A Turn lives for one call of ``supervisor.step`` and is the only mutable thing in it. Here is how children are
started, stopped and restarted; which event leads to what is decided in ``supervisor``.

Two rules shape it. What must happen in order (init, a strategy's restart, the end) is a Sequence: one child at a
time, the next after the answer to the one before. And nothing here waits: a Sequence is state, so that whatever is
asked meanwhile is answered, or kept in ``deferred`` where it would change the order.
"""

from collections.abc import Iterable
from dataclasses import replace

from slakeeper.otp.backoff import jitter_fraction
from slakeeper.otp.child_spec import (
    BRUTAL_KILL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    TEMPORARY,
    ChildSpec,
    Quarantine,
)
from slakeeper.otp.child_table import Child, Phase, Starter
from slakeeper.otp.intensity import add_restart
from slakeeper.otp.supervisor_event import (
    Action,
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
    ScheduleRetry,
    StartChild,
    StartFailed,
    StopChild,
    Terminated,
)
from slakeeper.otp.supervisor_state import Life, Purpose, Sequence, SupervisorState

AT_REST = (Phase.STOPPED, Phase.QUARANTINED)


class Turn:
    """The parts of a SupervisorState while an event is worked on, and the actions so far."""

    def __init__(self, state: SupervisorState, now_ms: int) -> None:
        self.flags = state.flags
        self.children = state.children
        self.life = state.life
        self.sequence = state.sequence
        self.deferred = state.deferred
        self.restarts_s = state.restarts_s
        self.last_order = state.last_order
        self.last_incarnation = state.last_incarnation
        self.reason = state.reason
        self.culprit = state.culprit
        self.now_ms = now_ms
        self.actions: list[Action] = []
        self.replay: list[Event] = []

    def state(self) -> SupervisorState:
        """The new state."""
        return SupervisorState(
            self.flags,
            self.children,
            self.life,
            self.sequence,
            self.deferred,
            self.restarts_s,
            self.last_order,
            self.last_incarnation,
            self.reason,
            self.culprit,
        )

    # -- small things ---------------------------------------------------------------------------------------

    def reply(self, ref: Ref, result: Ok | Error) -> None:
        self.actions.append(Reply(ref, result))

    def report(self, kind: ReportKind, child: Child, reason: str, detail: str = "") -> None:
        self.actions.append(Report(kind, child.spec.id, reason, detail))

    def rest(self, child: Child, phase: Phase = Phase.STOPPED) -> None:
        """A child that has nothing running and nothing ahead; a temporary one goes with its spec."""
        if child.spec.restart is TEMPORARY:
            self.children = self.children.drop(child.spec.id)
        else:
            self.children = self.children.put(replace(child, phase=phase, pid=None))

    # -- starting -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the initial children."""
        self.life = Life.STARTING
        ordered = self.children.ordered()
        for child in ordered:
            self.children = self.children.put(replace(child, phase=Phase.WAITING))
        self.sequence = Sequence(Purpose.INIT, starts=_ids(ordered))
        self.advance()

    def add(self, spec: ChildSpec, ref: Ref) -> None:
        """Starts a new child because somebody asked."""
        self.last_order += 1
        self.start_requested(Child(spec, self.last_order), Starter(ref, None))

    def start_requested(self, child: Child, starter: Starter) -> None:
        """Starts a child at rest because somebody asked; where the order counts, nothing else starts meanwhile."""
        child = replace(child, starter=starter)
        if self.flags.strategy is ONE_FOR_ONE:
            self._start(child)
        else:
            self.children = self.children.put(replace(child, phase=Phase.WAITING))
            self.sequence = Sequence(Purpose.REQUEST, starts=(child.spec.id,))
            self.advance()

    def _start(self, child: Child, *, again: bool = False) -> None:
        self.last_incarnation += 1
        self.children = self.children.put(
            replace(
                child,
                phase=Phase.STARTING,
                incarnation=self.last_incarnation,
                pid=None,
                restarts=child.restarts + again,
            )
        )
        self.actions.append(StartChild(child.spec, self.last_incarnation))

    def start_failed(self, child: Child, reason: str) -> None:
        """A start was answered with no."""
        if child.starter is not None:
            starter, child = child.starter, replace(child, starter=None)
            if starter.fallback is None:
                self.children = self.children.drop(child.spec.id)
            else:
                self.rest(child, starter.fallback)
            self.reply(starter.ref, Error(Refusal.START_ERROR, detail=reason))
            self.advance()
            return
        self.report(ReportKind.START_ERROR, child, reason)
        if self.flags.quarantine is not None:
            # One bad child of many must not keep the others from starting, not even in init.
            if child.spec.restart is TEMPORARY:
                self.rest(child)
            else:
                self._restart_or_quarantine(child, self.flags.quarantine, reason, after_exit=False)
            self.advance()
        elif self.sequence is not None and self.sequence.purpose is Purpose.INIT:
            self.rest(child)
            self.culprit = child.spec.id
            self.end(f"shutdown: failed_to_start_child {child.spec.id}: {reason}", Purpose.INIT_FAILED)
        else:
            # What the sequence had not started yet is started by the retry, or by a later restart.
            if self.sequence is not None:
                self._give_up_waiting()
                self.sequence = None
            self._retry_after(child, 0)

    # -- restarting -----------------------------------------------------------------------------------------

    def restart(self, child: Child, reason: str) -> None:
        """A child must come back, after its exit or because its retry is due; counts against the intensity."""
        if self.flags.quarantine is not None:
            self._restart_or_quarantine(child, self.flags.quarantine, reason, after_exit=True)
            return
        allowed, self.restarts_s = add_restart(
            self.restarts_s, self.now_ms, self.flags.intensity, self.flags.period_s
        )
        if not allowed:
            self.report(ReportKind.SHUTDOWN, child, "reached_max_restart_intensity", reason)
            self.rest(child)
            self.end("shutdown", Purpose.SHUTDOWN)
        elif self.flags.strategy is ONE_FOR_ONE:
            self._start(child, again=True)
        else:
            self._restart_group(child.order if self.flags.strategy is REST_FOR_ONE else 0)

    def retry(self, child: Child) -> None:
        """The retry of a child is due."""
        if self.flags.quarantine is not None:
            self._start(child, again=True)  # counted when it failed
        else:
            self.restart(child, "retry")

    def _restart_group(self, first_order: int) -> None:
        """Stops in reverse and starts in order; also those that were stopped on request, as OTP does."""
        group = [child for child in self.children.ordered() if child.order >= first_order]
        for child in group:
            if not child.is_live:
                self.rest(child, Phase.WAITING)
        self.sequence = Sequence(
            Purpose.RESTART,
            stops=_ids(child for child in reversed(group) if child.is_live),
            starts=_ids(group),
            first_order=first_order,
            last_incarnation=self.last_incarnation,
        )
        self.advance()

    def _restart_or_quarantine(
        self, child: Child, policy: Quarantine, reason: str, *, after_exit: bool
    ) -> None:
        allowed, counted_s = add_restart(child.counted_s, self.now_ms, policy.intensity, policy.period_s)
        child = replace(child, counted_s=counted_s)
        waits = len(counted_s) - 1
        if not allowed:
            self.rest(child, Phase.QUARANTINED)
            self.report(
                ReportKind.QUARANTINED, child, reason, f"{len(counted_s)} failures within {policy.period_s} s"
            )
        elif waits > 0:
            fraction = jitter_fraction(child.spec.id, child.restarts)
            self._retry_after(child, policy.backoff.delay_ms(waits - 1, fraction))
        elif after_exit:
            self._start(child, again=True)
        else:
            self._retry_after(child, 0)

    def _retry_after(self, child: Child, after_ms: int) -> None:
        self.children = self.children.put(replace(child, phase=Phase.RESTARTING, pid=None))
        self.actions.append(ScheduleRetry(child.spec.id, child.incarnation, after_ms))

    # -- stopping -------------------------------------------------------------------------------------------

    def stop(self, child: Child) -> None:
        """Asks a running or starting child to stop."""
        self.children = self.children.put(replace(child, phase=Phase.STOPPING))
        self.actions.append(StopChild(child.spec.id, child.incarnation, "shutdown", child.spec.shutdown))

    def stopped(self, child: Child, reason: str) -> None:
        """A child that was to stop is gone."""
        if not _stopped_well(child.spec, reason):
            self.report(ReportKind.SHUTDOWN_ERROR, child, reason)
        starter, stoppers, waiting = child.starter, child.stoppers, child.waiting
        child = replace(child, starter=None, stoppers=(), waiting=())
        # Without anybody who asked it was the sequence that stopped it, or would have.
        in_restart = self.sequence is not None and self.sequence.purpose is Purpose.RESTART
        comes_back = in_restart and not stoppers
        self.rest(child, Phase.WAITING if comes_back else Phase.STOPPED)
        if starter is not None:
            self.reply(starter.ref, Error(Refusal.START_ERROR, detail="terminated before it had started"))
        for ref in stoppers:
            self.reply(ref, Ok())
        self.replay.extend(waiting)
        self.advance()

    def end(self, reason: str, purpose: Purpose) -> None:
        """Stops all children in reverse and ends; whoever waits for something else is told."""
        self.life = Life.ENDING
        self.reason = reason
        waiting = [*self.deferred, *self.replay]
        self.deferred, self.replay = (), []
        ordered = self.children.ordered()
        for child in ordered:
            if child.starter is not None:
                self.reply(child.starter.ref, Error(Refusal.SHUTDOWN))
            waiting.extend(child.waiting)
            if child.starter is not None or child.waiting:
                child = replace(child, starter=None, waiting=())
                self.children = self.children.put(child)
            if not child.is_live and child.phase not in AT_REST:
                self.rest(child)
        for event in waiting:
            if isinstance(event, Request):
                self.reply(event.ref, Error(Refusal.SHUTDOWN))
        self.sequence = Sequence(
            purpose,
            stops=_ids(child for child in reversed(ordered) if child.is_live),
            last_incarnation=self.last_incarnation,
        )
        self.advance()

    def _give_up_waiting(self) -> None:
        for child in self.children:
            if child.phase is Phase.WAITING:
                self.rest(child)

    # -- the sequence ---------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Takes the sequence, if there is one, to where it has to wait for an answer, or to its end."""
        while (sequence := self.sequence) is not None:
            stop_count = len(sequence.stops)
            if sequence.at < stop_count:
                child = self.children.get(sequence.stops[sequence.at])
                if child is not None and child.is_live:
                    if child.phase is not Phase.STOPPING:
                        self.stop(child)
                    return
            elif sequence.at < stop_count + len(sequence.starts):
                child = self.children.get(sequence.starts[sequence.at - stop_count])
                if child is not None and child.phase is Phase.WAITING:
                    self._start(child, again=sequence.purpose is Purpose.RESTART)
                    return
                if child is not None and child.phase in (Phase.STARTING, Phase.STOPPING):
                    return
            else:
                self._finish(sequence.purpose)
                return
            self.sequence = replace(sequence, at=sequence.at + 1)

    def _finish(self, purpose: Purpose) -> None:
        self.sequence = None
        if purpose is Purpose.INIT:
            self.life = Life.RUNNING
            self.actions.append(Ready())
        elif purpose is Purpose.INIT_FAILED:
            self.life = Life.ENDED
            self.actions.append(StartFailed(self.reason, self.culprit))
        elif purpose is Purpose.SHUTDOWN:
            self.life = Life.ENDED
            self.actions.append(Terminated(self.reason))


def _ids(children: Iterable[Child]) -> tuple[str, ...]:
    return tuple(child.spec.id for child in children)


def _stopped_well(spec: ChildSpec, reason: str) -> bool:
    """Whether a child that was asked to stop ended as asked. Source: supervisor.erl, shutdown/1."""
    if spec.shutdown is BRUTAL_KILL:
        return reason in ("killed", "shutdown")
    if reason == "normal":
        return spec.restart is not PERMANENT
    return reason == "shutdown" or reason.startswith("shutdown:")
