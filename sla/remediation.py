"""Remediation: an automatic action tried against a violation, verified, tried again, given up.

A run belongs to one (violation, action). Each attempt is executed within a timeout and then verified: only a metric
that holds again makes it *effective*; a remedy that says "done" proves nothing. Attempts are numbered and their keys
are the remedy's idempotency keys, so an answer to an older attempt changes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from slakeeper.sla.breaker import Breaker
from slakeeper.sla.lateness import late_ms
from slakeeper.sla.policy import AutomaticAction, EnforcementPolicy, OnUncertain, RemediationSettings
from slakeeper.sla.violation import ActionRecord, ActionStatus, ActionType

__all__ = [
    "Breaker",
    "Effect",
    "Execute",
    "Finished",
    "Outcome",
    "Phase",
    "Recorded",
    "Run",
    "Step",
    "Verify",
    "applicable_actions",
    "attempt_key",
    "backoff_ms",
    "busy_targets",
    "deadline_ms",
    "on_busy",
    "on_deadline",
    "on_interrupted",
    "on_recovered",
    "on_refused",
    "on_result",
    "on_verify",
    "planned",
    "refused",
    "start",
]


_INTERRUPTED = "interrupted by a restart; its result is unknown"
_REPEATED = f"{_INTERRUPTED}, and it is to be repeated under the same key"

TARGET_LOOK_MS = 1_000
"""How long a run waits before it looks again whether its target is free [ms]."""


class Phase(StrEnum):
    """Where a run stands: waiting for its turn or backoff, running, waiting for the verifying look, done."""

    WAITING = "waiting"
    RUNNING = "running"
    VERIFYING = "verifying"
    DONE = "done"


class Outcome(StrEnum):
    """How a run ended; all but ``effective`` and ``cancelled`` leave the violation to people."""

    EFFECTIVE = "effective"
    INEFFECTIVE = "ineffective"
    FAILED = "failed"
    DRY_RUN = "dry_run"
    STOPPED = "stopped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Run:
    """One action against one violation.

    Attributes:
        attempt: the number of the running or last attempt; ``attempts_before`` before the first.
        attempts_before: attempts of an earlier run of the same action; numbering goes on after them.
        due_ms: when the phase ends by itself [Unix ms]; None when done.
        started_ms: when the present attempt began [Unix ms]; ``late_ms`` after it was due, 0 on time.
        recovered: the metric recovered while the attempt was running.
        by: who asked for it; empty for an automatic run.
        was_busy: the attempt to come was to begin before, and found another run acting on its target.
        interrupted: a restart cut the present attempt off, and nobody knows whether it was carried out; while the run
            waits, the attempt to come, which repeats it.
    """

    violation_id: str
    action: str
    target: str
    remedy: str
    parameters: dict[str, Any] = field(default_factory=dict)
    phase: Phase = Phase.WAITING
    attempt: int = 0
    attempts_before: int = 0
    due_ms: int | None = None
    started_ms: int = 0
    dry_run: bool = False
    recovered: bool = False
    by: str = ""
    outcome: Outcome | None = None
    late_ms: int = 0
    was_busy: bool = False
    interrupted: bool = False

    @property
    def key(self) -> str:
        """Names the present attempt: the remedy's idempotency key, and the id of its record."""
        return attempt_key(self.violation_id, self.action, self.attempt)

    @property
    def exhausted(self) -> bool:
        """Ended without help, so that a warning is escalated."""
        return self.outcome not in (None, Outcome.EFFECTIVE, Outcome.CANCELLED)


@dataclass(frozen=True, slots=True)
class Execute:
    """Run the remedy now; the answer goes to :func:`on_result` with this key."""

    key: str
    action: str
    remedy: str
    target: str
    parameters: dict[str, Any]
    attempt: int
    timeout_ms: int
    dry_run: bool


