"""RemediationActor: one action against one violation, attempt by attempt until it helps or is given up."""

import logging
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import restraint_address, violation_address
from slakeeper.actors.audit import note
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import ActionAttempted, RemediationEnded, SayAgain, Tick, ViolationResolved
from slakeeper.actors.target_file import acting_on
from slakeeper.integrations.remedy import RemedyResult, run_remedy
from slakeeper.otp.actor import Actor, Performed
from slakeeper.otp.context import Context
from slakeeper.sla import remediation, target
from slakeeper.sla.audit import What
from slakeeper.sla.breaker import Breaker
from slakeeper.sla.policy import AutomaticAction, DryRunRemedy, RemediationSettings
from slakeeper.sla.remediation import Execute, Finished, Outcome, Phase, Recorded, Run, Step, Verify
from slakeeper.sla.restraint import Helped
from slakeeper.sla.target import BreakerOpen, TargetBusy

DEADLINE_TIMER = "deadline"


@dataclass(frozen=True, slots=True)
class RemediationOrder:
    """What a run is started with.

    Attributes:
        number: counts the runs of this action against this violation from 1.
        by: who asked for it; empty for an automatic run.
        attempts_before: number of the last attempt of the run before.
        sla_id: the violation's contract.
    """

    violation_id: str
    action_name: str
    number: int
    by: str = ""
    dry_run: bool = False
    attempts_before: int = 0
    sla_id: str = ""


