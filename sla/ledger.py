"""The ledger: append-only entries of what is owed, who decided about them, and corrections.

An entry is never changed in its amount; a correction is a new entry that names the old one.
"""

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from slakeeper.sla.contract import Sla
from slakeeper.sla.formula import compile_formula
from slakeeper.sla.penalty import CompensationType

BOOKKEEPER = "slakeeper"
"""Who requests what is booked by itself."""


class EntryStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    SETTLED = "settled"


class CompensationError(Exception):
    """An act on the ledger is refused; ``reason`` is a word for programs, the text one for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One line of the ledger.

    Attributes:
        id: follows from contract, violation and rule, or from contract, period and penalty.
        violation_id: None for a penalty of a period.
        rule: what it was booked under: ``uptime#1``, ``penalty<99.9``, ``correction``.
        amount: in ``currency``; without one in credits.
        formula: as evaluated.
        arithmetic: the same with the numbers put in, for people.
        booked_at_ms: Unix ms of the resolution, or of the period's end.
        requested_by: never decides about it.
        corrects: id of the entry this one corrects.
        threshold, rate_pct: of a penalty [%].
        error: why no amount could be computed; such an entry is never approved by itself.
        settled_by, settled_at_ms, settlement: who paid it out or had it billed, when, and how or why.
    """

    id: str
    sla_id: str
    violation_id: str | None
    rule: str
    compensation_type: CompensationType
    amount: Decimal
    formula: str
    arithmetic: str
    status: EntryStatus
    booked_at_ms: int
    currency: str | None = None
    contract_version: int = 1
    requested_by: str = BOOKKEEPER
    decided_by: str | None = None
    decided_at_ms: int | None = None
    reason: str = ""
    corrects: str | None = None
    period_start_ms: int | None = None
    period_end_ms: int | None = None
    threshold: Decimal | None = None
    rate_pct: Decimal | None = None
    error: str = ""
    settled_by: str | None = None
    settled_at_ms: int | None = None
    settlement: str = ""

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values under the names users see; amounts are decimal strings, times Unix ms."""
        return {
            "id": self.id,
            "sla_id": self.sla_id,
            "violation_id": self.violation_id,
            "rule": self.rule,
            "compensation_type": self.compensation_type.value,
            "amount": decimal_text(self.amount),
            "currency": self.currency,
            "formula": self.formula,
            "arithmetic": self.arithmetic,
            "status": self.status.value,
            "booked_time": self.booked_at_ms,
            "contract_version": self.contract_version,
            "requested_by": self.requested_by,
            "decided_by": self.decided_by,
            "decided_time": self.decided_at_ms,
            "reason": self.reason,
            "corrects": self.corrects,
            "period_start": self.period_start_ms,
            "period_end": self.period_end_ms,
            "threshold": None if self.threshold is None else decimal_text(self.threshold),
            "rate": None if self.rate_pct is None else decimal_text(self.rate_pct),
            "error": self.error,
            "settled_by": self.settled_by,
            "settled_time": self.settled_at_ms,
            "settlement": self.settlement,
        }


def decimal_text(value: Decimal) -> str:
    """A decimal in full, without an exponent: ``4.990``."""
    return f"{value:f}"


def entry_id(at_ms: int, *parts: str) -> str:
    """The id of the entry about ``parts``, sorted by ``at_ms`` [Unix ms]."""
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=5).hexdigest()
    return f"c{at_ms:012x}-{digest}"


def decide(
    entry: LedgerEntry, approve: bool, by: str, reason: str, contract: Sla, *, now_ms: int
) -> LedgerEntry:
    """Approves or rejects a pending entry.

    Args:
        by: the contract's approver; anyone but the requester when the contract names none, or the approver has
            requested it: somebody else has to look at it, and it must not wait for ever.
        reason: why; not empty.

    Raises:
        CompensationError: ``not_pending``, ``nobody``, ``no_reason``, ``requester_may_not_decide``,
            ``not_the_approver``, or ``no_amount`` when an entry without a computed amount is to be approved.
    """
    if entry.status is not EntryStatus.PENDING:
        raise CompensationError("not_pending", f"{entry.id} is {entry.status.value}, not pending")
    if not by.strip():
        raise CompensationError("nobody", "say who decides")
    if not reason.strip():
        raise CompensationError("no_reason", "give a reason")
    if by == entry.requested_by:
        raise CompensationError(
            "requester_may_not_decide", f"{by} requested {entry.id} and may not decide about it"
        )
    if contract.approver not in ("", entry.requested_by, by):
        raise CompensationError("not_the_approver", f"only {contract.approver} decides about {contract.id}")
    if approve and entry.error:
        raise CompensationError("no_amount", f"{entry.id} has no amount: {entry.error}; reject it")
    status = EntryStatus.APPROVED if approve else EntryStatus.REJECTED
    return replace(entry, status=status, decided_by=by, decided_at_ms=now_ms, reason=reason)


def settle(entry: LedgerEntry, by: str, reason: str, *, now_ms: int) -> LedgerEntry:
    """An approved entry has been paid out, or billed; its amount and who decided stay what they are.

    Args:
        by: who says so.
        reason: how or why; not empty.

    Raises:
        CompensationError: ``already_settled``, ``not_approved``, ``nobody`` or ``no_reason``.
    """
    if entry.status is EntryStatus.SETTLED:
        raise CompensationError("already_settled", f"{entry.id} is settled already")
    if entry.status is not EntryStatus.APPROVED:
        raise CompensationError("not_approved", f"{entry.id} is {entry.status.value}, not approved")
    if not by.strip():
        raise CompensationError("nobody", "say who settles")
    if not reason.strip():
        raise CompensationError("no_reason", "give a reason")
    return replace(entry, status=EntryStatus.SETTLED, settled_by=by, settled_at_ms=now_ms, settlement=reason)


def correct(entry: LedgerEntry, amount: Decimal, by: str, reason: str, *, now_ms: int) -> LedgerEntry:
    """A new pending entry that names the old one and carries the difference to the right amount.

    Args:
        amount: what the old entry should have said [its currency].
        by: who requests the correction, and so does not decide about it.

    Raises:
        CompensationError: ``nobody`` or ``no_reason``.
    """
    if not by.strip():
        raise CompensationError("nobody", "say who corrects")
    if not reason.strip():
        raise CompensationError("no_reason", "give a reason")
    booked = Decimal(0) if entry.status is EntryStatus.REJECTED else entry.amount
    difference = compile_formula("threshold - actual")({"threshold": amount, "actual": booked})
    return LedgerEntry(
        id=entry_id(now_ms, entry.id, decimal_text(amount), str(now_ms)),
        sla_id=entry.sla_id,
        violation_id=entry.violation_id,
        rule="correction",
        compensation_type=entry.compensation_type,
        amount=difference,
        formula="",
        arithmetic=f"{decimal_text(amount)} - {decimal_text(booked)} = {decimal_text(difference)}",
        status=EntryStatus.PENDING,
        booked_at_ms=now_ms,
        currency=entry.currency,
        contract_version=entry.contract_version,
        requested_by=by,
        reason=reason,
        corrects=entry.id,
        period_start_ms=entry.period_start_ms,
        period_end_ms=entry.period_end_ms,
    )


def credit_document(entry: LedgerEntry) -> dict[str, Any]:
    """A penalty as ``simulate`` shows it in a period's ``credits``."""
    return {
        "amount": decimal_text(entry.amount),
        "currency": entry.currency,
        "type": entry.compensation_type.value,
        "threshold": None if entry.threshold is None else float(entry.threshold),
        "rate": None if entry.rate_pct is None else float(entry.rate_pct),
    }
