"""ViolationActor: one open violation, from its opening until everything it called for has ended."""

import logging
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import (
    ALERTING,
    ENFORCEMENT,
    alert_address,
    contract_address,
    escalation_address,
    ledger_address,
    monitor_address,
    remediation_address,
    report_address,
)
from slakeeper.actors.audit import note
from slakeeper.actors.contract_event import MetricTurned, TurnFollowed
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    AcknowledgeViolation,
    ActionAttempted,
    BookViolation,
    CloseViolation,
    DescribeViolation,
    EnforceViolation,
    EscalateNow,
    EscalateViolation,
    EscalationEnded,
    EscalationExhausted,
    LevelNotified,
    RemediateViolation,
    RemediationEnded,
    ResolveViolation,
    SayAgain,
    Tick,
    ViolationAcknowledged,
    ViolationChanged,
    ViolationEnded,
    ViolationOpened,
    ViolationResolved,
    ViolationWorsened,
)
from slakeeper.actors.remediation import RemediationOrder
from slakeeper.actors.turn import keep_turn
from slakeeper.otp.actor import Actor, ActorSpec, Entrusted, RequestError, StartRefused
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.context import Context
from slakeeper.sla import escalation, remediation, violation
from slakeeper.sla.audit import What
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.policy import AutomaticAction
from slakeeper.sla.violation import Violation, ViolationError, ViolationStatus

HELPERS_TIMER = "helpers"

# How long after its own start a violation looks which of its helpers are alive, and again while one is restarted.
HELPERS_LOOK_MS = SECOND_MS

RUNNING, RESTARTING, QUARANTINED = "running", "restarting", "quarantined"
_ALIVE = frozenset({RUNNING, RESTARTING})


@dataclass(frozen=True, slots=True)
class HelpCalled:
    """Event: an escalation was started, or one more run of an action."""

    escalation: bool = False
    action_name: str = ""
    attempts_before: int = 0


@dataclass(frozen=True, slots=True)
class HelpEnded:
    """Event: the escalation, or a run of an action, has nothing more to do."""

    escalation: bool = False
    action_name: str = ""


@dataclass(frozen=True, slots=True)
class ViolationState:
    """What a snapshot keeps.

    Attributes:
        runs: how many runs of each action were started; ``running`` which have not ended.
        escalating: whether an escalation is alive; ``escalated`` whether there ever was one.
        told: how the metric stood since, in order, as far as nothing has followed from it.
    """

    violation: Violation
    runs: dict[str, int]
    running: tuple[str, ...]
    escalating: bool
    escalated: bool
    told: tuple[MetricTurned, ...] = ()


