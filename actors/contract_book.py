"""What is on record of a contract: changed by its events and by nothing else, and what can be told from it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.contract_event import (
    AccountGathered,
    BurnChanged,
    Burning,
    ContractEnding,
    ContractState,
    ContractVersion,
    ContractView,
    FormerVersion,
    MetricAdded,
    MetricGone,
    MetricRemoved,
    MetricTurned,
    OpenedFor,
    PeriodSettled,
    TurnFollowed,
)
from slakeeper.actors.definition import definition_of
from slakeeper.actors.environment import Known
from slakeeper.actors.settling import Gathered, weights_of
from slakeeper.actors.turn import keep_turn
from slakeeper.sla.account import Account
from slakeeper.sla.compliance import Status, status_apart
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import format_instant
from slakeeper.sla.period import last_turn_ms, next_turn_ms, term_at


@dataclass(frozen=True, slots=True)
class Complete:
    """A period to be settled.

    Attributes:
        end_ms: by which it is kept [Unix ms].
        accounts: by metric name.
        version, contract: under which it is settled.
        is_last: the contract has been removed in it.
    """

    end_ms: int
    accounts: dict[str, Account]
    version: int
    contract: Sla
    is_last: bool


class ContractBook:
    """The state of a contract's actor.

    Args:
        document: of the first version.
        since_ms: when the contract was first loaded, which anchors its periods [Unix ms].
        version: of the first document.

    Attributes:
        configured: what was defined, without what operators changed since.
        open: ids of open violations by metric name.
        turned: what monitors have said and nothing has followed from yet.
        removed: metrics that left, until their account of the period is in.
        burning: the burn alert that goes on.
        ending: since it was removed; None before.
        chapter: the version since which its metrics have the weights they have.
    """

    def __init__(self, document: dict[str, Any], since_ms: int, version: int) -> None:
        self.definition = definition_of(document)
        self.since_ms, self.version = since_ms, version
        self.configured = self.document
        self.open: dict[str, str] = {}
        self.turned: list[MetricTurned] = []
        self.removed: dict[str, MetricRemoved] = {}
        self.burning: Burning | None = None
        self.ending: ContractEnding | None = None
        self.chapter = version
        self._gathered = Gathered()
        self._added: dict[str, int] = {}

    @property
    def document(self) -> dict[str, Any]:
        """Of the version in force."""
        return self.definition.document

    @property
    def contract(self) -> Sla:
        """What the document describes, which is read for it."""
        return self.definition.contract

    # -- changed by events ------------------------------------------------------------------------------------

    def apply(self, event: Any) -> None:
        """Changes it by one event.

        Raises:
            LookupError: there is no such event.
        """
        match event:
            case ContractVersion(document, version, configured, at_ms):
                self._supersede(document, version, at_ms)
                self.configured = configured
            case MetricAdded(metric_name, at_ms):
                self._added[metric_name] = at_ms
            case MetricRemoved(metric_name):
                self.removed[metric_name] = event
            case MetricGone(metric_name):
                self.removed.pop(metric_name, None)
            case OpenedFor(metric_name, violation_id):
                if violation_id:
                    self.open[metric_name] = violation_id
                else:
                    self.open.pop(metric_name, None)
            case AccountGathered(metric_name, account):
                self._gathered.add(metric_name, account)
            case MetricTurned():
                self._keep_turn(event)
            case TurnFollowed(metric_name):
                if turns := self.turns_of(metric_name):  # earlier programs kept them all, and followed each
                    self.turned.remove(turns[0])
            case BurnChanged(burning):
                self.burning = burning
            case ContractEnding(document):
                self.ending = event
                self.definition = definition_of(document)
            case PeriodSettled(end_ms):
                self._gathered.settled(end_ms)
            case _:
                raise LookupError(f"a contract does not know the event {type(event).__name__}")

    def _supersede(self, document: dict[str, Any], version: int, at_ms: int | None) -> None:
        if at_ms is not None:
            self._gathered.supersede(FormerVersion(self.document, self.version, at_ms))
        weights = weights_of(self.contract)
        self.version, self.definition = version, definition_of(document)
        if weights_of(self.contract) != weights:
            self.chapter = version
        names = {metric.name for metric in self.contract.metrics}
        self._added = {name: since_ms for name, since_ms in self._added.items() if name in names}

    def _keep_turn(self, turn: MetricTurned) -> None:
        if self.watches(turn.metric_name):
            metric = self.contract.metric(turn.metric_name)
            keep_turn(self.turned, turn, metric.condition, metric.value)
        else:
            self.turned.append(turn)  # its monitor says no more

    def dump(self) -> ContractState:
        """All of it."""
        return ContractState(
            self.document, self.version, self.configured, dict(self.open), self._gathered.accounts(),
            dict(self._added), self.chapter, dict(self.removed), self.burning, self._gathered.former,
            self.ending, tuple(self.turned),
        )  # fmt: skip

    def load(self, state: ContractState) -> None:
        """Takes what :meth:`dump` gave, of this or an earlier program."""
        self.version, self.configured = state.version, state.configured
        self.definition = definition_of(state.document)
        self.open, self._added = dict(state.open_violations), dict(state.added)
        self.chapter = state.version if state.chapter is None else state.chapter
        self.removed, self.burning = dict(state.removed), state.burning
        self._gathered = Gathered(state.gathered, state.former)
        self.ending = state.ending
        self.turned = list(state.turned)

    # -- told from it -----------------------------------------------------------------------------------------

    def known(self) -> Known:
        """What the others of the cell have to know of the contract."""
        removed = {name: each.document for name, each in self.removed.items()}
        return Known(
            self.definition,
            self.version,
            bool(self.open),
            self.chapter,
            removed,
            self.burning is not None,
            None if self.ending is None else self.ending.at_ms,
        )

    def view(self) -> ContractView:
        """For those who look."""
        removed = {name: each.at_ms for name, each in self.removed.items()}
        return ContractView(
            self.contract, self.version, self.since_ms, dict(self.open), removed, self.burning
        )

    def status(self, at_ms: int) -> Status:
        """How the contract stands at an instant, with what is open now."""
        apart = status_apart(self.contract, self.since_ms, at_ms)
        if apart is not None:
            return apart
        if not self.open and self.burning is not None:
            return Status.WARNING
        return (Status.HEALTHY, Status.WARNING, Status.CRITICAL)[min(len(self.open), 2)]

    def next_turn_ms(self, now_ms: int) -> int | None:
        """When the contract next begins or ends by itself [Unix ms]."""
        return next_turn_ms(self.contract, self.since_ms, now_ms)

    def last_turn_ms(self, now_ms: int) -> int | None:
        """When it last did [Unix ms]."""
        return last_turn_ms(self.contract, self.since_ms, now_ms)

    def is_within_term(self, at_ms: int) -> bool:
        """Whether it has begun, and has not ended."""
        return term_at(self.contract, self.since_ms, at_ms) is not None

    def watches(self, metric_name: str) -> bool:
        """Whether the metric is one of the contract's; not when it was removed."""
        return any(metric.name == metric_name for metric in self.contract.metrics)

    def watched(self) -> set[str]:
        """Names of all metrics that have a monitor: those that were removed count until the period is settled."""
        return {metric.name for metric in self.contract.metrics} | self.removed.keys()

    def turns_of(self, metric_name: str) -> list[MetricTurned]:
        """What one metric's monitor has said and nothing has followed from yet, in its order."""
        return [turn for turn in self.turned if turn.metric_name == metric_name]

    def ended_document(self, at_ms: int) -> dict[str, Any]:
        """The contract as it is when it ends at ``at_ms``; unchanged before it begins, and once it has expired."""
        if not self.is_within_term(at_ms):
            return self.document
        kept = {key: value for key, value in self.document.items() if key not in ("term", "renew")}
        return {**kept, "expiry_date": format_instant(at_ms)}

    def document_with(self, removed: MetricRemoved) -> dict[str, Any]:
        """The document, and in it a metric that was removed: what that one's monitor goes by."""
        return {**self.document, "metrics": [*self.document["metrics"], removed.document]}

    def gone(self) -> list[str]:
        """Metrics that were removed, and whose last account is in."""
        names = (
            name
            for _, accounts in self._gathered.periods()
            for name, account in accounts.items()
            if name in self.removed and account.end_ms > self.removed[name].at_ms
        )
        return list(dict.fromkeys(names))

    def complete(self, *, is_heard_out: bool) -> Iterator[Complete]:
        """Every period of which the last metric's account is in; all of them when none is to come any more."""
        for end_ms, accounts in self._gathered.periods():
            # One that was added after the end has no account of it.
            names = {each.name for each in self.contract.metrics if self._added.get(each.name, 0) < end_ms}
            start_ms = min(account.start_ms for account in accounts.values())
            names |= {name for name, gone in self.removed.items() if start_ms <= gone.at_ms < end_ms}
            if not (names <= accounts.keys() or is_heard_out):
                continue
            former = self._gathered.version_at(min(account.end_ms for account in accounts.values()))
            version, contract = (self.version, self.contract) if former is None else former
            is_last = self.ending is not None and self.ending.at_ms <= max(
                account.end_ms for account in accounts.values()
            )
            yield Complete(end_ms, accounts, version, contract, is_last)
