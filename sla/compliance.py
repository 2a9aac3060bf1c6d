"""Compliance: what the accounts of a contract's metrics mean for the contract. Exact throughout.

Percentages (service level, score, attainment) are on the scale 0..100, as in a contract file.

A period may see several sets of metrics and weights, one after the other: its *chapters*. Time counts under the version
in force then, so each chapter i is judged by its own metrics m, and a later one changes nothing in it:

    attainment_i = sum(weight_m * good_m / known_m) / sum(weight_m)     over its metrics with known time
    known_i      = sum(weight_m * known_m) / sum(weight_m)              over the same
    attainment   = sum(known_i * attainment_i) / sum(known_i)

Times (known, good, bad, ...) are weighted means within a chapter and sums over the chapters, so that what was spent of
the error budget stays spent. With one chapter this is the weighted mean of the metrics' attainments.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from slakeeper.sla.account import Account
from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.period import anchor_ms, term_at
from slakeeper.sla.signal import MonitorState

_MET = frozenset({MonitorState.OK, MonitorState.AT_RISK})
_WITHOUT_DATA = frozenset({MonitorState.NO_DATA, MonitorState.SOURCE_ERROR})


class ContractError(ValueError):
    """A contract does not allow what was asked of it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Status(StrEnum):
    """How a contract stands."""

    PENDING = "pending"
    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"
    BREACHED = "breached"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


class Share(NamedTuple):
    """One metric's part in a contract: its account, its weight, and what is left of the period [ms].

    ``remaining_ms`` is the time that can still count: to the period's end, without cuts already known.
    ``chapter`` names those it is weighed against; see above.
    """

    account: Account
    weight: Decimal
    remaining_ms: int = 0
    chapter: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """The numbers of a contract in one period; times are weighted means over its metrics [ms].

    ``attainment`` is None without known time. ``error_budget_ms`` is the budget of known plus remaining
    time, so it is the whole period's as long as nothing is unknown or excluded.
    """

    attainment: Fraction | None
    best_attainment: Fraction | None
    breached: bool
    known_ms: Fraction
    good_ms: Fraction
    bad_ms: Fraction
    unknown_ms: Fraction
    excluded_ms: Fraction
    error_budget_ms: Fraction
    error_budget_spent_ms: Fraction

    @property
    def error_budget_remaining_ms(self) -> Fraction:
        """What is left of the budget [ms]; negative once overspent."""
        return self.error_budget_ms - self.error_budget_spent_ms

    @property
    def error_budget_remaining(self) -> Fraction:
        """What is left of the budget as a share of it, at most 1; 1 for an untouched budget of nothing."""
        if self.error_budget_ms:
            return self.error_budget_remaining_ms / self.error_budget_ms
        return Fraction(0 if self.error_budget_spent_ms else 1)


def score_now(states: Iterable[tuple[MonitorState, Decimal]]) -> Fraction | None:
    """Share of the weight of metrics with data whose promise is kept now [%].

    Args:
        states: (state, weight) of every metric.

    Returns:
        0..100, or None when no metric has data.
    """
    met = with_data = Fraction(0)
    for state, weight in states:
        if state in _WITHOUT_DATA:
            continue
        with_data += Fraction(weight)
        if state in _MET:
            met += Fraction(weight)
    return 100 * met / with_data if with_data else None


def shares_of(account: Account, weight: Decimal | None, remaining_ms: int = 0) -> list[Share]:
    """A metric's part in each chapter of a period.

    Args:
        account: its whole account.
        weight: its weight where the account does not say; None leaves such an account out.
        remaining_ms: time of the period that can still count [ms].
    """
    if not account.parts:
        return [] if weight is None else [Share(account, weight, remaining_ms)]
    last = account.parts[-1]
    return [
        Share(part.account, part.weight, remaining_ms if part is last else 0, part.chapter)
        for part in account.parts
        if part.weight
    ]


def attainment(shares: Iterable[Share]) -> Fraction | None:
    """The attainment [%] so far by the formula above; None when no metric has known time."""
    return _over_chapters(
        (_mean((share.account.attainment, share.weight) for share in chapter), _known_ms(chapter))
        for chapter in _chapters(shares)
    )


def best_attainment(shares: Iterable[Share]) -> Fraction | None:
    """The attainment [%] if everything that remains of the period is good; None when nothing can be known."""

    def best(share: Share) -> Fraction | None:
        known_ms = share.account.known_ms + share.remaining_ms
        return Fraction(100 * (share.account.good_ms + share.remaining_ms), known_ms) if known_ms else None

    return _over_chapters(
        (_mean((best(share), share.weight) for share in chapter), _known_ms(chapter, with_remaining=True))
        for chapter in _chapters(shares)
    )


def breached(service_level: Decimal, shares: Iterable[Share]) -> bool:
    """Whether even a perfect remainder of the period cannot reach ``service_level`` [%] any more."""
    return _is_breached(service_level, best_attainment(shares))


def _is_breached(service_level: Decimal, best: Fraction | None) -> bool:
    return best is not None and best < Fraction(service_level)


def error_budget_ms(service_level: Decimal, known_ms: int | Fraction) -> Fraction:
    """How long a promise of ``service_level`` [%] may be broken within ``known_ms`` [ms]: 864 in 24 h at 99.999."""
    return (1 - Fraction(service_level) / 100) * known_ms


