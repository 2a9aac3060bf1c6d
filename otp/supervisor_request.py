"""What a supervisor answers: start_child, terminate_child, restart_child, delete_child, and release."""

from dataclasses import replace
from typing import assert_never

from slakeeper.otp.child_spec import SpecError
from slakeeper.otp.child_table import Child, Phase, Starter
from slakeeper.otp.supervisor_event import (
    DeleteRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    Request,
    RestartRequested,
    StartRequested,
    TerminateRequested,
)
from slakeeper.otp.supervisor_state import check_spec
from slakeeper.otp.supervisor_turn import AT_REST, Turn


def answer(turn: Turn, request: Request) -> None:
    """Acts on a request: replies, or leaves it where it is replied to later (see ``supervisor.step``)."""
    if isinstance(request, StartRequested):
        _start_child(turn, request)
        return
    child = turn.children.get(request.child_id)
    if child is None:
        turn.reply(request.ref, Error(Refusal.NOT_FOUND))
        return
    match request:
        case TerminateRequested():
            _terminate_child(turn, request, child)
        case RestartRequested():
            _restart_child(turn, request, child)
        case DeleteRequested():
            _delete_child(turn, request, child)
        case ReleaseRequested():
            _release_child(turn, request, child)
        case _:
            assert_never(request)


def _start_child(turn: Turn, request: StartRequested) -> None:
    child = turn.children.get(request.spec.id)
    if child is not None:
        if child.phase is Phase.STOPPING:
            _after_its_stop(turn, request, child)
        elif child.phase in AT_REST:
            turn.reply(request.ref, Error(Refusal.ALREADY_PRESENT))
        else:
            turn.reply(request.ref, Error(Refusal.ALREADY_STARTED, child.pid))
        return
    try:
        check_spec(turn.flags, request.spec)
    except SpecError as error:
        turn.reply(request.ref, Error(Refusal.BAD_COMBINATION, detail=str(error)))
        return
    if turn.sequence is not None:
        turn.deferred = (*turn.deferred, request)
    else:
        turn.add(request.spec, request.ref)


def _terminate_child(turn: Turn, request: TerminateRequested, child: Child) -> None:
    stopped_by_sequence = turn.sequence is not None and turn.sequence.dooms(child)
    if child.phase is Phase.STOPPING and child.waiting:
        _after_its_stop(turn, request, child)
    elif child.phase is Phase.STOPPING or (child.phase is Phase.RUNNING and stopped_by_sequence):
        # In its turn; having been asked for, this stop is for good.
        turn.children = turn.children.put(replace(child, stoppers=(*child.stoppers, request.ref)))
    elif child.is_live:
        turn.stop(replace(child, stoppers=(request.ref,)))
    else:
        turn.rest(child)
        turn.reply(request.ref, Ok())


def _restart_child(turn: Turn, request: RestartRequested, child: Child) -> None:
    match child.phase:
        case Phase.STOPPED | Phase.QUARANTINED:
            _start_again(turn, request, child)
        case Phase.STOPPING:
            _after_its_stop(turn, request, child)
        case Phase.RUNNING:
            turn.reply(request.ref, Error(Refusal.RUNNING))
        case _:
            turn.reply(request.ref, Error(Refusal.RESTARTING))


def _release_child(turn: Turn, request: ReleaseRequested, child: Child) -> None:
    if child.phase is Phase.QUARANTINED:
        _start_again(turn, request, child)
    else:
        turn.reply(request.ref, Error(Refusal.NOT_QUARANTINED))


def _delete_child(turn: Turn, request: DeleteRequested, child: Child) -> None:
    match child.phase:
        case Phase.STOPPED | Phase.QUARANTINED:
            turn.children = turn.children.drop(child.spec.id)
            turn.reply(request.ref, Ok())
        case Phase.STOPPING:
            _after_its_stop(turn, request, child)
        case Phase.RUNNING:
            turn.reply(request.ref, Error(Refusal.RUNNING))
        case _:
            turn.reply(request.ref, Error(Refusal.RESTARTING))


def _start_again(turn: Turn, request: RestartRequested | ReleaseRequested, child: Child) -> None:
    if turn.sequence is not None:
        turn.deferred = (*turn.deferred, request)
    else:
        # Somebody looked at it and wants it: what it did before no longer counts against it.
        turn.start_requested(replace(child, counted_s=()), Starter(request.ref, child.phase))


def _after_its_stop(turn: Turn, request: Request, child: Child) -> None:
    turn.children = turn.children.put(replace(child, waiting=(*child.waiting, request)))
