"""Questions about contracts, answered from what their actors say; plain JSON values out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

from slakeeper.actors.address import (
    alert_address,
    contract_address,
    ledger_address,
    monitor_address,
    report_address,
    violation_address,
)
from slakeeper.actors.contract_event import ContractView
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    CountGivenUp,
    DescribeContract,
    DescribeMetric,
    DescribeViolation,
    ListBilling,
    ListEntries,
    ListHistory,
    ListStatus,
)
from slakeeper.actors.metric_row import metric_line, metric_rows, removed_rows
from slakeeper.actors.monitor import MetricView
from slakeeper.actors.muting import Muted
from slakeeper.actors.report import History
from slakeeper.otp.actor import ActorStopped, RequestError
from slakeeper.otp.host import Host
from slakeeper.sla import burn, compensation, compliance, period
from slakeeper.sla.compliance import Standing
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.period import Period
from slakeeper.sla.record import DeliveryStatus
from slakeeper.sla.signal import MonitorState
from slakeeper.sla.violation import Violation

DOWN = "down"
"""The ``reason`` of an ``unavailable`` that is an answer: the cell is there, the actor is not."""


@dataclass(frozen=True)
class Picture:
    """A contract with its metrics and their meaning, as of now.

    Attributes:
        metrics: those whose monitor answers.
        removed: of metrics that have left the contract, but whose time before that counts in the period.
        down: what is the matter with the monitors of the others, by metric.
        states: state and weight of these, and of those that nobody watches now while a violation of them is open:
            nobody has seen them recover, so they are violating.
        remaining_ms: time of the running period that can still count, weighted mean over ``metrics``.
    """

    view: ContractView
    metrics: list[MetricView]
    removed: list[MetricView]
    down: dict[str, str]
    states: list[tuple[MonitorState, Decimal]]
    standing: Standing
    status: str
    remaining_ms: Fraction


def describe_contract(host: Host, sla_id: str) -> ContractView:
    """The contract's view.

    Raises:
        RequestError: ``not_found``, or ``unavailable`` while its actor is down.
    """
    if not host.exists(contract_address(sla_id)):
        raise RequestError("not_found", f"no contract {sla_id}")
    require_running(host, contract_address(sla_id))
    view: ContractView = host.ask(contract_address(sla_id), DescribeContract())
    return view


def require_running(host: Host, address: str) -> None:
    """Refuses while an actor is down: being restarted, or in quarantine.

    Raises:
        RequestError: ``unavailable``.
    """
    if not host.is_running(address):
        raise RequestError("unavailable", f"{address} is {_condition(host, address)}", reason=DOWN)


def _condition(host: Host, address: str) -> str:
    """How an actor is: running, suspended, restarting, quarantined, stopped."""
    if not host.exists(address):
        return "stopped"
    status: str = host.inspector.describe(address)["status"]
    return status


def ask(host: Host, address: str, request: Any) -> Any:
    """What an actor answers, or None while it cannot: being restarted, suspended by an operator, in quarantine."""
    try:
        return host.ask(address, request)
    except (ActorStopped, RequestError):
        return None


def picture(host: Host, sla_id: str) -> Picture:
    """Everything known of a contract now; of a metric whose monitor is down only that a violation of it is open."""
    view = describe_contract(host, sla_id)
    metrics: list[MetricView] = []
    down: dict[str, str] = {}
    states: list[tuple[MonitorState, Decimal]] = []
    for metric in view.contract.metrics:
        described: MetricView | None = ask(host, monitor_address(sla_id, metric.name), DescribeMetric())
        if described is not None:
            metrics.append(described)
            states.append((MonitorState(described.state), described.metric.weight))
            continue
        down[metric.name] = _condition(host, monitor_address(sla_id, metric.name))
        if metric.name in view.open_violations:
            states.append((MonitorState.VIOLATING, metric.weight))
    gone: list[MetricView | None] = [
        ask(host, monitor_address(sla_id, name), DescribeMetric()) for name in sorted(view.removed)
    ]
    removed = [each for each in gone if each is not None]
    shares = [
        share
        for each in (*metrics, *removed)
        for share in compliance.shares_of(each.account, each.metric.weight, each.remaining_ms)
    ]
    standing = compliance.standing(view.contract.service_level, shares)
    status = compliance.contract_status(
        view.contract, [state for state, _ in states], standing.breached, view.since_ms, host.now_ms,
        is_burning=view.burning is not None,
    )  # fmt: skip
    return Picture(view, metrics, removed, down, states, standing, status.value, _remaining_ms(metrics))


def _remaining_ms(metrics: Sequence[MetricView]) -> Fraction:
    by_weight: dict[Decimal, list[int]] = {}
    for each in metrics:
        by_weight.setdefault(each.metric.weight, []).append(each.remaining_ms)
    weights = [(Fraction(weight), alike) for weight, alike in by_weight.items()]
    whole = sum((weight * len(alike) for weight, alike in weights), Fraction(0))
    if not whole:
        return Fraction(0)
    return sum((weight * sum(alike) for weight, alike in weights), Fraction(0)) / whole


def status_line(host: Host, sla_id: str, *, with_metrics: bool = True) -> dict[str, Any]:
    """One contract as ``status`` shows it; percentages 0..100, ``error_budget_remaining`` a share of the budget.

    ``escalations_failed`` counts open violations of which everybody was told and nobody answered;
    ``alerts_failed`` counts messages, alerts and escalations, that were given up within the last day, or of which
    nobody knows whether they arrived;
    ``billing_failed`` counts approved ledger entries that billing has not taken, and was asked to;
    ``metrics_down`` names metrics that nobody watches now, because their monitor is down.
    """
    try:
        seen = picture(host, sla_id)
    except (ActorStopped, RequestError):
        return _line_of_none(host, sla_id)
    contract = seen.view.contract
    score = compliance.score_now(seen.states)
    running = period.period_from(contract, seen.view.since_ms, host.now_ms)
    return {
        "id": contract.id,
        "name": contract.name or contract.id,
        "status": seen.status,
        "compliance_score": _number(score),
        "attainment": _number(seen.standing.attainment),
        "service_level": float(contract.service_level),
        "error_budget_remaining": _number(seen.standing.error_budget_remaining),
        "error_budget_remaining_ms": _number(seen.standing.error_budget_remaining_ms),
        **_burn_row(host, seen, running),
        "time_period_remaining_ms": 0 if running is None else max(0, running.end_ms - host.now_ms),
        "open_violations": len(seen.view.open_violations),
        "escalations_failed": _escalations_failed(host, seen.view),
        "alerts_failed": ask(host, alert_address(sla_id), CountGivenUp()) or 0,
        "billing_failed": _unbilled(host, sla_id),
        "metrics_down": list(seen.down),
        "metrics": [metric_line(host, sla_id, each) for each in seen.metrics] if with_metrics else [],
    }


def _line_of_none(host: Host, sla_id: str) -> dict[str, Any]:
    """The line of a contract whose actor does not answer; what only it knows is None."""
    down = _condition(host, contract_address(sla_id))
    return {
        "id": sla_id,
        "name": sla_id,
        "status": down if down == "quarantined" else "unavailable",
        "actor_status": down,
        "compliance_score": None,
        "attainment": None,
        "service_level": None,
        "error_budget_remaining": None,
        "error_budget_remaining_ms": None,
        "burn_rate": None,
        "burn_look_back_ms": None,
        "budget_ends_at_ms": None,
        "burn_alerts": [],
        "time_period_remaining_ms": None,
        "open_violations": None,
        "escalations_failed": 0,
        "alerts_failed": 0,
        "billing_failed": 0,
        "metrics_down": [],
        "metrics": [],
    }


def _escalations_failed(host: Host, view: ContractView) -> int:
    found: list[Violation | None] = [
        ask(host, violation_address(each), DescribeViolation()) for each in view.open_violations.values()
    ]
    return sum(each is not None and each.escalation_failed_at_ms is not None for each in found)


def contract_document(host: Host, sla_id: str) -> dict[str, Any]:
    """One contract as ``sla show`` shows it: as loaded, plus version, status, period and metrics."""
    seen = picture(host, sla_id)
    contract, standing = seen.view.contract, seen.standing
    running = period.period_from(contract, seen.view.since_ms, host.now_ms)
    document = contract.to_document()
    return {
        **document,
        "version": seen.view.version,
        "status": seen.status,
        "contract_status": contract.status.value,
        "open_violations": sorted(seen.view.open_violations.values()),
        "metrics_down": list(seen.down),
        "period": {
            "start": None if running is None else running.start_ms,
            "end": None if running is None else running.end_ms,
            "attainment": _number(standing.attainment),
            "known_ms": _number(standing.known_ms),
            "good_ms": _number(standing.good_ms),
            "bad_ms": _number(standing.bad_ms),
            "unknown_ms": _number(standing.unknown_ms),
            "excluded_ms": _number(standing.excluded_ms),
            "error_budget_ms": _number(standing.error_budget_ms),
            "error_budget_spent_ms": _number(standing.error_budget_spent_ms),
            **_burn_row(host, seen, running),
        },
        "metrics": metric_rows(host, contract, seen.metrics, seen.down),
        "metrics_removed": removed_rows(seen.removed, seen.view.removed),
        "status_history": [
            {"at": change.at_ms, "status": change.status.value}
            for change in ask(host, report_address(sla_id), ListStatus()) or ()
        ],
    }


def budget_ends_at_ms(host: Host, seen: Picture, running: Period | None) -> int | None:
    """When the error budget of the running period will be gone at the present rate [Unix ms], None if not in it."""
    environment: Environment = host.environment
    if running is None or not running.start_ms <= host.now_ms < running.end_ms:
        return None
    left_ms = seen.standing.error_budget_remaining_ms
    return environment.burn(seen.view.contract, running).budget_ends_at_ms(
        left_ms, host.now_ms, running.end_ms
    )


def _burn_row(host: Host, seen: Picture, running: Period | None) -> dict[str, Any]:
    """How fast the budget is spent: the rate over the look-back, when it ends so, and the alerts that go on."""
    environment: Environment = host.environment
    burning = seen.view.burning
    if running is None:
        return {"burn_rate": None, "burn_look_back_ms": None, "budget_ends_at_ms": None, "burn_alerts": []}
    period_ms = running.end_ms - running.start_ms
    look_back_ms = burn.look_back_ms(period_ms)
    return {
        "burn_rate": _number(environment.burn(seen.view.contract, running).rate(look_back_ms)),
        "burn_look_back_ms": look_back_ms,
        "budget_ends_at_ms": budget_ends_at_ms(host, seen, running),
        "burn_alerts": [
            {
                "long_ms": window.long_ms,
                "short_ms": window.short_ms,
                "factor": float(window.factor),
                "severity": window.severity.value,
                "since": burning.since_ms,
            }
            for window in burn.burn_windows(period_ms)
            if burning is not None and window.long_ms in burning.long_ms
        ],
    }


def violations(host: Host, sla_id: str | None, include_resolved: bool) -> list[Violation]:
    """Open violations, and with ``include_resolved`` the archived ones too, oldest first."""
    found: dict[str, Violation] = {}
    if include_resolved:
        for address in host.addresses("report") if sla_id is None else [report_address(sla_id)]:
            history: History | None = ask(host, address, ListHistory())
            found.update((each.id, each) for each in (history.violations if history is not None else ()))
    for address in host.addresses("violation"):
        violation: Violation | None = ask(host, address, DescribeViolation())
        if violation is not None:
            found[violation.id] = as_of_now(host, violation)
    wanted = (each for each in found.values() if sla_id is None or each.sla_id == sla_id)
    return sorted((each for each in wanted if include_resolved or each.is_open), key=lambda each: each.id)


def as_of_now(host: Host, violation: Violation) -> Violation:
    """An open violation with its metric's latest value, also a good one: its own actor hears of bad ones only."""
    if not violation.is_open:
        return violation
    address = monitor_address(violation.sla_id, violation.metric_name)
    view: MetricView | None = ask(host, address, DescribeMetric())
    return violation if view is None or view.value is None else replace(violation, actual_value=view.value)