def burn_rate(bad_ms: int | Fraction, known_ms: int | Fraction, service_level: Decimal) -> Fraction | None:
    """How fast the error budget is spent, as a multiple of the allowed rate.

    Args:
        bad_ms: time out of promise within the look-back [ms], 0 <= bad_ms <= known_ms.
        known_ms: time with data within the look-back [ms].
        service_level: the contract's target [%], 90 <= x < 100.

    Returns:
        1 spends the budget exactly by the end of the period; 14.4 spends 2 % of a 30-day budget in an hour;
        None without known time.

    Raises:
        ContractError: ``no_error_budget``: a service level of 100 leaves none.

    Source: Google SRE workbook, "Alerting on SLOs".
    """
    allowed = 1 - Fraction(service_level) / 100
    if allowed <= 0:
        raise ContractError("no_error_budget")
    return Fraction(bad_ms) / known_ms / allowed if known_ms else None


def met(service_level: Decimal, period_attainment: Fraction | None) -> bool | None:
    """Whether a finished period kept its promise; None (unknown) when nothing of it is known."""
    return None if period_attainment is None else period_attainment >= Fraction(service_level)


def standing(service_level: Decimal, shares: Sequence[Share]) -> Standing:
    """All numbers of a contract's period at once; ``shares`` holds every metric in every chapter."""
    chapters = _chapters(shares)

    def total(of: Callable[[Share], int]) -> Fraction:
        means = (_mean((Fraction(of(share)), share.weight) for share in chapter) for chapter in chapters)
        return sum((each for each in means if each is not None), Fraction(0))

    def mean(field: str) -> Fraction:
        return total(lambda share: int(getattr(share.account, field)))

    remaining_ms = total(lambda share: share.remaining_ms)
    best = best_attainment(shares)
    known_ms, bad_ms = mean("known_ms"), mean("bad_ms")
    return Standing(
        attainment=attainment(shares),
        best_attainment=best,
        breached=_is_breached(service_level, best),
        known_ms=known_ms,
        good_ms=mean("good_ms"),
        bad_ms=bad_ms,
        unknown_ms=mean("unknown_ms"),
        excluded_ms=mean("excluded_ms"),
        error_budget_ms=error_budget_ms(service_level, known_ms + remaining_ms),
        error_budget_spent_ms=bad_ms,
    )


def status_apart(contract: Sla, since_ms: int, now_ms: int) -> Status | None:
    """Expired, suspended or pending, whatever its metrics say; None of a contract that is in force."""
    if contract.status is ContractStatus.EXPIRED:
        return Status.EXPIRED
    if now_ms < anchor_ms(contract, since_ms):
        return Status.SUSPENDED if contract.status is ContractStatus.SUSPENDED else Status.PENDING
    if term_at(contract, since_ms, now_ms) is None:
        return Status.EXPIRED
    return Status.SUSPENDED if contract.status is ContractStatus.SUSPENDED else None


def contract_status(
    contract: Sla,
    states: Iterable[MonitorState],
    is_breached: bool,
    since_ms: int,
    now_ms: int,
    *,
    is_burning: bool = False,
) -> Status:
    """How the contract stands.

    Args:
        contract: the contract.
        states: of its metrics, now.
        is_breached: whether its running period is lost (:func:`breached`).
        since_ms: when it was first loaded [Unix ms].
        now_ms: the present [Unix ms].
        is_burning: whether a burn alert holds, which puts the whole contract at risk.

    Returns:
        What is decided apart from the metrics first (expired, suspended, pending), then breached, then by the
        number of violating metrics: 0 healthy, 1 warning, more critical; at risk is at least warning.
    """
    apart = status_apart(contract, since_ms, now_ms)
    if apart is not None:
        return apart
    if is_breached:
        return Status.BREACHED
    now = list(states)
    violating_count = now.count(MonitorState.VIOLATING)
    if violating_count > 1:
        return Status.CRITICAL
    is_at_risk = is_burning or MonitorState.AT_RISK in now
    return Status.WARNING if violating_count or is_at_risk else Status.HEALTHY


def _chapters(shares: Iterable[Share]) -> list[list[Share]]:
    found: dict[int, list[Share]] = {}
    for share in shares:
        found.setdefault(share.chapter, []).append(share)
    return list(found.values())


def _known_ms(chapter: Iterable[Share], *, with_remaining: bool = False) -> Fraction:
    """What a chapter counts for: the mean known time of its metrics that have any [ms]."""
    known = (
        (share.account.known_ms + (share.remaining_ms if with_remaining else 0), share.weight)
        for share in chapter
    )
    return _mean(
        (Fraction(known_ms) if known_ms else None, weight) for known_ms, weight in known
    ) or Fraction(0)


def _over_chapters(parts: Iterable[tuple[Fraction | None, Fraction]]) -> Fraction | None:
    """The mean of the chapters' values, weighted with the time each counts for [ms]."""
    total = known_ms = Fraction(0)
    for value, counts_ms in parts:
        if value is not None:
            total += value * counts_ms
            known_ms += counts_ms
    return total / known_ms if known_ms else None


def _mean(parts: Iterable[tuple[Fraction | None, Decimal]]) -> Fraction | None:
    """Weighted mean of the parts that are not None."""
    known = [(part, Fraction(weight)) for part, weight in parts if part is not None]
    if len(known) == 1 and known[0][1]:
        return known[0][0]
    weights = sum(weight for _, weight in known)
    return sum((part * weight for part, weight in known), Fraction(0)) / weights if weights else None
