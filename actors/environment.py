"""What a cell gives its SLA actors: settings, doors to the outside, and tables that everyone may read."""

import logging
import shlex
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from slakeeper.actors.address import contract_address, monitor_address
from slakeeper.actors.audit_file import AuditFiles
from slakeeper.actors.catalog import Catalog
from slakeeper.actors.definition import Definition
from slakeeper.actors.muting import INHIBITION_WAIT_MS, LOOK_AGAIN_MS, Muted, Muting
from slakeeper.actors.output_file import OutputFiles
from slakeeper.actors.restraint_table import RestraintTable
from slakeeper.actors.target_file import TargetError, TargetFiles, Targets
from slakeeper.integrations.channel import Sender, open_channel
from slakeeper.integrations.log import LogSender
from slakeeper.integrations.messenger import Messenger
from slakeeper.integrations.source import Catching, Poller, open_source
from slakeeper.otp.neighbour import Neighbour
from slakeeper.otp.room import Room
from slakeeper.sla import calendar, compliance, settlement, silence
from slakeeper.sla.account import Account
from slakeeper.sla.ack_link import Links
from slakeeper.sla.breaker import Breaker
from slakeeper.sla.burn import Burn
from slakeeper.sla.compliance import Standing
from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitoring import InternalSource, MonitoringPolicy
from slakeeper.sla.notification import Desk
from slakeeper.sla.period import Period
from slakeeper.sla.policy import BILLING, BillingWebhook, EnforcementPolicy, Severity
from slakeeper.sla.spending import Spending
from slakeeper.sla.violation import Violation

# How often each of the other cells is asked what is broken there and which silences it has.
NEIGHBOUR_EVERY_MS = SECOND_MS

if TYPE_CHECKING:
    from slakeeper.actors.trial import Trials

_PAGER_TYPES = frozenset({"pagerduty"})


@dataclass(frozen=True, slots=True)
class Known:
    """A contract as its own actor last said, or while that sleeps as its record says.

    Attributes:
        definition, version: the newest.
        is_broken: whether a promise of it is broken now.
        chapter: the version since which its metrics have the weights they have.
        removed: documents of metrics that are no part of it any more, and count until the period is settled.
        is_burning: whether a burn alert of it goes on.
        ended_ms: when it was removed, while its last period is still to be settled [Unix ms].
    """

    definition: Definition
    version: int
    is_broken: bool
    chapter: int = 1
    removed: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    is_burning: bool = False
    ended_ms: int | None = None

    @property
    def contract(self) -> Sla:
        return self.definition.contract

    def promise_of(self, metric_name: str) -> tuple[dict[str, Any], bool] | None:
        """What the monitor of a metric goes by, and whether the metric has been removed; None without one."""
        document = self.definition.document
        if any(metric["name"] == metric_name for metric in document["metrics"]):
            return document, False
        removed = self.removed.get(metric_name)
        if removed is None:
            return None
        return {**document, "metrics": [*document["metrics"], removed]}, True


class Asked(NamedTuple):
    """When the last poll was asked that a source has answered which can also be asked what was.

    Attributes:
        at_ms: of the question, not of the answer [Unix ms].
        step_ms: how often it is asked [ms].
    """

    at_ms: int
    step_ms: int