def find_violation(host: Host, violation_id: str) -> Violation:
    """A violation, open or archived.

    Raises:
        RequestError: ``not_found``.
    """
    running: Violation | None = ask(host, violation_address(violation_id), DescribeViolation())
    if running is not None:
        return as_of_now(host, running)
    for violation in violations(host, None, include_resolved=True):
        if violation.id == violation_id:
            return violation
    raise RequestError("not_found", f"no violation {violation_id}")


def violation_document(host: Host, violation_id: str) -> dict[str, Any]:
    """One violation with all that is known of it, what its remedies printed, and what was booked for it.

    Raises:
        RequestError: ``not_found``.
    """
    violation = find_violation(host, violation_id)
    booked = [each for each in entries(host, violation.sla_id) if each.violation_id == violation_id]
    environment: Environment = host.environment
    kept = environment.outputs
    outputs = {} if kept is None else kept.read(violation_id, violation.remediation_actions)
    row = violation_row(host, violation)
    actions = [{**each, "output": outputs.get(each["id"])} for each in row["remediation_actions"]]
    return {
        **row,
        "remediation_actions": actions,
        "compensation": [each.to_document() for each in booked],
    }


def violation_row(host: Host, violation: Violation) -> dict[str, Any]:
    """A violation as ``violations`` shows it; of an open one also who has it that nobody is told of it now."""
    environment: Environment = host.environment
    muted = environment.muted(violation, host.now_ms) if violation.is_open else Muted()
    return {
        **violation.to_document(),
        "silenced_by": list(muted.silenced_by),
        "inhibited_by": list(muted.inhibited_by),
    }


