"""What a supervisor answers: start_child, terminate_child, restart_child, delete_child, release, and code_change."""

from dataclasses import replace
from typing import Any, assert_never

from slakeeper.otp.child_spec import (
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    ChildSpec,
    SpecError,
    check_spec,
    check_specs,
)
from slakeeper.otp.child_table import Child, Phase
from slakeeper.otp.supervisor_event import (
    ChangeRequested,
    DeleteRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    Request,
    RestartRequested,
    SpawnRequested,
    StartRequested,
    TerminateRequested,
)
from slakeeper.otp.supervisor_turn import Turn


def answer(turn: Turn, request: Request) -> None:
    """Acts on a request: replies, or leaves it where it is replied to later (see ``supervisor.step``)."""
    if isinstance(request, StartRequested) and turn.state.template is None:
        _start_child(turn, request)
    elif isinstance(request, ChangeRequested):
        _change_code(turn, request)
    elif isinstance(request, SpawnRequested):
        _spawn_child(turn, request)
    elif isinstance(request, StartRequested) or (
        turn.state.template is not None and not isinstance(request, TerminateRequested)
    ):
        turn.reply(request.ref, Error(Refusal.SIMPLE_ONE_FOR_ONE))
    else:
        _answer_about(turn, request, turn.find(request.child_id))


def _answer_about(
    turn: Turn,
    request: TerminateRequested | RestartRequested | DeleteRequested | ReleaseRequested,
    child: Child | None,
) -> None:
    if child is None:
        by_id = turn.state.template is not None and request.child_id == turn.state.template.id
        turn.reply(request.ref, Error(Refusal.SIMPLE_ONE_FOR_ONE if by_id else Refusal.NOT_FOUND))
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


def _spawn_child(turn: Turn, request: SpawnRequested) -> None:
    if turn.state.template is None:
        turn.reply(request.ref, Error(Refusal.INVALID_CHILD_SPEC))
    else:
        name = f"{turn.state.template.id}-{turn.state.last_order + 1}"
        _add(turn, request, turn.state.template.named(name), request.extra)


def _start_child(turn: Turn, request: StartRequested) -> None:
    try:
        check_spec(turn.state.flags, request.spec)
    except SpecError as error:
        turn.reply(request.ref, Error(Refusal.BAD_COMBINATION, detail=str(error)))
        return
    child = turn.state.children.get(request.spec.id)
    if child is not None:
        if child.phase is Phase.STOPPING:
            _after_its_stop(turn, request, child)
        elif child.pid is not None or child.starter is not None:
            turn.reply(request.ref, Error(Refusal.ALREADY_STARTED, child.pid))
        else:
            turn.reply(request.ref, Error(Refusal.ALREADY_PRESENT))
        return
    if turn.state.sequence is not None:
        turn.state.deferred.append(request)
    else:
        _add(turn, request, request.spec)


def _add(turn: Turn, request: Request, spec: ChildSpec, extra: tuple[Any, ...] = ()) -> None:
    turn.state.last_order += 1
    child = Child(spec, turn.state.last_order, extra)
    turn.state.children.add(child)
    turn.start_requested(child, request)


def _terminate_child(turn: Turn, request: TerminateRequested, child: Child) -> None:
    stopped_by_sequence = turn.state.sequence is not None and turn.state.sequence.dooms(child)
    if child.phase is Phase.STOPPING and child.waiting:
        _after_its_stop(turn, request, child)
    elif child.phase is Phase.STOPPING or (child.phase is Phase.RUNNING and stopped_by_sequence):
        # In its turn; having been asked for, this stop is for good.
        child.stoppers = (*child.stoppers, request.ref)
    elif child.is_live:
        child.stoppers = (request.ref,)
        turn.stop(child)
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
            turn.state.children.drop(child)
            turn.reply(request.ref, Ok())
        case Phase.STOPPING:
            _after_its_stop(turn, request, child)
        case Phase.RUNNING:
            turn.reply(request.ref, Error(Refusal.RUNNING))
        case _:
            turn.reply(request.ref, Error(Refusal.RESTARTING))


def _start_again(turn: Turn, request: RestartRequested | ReleaseRequested, child: Child) -> None:
    if turn.state.sequence is not None:
        turn.state.deferred.append(request)
    else:
        # Somebody looked at it and wants it: what it did before no longer counts against it.
        child.counted_s = ()
        turn.start_requested(child, request, child.phase)


def _after_its_stop(turn: Turn, request: Request, child: Child) -> None:
    child.waiting = (*child.waiting, request)


def _change_code(turn: Turn, request: ChangeRequested) -> None:
    """Takes other flags and specs; source: supervisor.erl, code_change/3 and update_childspec1/3."""
    flags, specs = request.flags, request.specs
    try:
        check_specs(flags, specs)
        if turn.state.template is not None or flags.strategy is SIMPLE_ONE_FOR_ONE:
            if turn.state.flags.strategy is not flags.strategy:
                raise SpecError("bad_combination", (turn.state.flags.strategy.value, flags.strategy.value))
    except SpecError as error:
        turn.reply(request.ref, Error(Refusal(error.reason), detail=str(error)))
        return
    if turn.state.sequence is not None:
        turn.state.deferred.append(request)
        return
    turn.state.flags = flags
    if turn.state.template is not None:
        turn.state.template = specs[0]
        for child in turn.state.children:
            spec = specs[0].named(child.spec.id)
            # Whose arguments are forgotten cannot be started again, so it stays what it is.
            _give_spec(child, spec if child.extra is not None else replace(spec, restart=TEMPORARY))
    else:
        _merge(turn, specs)
    turn.reply(request.ref, Ok())


def _merge(turn: Turn, specs: tuple[ChildSpec, ...]) -> None:
    """The children named come first, in the order of their specs; those no longer named stay, behind them."""
    named = {spec.id for spec in specs}
    kept = [child for child in turn.state.children.ordered() if child.spec.id not in named]
    merged = []
    for spec in specs:
        child = turn.state.children.get(spec.id)
        if child is None:
            child = Child(spec, 0)
            turn.state.children.add(child)
        else:
            _give_spec(child, spec)
        merged.append(child)
    for order, child in enumerate([*merged, *kept], 1):
        child.order = order
    turn.state.last_order = len(merged) + len(kept)


def _give_spec(child: Child, spec: ChildSpec) -> None:
    forgets = spec.restart is TEMPORARY and child.phase in (Phase.RUNNING, Phase.STOPPING)
    child.spec = spec.forgotten() if forgets else spec
