"""How a period of a contract is settled: the accounts that are gathered for it, and who gets them then."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from slakeeper.actors.address import ledger_address, report_address
from slakeeper.actors.audit import note
from slakeeper.actors.contract_event import FormerVersion
from slakeeper.actors.definition import definition_of
from slakeeper.actors.message import SettlePeriod
from slakeeper.actors.report import PastPeriod
from slakeeper.otp.context import Context
from slakeeper.sla import compensation
from slakeeper.sla.account import Account
from slakeeper.sla.audit import What
from slakeeper.sla.contract import Sla
from slakeeper.sla.settlement import settled_attainment


class Gathered:
    """What monitors have entrusted to a contract of periods that are not settled yet; part of the contract's state.

    Args:
        accounts: by the end of their period [Unix ms] and metric name.
        former: earlier versions, the oldest first, as long as a period may wait to be settled under them.
    """

    def __init__(
        self,
        accounts: Mapping[int, Mapping[str, Account]] | None = None,
        former: tuple[FormerVersion, ...] = (),
    ) -> None:
        self._accounts = {end_ms: dict(each) for end_ms, each in (accounts or {}).items()}
        self.former = former

    def accounts(self) -> dict[int, dict[str, Account]]:
        """A copy of all."""
        return {end_ms: dict(each) for end_ms, each in self._accounts.items()}

    def periods(self) -> list[tuple[int, dict[str, Account]]]:
        """(end, accounts by metric name) of each, the earliest first."""
        return sorted(self._accounts.items())

    def add(self, metric_name: str, account: Account) -> None:
        """Takes one metric's account in."""
        self._accounts.setdefault(self._period_of(metric_name, account), {})[metric_name] = account

    def settled(self, end_ms: int) -> None:
        """Forgets a period, and the versions under which none can be settled any more."""
        self._accounts.pop(end_ms, None)
        waits_ms = min(self._accounts, default=end_ms + 1)
        self.former = tuple(each for each in self.former if each.until_ms >= waits_ms)

    def supersede(self, version: FormerVersion) -> None:
        """Keeps a version that is no longer the newest."""
        self.former = (*self.former, version)

    def version_at(self, end_ms: int) -> tuple[int, Sla] | None:
        """The former version that was in force when a period ended: accounts come in later. None for the newest."""
        for former in self.former:
            if end_ms <= former.until_ms:
                return former.version, definition_of(former.document).contract
        return None

    def _period_of(self, metric_name: str, account: Account) -> int:
        """The key of the period that an account is of; its end, as a rule.

        A version that is not in force yet ends the running period, for each monitor when it hears of it: one that was
        down does so later, and is not to be waited for at another end.
        """
        for end_ms, accounts in self._accounts.items():
            if metric_name not in accounts and any(
                other.start_ms < account.end_ms and account.start_ms < other.end_ms
                for other in accounts.values()
            ):
                return end_ms
        return account.end_ms


def hand_on(
    ctx: Context, contract: Sla, version: int, accounts: dict[str, Account], ends_with: str = ""
) -> None:
    """Hands a whole period on, to be booked and kept, and notes what it comes to.

    Args:
        contract, version: under which it is settled.
        accounts: by metric name.
        ends_with: what ended the contract, if this is its last period.
    """
    settle = SettlePeriod(accounts, version)
    ctx.entrust(ledger_address(contract.id), settle)
    past = PastPeriod(
        settle.start_ms, settle.end_ms, accounts, version, contract.service_level, weights_of(contract)
    )
    ctx.entrust(report_address(contract.id), past)
    period = settle.start_ms, settle.end_ms
    attainment = settled_attainment(contract, accounts)
    credits_ = compensation.settle_penalties(contract, attainment, period, contract_version=version)
    note(
        ctx, What.PERIOD_SETTLED, sla_id=contract.id, subject=contract.id,
        start_ms=period[0], end_ms=period[1], contract_version=version,
        service_level=contract.service_level, attainment=attainment,
        attainment_pct=None if attainment is None else compensation.value_text(attainment),
        met=None if attainment is None else attainment >= Fraction(contract.service_level),
        credits=[{"id": each.id, "amount": each.amount, "type": each.compensation_type} for each in credits_],
        **({"ends_with": ends_with} if ends_with else {}),
    )  # fmt: skip


def weights_of(contract: Sla) -> dict[str, Decimal]:
    """Of each metric, by name."""
    return {metric.name: metric.weight for metric in contract.metrics}
