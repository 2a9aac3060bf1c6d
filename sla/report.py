"""The report of one contract over one period, as a plain document; :mod:`slakeeper.sla.report_text` writes it out.

The document holds plain JSON values only: times in Unix ms, ratios in percent as decimal text, exact milliseconds as
integers, amounts as decimal text. Everything a channel, page or file shows comes from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Protocol

from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import EntryStatus, LedgerEntry, decimal_text
from slakeeper.sla.rational import exact_decimal
from slakeeper.sla.report_text import to_markdown
from slakeeper.sla.violation import Violation

__all__ = [
    "Accounted",
    "EarlierPeriod",
    "MetricAccount",
    "Totals",
    "belongs",
    "build",
    "to_markdown",
    "totals",
]


class Accounted(Protocol):
    """What a period was worth for one metric, exact to the millisecond (``sla.account.Account``)."""

    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def known_ms(self) -> int: ...
    @property
    def good_ms(self) -> int: ...
    @property
    def bad_ms(self) -> int: ...
    @property
    def unknown_ms(self) -> int: ...
    @property
    def excluded_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class MetricAccount:
    """A metric's account; a metric has one for each chapter, as :mod:`slakeeper.sla.compliance` explains them."""

    metric: str
    weight: Decimal
    account: Accounted
    chapter: int = 0


@dataclass(frozen=True, slots=True)
class EarlierPeriod:
    """A closed period to compare with: bounds [Unix ms], attainment [%] or None, violations opened."""

    start_ms: int
    end_ms: int
    attainment: Fraction | None
    service_level: Decimal
    violation_count: int = 0


@dataclass(frozen=True, slots=True)
class Totals:
    """A contract's period: weighted sums over its metrics [ms], exact."""

    known_ms: Fraction
    good_ms: Fraction
    bad_ms: Fraction
    unknown_ms: Fraction
    excluded_ms: Fraction
    attainment: Fraction | None


def totals(accounts: Sequence[MetricAccount]) -> Totals:
    """Weighted means over the metrics; the attainment is the weighted mean of those of metrics with known time.

    Args:
        accounts: of one contract; several of one metric in one chapter add up, with a weight by their known time.
            Chapters are put together as :mod:`slakeeper.sla.compliance` does it.

    Returns:
        All zero, and attainment None, without accounts.
    """
    chapters = _chapters(accounts)
    parts = [_chapter_totals(chapters[number]) for number in sorted(chapters)]
    counted = [(total.attainment, known_ms) for total, known_ms in parts if total.attainment is not None]
    known_ms = sum((each for _, each in counted), Fraction(0))

    def sum_of(field: str) -> Fraction:
        return sum((getattr(total, field) for total, _ in parts), Fraction(0))

    return Totals(
        sum_of("known_ms"),
        sum_of("good_ms"),
        sum_of("bad_ms"),
        sum_of("unknown_ms"),
        sum_of("excluded_ms"),
        sum((value * each for value, each in counted), Fraction(0)) / known_ms if known_ms else None,
    )


def _chapters(accounts: Sequence[MetricAccount]) -> dict[int, list[MetricAccount]]:
    chapters: dict[int, list[MetricAccount]] = {}
    for each in accounts:
        chapters.setdefault(each.chapter, []).append(each)
    return chapters


def _chapter(number: int, accounts: Sequence[MetricAccount]) -> dict[str, Any]:
    total, counts_ms = _chapter_totals(accounts)
    names = dict.fromkeys(each.metric for each in accounts)
    return {
        "version": number,
        "attainment": _percent(total.attainment),
        "counts_ms": _ms(counts_ms),
        "weights": {
            name: _plain(_weight([each for each in accounts if each.metric == name])) for name in names
        },
    }


def _chapter_totals(accounts: Sequence[MetricAccount]) -> tuple[Totals, Fraction]:
    """Of one chapter; the second value is the time it counts for [ms]."""
    weight = {name: Fraction(0) for name in dict.fromkeys(each.metric for each in accounts)}
    for name in weight:
        weight[name] = _weight([each for each in accounts if each.metric == name])
    whole = sum(weight.values(), Fraction(0))

    def mean(field: str) -> Fraction:
        if not whole:
            return Fraction(0)
        return sum((weight[a.metric] * getattr(a.account, field) for a in accounts), Fraction(0)) / whole

    good = {name: sum(a.account.good_ms for a in accounts if a.metric == name) for name in weight}
    bad = {name: sum(a.account.bad_ms for a in accounts if a.metric == name) for name in weight}
    judged = [name for name in weight if good[name] + bad[name] > 0]
    attainment, counts_ms = None, Fraction(0)
    if judged:
        reached = sum((weight[n] * Fraction(100 * good[n], good[n] + bad[n]) for n in judged), Fraction(0))
        judged_weight = sum((weight[n] for n in judged), Fraction(0))
        attainment = reached / judged_weight
        counts_ms = sum((weight[n] * (good[n] + bad[n]) for n in judged), Fraction(0)) / judged_weight
    total = Totals(
        mean("known_ms"), mean("good_ms"), mean("bad_ms"), mean("unknown_ms"), mean("excluded_ms"), attainment
    )
    return total, counts_ms


