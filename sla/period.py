"""Terms and periods: when a contract is in force, and which stretch of time is settled together.

A term runs from the effective date to the expiry; with ``renew`` the next begins where it ends. Fixed periods
are anchored at the start of the term; calendar periods at local midnight. Both are cut at the ends of the term.
"""

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.duration import DAY_MS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Period(NamedTuple):
    """``[start_ms, end_ms)`` in Unix ms."""

    start_ms: int
    end_ms: int


class Term(NamedTuple):
    """The ``number``-th term (from 0) of a contract: ``[start_ms, end_ms)``; ``end_ms`` None without an end."""

    start_ms: int
    end_ms: int | None
    number: int


def anchor_ms(contract: Sla, since_ms: int) -> int:
    """When the contract takes effect [Unix ms]: its effective date, else when it was first loaded."""
    return since_ms if contract.effective_date is None else contract.effective_date


def term_at(contract: Sla, since_ms: int, at_ms: int) -> Term | None:
    """The term in force at an instant.

    Args:
        contract: the contract.
        since_ms: when it was first loaded; stands in for a missing effective date [Unix ms].
        at_ms: the instant [Unix ms].

    Returns:
        None before the effective date and after the last term.
    """
    start_ms = anchor_ms(contract, since_ms)
    if at_ms < start_ms:
        return None
    if contract.term is not None:
        length_ms = contract.term
    elif contract.expiry_date is not None:
        length_ms = contract.expiry_date - start_ms
    else:
        return Term(start_ms, None, 0)
    if length_ms <= 0:
        return None
    number = (at_ms - start_ms) // length_ms
    if number and not contract.renew:
        return None
    return Term(start_ms + number * length_ms, start_ms + (number + 1) * length_ms, number)


def next_turn_ms(contract: Sla, since_ms: int, after_ms: int) -> int | None:
    """When a contract next begins or ends by itself [Unix ms]; arguments as :func:`term_at`.

    Returns:
        The effective date while that is to come, then the end of the last term; None when no such instant is left.
    """
    if contract.status is ContractStatus.EXPIRED:
        return None
    start_ms = anchor_ms(contract, since_ms)
    if after_ms < start_ms:
        return start_ms
    term = term_at(contract, since_ms, after_ms)
    return None if term is None or contract.renew else term.end_ms


def last_turn_ms(contract: Sla, since_ms: int, at_ms: int) -> int | None:
    """When a contract last began or ended by itself [Unix ms], up to ``at_ms``; arguments as :func:`term_at`.

    Returns:
        The end of the last term once that is over, before it the effective date; None when there was neither.
    """
    start_ms = anchor_ms(contract, since_ms)
    if at_ms < start_ms:
        return None
    if term_at(contract, since_ms, at_ms) is None:
        first = term_at(contract, since_ms, start_ms)
        return None if first is None else first.end_ms
    return start_ms if start_ms > since_ms else None


def period_at(contract: Sla, since_ms: int, at_ms: int) -> Period | None:
    """The accounting period that holds an instant; arguments as :func:`term_at`; None when no term does."""
    term = term_at(contract, since_ms, at_ms)
    if term is None:
        return None
    if contract.calendar is None:
        length_ms = contract.time_period_ms
        start_ms = term.start_ms + (at_ms - term.start_ms) // length_ms * length_ms
        end_ms = start_ms + length_ms
    else:
        start_ms, end_ms = _calendar_period(contract.calendar, ZoneInfo(contract.timezone), at_ms)
        start_ms = max(start_ms, term.start_ms)
    return Period(start_ms, end_ms if term.end_ms is None else min(end_ms, term.end_ms))


def period_from(contract: Sla, since_ms: int, at_ms: int) -> Period | None:
    """The period at an instant, or of a contract not yet effective its first; None once it has expired."""
    return period_at(contract, since_ms, max(at_ms, anchor_ms(contract, since_ms)))


def local_date(zone: ZoneInfo, at_ms: int) -> date:
    """The date a calendar on the wall of the zone shows."""
    return local_time(zone, at_ms).date()


def local_time(zone: ZoneInfo, at_ms: int) -> datetime:
    """What clock and calendar on the wall of the zone show."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).astimezone(zone).replace(tzinfo=None)


def local_instant(zone: ZoneInfo, wall: datetime) -> int:
    """Unix ms of a naive local time; the earlier of two, and one that a clock change skips is moved past it.

    A skipped time is read with the offset before the change (RFC 5545 §3.3.5), so midnight skipped is the
    instant of the change itself.
    """
    elapsed = wall.replace(tzinfo=zone, fold=0).astimezone(UTC) - _EPOCH
    return elapsed.days * DAY_MS + elapsed.seconds * 1000 + elapsed.microseconds // 1000


def _calendar_period(calendar: str, zone: ZoneInfo, at_ms: int) -> Period:
    today = local_date(zone, at_ms)
    if calendar == "day":
        first, following = today, today + timedelta(days=1)
    elif calendar == "week":
        first = today - timedelta(days=today.weekday())
        following = first + timedelta(days=7)
    else:
        months = 3 if calendar == "quarter" else 1
        first = today.replace(month=(today.month - 1) // months * months + 1, day=1)
        following = _months_later(first, months)
    return Period(_midnight(zone, first), _midnight(zone, following))


def _months_later(first: date, months: int) -> date:
    index = first.year * 12 + first.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)


def _midnight(zone: ZoneInfo, day: date) -> int:
    return local_instant(zone, datetime.combine(day, time.min))
