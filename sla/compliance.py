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

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    counted = Counter((weight, state in _MET) for state, weight in states if state not in _WITHOUT_DATA)
    with_data = sum((Fraction(weight) * count for (weight, _), count in counted.items()), Fraction(0))
    met = sum(
        (Fraction(weight) * count for (weight, is_met), count in counted.items() if is_met), Fraction(0)
    )
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
    return _attainment(_chapters(shares), _so_far)


def best_attainment(shares: Iterable[Share]) -> Fraction | None:
    """The attainment [%] if everything that remains of the period is good; None when nothing can be known."""
    return _attainment(_chapters(shares), _at_best)


def breached(service_level: Decimal, shares: Iterable[Share]) -> bool:
    """Whether even a perfect remainder of the period cannot reach ``service_level`` [%] any more."""
    return _is_below(best_attainment(shares), service_level)


def _is_below(best: Fraction | None, service_level: Decimal) -> bool:
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

    def mean(of: Callable[[Share], int]) -> Fraction:
        means = (_mean(chapter, lambda share: (of(share), 1)) for chapter in chapters)
        return sum((each for each in means if each is not None), Fraction(0))

    remaining_ms = mean(lambda share: share.remaining_ms)
    known_ms, bad_ms = mean(lambda share: share.account.known_ms), mean(lambda share: share.account.bad_ms)
    best = _attainment(chapters, _at_best)
    return Standing(
        attainment=_attainment(chapters, _so_far),
        best_attainment=best,
        breached=_is_below(best, service_level),
        known_ms=known_ms,
        good_ms=mean(lambda share: share.account.good_ms),
        bad_ms=bad_ms,
        unknown_ms=mean(lambda share: share.account.unknown_ms),
        excluded_ms=mean(lambda share: share.account.excluded_ms),
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


_Chapter = Mapping[Fraction, Sequence[Share]]
"""The shares of a chapter by weight: most metrics of a contract weigh the same, and what does is added as integers."""


def _chapters(shares: Iterable[Share]) -> list[_Chapter]:
    found: dict[int, dict[Decimal, list[Share]]] = {}
    for share in shares:
        found.setdefault(share.chapter, {}).setdefault(share.weight, []).append(share)
    return [{Fraction(weight): alike for weight, alike in chapter.items()} for chapter in found.values()]


def _so_far(share: Share) -> tuple[int, int]:
    """Good and known time up to now [ms]."""
    return share.account.good_ms, share.account.known_ms


def _at_best(share: Share) -> tuple[int, int]:
    """Good and known time if all that remains is good [ms]."""
    return share.account.good_ms + share.remaining_ms, share.account.known_ms + share.remaining_ms


def _attainment(chapters: Iterable[_Chapter], of: Callable[[Share], tuple[int, int]]) -> Fraction | None:
    """The formula at the head of this file; ``of`` says what of a share is good, and what is known [ms]."""
    total = total_ms = Fraction(0)
    for chapter in chapters:
        kept = _mean(chapter, of)
        if kept is not None:
            # What a chapter counts for: the mean known time of its metrics that have any.
            known_ms = _mean(chapter, lambda share: (known := of(share)[1], int(known > 0))) or 0
            total += kept * known_ms
            total_ms += known_ms
    return 100 * total / total_ms if total_ms else None


def _mean(chapter: _Chapter, of: Callable[[Share], tuple[int, int]]) -> Fraction | None:
    """Weighted mean of ratios, numerator and denominator; those without a denominator are left out."""
    total = weights = Fraction(0)
    for weight, alike in chapter.items():
        sums: dict[int, int] = {}
        count = 0
        for share in alike:
            part, whole = of(share)
            if whole:
                sums[whole] = sums.get(whole, 0) + part
                count += 1
        of_weight = sum((Fraction(part, whole) for whole, part in sums.items()), Fraction(0))
        if len(chapter) == 1 and weight:  # what all weigh alike cancels out
            return of_weight / count if count else None
        total += weight * of_weight
        weights += weight * count
    return total / weights if weights else None
