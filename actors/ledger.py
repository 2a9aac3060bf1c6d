"""LedgerActor: what a contract's violations and lost periods are worth; entries are added, decided and settled."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from slakeeper.actors.audit import note
from slakeeper.actors.billing import Billing
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    BookViolation,
    ContractChanged,
    DecideEntry,
    ListBilling,
    ListEntries,
    NewestTerms,
    SettleEntry,
    SettlePeriod,
)
from slakeeper.actors.outbox import Delivery, DeliveryChanged, RetryDeliveries
from slakeeper.otp.actor import Actor, Entrusted, Performed, RequestError
from slakeeper.otp.context import Context
from slakeeper.sla import compensation
from slakeeper.sla.audit import What
from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import BOOKKEEPER, CompensationError, EntryStatus, LedgerEntry, decide, settle
from slakeeper.sla.settlement import settled_attainment
from slakeeper.sla.violation import Violation

_REFUSALS = {
    "not_pending": "conflict",
    "no_amount": "conflict",
    "not_approved": "conflict",
    "already_settled": "conflict",
    "nobody": "invalid",
    "no_reason": "invalid",
}

_DECIDED = {
    EntryStatus.APPROVED: What.COMPENSATION_APPROVED,
    EntryStatus.REJECTED: What.COMPENSATION_REJECTED,
}


# Former versions entrusted a violation as it is, and its attainment was read when it was booked.
Due = BookViolation | Violation | SettlePeriod


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a snapshot keeps: every version of the contract that entries may refer to, the entries, their billing; and
    what was entrusted and is to be booked: violations that have ended and periods.
    """

    documents: dict[int, dict[str, Any]]
    entries: tuple[LedgerEntry, ...]
    deliveries: tuple[Delivery, ...] = ()
    unbilled: tuple[Delivery, ...] = ()
    due: tuple[Due, ...] = ()


@dataclass(frozen=True, slots=True)
class Booked:
    """Event: what was due under this key, a violation's or a period's, is in the entries."""

    key: str


