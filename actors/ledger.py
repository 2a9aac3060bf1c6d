"""LedgerActor: what a contract's violations and lost periods are worth; entries are only ever added or decided."""

from dataclasses import dataclass
from typing import Any

from slakeeper.actors.audit import note
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    ContractChanged,
    DecideEntry,
    ListEntries,
    NewestVersion,
    SayAgain,
    SettlePeriod,
    Tick,
    ViolationResolved,
    report_address,
)
from slakeeper.otp.actor import Actor, RequestError
from slakeeper.otp.context import Context
from slakeeper.sla import compensation
from slakeeper.sla.audit import What
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.ledger import BOOKKEEPER, CompensationError, EntryStatus, LedgerEntry, decide
from slakeeper.sla.settlement import settled_attainment

_REFUSALS = {"not_pending": "conflict", "no_amount": "conflict", "nobody": "invalid", "no_reason": "invalid"}

_DECIDED = {
    EntryStatus.APPROVED: What.COMPENSATION_APPROVED,
    EntryStatus.REJECTED: What.COMPENSATION_REJECTED,
    EntryStatus.SETTLED: What.COMPENSATION_SETTLED,
}

LOOK_TIMER = "report"

# How long after its own start a ledger asks what there was to book: the report starts after it.
LOOK_MS = SECOND_MS


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a snapshot keeps: every version of the contract that entries may refer to, and the entries."""

    documents: dict[int, dict[str, Any]]
    entries: tuple[LedgerEntry, ...]


class LedgerActor(Actor):
    """One for each contract; its argument is the contract's document and version."""

    recovers_later = True

    def __init__(self, address: str, arg: tuple[dict[str, Any], int]) -> None:
        super().__init__(address, arg)
        document, version = arg
        self._documents = {version: document}
        self._parsed: dict[int, Sla] = {}
        self._entries: dict[str, LedgerEntry] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh:
            ctx.set_timer(LOOK_TIMER, ctx.now_ms + LOOK_MS, Tick())

    def handle_info(self, ctx: Context, message: Any) -> None:
        if not isinstance(message, Tick):
            super().handle_info(ctx, message)
        ctx.cast(report_address(self._contract(max(self._documents)).id), SayAgain(self.address))

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case ViolationResolved(violation):
                environment: Environment = ctx.environment
                attainment = environment.attainment(violation.sla_id)
                contract = self._contract(violation.contract_version)
                self._book(ctx, compensation.book(contract, violation, attainment=attainment))
            case SettlePeriod(accounts, version):
                contract = self._contract(version)
                attainment = settled_attainment(contract, accounts)
                period = (message.start_ms, message.end_ms)
                self._book(
                    ctx,
                    compensation.settle_penalties(contract, attainment, period, contract_version=version),
                )
            case ContractChanged(document, version):
                if self._documents.get(version) != document:
                    ctx.emit(message)
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case ListEntries():
                return tuple(self._entries.values())
            case NewestVersion():
                return max(self._documents)
            case DecideEntry(entry_id, approve, by, reason):
                return self._decide(ctx, entry_id, approve, by, reason)
        return super().handle_call(ctx, request)

    def apply(self, event: Any) -> None:
        match event:
            case LedgerEntry():
                self._entries[event.id] = event
            case ContractChanged(document, version):
                self._documents[version] = document
                self._parsed.pop(version, None)
            case _:
                super().apply(event)

    def dump(self) -> LedgerState:
        return LedgerState(dict(self._documents), tuple(self._entries.values()))

    def load(self, state: LedgerState) -> None:
        self._documents = dict(state.documents)
        self._entries = {entry.id: entry for entry in state.entries}

    def _contract(self, version: int) -> Sla:
        """The contract in a version; in its newest when that one is not known here."""
        known = version if version in self._documents else max(self._documents)
        if known not in self._parsed:
            self._parsed[known] = Sla.from_document(self._documents[known])
        return self._parsed[known]

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

    def _decide(self, ctx: Context, entry_id: str, approve: bool, by: str, reason: str) -> LedgerEntry:
        entry = self._entries.get(entry_id)
        if entry is None:
            raise RequestError("not_found", f"no ledger entry {entry_id}")
        try:
            decided = decide(
                entry, approve, by, reason, self._contract(entry.contract_version), now_ms=ctx.now_ms
            )
        except CompensationError as error:
            code = _REFUSALS.get(error.reason, "forbidden")
            raise RequestError(code, str(error), reason=error.reason) from error
        ctx.emit(decided)
        self._note(ctx, _DECIDED[decided.status], decided, by, reason=reason)
        ctx.publish("compensation.decided", {"entry": decided.to_document()})
        return decided

    @staticmethod
    def _note(ctx: Context, what: What, entry: LedgerEntry, who: str, **details: Any) -> None:
        money = {"amount": entry.amount, "currency": entry.currency}
        note(ctx, what, sla_id=entry.sla_id, subject=entry.id, who=who, **money, **details)
