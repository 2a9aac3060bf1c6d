"""ContractActor: one contract, its versions, its monitors, and which of its promises are broken now."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    ALERTING,
    ENFORCEMENT,
    MONITORING,
    REPORTING,
    CloseViolation,
    ContractChanged,
    DefineContract,
    DescribeContract,
    ForceClose,
    MetricRecovered,
    MetricViolated,
    PeriodEnded,
    Rebase,
    RemoveContract,
    ResumeContract,
    SetSuspended,
    SettlePeriod,
    SuspendContract,
    UpdateViolation,
    ViolationEnded,
    alert_address,
    ledger_address,
    monitor_address,
    report_address,
    violation_address,
)
from slakeeper.actors.monitor import MonitorOrder
from slakeeper.otp.actor import Actor, ActorSpec, Context, RequestError
from slakeeper.otp.child_spec import Restart
from slakeeper.sla.account import Account
from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.violation import open_violation


@dataclass(frozen=True, slots=True)
class ContractVersion:
    """Event: the contract as of now; ``configured`` is what was defined, without what operators changed since."""

    document: dict[str, Any]
    version: int
    configured: dict[str, Any]


@dataclass(frozen=True, slots=True)
class OpenedFor:
    """Event: the violation ``violation_id`` of a metric is open, or with an empty id no violation is."""

    metric_name: str
    violation_id: str


@dataclass(frozen=True, slots=True)
class AccountGathered:
    """Event: one metric's account of a period is final."""

    metric_name: str
    account: Account


@dataclass(frozen=True, slots=True)
class PeriodSettled:
    """Event: every metric's account of the period that began at ``start_ms`` was handed on."""

    start_ms: int


@dataclass(frozen=True, slots=True)
class ContractView:
    """A contract for those who look; ``open_violations`` by metric name."""

    contract: Sla
    version: int
    since_ms: int
    open_violations: dict[str, str]


@dataclass(frozen=True, slots=True)
class ContractState:
    """What a snapshot keeps; ``gathered`` holds accounts by period start and metric name."""

    document: dict[str, Any]
    version: int
    configured: dict[str, Any]
    open_violations: dict[str, str]
    gathered: dict[int, dict[str, Account]]