def estimate(host: Host, violation_id: str) -> list[LedgerEntry]:
    """What a violation is worth: its ledger entries when it is resolved, else what would be booked now."""
    violation = find_violation(host, violation_id)
    if not violation.is_open:
        return [entry for entry in entries(host, violation.sla_id) if entry.violation_id == violation_id]
    contract = describe_contract(host, violation.sla_id).contract
    environment: Environment = host.environment
    attainment = environment.attainment(violation.sla_id)
    return compensation.estimate(contract, violation, host.now_ms, attainment=attainment)


def entries(host: Host, sla_id: str | None) -> list[LedgerEntry]:
    """Ledger entries, oldest first; those of removed contracts too."""
    addresses = host.addresses("ledger") if sla_id is None else [ledger_address(sla_id)]
    listed: list[LedgerEntry] = []
    for address in addresses:
        listed.extend(ask(host, address, ListEntries()) or ())
    return sorted(listed, key=lambda entry: (entry.booked_at_ms, entry.id))


def entry_rows(host: Host, sla_id: str | None) -> list[dict[str, Any]]:
    """Ledger entries as people see them; one that is on its way to billing, or was refused there, with ``billing``."""
    listed = entries(host, sla_id)
    billing: dict[str, Any] = {}
    for each in {entry.sla_id for entry in listed}:
        billing |= ask(host, ledger_address(each), ListBilling()) or {}
    return [
        {**entry.to_document(), **({"billing": billing[entry.id]} if entry.id in billing else {})}
        for entry in listed
    ]


def _unbilled(host: Host, sla_id: str) -> int:
    """How many approved entries billing has refused, not taken at the first try, or may have taken."""
    rows: dict[str, dict[str, Any]] = ask(host, ledger_address(sla_id), ListBilling()) or {}
    return sum(row["status"] != DeliveryStatus.SENDING or row["detail"] != "" for row in rows.values())


def _number(value: Fraction | None) -> int | float | None:
    """A fraction as JSON's number: whole ones as integers."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)