class ViolationActor(Actor):
    """One for each open violation; its argument is the contract's document and the :class:`Violation`.

    It decides what is done (alert, remedies, escalation) by asking ``sla``, keeps the record of what was
    done, and ends when the violation is resolved and its helpers have ended.
    """

    def __init__(self, address: str, arg: tuple[dict[str, Any], Violation]) -> None:
        super().__init__(address, arg)
        self._document, self._violation = arg
        self._runs: dict[str, int] = {}
        self._running: set[str] = set()
        self._escalating = False
        self._escalated = False
        self._told: list[MetricTurned] = []

    def init(self, ctx: Context, fresh: bool) -> None:
        environment: Environment = ctx.environment
        if not fresh:
            environment.violations.add(self.address)
            if self._violation.is_open:
                monitor = monitor_address(self._violation.sla_id, self._violation.metric_name)
                ctx.cast(monitor, SayAgain(self.address))
            # By then those of its helpers that are alive have started again too.
            if self._told or self._running or self._escalating:
                ctx.set_timer(HELPERS_TIMER, ctx.now_ms + HELPERS_LOOK_MS, Tick())
            return
        opened = self._violation
        self._note(
            ctx, What.VIOLATION_OPENED, metric=opened.metric_name, severity=opened.severity, value=opened.actual_value,
            condition=opened.condition, threshold=opened.threshold_value, opened_at_ms=opened.opened_at_ms,
            contract_version=opened.contract_version,
        )  # fmt: skip
        self._publish(ctx, "violation.opened")
        # First, so that the first message says what is being tried.
        self._enforce(ctx)
        ctx.cast(alert_address(self._violation.sla_id), ViolationOpened(self._violation))
        environment.violations.add(self.address)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case CloseViolation(at_ms, value, by, text):
                if self._violation.is_open:
                    ended = violation.resolve(self._as_told(), at_ms, by=by, note=text, value=value)
                    self._resolve(ctx, ended)
            case ActionAttempted(record):
                self._keep(ctx, violation.record_action(self._violation, record))
                self._pass_on(ctx)
            case LevelNotified(record):
                self._keep(ctx, violation.record_escalation(self._violation, record))
            case SayAgain(to):
                self._say_again(ctx, to)
            case EscalationExhausted():
                self._escalation_failed(
                    ctx, "nobody has acknowledged it, and its escalation has nobody left to tell"
                )
            case EscalationEnded():
                ctx.emit(HelpEnded(escalation=True))
                self._end_if_done(ctx)
            case RemediationEnded(action_name, _, _):
                self._end_remediation(ctx, action_name)
                self._escalate_if_needed(ctx)
                self._end_if_done(ctx)
            case _:
                super().handle_cast(ctx, message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                self._hear(ctx)
            case Tick():
                # In this order: helpers that it calls for what it hears are there only when this has been done.
                self._look_for_helpers(ctx)
                self._hear(ctx)
            case StartRefused(address, reason):
                # A helper that did not start, or had ended before it was up, is like one that is gone.
                if address == escalation_address(self._violation.id):
                    self._escalation_failed(ctx, f"its escalation did not start: {reason}")
                self._look_for_helpers(ctx)
            case _:
                super().handle_info(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case DescribeViolation():
                pass
            case AcknowledgeViolation(by, text, takes_over):
                after = _refusing(
                    lambda: violation.acknowledge(
                        self._violation, by, text, ctx.now_ms, takes_over=takes_over
                    )
                )
                if after != self._violation:  # said again in the same moment it is the same
                    self._keep(ctx, after)
                    self._note(ctx, What.VIOLATION_ACKNOWLEDGED, by, note=text)
                    ctx.cast(alert_address(self._violation.sla_id), ViolationAcknowledged(self._violation))
                if self._escalating:
                    ctx.cast(escalation_address(self._violation.id), ViolationAcknowledged(self._violation))
                self._publish(ctx, "violation.acknowledged")
            case ResolveViolation(by, text):
                resolved = _refusing(lambda: violation.resolve(self._as_told(), ctx.now_ms, by=by, note=text))
                self._resolve(ctx, resolved)
            case EscalateViolation(by):
                self._require_escalatable()
                self._note(ctx, What.VIOLATION_ESCALATED, by or "operator")
                if not ctx.environment.enforcement.escalation_policies:
                    pass  # nobody is to be told, and the answer names nobody
                elif self._escalating:
                    ctx.cast(escalation_address(self._violation.id), EscalateNow(self._violation))
                else:
                    self._call_escalation(ctx, at_once=True)
            case EnforceViolation():
                self._require_open()
                self._enforce(ctx)
            case RemediateViolation(action_name, by, dry_run):
                self._remediate_by_hand(ctx, action_name, by, dry_run)
            case _:
                super().handle_call(ctx, request)
        return self._violation

    def terminate(self, ctx: Context, reason: str) -> None:
        environment: Environment = ctx.environment
        environment.violations.discard(self.address)

    def apply(self, event: Any) -> None:
        match event:
            case Violation():
                self._violation = event
            case MetricTurned():
                keep_turn(self._told, event, self._violation.condition, self._violation.threshold_value)
            case TurnFollowed():
                del self._told[:1]  # earlier programs kept them all, and followed each
            case HelpCalled(calls_escalation, action_name, _):
                if calls_escalation:
                    self._escalating = self._escalated = True
                else:
                    self._runs[action_name] = self._runs.get(action_name, 0) + 1
                    self._running.add(action_name)
            case HelpEnded(ends_escalation, action_name):
                if ends_escalation:
                    self._escalating = False
                else:
                    self._running.discard(action_name)
            case _:
                super().apply(event)

    def dump(self) -> ViolationState:
        running = tuple(sorted(self._running))
        return ViolationState(
            self._violation, dict(self._runs), running, self._escalating, self._escalated, tuple(self._told)
        )

    def load(self, state: ViolationState) -> None:
        self._violation = state.violation
        self._runs = dict(state.runs)
        self._running = set(state.running)
        self._escalating, self._escalated = state.escalating, state.escalated
        self._told = list(state.told)

    # -- what a violation calls for ---------------------------------------------------------------------------

    def _enforce(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        applicable = remediation.applicable_actions(
            environment.enforcement, self._violation.metric_name, self._violation.actual_value
        )
        for action in applicable:
            if action.name not in self._runs:
                self._remediate(ctx, action)
        self._escalate_if_needed(ctx)

    def _remediate(self, ctx: Context, action: AutomaticAction) -> None:
        """Begins an action by itself, unless something holds it back: its record says what, and people are told."""
        environment: Environment = ctx.environment
        now = self._violation
        refusal = environment.restraint.refusal(
            now.sla_id, now.metric_name, action.name, environment.enforcement.remediation, ctx.now_ms
        )
        if not refusal:
            self._call_remediation(ctx, action.name, by="", dry_run=False)
            return
        ctx.emit(HelpCalled(action_name=action.name))
        ctx.emit(HelpEnded(action_name=action.name))
        record = remediation.refused(remediation.start(now.id, action, ctx.now_ms), refusal, ctx.now_ms)
        self._keep(ctx, violation.record_action(now, record))
        logging.getLogger("slakeeper.remediation").warning(
            "%s: %s on %s: %s", now.id, record.name, record.target, record.result
        )

    def _escalate_if_needed(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        if self._escalated or not self._violation.is_open:
            return
        if not environment.enforcement.escalation_policies:
            return  # nobody is to be told, so nobody has failed to answer
        exhausted = bool(self._runs) and not self._running
        if escalation.needs_escalation(self._violation.severity, len(self._runs), exhausted=exhausted):
            self._note(ctx, What.VIOLATION_ESCALATED, severity=self._violation.severity)
            self._call_escalation(ctx)

    def _call_escalation(self, ctx: Context, *, at_once: bool = False) -> None:
        ctx.emit(HelpCalled(escalation=True))
        spec = ActorSpec(
            escalation_address(self._violation.id),
            "escalation",
            (self._document, self._violation, at_once),
            Restart.TRANSIENT,
        )
        ctx.start_child(ALERTING, spec)
        self._publish(ctx, "violation.escalated")

    def _call_remediation(self, ctx: Context, action_name: str, *, by: str, dry_run: bool) -> None:
        attempts = [
            record.attempt for record in self._violation.remediation_actions if record.name == action_name
        ]
        ctx.emit(HelpCalled(action_name=action_name))
        number = self._runs[action_name]
        order = RemediationOrder(
            self._violation.id, action_name, number, by, dry_run, attempts_before=max(attempts, default=0),
            sla_id=self._violation.sla_id,
        )  # fmt: skip
        address = remediation_address(self._violation.id, action_name, number)
        ctx.start_child(ENFORCEMENT, ActorSpec(address, "remediation", order, Restart.TRANSIENT))
        environment: Environment = ctx.environment
        action = next(each for each in environment.enforcement.automatic_actions if each.name == action_name)
        run = remediation.start(
            self._violation.id, action, ctx.now_ms, by=by, attempts_before=order.attempts_before
        )
        self._keep(ctx, violation.record_action(self._violation, remediation.planned(run, ctx.now_ms)))

    def _end_remediation(self, ctx: Context, action_name: str) -> None:
        ctx.emit(HelpEnded(action_name=action_name))
        after = violation.end_planned(self._violation, action_name)
        if after != self._violation:
            self._keep(ctx, after)

    def _remediate_by_hand(self, ctx: Context, action_name: str, by: str, dry_run: bool) -> None:
        environment: Environment = ctx.environment
        self._require_open()
        names = [action.name for action in environment.enforcement.automatic_actions]
        if action_name not in names:
            raise RequestError(
                "invalid", f"no action {action_name!r}; there are: {', '.join(names) or 'none'}"
            )
        if action_name in self._running:
            raise RequestError("conflict", f"{action_name} is being tried on this violation already")
        breaker = environment.breakers.get(action_name)
        refusal = breaker.refusal(environment.enforcement.remediation, ctx.now_ms) if breaker else ""
        if refusal and not dry_run:
            raise RequestError("conflict", refusal, reason="breaker_open")
        self._note(ctx, What.REMEDIATION_REQUESTED, by or "operator", action=action_name, dry_run=dry_run)
        self._call_remediation(ctx, action_name, by=by or "operator", dry_run=dry_run)

    def _look_for_helpers(self, ctx: Context) -> None:
        """Misses helpers whose last word it did not hear, because it was down; not those that are being restarted."""
        found: set[str | None] = set()
        for action_name in sorted(self._running):
            address = remediation_address(self._violation.id, action_name, self._runs[action_name])
            found.add(status := ctx.status_of(address))
            if status not in _ALIVE:
                self._end_remediation(ctx, action_name)
        if self._escalating:
            found.add(status := ctx.status_of(escalation_address(self._violation.id)))
            if status not in _ALIVE:
                ctx.emit(HelpEnded(escalation=True))
            if status == QUARANTINED and self._violation.is_open:
                self._escalation_failed(ctx, "its escalation keeps crashing and is set aside")
        if RESTARTING in found:
            ctx.set_timer(HELPERS_TIMER, ctx.now_ms + HELPERS_LOOK_MS, Tick())
        self._escalate_if_needed(ctx)
        self._end_if_done(ctx)

    def _escalation_failed(self, ctx: Context, why: str) -> None:
        self._keep(ctx, violation.record_escalation_failure(self._violation, ctx.now_ms))
        self._note(ctx, What.ESCALATION_EXHAUSTED, why=why)
        logging.getLogger("slakeeper").error("%s of %s: %s", self._violation.id, self._violation.sla_id, why)
        self._publish(ctx, "escalation.failed")

    def _say_again(self, ctx: Context, to: str) -> None:
        if to == contract_address(self._violation.sla_id):
            if not self._violation.is_open:
                ctx.cast(to, ViolationEnded(self._violation.metric_name, self._violation.id))
        elif not self._violation.is_open:
            ctx.cast(to, ViolationResolved(self._violation))
        elif to == alert_address(self._violation.sla_id):
            ctx.cast(to, ViolationOpened(self._violation))
        elif to == escalation_address(self._violation.id):
            if not self._escalating:  # it had been set aside, and was released
                ctx.emit(HelpCalled(escalation=True))
            ctx.cast(to, ViolationChanged(self._violation))

    # -- changes ------------------------------------------------------------------------------------------------

    def _as_told(self) -> Violation:
        """As it is with all that it was told, whether anything has followed from that or not."""
        told = self._violation
        for turn in self._told:
            if turn.severity is not None:
                told = violation.update(told, turn.value, turn.severity, turn.at_ms)
        return told

    def _hear(self, ctx: Context) -> None:
        """Does what follows from what it was told, in its order."""
        for turn in tuple(self._told):
            if turn.severity is not None:
                self._update(ctx, violation.update(self._violation, turn.value, turn.severity, turn.at_ms))
            ctx.emit(TurnFollowed(turn.metric_name))

    def _update(self, ctx: Context, after: Violation) -> None:
        before, was_escalating = self._violation, self._escalating
        if after == before:
            return
        self._keep(ctx, after)
        if after.severity is not before.severity:
            self._note(
                ctx,
                What.VIOLATION_WORSENED,
                before=before.severity,
                severity=after.severity,
                value=after.actual_value,
            )
            self._enforce(ctx)
            worsened = ViolationWorsened(self._violation)
            ctx.cast(alert_address(after.sla_id), worsened)
            if was_escalating:
                ctx.cast(escalation_address(after.id), worsened)
        else:
            self._pass_on(ctx)
        self._publish(ctx, "violation.updated")

    def _resolve(self, ctx: Context, resolved: Violation) -> None:
        self._keep(ctx, resolved)
        self._note(
            ctx, What.VIOLATION_RESOLVED, resolved.resolved_by, note=resolved.resolve_note,
            closed_at_ms=resolved.closed_at_ms, worst_value=resolved.worst_value, severity=resolved.severity,
            recovered_value=resolved.recovered_value,
        )  # fmt: skip
        ctx.cast(contract_address(resolved.sla_id), ViolationEnded(resolved.metric_name, resolved.id))
        environment: Environment = ctx.environment
        attainment = environment.attainment(resolved.sla_id)
        ctx.entrust(ledger_address(resolved.sla_id), BookViolation(resolved, attainment))
        ctx.cast(alert_address(resolved.sla_id), ViolationResolved(resolved))
        for action_name in sorted(self._running):
            address = remediation_address(resolved.id, action_name, self._runs[action_name])
            ctx.cast(address, ViolationResolved(resolved))
        if self._escalating:
            ctx.cast(escalation_address(resolved.id), ViolationResolved(resolved))
        self._publish(ctx, "violation.resolved")
        self._end_if_done(ctx)

    def _keep(self, ctx: Context, after: Violation) -> None:
        ctx.emit(after)

    def _note(self, ctx: Context, what: What, who: str | None = None, **details: Any) -> None:
        note(ctx, what, sla_id=self._violation.sla_id, subject=self._violation.id, who=who, **details)

    def _pass_on(self, ctx: Context) -> None:
        if self._escalating and self._violation.is_open:
            ctx.cast(escalation_address(self._violation.id), ViolationChanged(self._violation))

    def _end_if_done(self, ctx: Context) -> None:
        """Hands itself to the archive when nothing more can change it."""
        if not self._violation.is_open and not self._running and not self._escalating:
            # Once more, in case the contract was down when the violation was resolved.
            ended = ViolationEnded(self._violation.metric_name, self._violation.id)
            ctx.cast(contract_address(self._violation.sla_id), ended)
            # Not sent: whoever crashes on a message has lost it.
            ctx.entrust(report_address(self._violation.sla_id), self._violation)
            ctx.stop()

    def _require_open(self) -> None:
        if not self._violation.is_open:
            raise RequestError("conflict", f"violation {self._violation.id} is resolved")

    def _require_escalatable(self) -> None:
        self._require_open()
        if self._violation.status is ViolationStatus.ACKNOWLEDGED:
            # It stops the walk: somebody is on it, and to call the next one would take that back in silence.
            raise RequestError(
                "conflict",
                f"violation {self._violation.id} is acknowledged by {self._violation.acknowledged_by}, "
                "which stops its escalation",
                reason="acknowledged",
            )

    def _publish(self, ctx: Context, topic: str) -> None:
        ctx.publish(topic, {"violation": self._violation.to_document()})


def _refusing(decide: Any) -> Violation:
    """Runs a decision of ``sla``; its refusal becomes the caller's."""
    try:
        decided: Violation = decide()
    except ViolationError as error:
        code = "invalid" if error.reason == "nobody" else "conflict"
        raise RequestError(code, str(error), reason=error.reason) from error
    return decided
