"""What happens to a contract, and what is kept and shown of it."""

from dataclasses import dataclass, field
from typing import Any

from slakeeper.sla.account import Account
from slakeeper.sla.contract import Sla
from slakeeper.sla.policy import Severity


@dataclass(frozen=True, slots=True)
class ContractVersion:
    """Event: the contract as of ``at_ms`` [Unix ms], None where that was not kept yet.

    ``configured`` is what was defined, without what operators changed since.
    """

    document: dict[str, Any]
    version: int
    configured: dict[str, Any]
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class FormerVersion:
    """A version that was in force up to ``until_ms`` [Unix ms]: what ended by then is settled under it."""

    document: dict[str, Any]
    version: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class MetricAdded:
    """Event: a metric is watched from ``at_ms`` on."""

    metric_name: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class MetricRemoved:
    """Event: a metric is no part of the contract from ``at_ms`` on.

    Its monitor, which ``document`` describes, stays until it has handed on what the metric was worth in the period.
    """

    metric_name: str
    document: dict[str, Any]
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class MetricGone:
    """Event: nothing more is to come of a metric that was removed; or it is a part of the contract again."""

    metric_name: str


@dataclass(frozen=True, slots=True)
class OpenedFor:
    """Event: the violation ``violation_id`` of a metric is open, or with an empty id no violation is."""

    metric_name: str
    violation_id: str


@dataclass(frozen=True, slots=True)
class MetricTurned:
    """Event: what a monitor says of its metric's promise; it waits here until the contract has followed it.

    Of a violation: that it still is broken, which waits until the violation has followed it.

    Attributes:
        at_ms: of the sample that says it [Unix ms].
        severity: the promise is broken, for the first time or still, so far as badly as this; None: it has held for
            long enough.
    """

    metric_name: str
    at_ms: int
    value: float
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class TurnFollowed:
    """Event: the contract, or its violation, has done what followed from the first of a metric's turns."""

    metric_name: str


@dataclass(frozen=True, slots=True)
class Burning:
    """A burn alert that goes on since ``since_ms`` [Unix ms].

    Attributes:
        long_ms: the long look-backs of the alerts that hold now [ms].
        severity: the highest since it began.
    """

    since_ms: int
    long_ms: tuple[int, ...]
    severity: Severity


@dataclass(frozen=True, slots=True)
class BurnChanged:
    """Event: other burn alerts hold than before; None: none any more."""

    burning: Burning | None


@dataclass(frozen=True, slots=True)
class AccountGathered:
    """Event: one metric's account of a period is final."""

    metric_name: str
    account: Account


@dataclass(frozen=True, slots=True)
class PeriodSettled:
    """Event: every metric's account of the period that ended at ``end_ms`` was handed on."""

    end_ms: int


@dataclass(frozen=True, slots=True)
class ContractEnding:
    """Event: the contract is removed as of ``at_ms`` [Unix ms], where ``document`` has it end.

    It goes on until what its last period was worth has been heard of every monitor, and is settled.
    """

    document: dict[str, Any]
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContractView:
    """A contract for those who look.

    Attributes:
        open_violations: by metric name.
        removed: metrics that left the contract within a period that is not settled yet, and when [Unix ms].
    """

    contract: Sla
    version: int
    since_ms: int
    open_violations: dict[str, str]
    removed: dict[str, int] = field(default_factory=dict)
    burning: Burning | None = None


@dataclass(frozen=True, slots=True)
class ContractState:
    """What a snapshot keeps.

    Attributes:
        added: from when on metrics are watched that were added later [Unix ms].
        gathered: accounts by the end of their period and metric name; the end, because a metric that was added
            within the period has an account that starts later.
        chapter: the version since which the metrics have the weights they have; None: since the first.
        removed: metrics that left, until their account of the period is in.
        former: earlier versions, the oldest first, as long as a period may wait to be settled under them.
        ending: since it was removed; None before.
        turned: what monitors have said and nothing has followed from yet.
    """

    document: dict[str, Any]
    version: int
    configured: dict[str, Any]
    open_violations: dict[str, str]
    gathered: dict[int, dict[str, Account]]
    added: dict[str, int]
    chapter: int | None = None
    removed: dict[str, MetricRemoved] = field(default_factory=dict)
    burning: Burning | None = None
    former: tuple[FormerVersion, ...] = ()
    ending: ContractEnding | None = None
    turned: tuple[MetricTurned, ...] = ()
