"""ReportActor: a contract's past, from which reports are made: ended violations and accounts of past periods."""

import logging
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    ListHistory,
    ListStatus,
    SayEnded,
    StatusChanged,
    Tick,
    ViolationResolved,
)
from slakeeper.otp.actor import Actor, Entrusted, Performed
from slakeeper.otp.context import Context
from slakeeper.sla.account import Account
from slakeeper.sla.duration import HOUR_MS
from slakeeper.sla.violation import Violation

PURGE_TIMER = "purge"

# Of the effect that removes files, and its lane: it is in no hurry.
OUTPUTS = "outputs"

# A contract that flaps all day must not fill the disk, whatever retention says; the newest are kept.
KEPT_STATUS_CHANGES = 1_000
KEPT_VIOLATIONS = 10_000
KEPT_PERIODS = 10_000


@dataclass(frozen=True, slots=True)
class PastPeriod:
    """The final accounts of one period by metric name, and the promise and weights that were in force at its end."""

    start_ms: int
    end_ms: int
    accounts: dict[str, Account]
    version: int
    service_level: Decimal
    weights: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class History:
    """Everything kept, oldest first."""

    violations: tuple[Violation, ...]
    periods: tuple[PastPeriod, ...]
    statuses: tuple[StatusChanged, ...] = ()


@dataclass(frozen=True, slots=True)
class Purged:
    """Event: what ended before these instants [Unix ms] is forgotten."""

    violations_before_ms: int
    periods_before_ms: int
    statuses_before_ms: int = 0


class ReportActor(Actor):
    """One for each contract; its argument is the contract's id. Violations and contracts entrust it with their past."""

    recovers_later = True

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._sla_id = arg
        self._violations: dict[str, Violation] = {}
        self._periods: dict[int, PastPeriod] = {}
        self._statuses: deque[StatusChanged] = deque(maxlen=KEPT_STATUS_CHANGES)

    def init(self, ctx: Context, fresh: bool) -> None:
        if fresh:
            ctx.set_timer(PURGE_TIMER, ctx.now_ms + HOUR_MS, Tick())
            return
        # Now, too: a system that is started again every half an hour would never come to it.
        self._purge(ctx)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case SayEnded(violation_ids, to):
                for violation_id in violation_ids:
                    if violation_id in self._violations:
                        ctx.cast(to, ViolationResolved(self._violations[violation_id]))
            case StatusChanged():
                if not self._is_old(message):
                    ctx.emit(message)
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if isinstance(request, ListHistory):
            return self.dump()
        if isinstance(request, ListStatus):
            return tuple(self._statuses)
        return super().handle_call(ctx, request)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                pass  # what is archived is there; only people ask for it
            case Tick():
                self._purge(ctx)
            case Performed(_, _, error):
                if error is not None:
                    logging.getLogger("slakeeper").error("%s: outputs of remedies: %s", self._sla_id, error)
            case _:
                super().handle_info(ctx, message)

    def _purge(self, ctx: Context) -> None:
        """Forgets what retention says is old, and looks again in an hour."""
        environment: Environment = ctx.environment
        retention = environment.monitoring.retention
        purged = Purged(
            ctx.now_ms - retention.violations, ctx.now_ms - retention.reports, ctx.now_ms - retention.status
        )
        outdated = self._outdated(purged)
        if outdated is not None and outdated[0] and environment.outputs is not None:
            ctx.perform(OUTPUTS, partial(environment.outputs.forget, outdated[0]), OUTPUTS)
        if outdated or (self._statuses and self._statuses[0].at_ms < purged.statuses_before_ms):
            ctx.emit(purged)
        ctx.set_timer(PURGE_TIMER, ctx.now_ms + HOUR_MS, Tick())

    def apply(self, event: Any) -> None:
        match event:
            case Violation():
                self._violations[event.id] = event
                _keep_newest(self._violations, KEPT_VIOLATIONS)
            case PastPeriod():
                self._periods[event.start_ms] = event
                _keep_newest(self._periods, KEPT_PERIODS)
            case Purged():
                violations, periods = self._outdated(event) or ((), ())
                for violation_id in violations:
                    del self._violations[violation_id]
                for start_ms in periods:
                    del self._periods[start_ms]
                while self._statuses and self._statuses[0].at_ms < event.statuses_before_ms:
                    self._statuses.popleft()
            case StatusChanged():
                self._statuses.append(event)
            case _:
                super().apply(event)

    def _is_old(self, change: StatusChanged) -> bool:
        """Whether a change was told before: a contract that was down when it turned tells it again."""
        last = self._statuses[-1] if self._statuses else None
        return last is not None and (
            change.at_ms < last.at_ms or (change.at_ms == last.at_ms and change.status == last.status)
        )

    def dump(self) -> History:
        return History(tuple(self._violations.values()), tuple(self._periods.values()), tuple(self._statuses))

    def load(self, state: History) -> None:
        self._violations = {violation.id: violation for violation in state.violations}
        self._periods = {period.start_ms: period for period in state.periods}
        self._statuses = deque(state.statuses, maxlen=KEPT_STATUS_CHANGES)

    def _outdated(self, limits: Purged) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
        violations = tuple(
            violation.id
            for violation in self._violations.values()
            if violation.closed_at_ms is not None and violation.closed_at_ms < limits.violations_before_ms
        )
        periods = tuple(
            period.start_ms for period in self._periods.values() if period.end_ms < limits.periods_before_ms
        )
        return (violations, periods) if violations or periods else None


def _keep_newest(kept: dict[Any, Any], count: int) -> None:
    while len(kept) > count:
        del kept[next(iter(kept))]