@dataclass
class Environment:
    """Everything SLA actors share in a cell. Nothing of it is durable: its writers fill it again when they start.

    Attributes:
        senders: an open channel for each name in ``enforcement.channels``, and billing, if it is configured.
        pollers: an open source for each enabled, polled entry of ``monitoring.sources``.
        lock_dir: one file for each remediation target, so that one run at a time acts on it in all cells.
        claims: which run acts on which target, and which actions rest, in all cells.
        desk: where what people are told is to be acknowledged; None when it goes without saying.
        held: why nothing leaves: messages go to the log and actions are dry runs; empty when they are real.
        catalog: metric name to monitors; see :meth:`enter`.
        bindings: source name to {monitor address: query}; read by source actors; see :meth:`enter`.
        source_errors: monitor address to what its source failed with when it was last asked; written by source actors.
        gaps: address of a monitor that waits for what its source can still tell it, to the first instant [Unix ms] of
            which it misses anything, as of now; written by monitors, read by source actors.
        asked: name of a source that can be asked what was, to the last poll that it has answered; written by source
            actors.
        sources: how each source does, as ``status`` and ``source list`` show it; written by source actors.
        sources_failing: name of a source to why it fails now; written by source actors.
        room: on the disk of the partitions; None when nobody looks.
        began_at_ms: when the cell started [Unix ms].
        look: an actor that sleeps as its record says, by its address; None if none sleeps there.
        contracts: contract id to what is known of it; written by contracts. Read it by :meth:`known`, which knows those
            that sleep, too.
        accounts: contract id to what tells each metric's running account, or None while nobody can; entered by
            monitors, and with their contract while they sleep.
        spendings: contract id to what tells what the last days were worth for each metric, entered as accounts are.
        violations: addresses of the violations that have not ended; each enters and leaves by itself.
        targets: remediation target to the address of the run that acts on it now.
        breakers: action name to its circuit breaker, once it was tried, as this cell last knew it; what ``claims`` has
            of it counts.
        trials: test messages; None when nothing can be sent.
        waiting: how many messages are on their way over a channel, or wait for their turn.
        audit_files: where audit entries are written; None: they stay in the journal.
        outputs: where what remedies printed is kept; None: nowhere.
        audit_failing: name of a partition to why its entries cannot be written now; written by audit actors.
        muting: silences, and what is broken in other cells.
        restraint: what holds automatic remediation back; written by its keepers.
        neighbours: the other cells by name.
        partition_names: of this cell.
        neighbour_every_ms: how often each of them is asked at most [ms].
        via: how the request came in that is being carried out, while it is: ``cli``, ``http`` or ``python``.
    """

    enforcement: EnforcementPolicy
    monitoring: MonitoringPolicy
    senders: Mapping[str, Sender]
    pollers: Mapping[str, Poller]
    lock_dir: Path
    claims: Targets
    desk: Desk | None = None
    held: str = ""
    catalog: Catalog = field(default_factory=Catalog)
    bindings: dict[str, dict[str, str]] = field(default_factory=dict)
    source_errors: dict[str, str] = field(default_factory=dict)
    gaps: dict[str, Callable[[int], int]] = field(default_factory=dict)
    asked: dict[str, Asked] = field(default_factory=dict)
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    sources_failing: dict[str, str] = field(default_factory=dict)
    room: Room | None = None
    began_at_ms: int = 0
    look: Callable[[str], Any] = lambda address: None
    contracts: dict[str, Known] = field(default_factory=dict)
    accounts: dict[str, dict[str, Callable[[], Account | None]]] = field(default_factory=dict)
    spendings: dict[str, dict[str, Callable[[], Spending | None]]] = field(default_factory=dict)
    violations: set[str] = field(default_factory=set)
    targets: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, Breaker] = field(default_factory=dict)
    trials: "Trials | None" = None
    waiting: Callable[[str], int] = lambda channel: 0
    audit_files: AuditFiles | None = None
    outputs: OutputFiles | None = None
    audit_failing: dict[str, str] = field(default_factory=dict)
    muting: Muting = field(default_factory=Muting)
    restraint: RestraintTable = field(default_factory=RestraintTable)
    neighbours: Mapping[str, Neighbour] = field(default_factory=dict)
    partition_names: tuple[str, ...] = ()
    neighbour_every_ms: int = NEIGHBOUR_EVERY_MS
    via: str = ""

    def sender(self, channel: str) -> Sender:
        """The channel of that name; one that is not configured goes to the log and says so."""
        sender = self.senders.get(channel)
        return open_channel(channel, None) if sender is None else sender

    def pagers(self, channels: Iterable[str]) -> list[str]:
        """Those of the channels, once each, that keep an incident open until they hear that somebody is on it."""
        return [each for each in dict.fromkeys(channels) if self.sender(each).type in _PAGER_TYPES]

    def held_until_ms(self, sla_id: str, now_ms: int) -> int | None:
        """The end of the maintenance that holds a contract's notifications back now [Unix ms], or None."""
        known = self.known(sla_id)
        if known is None or not known.contract.maintenance:
            return None
        return calendar.maintenance_end_ms(known.contract, now_ms)

    def parents(self) -> list[str]:
        """Contracts of other cells on which contracts of this one depend, as far as these were made or asked for."""
        # Asked for as soon as a cell has started: reading every contract would keep it from all else.
        named = {parent for known in self.contracts.values() for parent in known.definition.depends_on}
        return sorted(named - self.contracts.keys())

    def is_broken(self, sla_id: str, now_ms: int) -> bool:
        """Whether a promise of a contract is broken now, in whichever cell it is; False when nobody knows."""
        known = self.known(sla_id)
        return known.is_broken if known is not None else self.muting.is_broken_elsewhere(sla_id, now_ms)

    def muted(self, violation: Violation, now_ms: int) -> Muted:
        """Who has it that nobody is told of a violation now: silences, and broken contracts that its own depends on."""
        known = self.known(violation.sla_id)
        contract = None if known is None else known.contract
        parents = () if contract is None else contract.depends_on
        broken = tuple(parent for parent in parents if self.is_broken(parent, now_ms))
        found = silence.muting(self.muting.unended(now_ms), silence.labels_of(contract, violation), now_ms)
        again_ms = min((now_ms + LOOK_AGAIN_MS, *(each.ends_at_ms for each in found)))
        return Muted(tuple(each.id for each in found), broken, again_ms)

    def mutes_burn(self, contract: Sla, severity: Severity, now_ms: int) -> bool:
        """Whether nobody is to be told of a burn alert now, which is of a whole contract and no metric of it."""
        if any(self.is_broken(parent, now_ms) for parent in contract.depends_on):
            return True
        if now_ms < self.began_at_ms + INHIBITION_WAIT_MS and any(
            self.known(parent) is None for parent in contract.depends_on
        ):
            return True  # what is broken in other cells may not be known yet; it is asked again with the next window
        labels = {"sla": contract.id, "severity": severity.value, "owner_team": contract.owner_team}
        return bool(silence.muting(self.muting.unended(now_ms), labels, now_ms))

    def attainment(self, sla_id: str) -> Fraction | None:
        """A contract's attainment of the running period so far [%], None when nothing of it is known."""
        known = self.known(sla_id)
        if known is None:
            return None
        return settlement.running_attainment(known.contract, self._running(sla_id))

    def burn(self, contract: Sla, period: Period) -> Burn:
        """How fast a contract spends its error budget in a period."""
        told = {name: tell() for name, tell in self.spendings.get(contract.id, {}).items()}
        spendings = {name: spending for name, spending in told.items() if spending is not None}
        return Burn(contract, spendings, period.end_ms - period.start_ms)

    def standing(self, sla_id: str, now_ms: int) -> Standing | None:
        """The numbers of the period that goes on; None for a contract nobody knows."""
        known = self.known(sla_id)
        if known is None:
            return None
        shares = settlement.running_shares(known.contract, self._running(sla_id), now_ms)
        return compliance.standing(known.contract.service_level, shares)

    def is_lost(self, sla_id: str, now_ms: int) -> bool:
        """Whether even a perfect remainder of the period that goes on cannot keep a contract's promise any more."""
        known = self.known(sla_id)
        return known is not None and settlement.is_lost(known.contract, self._running(sla_id), now_ms)

    def _running(self, sla_id: str) -> dict[str, Account]:
        """The running accounts of a contract's metrics, of those that can be known."""
        told = {name: tell() for name, tell in self.accounts.get(sla_id, {}).items()}
        return {name: account for name, account in told.items() if account is not None}

    def known(self, sla_id: str) -> Known | None:
        """What is known of a contract; None when it is not of this cell, or cannot be read."""
        known = self.contracts.get(sla_id)
        if known is None and (asleep := self.look(contract_address(sla_id))) is not None:
            known = asleep.known()
            self.introduce(known)
        return known

    def introduce(self, known: Known) -> None:
        """Enters a contract that was on record, and its monitors where they enter themselves once they are made again.

        What a monitor does not know is missed, so its contract stands in for it. It goes by the document: to read the
        contract takes longer than all else, and may come later.
        """
        document = known.definition.document
        sla_id = document["id"]
        self.contracts[sla_id] = known
        accounts = self.accounts.setdefault(sla_id, {})
        spendings = self.spendings.setdefault(sla_id, {})
        for metric in (*document["metrics"], *known.removed.values()):
            name = metric["name"]
            address = monitor_address(sla_id, name)
            accounts.setdefault(name, partial(self._recorded_account, address))
            spendings.setdefault(name, partial(self._recorded_spending, address))
            if name not in known.removed:
                self.enter(
                    address, sla_id, name, metric.get("labels", {}), metric.get("source"), metric.get("query")
                )
        self.catalog.introduced(sla_id)

    def _recorded_account(self, address: str) -> Account | None:
        """The account of a monitor that sleeps; None of one that does not, and has not entered itself."""
        asleep = self.look(address)
        return None if asleep is None else asleep.account()

    def _recorded_spending(self, address: str) -> Spending | None:
        """The same for what the last days were worth."""
        asleep = self.look(address)
        return None if asleep is None else asleep.spending()

    def bound(self, source: str) -> Mapping[str, str]:
        """The queries of a source by monitor, of those that sleep as well."""
        self.catalog.introduce_all()
        return self.bindings.get(source, {})

    def enter(
        self,
        address: str,
        sla_id: str,
        metric_name: str,
        labels: Mapping[str, str],
        source: str | None,
        query: str | None,
    ) -> None:
        """A monitor takes samples of its metric: those that are pushed, and those of a source that it is bound to.

        Args:
            source, query: as the contract says them.
        """
        self.catalog.enter(address, sla_id, metric_name, labels)
        bound = self._source_of(metric_name, source, query)
        if bound is not None:
            name, asked = bound
            self.bindings.setdefault(name, {})[address] = asked

    def _source_of(self, metric_name: str, source: str | None, query: str | None) -> tuple[str, str] | None:
        """The polled source a metric is bound to and the query to ask it, or None when samples are pushed."""
        if source is not None:
            return source, query or metric_name
        for name, polled in self.monitoring.sources.items():
            query = getattr(polled, "metrics", {}).get(metric_name)
            if query is not None:
                return name, query
        return None

    def catch_up_ms(self, metric: Metric) -> int:
        """How long what a metric misses can wait for its source to tell it later [ms]; 0: that source cannot."""
        bound = self._source_of(metric.name, metric.source, metric.query)
        if bound is None or not isinstance(self.pollers.get(bound[0]), Catching):
            return 0
        patience_ms: int = getattr(self.monitoring.sources.get(bound[0]), "catch_up", 0)
        return patience_ms

    def asked_for(self, metric: Metric) -> Asked | None:
        """The last poll that the source of a metric has answered; None for one that cannot be asked what was."""
        bound = self._source_of(metric.name, metric.source, metric.query) if self.asked else None
        return None if bound is None else self.asked.get(bound[0])


