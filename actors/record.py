"""Every dataclass that may stand in a journal or a snapshot, by its class name."""

from functools import cache

from slakeeper.actors.alert import AlertState, NoticePosted
from slakeeper.actors.audit import AuditState, Filed
from slakeeper.actors.contract_event import (
    AccountGathered,
    BurnChanged,
    Burning,
    ContractEnding,
    ContractState,
    ContractVersion,
    FormerVersion,
    MetricAdded,
    MetricGone,
    MetricRemoved,
    MetricTurned,
    OpenedFor,
    PeriodSettled,
    TurnFollowed,
)
from slakeeper.actors.escalation import EscalationState, WalkChanged
from slakeeper.actors.ledger import Booked, LedgerState
from slakeeper.actors.message import (
    BookViolation,
    ContractChanged,
    MessageGivenUp,
    SettlePeriod,
    StatusChanged,
)
from slakeeper.actors.monitor import MonitorOrder, MonitorState
from slakeeper.actors.outbox import Delivery, DeliveryChanged
from slakeeper.actors.remediation import RemediationOrder
from slakeeper.actors.report import History, PastPeriod, Purged
from slakeeper.actors.restraint import HelpForgotten, RestraintState
from slakeeper.actors.silence import SilencesForgotten, SilencesState
from slakeeper.actors.violation import HelpCalled, HelpEnded, ViolationState
from slakeeper.otp.codec import Codec, Upcast
from slakeeper.sla.account import Account, Part
from slakeeper.sla.alert import Group, Incident, Item
from slakeeper.sla.audit import Fact, Link
from slakeeper.sla.escalation import Told, Walk
from slakeeper.sla.flapping import Flap
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.notification import Notification
from slakeeper.sla.record import ActionRecord, EscalationRecord, RecipientEnd
from slakeeper.sla.remediation import Run
from slakeeper.sla.restraint import Helped, Switch
from slakeeper.sla.silence import Matcher, Silence
from slakeeper.sla.violation import Acknowledgement, Violation

RECORDS: tuple[type, ...] = (
    Account,
    Acknowledgement,
    AccountGathered,
    ActionRecord,
    AlertState,
    AuditState,
    BookViolation,
    Booked,
    BurnChanged,
    Burning,
    ContractChanged,
    ContractEnding,
    ContractState,
    ContractVersion,
    Delivery,
    DeliveryChanged,
    EscalationRecord,
    EscalationState,
    Fact,
    Filed,
    Flap,
    FormerVersion,
    Group,
    HelpCalled,
    HelpEnded,
    HelpForgotten,
    Helped,
    History,
    Incident,
    Item,
    LedgerEntry,
    LedgerState,
    Link,
    Matcher,
    MessageGivenUp,
    MetricAdded,
    MetricGone,
    MetricRemoved,
    MetricTurned,
    MonitorOrder,
    MonitorState,
    NoticePosted,
    Notification,
    OpenedFor,
    Part,
    PastPeriod,
    PeriodSettled,
    Purged,
    RecipientEnd,
    RemediationOrder,
    RestraintState,
    Run,
    SettlePeriod,
    Silence,
    SilencesForgotten,
    SilencesState,
    StatusChanged,
    Switch,
    Told,
    TurnFollowed,
    Violation,
    ViolationState,
    Walk,
    WalkChanged,
)


UPCASTS: dict[str, tuple[Upcast, ...]] = {}
"""How records of former versions are read, by class name; see CONTRIBUTING.md, "Change a record"."""


@cache
def make_codec() -> Codec:
    """The codec of SLA actors' events and states: one for all, so that a process that is forked need not make it."""
    return Codec(RECORDS, UPCASTS)


SCHEMA_VERSION = make_codec().version
"""Rises with each upcast. A program refuses data of a higher one than its own."""
