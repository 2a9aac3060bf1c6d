"""Questions about contracts, answered from what their actors say; plain JSON values out."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from slakeeper.actors.contract import ContractView
from slakeeper.actors.message import (
    DescribeContract,
    DescribeMetric,
    DescribeViolation,
    ListEntries,
    ListHistory,
    contract_address,
    ledger_address,
    monitor_address,
    report_address,
)
from slakeeper.actors.monitor import MetricView
from slakeeper.actors.report import History, PastPeriod
from slakeeper.otp.actor import ActorStopped, RequestError
from slakeeper.otp.host import Host
from slakeeper.sla import compensation, compliance, period, report
from slakeeper.sla.compliance import Share, Standing
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import parse_instant
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.report import EarlierPeriod, MetricAccount
from slakeeper.sla.signal import MonitorState
from slakeeper.sla.violation import Violation


@dataclass(frozen=True)
class Picture:
    """A contract with its metrics and their meaning, as of now."""

    view: ContractView
    metrics: list[MetricView]
    standing: Standing
    status: str


def describe_contract(host: Host, sla_id: str) -> ContractView:
    """The contract's view.

    Raises:
        RequestError: ``not_found``.
    """
    if not host.is_running(contract_address(sla_id)):
        raise RequestError("not_found", f"no contract {sla_id}")
    view: ContractView = host.ask(contract_address(sla_id), DescribeContract())
    return view


def picture(host: Host, sla_id: str) -> Picture:
    """Everything known of a contract now; a metric whose monitor is down is left out."""
    view = describe_contract(host, sla_id)
    metrics: list[MetricView] = []
    for metric in view.contract.metrics:
        try:
            metrics.append(host.ask(monitor_address(sla_id, metric.name), DescribeMetric()))
        except (ActorStopped, RequestError):
            continue
    shares = [Share(each.account, each.metric.weight, each.remaining_ms) for each in metrics]
    standing = compliance.standing(view.contract.service_level, shares)
    states = [MonitorState(each.state) for each in metrics]
    status = compliance.contract_status(view.contract, states, standing.breached, view.since_ms, host.now_ms)
    return Picture(view, metrics, standing, status.value)


def status_line(host: Host, sla_id: str) -> dict[str, Any]:
    """One contract as ``status`` shows it; percentages 0..100, ``error_budget_remaining`` a share of the budget."""
    seen = picture(host, sla_id)
    contract = seen.view.contract
    score = compliance.score_now((MonitorState(each.state), each.metric.weight) for each in seen.metrics)
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
        "time_period_remaining_ms": 0 if running is None else max(0, running.end_ms - host.now_ms),
        "open_violations": len(seen.view.open_violations),
        "metrics": [_metric_line(each) for each in seen.metrics],
    }


def contract_document(host: Host, sla_id: str) -> dict[str, Any]:
    """One contract as ``sla show`` shows it: as loaded, plus version, status, period and metrics."""
    seen = picture(host, sla_id)
    contract, standing = seen.view.contract, seen.standing
    running = period.period_from(contract, seen.view.since_ms, host.now_ms)
    document = contract.to_document()
    described = {each["name"]: each for each in document["metrics"]}
    return {
        **document,
        "version": seen.view.version,
        "status": seen.status,
        "contract_status": contract.status.value,
        "open_violations": sorted(seen.view.open_violations.values()),
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
        },
        "metrics": [
            {**described[each.metric.name], **_metric_line(each), **_metric_detail(each)}
            for each in seen.metrics
        ],
    }


def violations(host: Host, sla_id: str | None, include_resolved: bool) -> list[Violation]:
    """Open violations, and with ``include_resolved`` the archived ones too, oldest first."""
    found: dict[str, Violation] = {}
    if include_resolved:
        for address in host.addresses("report"):
            history: History = host.ask(address, ListHistory())
            found.update((each.id, each) for each in history.violations)
    for address in host.addresses("violation"):
        if host.is_running(address):
            violation: Violation = host.ask(address, DescribeViolation())
            found[violation.id] = violation
    wanted = (each for each in found.values() if sla_id is None or each.sla_id == sla_id)
    return sorted((each for each in wanted if include_resolved or each.is_open), key=lambda each: each.id)


def find_violation(host: Host, violation_id: str) -> Violation:
    """A violation, open or archived.

    Raises:
        RequestError: ``not_found``.
    """
    for violation in violations(host, None, include_resolved=True):
        if violation.id == violation_id:
            return violation
    raise RequestError("not_found", f"no violation {violation_id}")


def estimate(host: Host, violation_id: str) -> list[LedgerEntry]:
    """What a violation is worth: its ledger entries when it is resolved, else what would be booked now."""
    violation = find_violation(host, violation_id)
    if not violation.is_open:
        return [entry for entry in entries(host, violation.sla_id) if entry.violation_id == violation_id]
    contract = describe_contract(host, violation.sla_id).contract
    return compensation.estimate(contract, violation, host.now_ms)


def entries(host: Host, sla_id: str | None) -> list[LedgerEntry]:
    """Ledger entries, oldest first; those of removed contracts too."""
    addresses = host.addresses("ledger") if sla_id is None else [ledger_address(sla_id)]
    listed: list[LedgerEntry] = []
    for address in addresses:
        if host.is_running(address):
            listed.extend(host.ask(address, ListEntries()))
    return sorted(listed, key=lambda entry: (entry.booked_at_ms, entry.id))


def report_document(host: Host, sla_id: str, which: str) -> dict[str, Any]:
    """The report of a contract's period.

    Args:
        which: ``current``, ``last``, or ``START/END`` (instants; every kept period within is taken together).

    Raises:
        RequestError: ``not_found`` without such a contract or period, ``invalid`` for a period that cannot be read.
    """
    seen = picture(host, sla_id)
    contract = seen.view.contract
    history: History = host.ask(report_address(sla_id), ListHistory())
    past = sorted(history.periods, key=lambda each: each.start_ms)
    weights = {metric.name: metric.weight for metric in contract.metrics}
    current = [MetricAccount(each.metric.name, each.metric.weight, each.account) for each in seen.metrics]
    if which == "current":
        running = period.period_from(contract, seen.view.since_ms, host.now_ms)
        if running is None:
            raise RequestError("not_found", f"{sla_id} has expired; ask for --period last")
        start_ms, end_ms, accounts = running.start_ms, running.end_ms, current
    elif which == "last":
        if not past:
            raise RequestError("not_found", f"no period of {sla_id} has ended yet")
        start_ms, end_ms = past[-1].start_ms, past[-1].end_ms
        accounts = _accounts(past[-1:], weights)
    else:
        start_ms, end_ms = _range(which)
        within = [each for each in past if start_ms <= each.start_ms and each.end_ms <= end_ms]
        accounts = _accounts(within, weights)
        accounts += [each for each in current if start_ms <= each.account.start_ms < end_ms]
        if not accounts:
            raise RequestError("not_found", f"nothing is kept of {sla_id} within {which}")
    listed = [
        each
        for each in violations(host, sla_id, include_resolved=True)
        if each.opened_at_ms < end_ms and (each.closed_at_ms is None or each.closed_at_ms >= start_ms)
    ]
    ids = {each.id for each in listed}
    owed = [
        entry
        for entry in entries(host, sla_id)
        if entry.violation_id in ids
        or (entry.period_start_ms is not None and start_ms <= entry.period_start_ms < end_ms)
    ]
    return report.build(
        contract=contract,
        version=seen.view.version,
        start_ms=start_ms,
        end_ms=end_ms,
        now_ms=host.now_ms,
        accounts=accounts,
        violations=listed,
        entries=owed,
        earlier=_earlier(contract, [each for each in past if each.end_ms <= start_ms], weights),
    )


def _accounts(periods: Sequence[PastPeriod], weights: dict[str, Decimal]) -> list[MetricAccount]:
    return [
        MetricAccount(name, weights.get(name, Decimal(1)), account)
        for each in periods
        for name, account in each.accounts.items()
    ]


def _earlier(
    contract: Sla, periods: Sequence[PastPeriod], weights: dict[str, Decimal]
) -> list[EarlierPeriod]:
    made: list[EarlierPeriod] = []
    for each in periods:
        total = report.totals(_accounts([each], weights))
        made.append(EarlierPeriod(each.start_ms, each.end_ms, total.attainment, contract.service_level))
    return made


def _range(text: str) -> tuple[int, int]:
    start_text, slash, end_text = text.partition("/")
    try:
        if not slash:
            raise ValueError(text)
        start_ms, end_ms = parse_instant(_instant(start_text)), parse_instant(_instant(end_text))
    except ValueError as error:
        message = f"{text!r} is no period: give current, last, or START/END with two instants"
        raise RequestError("invalid", message) from error
    if end_ms <= start_ms:
        raise RequestError("invalid", "a period ends after it starts")
    return start_ms, end_ms


def _instant(text: str) -> str | int:
    return int(text) if text.isdigit() else text


def _metric_line(view: MetricView) -> dict[str, Any]:
    return {
        "name": view.metric.name,
        "state": view.state,
        "value": view.value,
        "threshold": float(view.metric.value),
        "condition": view.metric.condition.value,
        "unit": view.metric.unit,
    }


def _metric_detail(view: MetricView) -> dict[str, Any]:
    account = view.account
    return {
        "samples_accepted": view.counters.get("accepted", 0),
        "samples_late": view.counters.get("late", 0),
        "samples_duplicate": view.counters.get("duplicate", 0),
        "breach_probability": view.breach_probability,
        "account": {
            "known_ms": account.known_ms,
            "good_ms": account.good_ms,
            "bad_ms": account.bad_ms,
            "unknown_ms": account.unknown_ms,
            "excluded_ms": account.excluded_ms,
        },
    }


def _number(value: Fraction | None) -> int | float | None:
    """A fraction as JSON's number: whole ones as integers."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)
