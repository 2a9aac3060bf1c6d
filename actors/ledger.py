"""LedgerActor: what a contract's violations and lost periods are worth; entries are only ever added or decided."""

from dataclasses import dataclass
from typing import Any

from slakeeper.actors.message import (
    ContractChanged,
    DecideEntry,
    ListEntries,
    SettlePeriod,
    ViolationResolved,
)
from slakeeper.otp.actor import Actor, Context, RequestError
from slakeeper.sla import compensation, compliance
from slakeeper.sla.compliance import Share
from slakeeper.sla.contract import Sla
from slakeeper.sla.ledger import CompensationError, EntryStatus, LedgerEntry, decide


@dataclass(frozen=True, slots=True)
class LedgerState:
    """What a snapshot keeps: every version of the contract that entries may refer to, and the entries."""

    documents: dict[int, dict[str, Any]]
    entries: tuple[LedgerEntry, ...]


class LedgerActor(Actor):
    """One for each contract; its argument is the contract's document and version."""

    def __init__(self, address: str, arg: tuple[dict[str, Any], int]) -> None:
        super().__init__(address, arg)
        document, version = arg
        self._documents = {version: document}
        self._entries: dict[str, LedgerEntry] = {}

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case ViolationResolved(violation):
                contract = self._contract(violation.contract_version)
                self._book(ctx, compensation.book(contract, violation))
            case SettlePeriod(accounts):
                contract = self._contract(None)
                weights = {metric.name: metric.weight for metric in contract.metrics}
                shares = [
                    Share(account, weights[name]) for name, account in accounts.items() if name in weights
                ]
                attainment_pct = compliance.attainment(shares)
                ratio = None if attainment_pct is None else attainment_pct / 100
                account = next(iter(accounts.values()))
                period = (account.start_ms, account.end_ms)
                self._book(ctx, compensation.settle_penalties(contract, ratio, period))
            case ContractChanged():
                ctx.emit(message)
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case ListEntries():
                return tuple(self._entries.values())
            case DecideEntry(entry_id, approve, by, reason):
                return self._decide(ctx, entry_id, approve, by, reason)
        return super().handle_call(ctx, request)

    def apply(self, event: Any) -> None:
        match event:
            case LedgerEntry():
                self._entries[event.id] = event
            case ContractChanged(document, version):
                self._documents[version] = document
            case _:
                super().apply(event)

    def dump(self) -> LedgerState:
        return LedgerState(dict(self._documents), tuple(self._entries.values()))

    def load(self, state: LedgerState) -> None:
        self._documents = dict(state.documents)
        self._entries = {entry.id: entry for entry in state.entries}

    def _contract(self, version: int | None) -> Sla:
        newest = max(self._documents)
        return Sla.from_document(
            self._documents.get(newest if version is None else version, self._documents[newest])
        )

    def _book(self, ctx: Context, entries: list[LedgerEntry]) -> None:
        for entry in entries:
            if entry.id in self._entries:
                continue
            ctx.emit(entry)
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
            code = "conflict" if entry.status is not EntryStatus.PENDING else "forbidden"
            raise RequestError(code, str(error), reason=error.reason) from error
        ctx.emit(decided)
        ctx.publish("compensation.decided", {"entry": decided.to_document()})
        return decided