class ContractActor(Actor):
    """One for each contract; its argument is the document and the instant it was first loaded [Unix ms]."""

    def __init__(self, address: str, arg: tuple[dict[str, Any], int]) -> None:
        super().__init__(address, arg)
        self._document, self._since_ms = arg
        self._contract = Sla.from_document(self._document)
        self._configured = self._document
        self._version = 1
        self._open: dict[str, str] = {}
        self._gathered: dict[int, dict[str, Account]] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh:
            return
        sla_id = self._contract.id
        helpers = (
            (ALERTING, ActorSpec(alert_address(sla_id), "alert", self._document)),
            (REPORTING, ActorSpec(ledger_address(sla_id), "ledger", (self._document, self._version))),
            (REPORTING, ActorSpec(report_address(sla_id), "report", sla_id)),
        )
        for supervisor, spec in helpers:
            ctx.start_child(supervisor, spec)
        for metric in self._contract.metrics:
            self._start_monitor(ctx, metric.name)
        if self._contract.status is ContractStatus.SUSPENDED:
            self._set_monitors(ctx, suspended=True)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case MetricViolated():
                self._violated(ctx, message)
            case MetricRecovered(metric_name, at_ms):
                violation_id = self._open.get(metric_name)
                if violation_id is not None:
                    ctx.cast(violation_address(violation_id), CloseViolation(at_ms))
            case ViolationEnded(metric_name, violation_id):
                if self._open.get(metric_name) == violation_id:
                    ctx.emit(OpenedFor(metric_name, ""))
                    # The monitor knows already when the metric recovered; after an operator's word it does not.
                    ctx.cast(monitor_address(self._contract.id, metric_name), ForceClose())
            case PeriodEnded(metric_name, account):
                ctx.emit(AccountGathered(metric_name, account))
                self._settle(ctx, account.start_ms)
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case DescribeContract():
                pass
            case DefineContract(document):
                self._define(ctx, document)
            case SuspendContract():
                self._set_status(ctx, ContractStatus.ACTIVE, ContractStatus.SUSPENDED)
            case ResumeContract():
                self._set_status(ctx, ContractStatus.SUSPENDED, ContractStatus.ACTIVE)
            case RemoveContract():
                self._remove(ctx)
            case _:
                super().handle_call(ctx, request)
        return ContractView(self._contract, self._version, self._since_ms, dict(self._open))

    def apply(self, event: Any) -> None:
        match event:
            case ContractVersion(document, version, configured):
                self._document, self._version, self._configured = document, version, configured
                self._contract = Sla.from_document(document)
            case OpenedFor(metric_name, violation_id):
                if violation_id:
                    self._open[metric_name] = violation_id
                else:
                    self._open.pop(metric_name, None)
            case AccountGathered(metric_name, account):
                self._gathered.setdefault(account.start_ms, {})[metric_name] = account
            case PeriodSettled(start_ms):
                self._gathered.pop(start_ms, None)
            case _:
                super().apply(event)

    def dump(self) -> ContractState:
        gathered = {start_ms: dict(accounts) for start_ms, accounts in self._gathered.items()}
        return ContractState(self._document, self._version, self._configured, dict(self._open), gathered)

    def load(self, state: ContractState) -> None:
        self._document, self._version, self._configured = state.document, state.version, state.configured
        self._contract = Sla.from_document(state.document)
        self._open = dict(state.open_violations)
        self._gathered = {start_ms: dict(accounts) for start_ms, accounts in state.gathered.items()}

    # -- inside -----------------------------------------------------------------------------------------------

    def _start_monitor(self, ctx: Context, metric_name: str) -> None:
        environment: Environment = ctx.environment
        order = MonitorOrder(
            self._document, metric_name, self._since_ms, environment.monitoring.violation_threshold
        )
        address = monitor_address(self._contract.id, metric_name)
        ctx.start_child(MONITORING, ActorSpec(address, "monitor", order))

    def _violated(self, ctx: Context, message: MetricViolated) -> None:
        violation_id = self._open.get(message.metric_name)
        if violation_id is not None:
            update = UpdateViolation(message.value, message.severity, message.at_ms)
            ctx.cast(violation_address(violation_id), update)
            return
        metric = self._contract.metric(message.metric_name)
        opened = open_violation(
            self._contract,
            metric,
            message.value,
            message.severity,
            message.at_ms,
            contract_version=self._version,
        )
        ctx.emit(OpenedFor(metric.name, opened.id))
        spec = ActorSpec(
            violation_address(opened.id), "violation", (self._document, opened), Restart.TRANSIENT
        )
        ctx.start_child(ENFORCEMENT, spec)

    def _settle(self, ctx: Context, start_ms: int) -> None:
        """Hands a period on when the last metric's account of it is in."""
        accounts = self._gathered.get(start_ms, {})
        if {metric.name for metric in self._contract.metrics} <= accounts.keys():
            settle = SettlePeriod(accounts)
            ctx.cast(ledger_address(self._contract.id), settle)
            ctx.cast(report_address(self._contract.id), settle)
            ctx.emit(PeriodSettled(start_ms))

    def _define(self, ctx: Context, document: dict[str, Any]) -> None:
        try:
            contract = Sla.from_document(document)
        except ValidationError as error:
            problems = [
                {"reason": each["type"], "message": each["msg"]} for each in error.errors(include_url=False)
            ]
            raise RequestError("invalid", "the contract is not valid", errors=problems) from error
        configured = contract.to_document()
        if configured != self._configured:
            self._change(ctx, configured, configured)

    def _change(self, ctx: Context, complete: dict[str, Any], configured: dict[str, Any]) -> None:
        before = {metric.name for metric in self._contract.metrics}
        was_suspended = self._contract.status is ContractStatus.SUSPENDED
        ctx.emit(ContractVersion(complete, self._version + 1, configured))
        contract = self._contract
        after = {metric.name for metric in contract.metrics}
        changed = ContractChanged(complete, self._version)
        ctx.cast(alert_address(contract.id), changed)
        ctx.cast(ledger_address(contract.id), changed)
        for name in sorted(before - after):
            self._end_metric(ctx, name)
        for name in sorted(before & after):
            ctx.cast(monitor_address(contract.id, name), Rebase(complete, self._version))
        for name in sorted(after - before):
            self._start_monitor(ctx, name)
        is_suspended = contract.status is ContractStatus.SUSPENDED
        if is_suspended != was_suspended:
            self._set_monitors(ctx, suspended=is_suspended)
        ctx.publish("sla.changed", {"sla_id": contract.id, "version": self._version})

    def _set_monitors(self, ctx: Context, *, suspended: bool) -> None:
        for metric in self._contract.metrics:
            ctx.cast(monitor_address(self._contract.id, metric.name), SetSuspended(suspended))

    def _end_metric(self, ctx: Context, metric_name: str) -> None:
        violation_id = self._open.get(metric_name)
        if violation_id is not None:
            ctx.cast(violation_address(violation_id), CloseViolation(ctx.now_ms))
        ctx.terminate_child(MONITORING, monitor_address(self._contract.id, metric_name))

    def _set_status(self, ctx: Context, before: ContractStatus, after: ContractStatus) -> None:
        if self._contract.status is not before:
            raise RequestError("conflict", f"{self._contract.id} is {self._contract.status.value}")
        self._change(ctx, {**self._document, "status": after.value}, self._configured)

    def _remove(self, ctx: Context) -> None:
        """Ends everything but ledger and history: what is owed stays owed."""
        if self._open:
            open_ids = ", ".join(sorted(self._open.values()))
            raise RequestError(
                "conflict", f"{self._contract.id} has open violations: {open_ids}; resolve them first"
            )
        sla_id = self._contract.id
        for metric in self._contract.metrics:
            ctx.terminate_child(MONITORING, monitor_address(sla_id, metric.name))
        ctx.terminate_child(ALERTING, alert_address(sla_id))
        ctx.publish("sla.removed", {"sla_id": sla_id})