def build(
    *,
    contract: Sla,
    version: int,
    start_ms: int,
    end_ms: int,
    now_ms: int,
    accounts: Sequence[MetricAccount],
    violations: Sequence[Violation] = (),
    entries: Sequence[LedgerEntry] = (),
    earlier: Sequence[EarlierPeriod] = (),
    remaining_ms: int | Fraction = 0,
    budget_ends_at_ms: int | None = None,
) -> dict[str, Any]:
    """The document of a period.

    Args:
        version: of the contract at the period's end.
        start_ms, end_ms: the period [Unix ms].
        now_ms: when the report is made; before ``end_ms`` the period is still running.
        violations: those that were open at some time within the period.
        entries: ledger entries of the contract; each is counted in one period only, see :func:`belongs`.
        earlier: closed periods before this one, in any order.
        remaining_ms: time of a running period that can still count (weighted mean over the metrics); the budget is
            that of known plus remaining time.
        budget_ends_at_ms: of a running period when its budget will be gone at the present rate [Unix ms].
    """
    total = totals(accounts)
    booked = [entry for entry in entries if belongs(entry, start_ms, end_ms)]
    elsewhere = [entry for entry in entries if not belongs(entry, start_ms, end_ms)]
    opened_count = sum(start_ms <= violation.opened_at_ms < end_ms for violation in violations)
    met = None if total.attainment is None else total.attainment >= Fraction(contract.service_level)
    budget_ms = (total.known_ms + remaining_ms) * (1 - Fraction(contract.service_level) / 100)
    running = now_ms < end_ms
    return {
        "sla": {
            "id": contract.id,
            "name": contract.name or contract.id,
            "description": contract.description,
            "version": version,
            "owner_team": contract.owner_team,
            "service_level": decimal_text(contract.service_level),
            "currency": contract.currency,
            "timezone": contract.timezone,
        },
        "generated_at": now_ms,
        "period": {
            "start": start_ms,
            "end": end_ms,
            "running": running,
            "verdict": _verdict(met, running),
            "met": met,
            "attainment": _percent(total.attainment),
            "known_ms": _ms(total.known_ms),
            "good_ms": _ms(total.good_ms),
            "bad_ms": _ms(total.bad_ms),
            "unknown_ms": _ms(total.unknown_ms),
            "excluded_ms": _ms(total.excluded_ms),
            "coverage": _coverage(total.known_ms, total.unknown_ms),
        },
        "budget": {
            "total_ms": _ms(budget_ms),
            "of_ms": _ms(total.known_ms + remaining_ms),
            "spent_ms": _ms(total.bad_ms),
            "remaining_ms": _ms(budget_ms - total.bad_ms),
            "spent": _percent(100 * total.bad_ms / budget_ms if budget_ms else None),
            "ends_at": budget_ends_at_ms,
        },
        "metrics": [_metric(contract, name, accounts) for name in dict.fromkeys(a.metric for a in accounts)],
        # The versions of which each gave the metrics other weights, with what each counts for.
        "chapters": [_chapter(number, each) for number, each in sorted(_chapters(accounts).items())],
        "violations": [
            _violation(each, booked, elsewhere, now_ms)
            for each in sorted(violations, key=lambda v: (v.opened_at_ms, v.id))
        ],
        "ledger": [entry.to_document() for entry in sorted(booked, key=lambda e: (e.booked_at_ms, e.id))],
        "owed": _owed(booked),
        "trend": _trend(contract, total.attainment, (start_ms, end_ms), opened_count, running, earlier),
    }


def belongs(entry: LedgerEntry, start_ms: int, end_ms: int) -> bool:
    """Whether an entry is counted from ``start_ms`` to before ``end_ms``: a penalty is where its period begins, any
    other where it was booked, however long its violation lasted. So adjoining reports count no sum twice.
    """
    at_ms = entry.booked_at_ms if entry.period_start_ms is None else entry.period_start_ms
    return start_ms <= at_ms < end_ms


