"""What the accounts of a contract's metrics come to for the contract: while its period runs, and once it has ended."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from slakeeper.sla import compliance
from slakeeper.sla.account import Account
from slakeeper.sla.compliance import Share
from slakeeper.sla.contract import Sla


def running_shares(contract: Sla, accounts: Mapping[str, Account], now_ms: int | None = None) -> list[Share]:
    """The parts of a contract's running accounts, by metric, with what is left of the period.

    Args:
        now_ms: leaves out accounts whose period has ended by then [Unix ms]; None: takes all.
    """
    weights = _weights(contract)
    shares: list[Share] = []
    for name, account in accounts.items():
        if now_ms is None or now_ms < account.end_ms:
            left_ms = max(0, account.end_ms - account.start_ms - account.settled_ms)
            shares += compliance.shares_of(account, weights.get(name), left_ms)
    return shares


def running_attainment(contract: Sla, accounts: Mapping[str, Account]) -> Fraction | None:
    """A contract's attainment of the running period so far [%], None when nothing of it is known."""
    return compliance.attainment(running_shares(contract, accounts))


def is_lost(contract: Sla, accounts: Mapping[str, Account], now_ms: int) -> bool:
    """Whether even a perfect remainder of the period that goes on cannot keep the contract's promise any more."""
    return compliance.breached(contract.service_level, running_shares(contract, accounts, now_ms))


def settled_shares(contract: Sla, accounts: Mapping[str, Account]) -> list[Share]:
    """The parts of the final accounts of an ended period, by metric."""
    weights = _weights(contract)
    return [
        share
        for name, account in accounts.items()
        for share in compliance.shares_of(account, weights.get(name))
    ]


def settled_attainment(contract: Sla, accounts: Mapping[str, Account]) -> Fraction | None:
    """A contract's attainment of a period [%] by the final accounts of its metrics; None when nothing is known."""
    return compliance.attainment(settled_shares(contract, accounts))


def _weights(contract: Sla) -> dict[str, Decimal]:
    return {metric.name: metric.weight for metric in contract.metrics}
