"""OTP's supervisor as a function: ``step(state, event, now_ms) -> (state, actions)``.

It starts its children in order, restarts those that end by their restart type and its strategy, gives up with
reason ``shutdown`` when they end too often, and stops what is left in reverse order. It does none of this itself:
a driver feeds it events and carries out its actions (both are described in ``supervisor_event``). The same events
at the same times always give the same actions. It is total: an event that is out of date, or about nobody, changes
nothing, and each request gets exactly one reply.

What OTP does, and where this goes another way:

- OTP's supervisor is deaf while it starts or stops a child. This one answers. What is asked about a child that is
  being stopped comes after its stop; what would start another child while an order is kept (during init, and under
  rest_for_one and one_for_all also during a restart) comes after that; StopRequested overtakes everything.
- OTP starts one child at a time. So does this one in init and in a strategy's restart; under one_for_one, children
  that restart by themselves, or on request, do not wait for each other: a child that takes long to come up must not
  hold up its siblings.
- Exits while an order is kept are acted on at its end, as OTP does with messages that wait in its mailbox.
- Under simple_one_for_one children have ids here too, made up, so that a driver needs to know nothing of it; requests
  name them by pid. A pid that is no child's is not_found, also if it was one (OTP looks whether the process is dead).
- code_change waits for the end of what goes on in order, and cannot lead to or from simple_one_for_one.
- A start that fails after init is tried again at once, each try counted, by way of ScheduleRetry, so that requests
  get in between. In init it fails the supervisor, with no second try.
- A child may be there before its supervisor begins (``initial_state``); to it, it is like one that it has started.
- ``Flags.quarantine`` is not OTP's: see docs/adr/0003-quarantine-and-backoff.md.

Source: erlang/otp, lib/stdlib/src/supervisor.erl.
"""

from collections.abc import Hashable
from typing import assert_never

from slakeeper.otp.child_spec import PERMANENT, TRANSIENT, AutoShutdown
from slakeeper.otp.child_table import RUNNING, STARTING, Child, Phase
from slakeeper.otp.supervisor_event import (
    PROGRESS,
    Action,
    Asked,
    Begin,
    ChangeRequested,
    ChildExited,
    ChildIgnored,
    ChildNews,
    ChildStarted,
    ChildStartFailed,
    DeleteRequested,
    Error,
    Event,
    Heard,
    Ok,
    Ready,
    Ref,
    Refusal,
    ReleaseRequested,
    Reply,
    Report,
    ReportKind,
    Request,
    RestartRequested,
    RetryDue,
    ScheduleRetry,
    SpawnRequested,
    StartChild,
    StartFailed,
    StartRequested,
    StopChild,
    StopRequested,
    Terminated,
    TerminateRequested,
    is_normal,
)
from slakeeper.otp.supervisor_request import answer
from slakeeper.otp.supervisor_restart import restart, retry, start_failed
from slakeeper.otp.supervisor_state import (
    OVER,
    ChildCount,
    ChildInfo,
    Life,
    Purpose,
    SupervisorState,
    child_ids,
    child_restarts,
    child_status,
    count_children,
    get_childspec,
    initial_state,
    which_child,
    which_children,
)
from slakeeper.otp.supervisor_turn import Turn

__all__ = [
    "Action",
    "Begin",
    "ChangeRequested",
    "ChildCount",
    "ChildExited",
    "ChildIgnored",
    "ChildInfo",
    "ChildStartFailed",
    "ChildStarted",
    "DeleteRequested",
    "Error",
    "Event",
    "Ok",
    "Ready",
    "Ref",
    "Refusal",
    "ReleaseRequested",
    "Reply",
    "Report",
    "ReportKind",
    "Request",
    "RestartRequested",
    "RetryDue",
    "ScheduleRetry",
    "SpawnRequested",
    "StartChild",
    "StartFailed",
    "StartRequested",
    "StopChild",
    "StopRequested",
    "SupervisorState",
    "TerminateRequested",
    "Terminated",
    "child_ids",
    "child_restarts",
    "child_status",
    "count_children",
    "get_childspec",
    "initial_state",
    "is_normal",
    "step",
    "which_child",
    "which_children",
]


def step(state: SupervisorState, event: Event, now_ms: int) -> tuple[SupervisorState, list[Action]]:
    """What a supervisor does about an event.

    Args:
        state: as ``initial_state`` or the last step gave it. It is changed in place: with a copy for each step,
            starting a child under many took eight times as long (docs/adr/0011-supervisor-state-in-place.md).
        event: what happened or is asked.
        now_ms: the monotonic time [ms]; never less than in an earlier step.

    Returns:
        The same state, and what the driver has to do, in this order.
    """
    turn = Turn(state, now_ms)
    _take(turn, event)
    while True:
        if turn.replay:
            first, turn.replay = turn.replay[0], turn.replay[1:]
            _take(turn, first)
        elif state.deferred and state.sequence is None and state.life is Life.RUNNING:
            _take(turn, state.deferred.popleft(), was_deferred=True)
        else:
            return state, turn.actions