def open_environment(
    enforcement: EnforcementPolicy,
    monitoring: MonitoringPolicy,
    data: Path,
    held: str = "",
    links: Links | None = None,
) -> Environment:
    """An environment with every channel and every enabled, polled source open.

    Args:
        data: the data directory, which people on this machine name to reach the system.
        held: why nothing may leave; then each channel is the log and says so, and actions are dry runs.
        links: how people acknowledge by a link; None when there is no address for it.
    """
    senders: dict[str, Sender] = {
        name: open_messenger(name, enforcement, held, links) for name in enforcement.channels
    }
    if enforcement.billing is not None:
        senders[BILLING] = (
            LogSender(BILLING, why=f"is held back: {held}") if held else _open_billing(enforcement.billing)
        )
    if held:
        dry = enforcement.remediation.model_copy(update={"dry_run": True})
        enforcement = enforcement.model_copy(update={"remediation": dry})
    pollers: dict[str, Poller] = {}
    for name, source in monitoring.sources.items():
        if not isinstance(source, InternalSource) and getattr(source, "enabled", True):
            pollers[name] = open_source(name, source)
    desk = Desk(socket.gethostname(), f"slakeeper --data {shlex.quote(str(data))}")
    claims = TargetFiles(data / "targets")
    return Environment(
        enforcement, monitoring, senders, pollers, data / "locks", claims, desk, held,
        breakers=_known_breakers(claims), audit_files=AuditFiles(data / "audit"),
        outputs=OutputFiles(data / "outputs"),
    )  # fmt: skip


def _known_breakers(claims: TargetFiles) -> dict[str, Breaker]:
    try:
        return claims.breakers()
    except (TargetError, OSError) as error:
        # An attempt on that target will say so too; the cell has other work.
        logging.getLogger("slakeeper.remediation").error("circuit breakers: %s", error)
        return {}


def open_messenger(
    name: str, enforcement: EnforcementPolicy, held: str = "", links: Links | None = None
) -> Messenger:
    """A configured channel, open, with its template; see :func:`open_environment`."""
    settings = enforcement.channels[name]
    if held:
        return Messenger(LogSender(name, why=f"is held back: {held}"))
    return Messenger(
        open_channel(name, settings),
        defaults=tuple(getattr(settings, "recipients", ())),
        template=enforcement.templates.get(name),
        links=links,
        names=enforcement.names_on(name),
    )


def _open_billing(settings: BillingWebhook) -> Sender:
    # Only when there is one: a cell pays for no library that it does not use.
    from slakeeper.integrations.billing import BillingSender

    return BillingSender(settings)