@dataclass(frozen=True, slots=True)
class Verify:
    """Look whether the metric holds again; the answer goes to :func:`on_verify`."""

    key: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """Put this record into the violation."""

    record: ActionRecord


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is over."""

    outcome: Outcome


Effect = Execute | Verify | Recorded | Finished
Step = tuple[Run, list[Effect]]


def attempt_key(violation_id: str, action: str, attempt: int) -> str:
    return f"{violation_id}.{action}.{attempt}"


def applicable_actions(
    policy: EnforcementPolicy, metric_name: str, actual: float | Decimal
) -> list[AutomaticAction]:
    """The enabled actions whose trigger is this metric and whose condition ``actual`` [its unit] meets, in order.

    None when ``auto_remediate`` is off.
    """
    if not policy.remediation.auto_remediate:
        return []
    value = Decimal(repr(actual)) if isinstance(actual, (float, int)) else actual
    return [
        action
        for action in policy.automatic_actions
        if action.enabled
        and action.trigger_metric == metric_name
        and action.condition.op.holds(value, action.condition.value)
    ]


def start(
    violation_id: str,
    action: AutomaticAction,
    now_ms: int,
    *,
    dry_run: bool = False,
    by: str = "",
    attempts_before: int = 0,
) -> Run:
    """A run whose first attempt is due at ``now_ms``.

    Args:
        dry_run: record what would be done, once, and do nothing.
        by: who asked for it by hand; such a run takes place even when automatic remediation is off.
        attempts_before: number of the last attempt of an earlier run of this action, so that keys stay unique.
    """
    return Run(
        violation_id=violation_id,
        action=action.name,
        target=action.target_name,
        remedy=action.action,
        parameters=dict(action.parameters),
        attempt=attempts_before,
        attempts_before=attempts_before,
        due_ms=now_ms,
        dry_run=dry_run,
        by=by,
    )


def planned(run: Run, now_ms: int) -> ActionRecord:
    """The record of a run's first attempt before it begins; the attempt's own replaces it."""
    return _recorded(
        replace(run, attempt=run.attempt + 1, started_ms=now_ms), ActionStatus.PENDING, ""
    ).record


def refused(run: Run, reason: str, now_ms: int) -> ActionRecord:
    """The record of a run that is not begun at all, and why."""
    attempt = replace(run, attempt=run.attempt + 1, started_ms=now_ms)
    again = f" again ({_INTERRUPTED})" if run.interrupted else ""
    return _recorded(attempt, ActionStatus.FAILED, f"not tried{again}: {reason}").record


def busy_targets(runs: Iterable[Run]) -> frozenset[str]:
    """Targets on which an attempt is under way or being verified; none of them takes a second one."""
    return frozenset(run.target for run in runs if run.phase in (Phase.RUNNING, Phase.VERIFYING))


def deadline_ms(run: Run) -> int | None:
    """When :func:`on_deadline` is to be called next [Unix ms]; None when done."""
    return run.due_ms


def on_deadline(
    run: Run, settings: RemediationSettings, now_ms: int, *, target_free: bool = True, refusal: str = ""
) -> Step:
    """What the passing of time means: an attempt begins, has taken too long, or is to be verified.

    Args:
        target_free: no other run is busy on the target; otherwise a waiting run looks again a second later.
        refusal: why the next attempt may not take place (the action's breaker, say); with one the run stops.

    Returns:
        The run and effects; unchanged and none when nothing is due.
    """
    if run.due_ms is None or run.due_ms > now_ms:
        return run, []
    match run.phase:
        case Phase.WAITING:
            if refusal:
                return _finish(run, Outcome.STOPPED, [Recorded(refused(run, refusal, now_ms))])
            if not target_free:
                return replace(run, due_ms=now_ms + TARGET_LOOK_MS), []
            return _execute(run, settings, now_ms)
        case Phase.RUNNING:
            limit_s = settings.remediation_timeout / 1000
            return _attempt_failed(
                run, settings, now_ms, f"no answer within {limit_s:g} s; its result is unknown"
            )
        case Phase.VERIFYING:
            # Asked again after the same wait if the answer gets lost.
            later = replace(run, due_ms=now_ms + max(1, settings.verify_after))
            return later, [Verify(run.key)]
        case Phase.DONE:
            return run, []


def on_result(run: Run, key: str, ok: bool, detail: str, settings: RemediationSettings, now_ms: int) -> Step:
    """The remedy answered for the attempt ``key``; an answer to any other attempt changes nothing."""
    if run.phase is not Phase.RUNNING or key != run.key:
        return run, []
    if not ok:
        return _attempt_failed(run, settings, now_ms, detail)
    if run.dry_run:
        return _finish(
            run,
            Outcome.DRY_RUN,
            [
                _recorded(
                    run,
                    ActionStatus.COMPLETED,
                    detail if detail.startswith("dry run") else f"dry run: {detail}",
                )
            ],
        )
    if run.recovered:
        return _finish(
            run, Outcome.EFFECTIVE, [_recorded(run, ActionStatus.COMPLETED, f"effective: {detail}")]
        )
    due_ms = now_ms + settings.verify_after
    verifying = replace(run, phase=Phase.VERIFYING, due_ms=due_ms, interrupted=False)
    return verifying, [_recorded(run, ActionStatus.COMPLETED, detail)]


def on_busy(run: Run, key: str, settings: RemediationSettings, now_ms: int) -> Step:
    """Another cell acts on the target: the attempt ``key`` did not take place and is none; its turn comes again."""
    if run.phase is not Phase.RUNNING or key != run.key:
        return run, []
    waits = _recorded(run, ActionStatus.PENDING, "waits: another run is acting on this target")
    if run.interrupted:
        waits = _recorded(run, ActionStatus.FAILED, _REPEATED)  # what may have been done is not only planned
    before = replace(
        run, phase=Phase.WAITING, attempt=run.attempt - 1, due_ms=now_ms + settings.backoff, was_busy=True
    )
    if run.recovered:
        # The violation says of what is still planned that it did not begin.
        return _finish(before, Outcome.CANCELLED, [waits])
    return before, [waits]


def on_refused(run: Run, key: str, reason: str, now_ms: int) -> Step:
    """The action's breaker, which all cells share, did not let the attempt ``key`` begin: the run stops."""
    if run.phase is not Phase.RUNNING or key != run.key:
        return run, []
    before = replace(run, attempt=run.attempt - 1)
    outcome = Outcome.CANCELLED if run.recovered else Outcome.STOPPED
    return _finish(before, outcome, [Recorded(refused(before, reason, now_ms))])


def on_verify(
    run: Run, recovered: bool, settings: RemediationSettings, now_ms: int, *, detail: str = ""
) -> Step:
    """The look after an attempt: the metric holds again, or the next attempt follows."""
    if run.phase is not Phase.VERIFYING:
        return run, []
    said = f": {detail}" if detail else ""
    if recovered:
        return _finish(run, Outcome.EFFECTIVE, [_recorded(run, ActionStatus.COMPLETED, f"effective{said}")])
    if run.interrupted:
        recorded = _recorded(run, ActionStatus.FAILED, f"{_INTERRUPTED}, and the metric has not recovered")
        return _next_attempt(run, settings, now_ms, Outcome.FAILED, [recorded])
    recorded = _recorded(run, ActionStatus.COMPLETED, f"ineffective{said}")
    return _next_attempt(run, settings, now_ms, Outcome.INEFFECTIVE, [recorded])


def on_recovered(run: Run, now_ms: int) -> Step:
    """The violation is over: nothing new begins; an attempt under way may still end."""
    match run.phase:
        case Phase.WAITING:
            return _finish(run, Outcome.CANCELLED, [])
        case Phase.RUNNING:
            return replace(run, recovered=True), []
        case Phase.VERIFYING:
            return _finish(run, Outcome.EFFECTIVE, [_recorded(run, ActionStatus.COMPLETED, "effective")])
        case Phase.DONE:
            return run, []


def on_interrupted(
    run: Run, settings: RemediationSettings, now_ms: int, *, on_uncertain: OnUncertain = "hold"
) -> Step:
    """The process ended while the attempt ran: whether it was carried out nobody knows, and nobody will say.

    Args:
        on_uncertain: ``resend`` repeats it once, under the same key; with ``hold``, or when the repetition was cut off
            too, it counts as carried out and is verified: only if the metric does not recover the next one follows.
    """
    if run.phase is not Phase.RUNNING:
        return run, []
    if run.recovered or run.dry_run:
        return _attempt_failed(run, settings, now_ms, _INTERRUPTED)
    if on_uncertain == "resend" and not run.interrupted:
        due_ms = now_ms + backoff_ms(settings, run.attempt - run.attempts_before)
        before = replace(run, phase=Phase.WAITING, attempt=run.attempt - 1, due_ms=due_ms)
        again = replace(before, was_busy=False, interrupted=True)
        return again, [_recorded(run, ActionStatus.FAILED, _REPEATED)]
    due_ms = now_ms + settings.verify_after
    verifying = replace(run, phase=Phase.VERIFYING, due_ms=due_ms, interrupted=True)
    return verifying, [_recorded(run, ActionStatus.FAILED, _INTERRUPTED)]


def backoff_ms(settings: RemediationSettings, failed_count: int) -> int:
    """The wait after the ``failed_count``-th attempt (1, 2, …): it doubles up to ``backoff_max`` [ms]."""
    return min(settings.backoff << min(failed_count - 1, 40), settings.backoff_max)


def _execute(run: Run, settings: RemediationSettings, now_ms: int) -> Step:
    running = replace(
        run,
        phase=Phase.RUNNING,
        attempt=run.attempt + 1,
        started_ms=now_ms,
        due_ms=now_ms + settings.remediation_timeout,
        late_ms=late_ms(run.due_ms, now_ms),
    )
    execute = Execute(
        running.key,
        run.action,
        run.remedy,
        run.target,
        run.parameters,
        running.attempt,
        settings.remediation_timeout,
        run.dry_run,
    )
    return running, [_recorded(running, ActionStatus.EXECUTING, ""), execute]


def _attempt_failed(run: Run, settings: RemediationSettings, now_ms: int, detail: str) -> Step:
    recorded = _recorded(run, ActionStatus.FAILED, detail)
    if run.recovered:
        return _finish(run, Outcome.CANCELLED, [recorded])
    return _next_attempt(run, settings, now_ms, Outcome.FAILED, [recorded])


def _next_attempt(
    run: Run, settings: RemediationSettings, now_ms: int, last: Outcome, effects: list[Effect]
) -> Step:
    # A dry run shows what would be done; showing it three times helps nobody.
    made = run.attempt - run.attempts_before
    if made >= settings.max_remediation_attempts or run.dry_run:
        return _finish(run, last, effects)
    due_ms = now_ms + backoff_ms(settings, made)
    waiting = replace(run, phase=Phase.WAITING, due_ms=due_ms, was_busy=False, interrupted=False)
    return waiting, effects


def _finish(run: Run, outcome: Outcome, effects: list[Effect]) -> Step:
    done = replace(run, phase=Phase.DONE, due_ms=None, outcome=outcome)
    return done, [*effects, Finished(outcome)]


def _recorded(run: Run, status: ActionStatus, result: str) -> Recorded:
    return Recorded(
        ActionRecord(
            id=run.key,
            action_type=ActionType.MANUAL if run.by else ActionType.AUTOMATIC,
            name=run.action,
            target=run.target,
            parameters=run.parameters,
            execution_time=run.started_ms,
            status=status,
            result=result,
            attempt=run.attempt,
            by=run.by,
            late_ms=run.late_ms,
        )
    )