class LedgerActor(Actor):
    """One for each contract; its argument is the contract's document and version.

    Versions of the contract, violations that end and periods that are settled are entrusted to it: whatever crashes,
    each is booked once, and under the version it belongs to.
    """

    recovers_later = True

    def __init__(self, address: str, arg: tuple[dict[str, Any], int]) -> None:
        super().__init__(address, arg)
        document, version = arg
        self._documents = {version: document}
        self._parsed: dict[int, Sla] = {}
        self._entries: dict[str, LedgerEntry] = {}
        self._billing = Billing()
        self._due: dict[str, Due] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh:
            self._billing.resume(ctx)
            self._book_due(ctx)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                self._book_due(ctx)
            case RetryDeliveries():
                self._billing.retry_due(ctx)
            case Performed():
                taken = self._billing.performed(ctx, message)
                if taken is not None and self._entries[taken.key].status is EntryStatus.APPROVED:
                    self._settle(ctx, self._entries[taken.key], "", taken.detail, attempts=taken.attempts)
            case _:
                super().handle_info(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case ListEntries():
                return tuple(self._entries.values())
            case NewestTerms():
                newest = max(self._documents)
                return newest, self._documents[newest]
            case DecideEntry(entry_id, approve, by, reason):
                return self._decide(ctx, entry_id, approve, by, reason)
            case SettleEntry(entry_id, by, reason):
                return self._settle(ctx, self._entry(entry_id), by, reason)
            case ListBilling():
                return self._billing.rows()
        return super().handle_call(ctx, request)

    def apply(self, event: Any) -> None:
        match event:
            case LedgerEntry():
                self._entries[event.id] = event
                if event.status is EntryStatus.SETTLED:
                    self._billing.forget(event.id)
            case DeliveryChanged():
                self._billing.apply(event)
            case BookViolation() | Violation() | SettlePeriod():
                self._due[_key(event)] = event
            case Booked(key):
                self._due.pop(key, None)
            case ContractChanged(document, version):
                self._documents[version] = document
                self._parsed.pop(version, None)
            case _:
                super().apply(event)

    def dump(self) -> LedgerState:
        entries, due = tuple(self._entries.values()), tuple(self._due.values())
        return LedgerState(dict(self._documents), entries, *self._billing.dump(), due)

    def load(self, state: LedgerState) -> None:
        self._documents = dict(state.documents)
        self._entries = {entry.id: entry for entry in state.entries}
        self._billing = Billing(state.deliveries, state.unbilled)
        self._due = {_key(each): each for each in state.due}

    def _contract(self, version: int) -> Sla:
        """The contract in a version; in its newest when that one is not known here."""
        known = version if version in self._documents else max(self._documents)
        if known not in self._parsed:
            self._parsed[known] = Sla.from_document(self._documents[known])
        return self._parsed[known]

    def _book_due(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        for key, due in list(self._due.items()):
            match due:
                case BookViolation(violation, attainment):
                    self._book_violation(ctx, violation, attainment)
                case Violation():
                    self._book_violation(ctx, due, environment.attainment(due.sla_id))
                case SettlePeriod():
                    contract = self._contract(due.version)
                    attainment = settled_attainment(contract, due.accounts)
                    period = (due.start_ms, due.end_ms)
                    penalties = compensation.settle_penalties(
                        contract, attainment, period, contract_version=due.version
                    )
                    self._book(ctx, penalties)
            ctx.emit(Booked(key))

    def _book_violation(self, ctx: Context, violation: Violation, attainment: Fraction | None) -> None:
        contract = self._contract(violation.contract_version)
        self._book(ctx, compensation.book(contract, violation, attainment=attainment))

    def _book(self, ctx: Context, entries: list[LedgerEntry]) -> None:
        for entry in entries:
            if entry.id in self._entries:
                continue
            ctx.emit(entry)
            self._note(
                ctx, What.COMPENSATION_BOOKED, entry, "" if entry.requested_by == BOOKKEEPER else entry.requested_by,
                rule=entry.rule, type=entry.compensation_type, status=entry.status, violation=entry.violation_id,
                arithmetic=entry.arithmetic, period_start_ms=entry.period_start_ms, period_end_ms=entry.period_end_ms,
                contract_version=entry.contract_version, corrects=entry.corrects, error=entry.error,
            )  # fmt: skip
            ctx.publish("compensation.booked", {"entry": entry.to_document()})
            if entry.status is EntryStatus.APPROVED:
                self._billing.send(ctx, entry)

    def _entry(self, entry_id: str) -> LedgerEntry:
        entry = self._entries.get(entry_id)
        if entry is None:
            raise RequestError("not_found", f"no ledger entry {entry_id}")
        return entry

    def _decide(self, ctx: Context, entry_id: str, approve: bool, by: str, reason: str) -> LedgerEntry:
        entry = self._entry(entry_id)
        try:
            decided = decide(
                entry, approve, by, reason, self._contract(entry.contract_version), now_ms=ctx.now_ms
            )
        except CompensationError as error:
            raise _refusal(error) from error
        ctx.emit(decided)
        self._note(ctx, _DECIDED[decided.status], decided, by, reason=reason)
        ctx.publish("compensation.decided", {"entry": decided.to_document()})
        if decided.status is EntryStatus.APPROVED:
            self._billing.send(ctx, decided)
        return decided

    def _settle(self, ctx: Context, entry: LedgerEntry, who: str, how: str, **details: Any) -> LedgerEntry:
        try:
            settled = settle(entry, who or BOOKKEEPER, how, now_ms=ctx.now_ms)
        except CompensationError as error:
            raise _refusal(error) from error
        self._billing.withdraw(ctx, entry.id)
        ctx.emit(settled)
        self._note(ctx, What.COMPENSATION_SETTLED, settled, who, reason=how, **details)
        ctx.publish("compensation.settled", {"entry": settled.to_document()})
        return settled

    @staticmethod
    def _note(ctx: Context, what: What, entry: LedgerEntry, who: str, **details: Any) -> None:
        money = {"amount": entry.amount, "currency": entry.currency}
        note(ctx, what, sla_id=entry.sla_id, subject=entry.id, who=who, **money, **details)


def _key(due: Due) -> str:
    match due:
        case BookViolation(violation):
            return violation.id
        case Violation():
            return due.id
        case SettlePeriod():
            return f"period-{due.start_ms}"


def _refusal(error: CompensationError) -> RequestError:
    return RequestError(_REFUSALS.get(error.reason, "forbidden"), str(error), reason=error.reason)
