"""ReportActor: a contract's past, from which reports are made: ended violations and accounts of past periods."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    ArchivePeriod,
    ListHistory,
    SettlePeriod,
    Tick,
    ViolationResolved,
    ledger_address,
)
from slakeeper.otp.actor import Actor, Context
from slakeeper.sla.account import Account
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS, HOUR_MS
from slakeeper.sla.violation import Violation

PURGE_TIMER = "purge"


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


@dataclass(frozen=True, slots=True)
class Purged:
    """Event: what ended before these instants [Unix ms] is forgotten."""

    violations_before_ms: int
    periods_before_ms: int


class ReportActor(Actor):
    """One for each contract; its argument is the contract's id."""

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._sla_id = arg
        self._violations: dict[str, Violation] = {}
        self._periods: dict[int, PastPeriod] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        ctx.set_timer(PURGE_TIMER, ctx.now_ms + HOUR_MS, Tick())
        if not fresh:
            self._remind_ledger(ctx)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case ViolationResolved(violation):
                ctx.emit(violation)
            case ArchivePeriod(settled, document):
                contract = Sla.from_document(document)
                weights = {metric.name: metric.weight for metric in contract.metrics}
                ctx.emit(
                    PastPeriod(
                        settled.start_ms,
                        settled.end_ms,
                        settled.accounts,
                        settled.version,
                        contract.service_level,
                        weights,
                    )
                )
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if isinstance(request, ListHistory):
            return self.dump()
        return super().handle_call(ctx, request)

    def handle_info(self, ctx: Context, message: Any) -> None:
        if not isinstance(message, Tick):
            super().handle_info(ctx, message)
        environment: Environment = ctx.environment
        retention = environment.monitoring.retention
        purged = Purged(ctx.now_ms - retention.violations, ctx.now_ms - retention.reports)
        if self._outdated(purged):
            ctx.emit(purged)
        ctx.set_timer(PURGE_TIMER, ctx.now_ms + HOUR_MS, Tick())

    def apply(self, event: Any) -> None:
        match event:
            case Violation():
                self._violations[event.id] = event
            case PastPeriod():
                self._periods[event.start_ms] = event
            case Purged():
                violations, periods = self._outdated(event) or ((), ())
                for violation_id in violations:
                    del self._violations[violation_id]
                for start_ms in periods:
                    del self._periods[start_ms]
            case _:
                super().apply(event)

    def dump(self) -> History:
        return History(tuple(self._violations.values()), tuple(self._periods.values()))

    def load(self, state: History) -> None:
        self._violations = {violation.id: violation for violation in state.violations}
        self._periods = {period.start_ms: period for period in state.periods}

    def _remind_ledger(self, ctx: Context) -> None:
        """Says again what was to be booked lately, in case the ledger was down then; it books nothing twice."""
        ledger, since_ms = ledger_address(self._sla_id), ctx.now_ms - DAY_MS
        for violation in self._violations.values():
            if violation.closed_at_ms is not None and violation.closed_at_ms >= since_ms:
                ctx.cast(ledger, ViolationResolved(violation))
        for period in self._periods.values():
            if period.end_ms >= since_ms:
                ctx.cast(ledger, SettlePeriod(period.accounts, period.version))

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
