"""Compensation: what a violation or a lost period is worth, as append-only ledger entries.

Ids follow from what is compensated, so booking again gives the same entry and a ledger that keeps one entry an id is
never charged twice. Amounts are exact decimals up to a number of places (:mod:`~slakeeper.sla.amount`); each entry
carries the arithmetic that led to it.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from slakeeper.sla.amount import amount_text, booked_amount
from slakeeper.sla.contract import Sla
from slakeeper.sla.formula import NAMES, FormulaError, compile_formula, right_side
from slakeeper.sla.ledger import (
    BOOKKEEPER,
    CompensationError,
    EntryStatus,
    LedgerEntry,
    correct,
    credit_document,
    decide,
    decimal_text,
    entry_id,
    settle,
)
from slakeeper.sla.penalty import CompensationRule, CompensationType, Penalty
from slakeeper.sla.violation import Violation
from slakeeper.sla.wording import percent

__all__ = [
    "BOOKKEEPER",
    "DEFAULT_BASE_AMOUNT",
    "DEFAULT_RATE",
    "NO_COMPENSATION_RULE",
    "SEED_FORMULAS",
    "CompensationError",
    "EntryStatus",
    "LedgerEntry",
    "book",
    "correct",
    "cost_line",
    "credit_document",
    "decide",
    "estimate",
    "penalty_tier",
    "settle",
    "settle_penalties",
    "why_nothing",
]

NO_COMPENSATION_RULE = "no_compensation_rule"
DEFAULT_RATE = Decimal("0.1")
DEFAULT_BASE_AMOUNT = Decimal(1000)


# The seed's table, for rules without a formula of their own.
SEED_FORMULAS = {
    CompensationType.CREDIT: "credit = deviation * rate",
    CompensationType.REFUND: "refund = base_amount * deviation / 100",
    CompensationType.SERVICE_CREDIT: "service_credit = round(deviation * 10)",
}


def why_nothing(contract: Sla, violation: Violation) -> str | None:
    """``no_compensation_rule`` when no rule of the contract is about the violation's metric, else None."""
    has_rule = any(rule.metric == violation.metric_name for rule in contract.compensation)
    return None if has_rule else NO_COMPENSATION_RULE


def book(contract: Sla, violation: Violation, *, attainment: Fraction | None = None) -> list[LedgerEntry]:
    """The ledger entries of a resolved violation, one for each of its metric's rules that applies.

    Args:
        contract: in the version in force when the violation opened.
        attainment: of the running period [%], 0..100, for formulas that name it.

    Returns:
        The same entries for the same arguments; empty when no rule applies (see :func:`why_nothing`). An amount that
        cannot be computed is 0, with an error, and left to the approver; so is a negative one.

    Raises:
        CompensationError: ``not_resolved``.
    """
    if violation.closed_at_ms is None:
        raise CompensationError("not_resolved", f"violation {violation.id} is not resolved yet")
    return estimate(contract, violation, violation.closed_at_ms, attainment=attainment)


def estimate(
    contract: Sla, violation: Violation, now_ms: int, *, attainment: Fraction | None = None
) -> list[LedgerEntry]:
    """What :func:`book` would book if the violation ended at ``now_ms`` with its worst value so far."""
    rules = [rule for rule in contract.compensation if rule.metric == violation.metric_name]
    return [
        _entry(contract, violation, rule, ordinal, now_ms, attainment)
        for ordinal, rule in enumerate(rules, start=1)
        if _applies(rule, violation)
    ]


def _applies(rule: CompensationRule, violation: Violation) -> bool:
    actual = Decimal(repr(violation.worst_value))
    match rule.violation_type:
        case "below_threshold":
            return actual < violation.threshold_value
        case "above_threshold":
            return actual > violation.threshold_value
        case "any":
            return True


def _entry(
    contract: Sla,
    violation: Violation,
    rule: CompensationRule,
    ordinal: int,
    end_ms: int,
    attainment: Fraction | None,
) -> LedgerEntry:
    formula = rule.formula or SEED_FORMULAS[rule.type]
    amount, arithmetic, error = _evaluate(formula, contract, violation, rule, end_ms, attainment)
    approved = rule.auto_approve and not error and amount >= 0
    # A service credit counts credits of the provider, not money.
    currency = None if rule.type is CompensationType.SERVICE_CREDIT else contract.currency
    return LedgerEntry(
        id=entry_id(violation.opened_at_ms, violation.id, str(ordinal)),
        sla_id=contract.id,
        violation_id=violation.id,
        rule=f"{rule.metric}#{ordinal}",
        compensation_type=rule.type,
        amount=amount,
        formula=formula,
        arithmetic=arithmetic,
        status=EntryStatus.APPROVED if approved else EntryStatus.PENDING,
        booked_at_ms=end_ms,
        currency=currency,
        contract_version=violation.contract_version,
        requested_by=violation.resolved_by or BOOKKEEPER,
        decided_by="auto_approve" if approved else None,
        decided_at_ms=end_ms if approved else None,
        error=error,
    )


