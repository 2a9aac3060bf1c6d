"""What SLA actors say to each other: commands in the imperative, events in the past tense.

What only sources, silences or restraint are concerned with stands in a module of theirs (``…_message``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from slakeeper.sla.account import Account
from slakeeper.sla.compliance import Status
from slakeeper.sla.record import ActionRecord, EscalationRecord
from slakeeper.sla.sample import Sample
from slakeeper.sla.violation import Violation

# -- to what keeps a partition's batches --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NoteBatch:
    """A batch has come with samples for these monitors.

    Attributes:
        key: 64 bits of its id.
        up, down: addresses of monitors that can and cannot take their share now.
    """

    key: int
    up: tuple[str, ...]
    down: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoteBatches:
    """Call: these have come; a :class:`BatchNoted` for each."""

    batches: tuple[NoteBatch, ...]


@dataclass(frozen=True, slots=True)
class MissBatches:
    """Call: these monitors have not got their share after all; by the batch's key, their addresses."""

    missed: Mapping[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class BatchNoted:
    """Who of those that are up has not had its share yet, and who of those that are down has."""

    new: tuple[str, ...]
    had: tuple[str, ...]


# -- from one that has started again -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SayAgain:
    """The actor at ``to`` has started again and may have lost what it was told last: say how it stands.

    Hearing something twice means nothing to anyone; not hearing it could leave a violation open for ever.
    """

    to: str


@dataclass(frozen=True, slots=True)
class SayEnded:
    """To the archive: the actor at ``to`` has started again and asks about violations that are no longer there."""

    violation_ids: tuple[str, ...]
    to: str


# -- to a metric monitor ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Observe:
    """Samples of this metric, each (Unix ms, value), in the order they arrived."""

    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class CountDuplicates:
    """So many samples came again in a batch that was taken before."""

    count: int


@dataclass(frozen=True, slots=True)
class Rebase:
    """The contract has a new version.

    Attributes:
        chapter: the version since which its metrics have the weights they have.
        retired: the metric is no part of it any more; it stands in ``document`` for its monitor only, which keeps
            what the metric was worth until the period is settled.
        ended_ms: when the contract was removed: up to then it is settled, however late this is heard [Unix ms].
    """

    document: dict[str, Any]
    version: int
    chapter: int = 1
    retired: bool = False
    ended_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SetSuspended:
    """Suspended time counts for nothing."""

    suspended: bool


@dataclass(frozen=True, slots=True)
class LookAtBurn:
    """A window was judged that may change how fast the contract spends its error budget."""


@dataclass(frozen=True, slots=True)
class ForceClose:
    """An operator resolved this metric's violation."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline of the receiver has come."""


@dataclass(frozen=True, slots=True)
class TermTurned:
    """The contract began or ended by itself at ``at_ms``."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class DescribeMetric:
    """Call: state, value, counters and the running account of a monitor."""


# -- to a contract ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MetricRecovered:
    """The promise holds, said again: what is open of the metric ended at ``at_ms``; ``value`` is its latest."""

    metric_name: str
    at_ms: int
    value: float | None = None


@dataclass(frozen=True, slots=True)
class ViolationEnded:
    """The violation of a metric is resolved."""

    metric_name: str
    violation_id: str


@dataclass(frozen=True, slots=True)
class DescribeContract:
    """Call: document, version, status and open violations of a contract."""


@dataclass(frozen=True, slots=True)
class DefineContract:
    """Call: take this document as the contract's new version; the same document changes nothing."""

    document: dict[str, Any]
    by: str = ""


@dataclass(frozen=True, slots=True)
class SuspendContract:
    """Call."""

    by: str


@dataclass(frozen=True, slots=True)
class ResumeContract:
    """Call."""

    by: str


@dataclass(frozen=True, slots=True)
class RemoveContract:
    """Call: nothing is watched any more; ledger and history stay. Refused while violations are open."""

    by: str


# -- to a violation -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CloseViolation:
    """The metric recovered at ``at_ms``, to ``value``; or with ``by`` it ends then for the reason in ``note``."""

    at_ms: int
    value: float | None = None
    by: str | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class AcknowledgeViolation:
    """Call. What takes nothing over is refused while an acknowledgement holds."""

    by: str
    note: str = ""
    takes_over: bool = True


@dataclass(frozen=True, slots=True)
class ResolveViolation:
    """Call."""

    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class EscalateViolation:
    """Call: tell the next level now."""

    by: str


@dataclass(frozen=True, slots=True)
class EnforceViolation:
    """Call: look again at what the violation calls for; what was begun already is not begun twice."""


@dataclass(frozen=True, slots=True)
class RemediateViolation:
    """Call: run an action by hand."""

    action_name: str
    by: str
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class DescribeViolation:
    """Call: the :class:`Violation`."""


@dataclass(frozen=True, slots=True)
class ActionAttempted:
    """A remediation records an attempt, or what became of it."""

    record: ActionRecord


@dataclass(frozen=True, slots=True)
class RemediationEnded:
    """A remediation is over; ``helped`` when the metric recovered meanwhile."""

    action_name: str
    number: int
    helped: bool


@dataclass(frozen=True, slots=True)
class LevelNotified:
    """An escalation records a level told, or what became of the message."""

    record: EscalationRecord


@dataclass(frozen=True, slots=True)
class EscalationExhausted:
    """Nobody acknowledged."""


@dataclass(frozen=True, slots=True)
class EscalationEnded:
    """The escalation has nothing more to send."""


# -- from a violation to those who act on it ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ViolationOpened:
    violation: Violation


@dataclass(frozen=True, slots=True)
class ViolationWorsened:
    violation: Violation


@dataclass(frozen=True, slots=True)
class ViolationChanged:
    """Its value, or what was tried: nothing to act on, but to be told with the next message."""

    violation: Violation


@dataclass(frozen=True, slots=True)
class ViolationAcknowledged:
    violation: Violation


@dataclass(frozen=True, slots=True)
class ViolationResolved:
    violation: Violation


@dataclass(frozen=True, slots=True)
class EscalateNow:
    """An operator wants the next level told."""

    violation: Violation


# -- to the alerts of a contract --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MessageGivenUp:
    """At ``at_ms`` [Unix ms] a message about the contract was given up, or nobody knows whether it arrived."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class CountGivenUp:
    """Call: how many messages about the contract were given up within the last day."""


@dataclass(frozen=True, slots=True)
class DescribeIncident:
    """Call: the violations that messages with this dedup key were about and that have not ended; none if unknown."""

    dedup_key: str


@dataclass(frozen=True, slots=True)
class DescribeAlerts:
    """Call: the :class:`~slakeeper.sla.alert.Group`."""


# -- to ledger and report -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContractChanged:
    """The contract's newest version, for those who work with it."""

    document: dict[str, Any]
    version: int


@dataclass(frozen=True, slots=True)
class BookViolation:
    """A violation that has ended, and what its contract had attained [%] by then, in the period that was running.

    The ledger may come to it only in a later period. ``attainment`` is None when nothing of it was known.
    """

    violation: Violation
    attainment: Fraction | None


@dataclass(frozen=True, slots=True)
class SettlePeriod:
    """The accounts of all metrics of a period by metric name, and the contract's version when it ended."""

    accounts: dict[str, Account]
    version: int

    @property
    def start_ms(self) -> int:
        """When it began [Unix ms]: a metric that was added within the period has an account from then on."""
        return min(account.start_ms for account in self.accounts.values())

    @property
    def end_ms(self) -> int:
        """When it ended [Unix ms]."""
        return max(account.end_ms for account in self.accounts.values())


@dataclass(frozen=True, slots=True)
class DecideEntry:
    """Call: approve or reject a pending ledger entry."""

    entry_id: str
    approve: bool
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class SettleEntry:
    """Call: an approved ledger entry was paid out by hand."""

    entry_id: str
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class ListBilling:
    """Call: by the entry's id what is known of each approved entry that billing has not taken yet, as plain values."""


@dataclass(frozen=True, slots=True)
class NewestTerms:
    """Call: (version, document) of the newest version of the contract known; also once it is removed."""


@dataclass(frozen=True, slots=True)
class ListEntries:
    """Call: the ledger, oldest first."""


@dataclass(frozen=True, slots=True)
class StatusChanged:
    """A contract's status by its violating metrics (or suspended), from ``at_ms`` [Unix ms] on."""

    at_ms: int
    status: Status


@dataclass(frozen=True, slots=True)
class ListStatus:
    """Call: the :class:`StatusChanged` that are kept, oldest first."""


@dataclass(frozen=True, slots=True)
class ListHistory:
    """Call: archived violations and accounts of past periods."""