class RemediationActor(Actor):
    """One for each run; its argument is a :class:`RemediationOrder`, its state the :class:`Run`."""

    def __init__(self, address: str, arg: RemediationOrder) -> None:
        super().__init__(address, arg)
        self._order = arg
        self._run: Run | None = None

    def init(self, ctx: Context, fresh: bool) -> None:
        environment: Environment = ctx.environment
        if self._run is None:
            order, action = self._order, self._action(environment)
            run = remediation.start(
                order.violation_id,
                action,
                ctx.now_ms,
                dry_run=order.dry_run or self._does_nothing(environment, action),
                by=order.by,
                attempts_before=order.attempts_before,
            )
            ctx.emit(run)
            self._note(ctx, What.REMEDIATION_BEGUN, number=order.number, remedy=run.remedy)
            self._due(ctx)
        else:
            self._follow(ctx, self._resumed(ctx, self._run))
            if self._current().phase in (Phase.RUNNING, Phase.VERIFYING) and not self._run.dry_run:
                environment.targets.setdefault(self._run.target, self.address)
            if self._current().phase is not Phase.DONE:
                ctx.cast(violation_address(self._order.violation_id), SayAgain(self.address))

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if isinstance(message, ViolationResolved):
            self._follow(ctx, remediation.on_recovered(self._current(), ctx.now_ms))
        else:
            super().handle_cast(ctx, message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._due(ctx)
            case Performed(key, _, TargetBusy()):
                step = remediation.on_busy(self._current(), key, self._settings(ctx), ctx.now_ms)
                self._follow(ctx, step)
            case Performed(key, _, BreakerOpen() as refusal):
                self._follow(ctx, remediation.on_refused(self._current(), key, str(refusal), ctx.now_ms))
                environment: Environment = ctx.environment
                environment.breakers[refusal.breaker.action] = refusal.breaker
            case Performed(key, value, error) if key == self._current().key:
                attempt = value if error is None else _Attempt(RemedyResult(False, str(error), "", None, 0))
                self._attempted(ctx, key, attempt)
            case Performed(_, _, error):
                # The end of an attempt that is over already, or the note of its end.
                if error is not None:
                    logging.getLogger("slakeeper.remediation").error("%s: %s", self._current().key, error)
            case _:
                super().handle_info(ctx, message)

    def _attempted(self, ctx: Context, key: str, attempt: "_Attempt") -> None:
        environment: Environment = ctx.environment
        run, result = self._current(), attempt.result
        if attempt.breaker is not None and run.phase is Phase.RUNNING:
            environment.breakers[run.action] = attempt.breaker
        step = remediation.on_result(run, key, result.ok, result.detail, self._settings(ctx), ctx.now_ms)
        self._follow(ctx, step)

    def terminate(self, ctx: Context, reason: str) -> None:
        environment: Environment = ctx.environment
        self._release(environment)

    def apply(self, event: Any) -> None:
        if not isinstance(event, Run):
            super().apply(event)
        self._run = event

    def dump(self) -> Run | None:
        return self._run

    def load(self, state: Run | None) -> None:
        self._run = state

    # -- inside -----------------------------------------------------------------------------------------------

    def _resumed(self, ctx: Context, run: Run) -> Step:
        """What becomes of a run that was under way: its attempt may have gone on while this actor was away."""
        if ctx.awaits(run.key):
            return run, []
        environment: Environment = ctx.environment
        remedy = environment.enforcement.remedies.get(run.remedy, DryRunRemedy())
        # A remedy that is no longer configured cannot be repeated.
        on_uncertain = "hold" if isinstance(remedy, DryRunRemedy) else remedy.on_uncertain
        return remediation.on_interrupted(run, self._settings(ctx), ctx.now_ms, on_uncertain=on_uncertain)

    def _current(self) -> Run:
        if self._run is None:
            raise LookupError("the run has not begun")
        return self._run

    @staticmethod
    def _settings(ctx: Context) -> RemediationSettings:
        environment: Environment = ctx.environment
        return environment.enforcement.remediation

    def _action(self, environment: Environment) -> AutomaticAction:
        for action in environment.enforcement.automatic_actions:
            if action.name == self._order.action_name:
                return action
        raise LookupError(f"no action {self._order.action_name!r} is configured")

    @staticmethod
    def _does_nothing(environment: Environment, action: AutomaticAction) -> bool:
        """Whether the action is only logged: there is nothing to verify or to try again then."""
        enforcement = environment.enforcement
        remedy = enforcement.remedies.get(action.action, DryRunRemedy())
        return enforcement.remediation.dry_run or isinstance(remedy, DryRunRemedy)

    def _due(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        run = self._current()
        breaker = environment.breakers.get(run.action, Breaker(run.action))
        holder = environment.targets.get(run.target)
        # The configuration may have changed since the run began.
        is_configured = any(each.name == run.action for each in environment.enforcement.automatic_actions)
        refusal = "" if run.dry_run else breaker.refusal(self._settings(ctx), ctx.now_ms)
        if not run.by:
            # An attempt that is under way is left to end: half a remedy may be worse than none or all of it.
            refusal = environment.restraint.off() or refusal
        step = remediation.on_deadline(
            run,
            self._settings(ctx),
            ctx.now_ms,
            target_free=run.dry_run or holder in (None, self.address),
            refusal=refusal if is_configured else "the action is no longer configured",
        )
        self._follow(ctx, step)

    def _follow(self, ctx: Context, step: Step) -> None:
        environment: Environment = ctx.environment
        before = self._current()
        run, effects = step
        if run != before:
            ctx.emit(run)
        for effect in effects:
            if isinstance(effect, Finished):
                self._note(ctx, What.REMEDIATION_ENDED, outcome=effect.outcome, attempts=run.attempt)
            elif isinstance(effect, Execute) and not before.was_busy:  # else it is there already
                self._note(ctx, What.REMEDIATION_ATTEMPTED, attempt=effect.attempt, key=effect.key)
        for effect in effects:
            match effect:
                case Execute():
                    self._execute(ctx, effect)
                case Verify():
                    # Still being asked means the violation is still open: a recovery would have ended the run.
                    self._follow(ctx, remediation.on_verify(run, False, self._settings(ctx), ctx.now_ms))
                    return
                case Recorded(record):
                    is_refused = run.outcome is Outcome.STOPPED
                    if is_refused or self._settings(ctx).log_remediation:
                        logging.getLogger("slakeeper.remediation").log(
                            logging.WARNING if is_refused else logging.INFO,
                            "%s: %s on %s, attempt %d: %s %s",
                            run.violation_id, record.name, record.target, record.attempt, record.status.value,
                            record.result,
                        )  # fmt: skip
                    ctx.cast(violation_address(run.violation_id), ActionAttempted(record))
                case Finished(outcome):
                    self._finish(ctx, outcome)
        if before.phase in (Phase.RUNNING, Phase.VERIFYING) and run.phase in (Phase.WAITING, Phase.DONE):
            self._judge(ctx, before, run)
            self._release(environment)
        deadline_ms = remediation.deadline_ms(run)
        if deadline_ms is not None:
            ctx.set_timer(DEADLINE_TIMER, deadline_ms, Tick())

    def _execute(self, ctx: Context, execute: Execute) -> None:
        environment: Environment = ctx.environment
        run = self._current()
        if not execute.dry_run:
            environment.targets[run.target] = self.address
            breaker = environment.breakers.get(run.action, Breaker(run.action))
            environment.breakers[run.action] = breaker.trying(ctx.now_ms)
        remedy = environment.enforcement.remedies.get(execute.remedy, DryRunRemedy())
        action, settings, now_ms = self._action(environment), self._settings(ctx), ctx.now_ms
        new = target.wanted(self.address, execute.action, execute.key, settings, now_ms)

        def perform() -> _Attempt:
            if execute.dry_run:
                return _Attempt(attempt())
            with acting_on(execute.target, environment.lock_dir):
                breaker = environment.claims.claim(execute.target, new, settings, now_ms)
                return _Attempt(attempt(), breaker)

        def attempt() -> RemedyResult:
            result = run_remedy(
                remedy,
                action,
                idempotency_key=execute.key,
                timeout_ms=execute.timeout_ms,
                dry_run=execute.dry_run,
            )
            if environment.outputs is not None and result.output:
                environment.outputs.keep(run.violation_id, execute.action, execute.attempt, result.output)
            return result

        ctx.perform(execute.key, perform, lane=f"target-{execute.target}")

    def _judge(self, ctx: Context, before: Run, run: Run) -> None:
        """Tells the action's breaker, and all cells, how the attempt ended."""
        environment: Environment = ctx.environment
        if run.dry_run:
            return
        breaker = environment.breakers.get(run.action, Breaker(run.action))
        if run.attempt < before.attempt:  # it did not take place
            environment.breakers[run.action] = breaker.untried()
            return
        helped = run.outcome in (Outcome.EFFECTIVE, Outcome.CANCELLED)
        settings, now_ms = self._settings(ctx), ctx.now_ms
        environment.breakers[run.action] = breaker.succeeded() if helped else breaker.failed(settings, now_ms)
        # Behind the attempt, if that is still under way. Lost in a crash, it counts as failed when the claim lapses.
        ctx.perform(
            f"{before.key}.settled",
            lambda: environment.claims.settle(run.target, before.key, helped, settings, now_ms),
            lane=f"target-{run.target}",
        )

    def _note(self, ctx: Context, what: What, **details: Any) -> None:
        run = self._current()
        note(
            ctx, what, sla_id=self._order.sla_id, subject=run.violation_id, who=run.by,
            action=run.action, target=run.target, dry_run=run.dry_run, **details,
        )  # fmt: skip

    def _release(self, environment: Environment) -> None:
        run = self._run
        if run is not None and environment.targets.get(run.target) == self.address:
            del environment.targets[run.target]

    def _finish(self, ctx: Context, outcome: Outcome) -> None:
        run = self._current()
        if outcome is Outcome.EFFECTIVE and not run.by:
            self._count(ctx, run)
        helped = not run.exhausted
        ctx.cast(
            violation_address(run.violation_id), RemediationEnded(run.action, self._order.number, helped)
        )
        payload = {"violation_id": run.violation_id, "action": run.action, "outcome": outcome.value}
        ctx.publish("remediation.ended", payload)
        ctx.stop()

    def _count(self, ctx: Context, run: Run) -> None:
        """Has it remembered that the action helped: one that has to help too often does not last."""
        environment: Environment = ctx.environment
        for action in environment.enforcement.automatic_actions:
            if action.name == run.action:
                helped = Helped(
                    self._order.sla_id, action.trigger_metric, run.action, run.violation_id, ctx.now_ms
                )
                ctx.entrust(restraint_address(ctx.partition or ""), helped)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How an attempt ended; ``breaker`` is its action's as all cells knew it when the attempt began."""

    result: RemedyResult
    breaker: Breaker | None = None
