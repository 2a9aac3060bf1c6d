"""Who comes back, when and with whom: strategies, the intensity, retries, and quarantine."""

from slakeeper.otp.backoff import jitter_fraction
from slakeeper.otp.child_spec import IN_ORDER, REST_FOR_ONE, TEMPORARY, Quarantine
from slakeeper.otp.child_table import Child, Phase
from slakeeper.otp.intensity import add_restart
from slakeeper.otp.supervisor_event import Error, Refusal, ReportKind, ScheduleRetry
from slakeeper.otp.supervisor_state import Purpose, Sequence
from slakeeper.otp.supervisor_turn import Turn, ids_of


def restart(turn: Turn, child: Child, reason: str) -> None:
    """A child must come back, after its exit or because its retry is due; counts against the intensity."""
    if turn.state.flags.quarantine is not None:
        _restart_or_quarantine(turn, child, turn.state.flags.quarantine, reason, after_exit=True)
        return
    allowed, turn.state.restarts_s = add_restart(
        turn.state.restarts_s, turn.now_ms, turn.state.flags.intensity, turn.state.flags.period_s
    )
    if not allowed:
        turn.report(ReportKind.SHUTDOWN, child, "reached_max_restart_intensity", reason)
        turn.rest(child)
        turn.end("shutdown", Purpose.SHUTDOWN)
    elif turn.state.flags.strategy in IN_ORDER:
        _restart_group(turn, child.order if turn.state.flags.strategy is REST_FOR_ONE else 0)
    else:
        turn.start(child, again=True)


def retry(turn: Turn, child: Child) -> None:
    """The retry of a child is due."""
    if turn.state.flags.quarantine is not None:
        turn.start(child, again=True)  # counted when it failed
    else:
        restart(turn, child, "retry")


def start_failed(turn: Turn, child: Child, reason: str) -> None:
    """A start was answered with no."""
    if child.starter is not None:
        starter, child.starter = child.starter, None
        if child.fallback is None:
            turn.state.children.drop(child)
        else:
            # Not dropped, not even a temporary one, which was put there by a code_change and has never run.
            child.phase, child.pid = child.fallback, None
        turn.reply(starter.ref, Error(Refusal.START_ERROR, detail=reason))
        turn.advance()
        return
    turn.report(ReportKind.START_ERROR, child, reason)
    if turn.state.flags.quarantine is not None:
        # One bad child of many must not keep the others from starting, not even in init.
        if child.spec.restart is TEMPORARY:
            turn.rest(child)
        else:
            _restart_or_quarantine(turn, child, turn.state.flags.quarantine, reason, after_exit=False)
        turn.advance()
    elif turn.state.sequence is not None and turn.state.sequence.purpose is Purpose.INIT:
        turn.rest(child)
        turn.state.culprit = child.spec.id
        turn.end(f"shutdown: failed_to_start_child {child.spec.id}: {reason}", Purpose.INIT_FAILED)
    else:
        # What the sequence had not started yet is started by the retry, or by a later restart.
        if turn.state.sequence is not None:
            for other in list(turn.state.children):
                if other.phase is Phase.WAITING:
                    turn.rest(other)
            turn.state.sequence = None
        _retry_after(turn, child, 0)


def _restart_group(turn: Turn, first_order: int) -> None:
    """Stops in reverse and starts in order; also those that were stopped on request, as OTP does."""
    group = [child for child in turn.state.children.ordered() if child.order >= first_order]
    for child in group:
        if not child.is_live:
            turn.rest(child, Phase.WAITING)
    turn.state.sequence = Sequence(
        Purpose.RESTART,
        stops=ids_of(child for child in reversed(group) if child.is_live),
        starts=ids_of(group),
        first_order=first_order,
        last_incarnation=turn.state.last_incarnation,
    )
    turn.advance()


def _restart_or_quarantine(
    turn: Turn, child: Child, policy: Quarantine, reason: str, *, after_exit: bool
) -> None:
    allowed, counted_s = add_restart(child.counted_s, turn.now_ms, policy.intensity, policy.period_s)
    child.counted_s = counted_s
    waits = len(counted_s) - 1
    if not allowed:
        turn.rest(child, Phase.QUARANTINED)
        detail = f"{len(counted_s)} failures within {policy.period_s} s"
        turn.report(ReportKind.QUARANTINED, child, reason, detail)
    elif waits > 0:
        fraction = jitter_fraction(child.spec.id, child.restarts)
        _retry_after(turn, child, policy.backoff.delay_ms(waits - 1, fraction))
    elif after_exit:
        turn.start(child, again=True)
    else:
        _retry_after(turn, child, 0)


def _retry_after(turn: Turn, child: Child, after_ms: int) -> None:
    child.phase, child.pid = Phase.RESTARTING, None
    turn.actions.append(ScheduleRetry(child.spec.id, child.incarnation, after_ms))