def _weight(parts: Sequence[MetricAccount]) -> Fraction:
    known = sum(part.account.known_ms for part in parts)
    if not known:
        return Fraction(parts[-1].weight)
    return sum((Fraction(part.weight) * part.account.known_ms for part in parts), Fraction(0)) / known


def _verdict(met: bool | None, running: bool) -> str:
    if met is None:
        return "unknown"
    if running:
        return "on target" if met else "below target"
    return "met" if met else "breached"


def _ms(value: Fraction) -> int | float:
    """Milliseconds: whole ones as an integer; weights may leave a fraction."""
    return int(value) if value.denominator == 1 else round(float(value), 3)


def _percent(value: Fraction | None) -> str | None:
    """A percentage as decimal text, exact where a decimal can be, else 28 digits."""
    return None if value is None else decimal_text(exact_decimal(value))


def _coverage(known_ms: Fraction | int, unknown_ms: Fraction | int) -> str | None:
    """Share of the time that counts of which there was data."""
    counted = Fraction(known_ms) + Fraction(unknown_ms)
    return _percent(100 * Fraction(known_ms) / counted if counted else None)


def _metric(contract: Sla, name: str, accounts: Sequence[MetricAccount]) -> dict[str, Any]:
    parts = [each for each in accounts if each.metric == name]
    sums = {
        field: sum(getattr(part.account, field) for part in parts)
        for field in ("known_ms", "good_ms", "bad_ms", "unknown_ms", "excluded_ms")
    }
    judged = sums["good_ms"] + sums["bad_ms"]
    described = next((metric for metric in contract.metrics if metric.name == name), None)
    return {
        "name": name,
        "weight": _plain(_weight(parts)),
        "condition": described.condition.value if described else None,
        "threshold": decimal_text(described.value) if described else None,
        "unit": described.unit if described else "",
        "attainment": _percent(Fraction(100 * sums["good_ms"], judged) if judged else None),
        "coverage": _coverage(sums["known_ms"], sums["unknown_ms"]),
        **sums,
    }


def _plain(value: Fraction) -> str:
    return decimal_text(exact_decimal(value))


def _violation(
    violation: Violation, booked: Sequence[LedgerEntry], elsewhere: Sequence[LedgerEntry], now_ms: int
) -> dict[str, Any]:
    """With its credits of this period; of those in another period's report only when they were booked [Unix ms]."""
    return {
        **violation.to_document(),
        "duration_ms": violation.duration_ms(now_ms),
        "credits": [entry.to_document() for entry in booked if entry.violation_id == violation.id],
        "credits_booked_elsewhere": sorted(
            {entry.booked_at_ms for entry in elsewhere if entry.violation_id == violation.id}
        ),
    }


def _owed(entries: Sequence[LedgerEntry]) -> list[dict[str, str]]:
    """Sums by kind, currency and status; nothing is added that cannot be added."""
    sums: dict[tuple[str, str, str], Fraction] = {}
    places: dict[tuple[str, str, str], int] = {}
    for entry in entries:
        if entry.status is EntryStatus.REJECTED:
            continue
        key = (entry.compensation_type.value, entry.currency or "", entry.status.value)
        exponent = entry.amount.as_tuple().exponent
        sums[key] = sums.get(key, Fraction(0)) + Fraction(entry.amount)
        places[key] = max(places.get(key, 0), -exponent if isinstance(exponent, int) else 0)
    return [
        {
            "compensation_type": key[0],
            "currency": key[1],
            "status": key[2],
            "amount": decimal_text(exact_decimal(value, places[key])),
        }
        for key, value in sorted(sums.items())
    ]


def _trend(
    contract: Sla,
    attainment: Fraction | None,
    bounds: tuple[int, int],
    violation_count: int,
    running: bool,
    earlier: Sequence[EarlierPeriod],
) -> list[dict[str, Any]]:
    """Earlier periods and this one, oldest first, each with the change against the one before [percentage points]."""
    this = EarlierPeriod(*bounds, attainment, contract.service_level, violation_count)
    rows: list[dict[str, Any]] = []
    before: Fraction | None = None
    for period in [*sorted(earlier, key=lambda each: each.start_ms), this]:
        met = None if period.attainment is None else period.attainment >= Fraction(period.service_level)
        change = None if before is None or period.attainment is None else period.attainment - before
        rows.append(
            {
                "start": period.start_ms,
                "end": period.end_ms,
                "attainment": _percent(period.attainment),
                "service_level": decimal_text(period.service_level),
                "verdict": _verdict(met, running and period is this),
                "violations": period.violation_count,
                "change": _percent(change),
            }
        )
        before = period.attainment if period.attainment is not None else before
    return rows
