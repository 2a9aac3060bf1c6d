"""The report of a contract's period, from what its monitors and its report actor say."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from slakeeper.actors import query
from slakeeper.actors.address import contract_address, ledger_address, report_address
from slakeeper.actors.message import ListHistory, NewestTerms
from slakeeper.actors.query import Picture
from slakeeper.actors.report import History, PastPeriod
from slakeeper.otp.actor import RequestError
from slakeeper.otp.host import Host
from slakeeper.sla import compliance, period, report
from slakeeper.sla.account import Account
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import parse_instant
from slakeeper.sla.period import Period
from slakeeper.sla.report import EarlierPeriod, MetricAccount
from slakeeper.sla.violation import Violation


@dataclass(frozen=True)
class _Now:
    """A contract as it stands, or as it was when it was removed.

    Attributes:
        picture: what its monitors say; None once it is removed.
        running: the period that goes on.
        accounts: of that period, so far.
    """

    contract: Sla
    version: int
    picture: Picture | None = None
    running: Period | None = None
    accounts: Sequence[MetricAccount] = ()


def report_document(host: Host, sla_id: str, which: str) -> dict[str, Any]:
    """The report of a contract's period; of one that was removed, too, of the periods that it had.

    Args:
        which: ``current``, ``last``, or ``START/END`` (instants; every kept period within is taken together).

    Raises:
        RequestError: ``not_found`` without such a contract or period, ``invalid`` for a period that cannot be read.
    """
    now = _now(host, sla_id)
    contract, version, running = now.contract, now.version, now.running
    history: History = host.ask(report_address(sla_id), ListHistory())
    past = sorted(history.periods, key=lambda each: each.start_ms)
    is_running = False
    if which == "current":
        if running is None:
            why = "has been removed" if now.picture is None else "has expired"
            raise RequestError("not_found", f"{sla_id} {why}; ask for --period last")
        start_ms, end_ms, accounts, is_running = running.start_ms, running.end_ms, [*now.accounts], True
    elif which == "last":
        if not past:
            raise RequestError("not_found", f"no period of {sla_id} has ended yet")
        start_ms, end_ms = past[-1].start_ms, past[-1].end_ms
        accounts = _accounts(past[-1:])
        # Judged by what was promised then.
        version, contract = past[-1].version, _promising(contract, past[-1].service_level)
    else:
        start_ms, end_ms = _range(which)
        accounts = _accounts([each for each in past if start_ms <= each.start_ms and each.end_ms <= end_ms])
        if running is not None and start_ms <= running.start_ms < end_ms:
            accounts += now.accounts
            is_running = running.end_ms <= end_ms
        if not accounts:
            raise RequestError("not_found", f"nothing is kept of {sla_id} within {which}")
    remaining_ms, budget_ends_at_ms = Fraction(0), None
    if now.picture is not None and running is not None and is_running:
        remaining_ms = now.picture.remaining_ms
        if (running.start_ms, running.end_ms) == (start_ms, end_ms):
            budget_ends_at_ms = query.budget_ends_at_ms(host, now.picture, running)
    known = query.violations(host, sla_id, include_resolved=True)
    listed = [
        each
        for each in known
        if each.opened_at_ms < end_ms and (each.closed_at_ms is None or each.closed_at_ms >= start_ms)
    ]
    return report.build(
        contract=contract,
        version=version,
        start_ms=start_ms,
        end_ms=end_ms,
        now_ms=host.now_ms,
        accounts=accounts,
        violations=listed,
        entries=query.entries(host, sla_id),
        earlier=_earlier([each for each in past if each.end_ms <= start_ms], known),
        remaining_ms=remaining_ms,
        budget_ends_at_ms=budget_ends_at_ms,
    )


def _now(host: Host, sla_id: str) -> _Now:
    if not host.exists(contract_address(sla_id)) and host.exists(ledger_address(sla_id)):
        version, document = host.ask(ledger_address(sla_id), NewestTerms())
        return _Now(Sla.from_document(document), version)
    seen = query.picture(host, sla_id)
    contract = seen.view.contract
    accounts = [
        part
        for each in (*seen.metrics, *seen.removed)
        for part in _by_chapter(each.metric.name, each.account, each.metric.weight)
    ]
    running = period.period_from(contract, seen.view.since_ms, host.now_ms)
    return _Now(contract, seen.view.version, seen, running, accounts)


def _promising(contract: Sla, service_level: Decimal) -> Sla:
    return contract.model_copy(update={"service_level": service_level})


def _accounts(periods: Sequence[PastPeriod]) -> list[MetricAccount]:
    return [
        part
        for each in periods
        for name, account in each.accounts.items()
        for part in _by_chapter(name, account, each.weights.get(name))
    ]


def _by_chapter(name: str, account: Account, weight: Decimal | None) -> list[MetricAccount]:
    return [
        MetricAccount(name, share.weight, share.account, share.chapter)
        for share in compliance.shares_of(account, weight)
    ]


def _earlier(periods: Sequence[PastPeriod], violations: Sequence[Violation]) -> list[EarlierPeriod]:
    made: list[EarlierPeriod] = []
    for each in periods:
        total = report.totals(_accounts([each]))
        opened = sum(each.start_ms <= violation.opened_at_ms < each.end_ms for violation in violations)
        made.append(EarlierPeriod(each.start_ms, each.end_ms, total.attainment, each.service_level, opened))
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