def _take(turn: Turn, event: Event, was_deferred: bool = False) -> None:
    state = turn.state
    if isinstance(event, Asked):
        _take_request(turn, event, was_deferred)
    elif isinstance(event, ChildNews):
        child = state.children.get(event.child_id)
        if child is not None and child.incarnation == event.incarnation:
            _hear(turn, child, event)
    elif isinstance(event, Begin):
        if state.life is Life.NEW:
            turn.begin()
    elif isinstance(event, StopRequested):
        if state.life not in OVER:
            turn.end(event.reason, Purpose.SHUTDOWN)


def _take_request(turn: Turn, request: Request, was_deferred: bool) -> None:
    state = turn.state
    if state.life in OVER:
        turn.reply(request.ref, Error(Refusal.SHUTDOWN))
    elif state.life is Life.NEW or (
        state.deferred and not was_deferred and _comes_after_a_deferred_one(turn, request)
    ):
        state.deferred.append(request)
    else:
        answer(turn, request)


def _name_of(event: Event) -> Hashable:
    if isinstance(event, StartRequested):
        return event.spec.id
    if isinstance(event, Begin | StopRequested | SpawnRequested | ChangeRequested):
        return None
    return event.child_id


def _comes_after_a_deferred_one(turn: Turn, event: Request) -> bool:
    """Whether a request about the same child waits already: requests about one child keep their order."""
    name = _name_of(event)
    if isinstance(event, StartRequested) and turn.state.children.get(event.spec.id) is None:
        return False  # it will be put behind them anyway, and there may be thousands
    return any(isinstance(other, Asked) and _name_of(other) == name for other in turn.state.deferred)


# -- what is heard of a child ---------------------------------------------------------------------------------


def _hear(turn: Turn, child: Child, event: Heard) -> None:
    """An event about the latest incarnation of a child."""
    match event:
        case ChildStarted():
            if child.phase is STARTING:
                _started(turn, child, event)
            elif child.phase is Phase.STOPPING:
                child.pid = event.pid
        case RetryDue():
            if child.phase is Phase.RESTARTING:
                if turn.state.sequence is None:
                    retry(turn, child)
                else:
                    turn.state.deferred.append(event)
        case ChildIgnored():
            if child.phase is Phase.STARTING:
                starter, child.starter = child.starter, None
                if starter is not None:
                    turn.reply(starter.ref, Ok())
                if starter is not None and child.fallback is not None:
                    # Kept, if temporary, too: restart_child takes no spec away.
                    child.phase = Phase.STOPPED
                else:
                    turn.rest(child)
                turn.advance()
            elif child.phase is Phase.STOPPING:
                turn.stopped(child, None)
        case ChildStartFailed(_, _, reason):
            if child.phase is Phase.STOPPING:
                turn.stopped(child, None)
            else:
                _gone(turn, child, event, reason)
        case ChildExited(_, _, reason):
            _gone(turn, child, event, reason)
        case _:
            assert_never(event)


def _started(turn: Turn, child: Child, event: ChildStarted) -> None:
    starter = child.starter
    child.phase, child.pid, child.starter = RUNNING, event.pid, None
    if turn.state.template is None:
        turn.report(PROGRESS, child, "started", "supervised" if starter is None else "requested")
    else:
        turn.state.children.name(child, event.pid)  # and no report: there may be very many of them
    if starter is not None:
        turn.reply(starter.ref, Ok(event.pid, event.info))
    turn.advance()


def _gone(turn: Turn, child: Child, event: Event, reason: str) -> None:
    """Nothing of the child is left."""
    sequence = turn.state.sequence
    if child.phase is Phase.STARTING:
        start_failed(turn, child, reason)
    elif child.phase is Phase.STOPPING:
        turn.stopped(child, reason)
    elif child.phase is Phase.RUNNING and sequence is not None and sequence.dooms(child):
        turn.stopped(child, reason)  # before its turn to be stopped came
    elif child.phase in (Phase.RUNNING, Phase.EXITED):
        child.phase, child.pid = Phase.EXITED, None
        if sequence is None:
            _ended(turn, child, reason)
        else:
            turn.state.deferred.append(event)


def _ended(turn: Turn, child: Child, reason: str) -> None:
    """A child ended by itself."""
    kind, normal = child.spec.restart, is_normal(reason)
    if kind is PERMANENT or not normal:
        turn.report(ReportKind.CHILD_TERMINATED, child, reason)
    if kind is PERMANENT or (kind is TRANSIENT and not normal):
        restart(turn, child, reason)
        return
    turn.rest(child)
    if child.spec.significant and _was_the_last_that_counts(turn):
        turn.end("shutdown", Purpose.SHUTDOWN)


def _was_the_last_that_counts(turn: Turn) -> bool:
    if turn.state.flags.auto_shutdown is not AutoShutdown.ALL_SIGNIFICANT:
        return turn.state.flags.auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
    return not any(
        child.spec.significant and child.phase not in (Phase.STOPPED, Phase.QUARANTINED)
        for child in turn.state.children
    )