def _values(
    contract: Sla, violation: Violation, rule: CompensationRule, end_ms: int, attainment: Fraction | None
) -> dict[str, Decimal | Fraction]:
    """What a formula may name; a name whose value is not known is left out."""
    threshold, actual = violation.threshold_value, Decimal(repr(violation.worst_value))
    duration_ms = violation.duration_ms(end_ms)
    base = next((each for each in (rule.base_amount, contract.fee) if each is not None), DEFAULT_BASE_AMOUNT)
    values: dict[str, Decimal | Fraction] = {
        "threshold": threshold,
        "actual": actual,
        "duration_s": Fraction(duration_ms, 1000),
        "duration_min": Fraction(duration_ms, 60_000),
        "base_amount": base,
        "rate": DEFAULT_RATE if rule.rate is None else rule.rate,
        "service_level": contract.service_level,
    }
    if threshold != 0:
        values["deviation"] = abs(Fraction(actual) - Fraction(threshold)) / abs(Fraction(threshold)) * 100
    if attainment is not None:
        values["attainment"] = attainment
    return values


def _evaluate(
    formula: str,
    contract: Sla,
    violation: Violation,
    rule: CompensationRule,
    end_ms: int,
    attainment: Fraction | None,
) -> tuple[Decimal, str, str]:
    """Amount, arithmetic and error; an amount that cannot be computed is 0."""
    values = _values(contract, violation, rule, end_ms, attainment)
    shown = _substituted(formula, values)
    try:
        amount = compile_formula(formula)(values)
    except FormulaError as error:
        return Decimal(0), f"{shown} cannot be computed", str(error)
    booked = booked_amount(amount)
    return booked, f"{shown} {_equals(amount, booked)} {amount_text(booked, None)}", ""


def _equals(amount: Decimal, booked: Decimal) -> str:
    return "=" if amount == booked else "≈"


def _substituted(formula: str, values: dict[str, Decimal | Fraction]) -> str:
    """The formula's right side with its names replaced by their values."""

    def shown(match: re.Match[str]) -> str:
        value = values.get(match[0]) if match[0] in NAMES else None
        if value is None:
            return match[0]
        text = value_text(value)
        return f"({text})" if text.startswith("-") else text

    return re.sub(r"[A-Za-z_]\w*", shown, right_side(formula))


def value_text(value: Decimal | Fraction) -> str:
    """An exact value for reading; what no short decimal can hold is cut to six places."""
    if isinstance(value, Fraction):
        rounded = round(value * 10**6)
        return decimal_text(Decimal(rounded).scaleb(-6).normalize()) if rounded else "0"
    return decimal_text(value)


def penalty_tier(contract: Sla, attainment: Fraction) -> Penalty | None:
    """The tier a period falls into: of those with ``attainment`` [%] below their threshold, the lowest threshold."""
    lost = [tier for tier in contract.penalties if attainment < Fraction(tier.threshold)]
    return min(lost, key=lambda tier: tier.threshold, default=None)


def settle_penalties(
    contract: Sla, attainment: Fraction | None, period: tuple[int, int], *, contract_version: int = 1
) -> list[LedgerEntry]:
    """The penalty of a closed period: one entry or none.

    Args:
        attainment: of the period [%], 0..100; None when there was no data, which costs nothing.
        period: start and end [Unix ms].

    Returns:
        ``rate`` percent of the contract's fee (of 1000 when it names none), at most ``penalty_cap`` percent, pending.

    Raises:
        ValueError: attainment is no percentage.
    """
    if attainment is None:
        return []
    if not 0 <= attainment <= 100:
        raise ValueError(f"attainment is a percentage from 0 to 100, not {attainment}")
    tier = penalty_tier(contract, attainment)
    if tier is None:
        return []
    start_ms, end_ms = period
    fee = DEFAULT_BASE_AMOUNT if contract.fee is None else contract.fee
    rate = tier.rate if contract.penalty_cap is None else min(tier.rate, contract.penalty_cap)
    exact = compile_formula("rate / 100 * base_amount")({"rate": rate, "base_amount": fee})
    amount = booked_amount(exact)
    capped = f" (capped from {decimal_text(tier.rate)} %)" if rate != tier.rate else ""
    base = (
        f"fee {decimal_text(fee)}"
        if contract.fee is not None
        else f"{decimal_text(fee)}, as the contract names no fee"
    )
    entry = LedgerEntry(
        id=entry_id(start_ms, contract.id, str(start_ms), str(end_ms), "penalty"),
        sla_id=contract.id,
        violation_id=None,
        rule=f"penalty<{decimal_text(tier.threshold)}",
        compensation_type=tier.type,
        amount=amount,
        formula="rate / 100 * base_amount",
        arithmetic=(
            f"attainment {percent(attainment)} < {decimal_text(tier.threshold)} %: "
            f"{decimal_text(rate)} %{capped} of {base} {_equals(exact, amount)} "
            f"{amount_text(amount, contract.currency)}"
        ),
        status=EntryStatus.PENDING,
        booked_at_ms=end_ms,
        currency=contract.currency,
        contract_version=contract_version,
        period_start_ms=start_ms,
        period_end_ms=end_ms,
        threshold=tier.threshold,
        rate_pct=rate,
    )
    return [entry]


def cost_line(entries: Sequence[LedgerEntry]) -> str:
    """What entries come to, in words for a notification; empty when there are none."""
    return "; ".join(
        f"{entry.compensation_type.value} {amount_text(entry.amount, entry.currency)} ({entry.arithmetic})"
        for entry in entries
    )
