"""The audit chain: what was decided and what operators did, in entries of which each holds the hash of the one before.

An entry is one line of JSON, and its canonical form is that line itself: ASCII, no spaces, the keys in the order below,
those of ``details`` sorted, every number that is not an integer as text. The line ends with ``,"hash":"<hex>"}``; the
hash is the SHA-256 of the bytes before that ending with ``}`` put after them. So a chain is verified with tools that
know nothing of slakeeper, and no two spellings of an entry have the same hash. ``docs/audit.md`` shows how.

Each partition has a chain of its own, from 1 without gaps; the first entry follows on ``GENESIS``.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, StrEnum
from fractions import Fraction
from typing import Any, Final

SYSTEM: Final = "slakeeper"
"""Who decides what nobody asked for."""

GENESIS: Final = "0" * 64
"""What stands in the first entry for the hash of the one before."""

FORMAT: Final = 1

_ENDING = re.compile(r',"hash":"([0-9a-f]{64})"\}\Z')


class What(StrEnum):
    """What an entry is about."""

    CHAIN_BEGUN = "chain.begun"
    CHAIN_FORKED = "chain.forked"
    CONTRACT_DEFINED = "contract.defined"
    CONTRACT_UPDATED = "contract.updated"
    CONTRACT_SUSPENDED = "contract.suspended"
    CONTRACT_RESUMED = "contract.resumed"
    CONTRACT_REMOVED = "contract.removed"
    VIOLATION_OPENED = "violation.opened"
    VIOLATION_WORSENED = "violation.worsened"
    VIOLATION_ACKNOWLEDGED = "violation.acknowledged"
    VIOLATION_ESCALATED = "violation.escalated"
    VIOLATION_RESOLVED = "violation.resolved"
    REMEDIATION_REQUESTED = "remediation.requested"
    REMEDIATION_BEGUN = "remediation.begun"
    REMEDIATION_ATTEMPTED = "remediation.attempted"
    REMEDIATION_ENDED = "remediation.ended"
    REMEDIATION_SWITCHED_OFF = "remediation.switched_off"
    REMEDIATION_SWITCHED_ON = "remediation.switched_on"
    ESCALATION_TOLD = "escalation.told"
    ESCALATION_DELIVERED = "escalation.delivered"
    ESCALATION_EXHAUSTED = "escalation.exhausted"
    ALERT_DELIVERED = "alert.delivered"
    COMPENSATION_BOOKED = "compensation.booked"
    COMPENSATION_APPROVED = "compensation.approved"
    COMPENSATION_REJECTED = "compensation.rejected"
    COMPENSATION_SETTLED = "compensation.settled"
    COMPENSATION_UNBILLED = "compensation.unbilled"
    PERIOD_SETTLED = "period.settled"
    BURN_BEGUN = "burn.begun"
    BURN_RAISED = "burn.raised"
    BURN_ENDED = "burn.ended"
    SILENCE_ADDED = "silence.added"
    SILENCE_EXPIRED = "silence.expired"
    ACTOR_SUSPENDED = "actor.suspended"
    ACTOR_RESUMED = "actor.resumed"
    ACTOR_RELEASED = "actor.released"
    ACTOR_RESTARTED = "actor.restarted"
    ACTOR_KILLED = "actor.killed"
    LETTER_REDELIVERED = "letter.redelivered"
    PROCESS_RESTARTED = "process.restarted"
    PROCESS_KILLED = "process.killed"
    CHANNEL_TESTED = "channel.tested"
    PARTITION_REPAIRED = "partition.repaired"
    COPY_RELEASED = "copy.released"


@dataclass(frozen=True, slots=True)
class Fact:
    """Event: something was decided or done; an entry once it has its place in the chain.

    Attributes:
        at_ms: Unix ms.
        what: a :class:`What`, as text: what an older version wrote must be readable in a newer one.
        who: the operator, or ``slakeeper``.
        via: how an operator's act came in: ``cli``, ``http`` or ``python``; else empty.
        sla_id: the contract; empty for what concerns none.
        subject: id of the violation, ledger entry or contract, or the address of the actor or process.
        details: plain values, see :func:`plain`; exact numbers are text.
    """

    at_ms: int
    what: str
    who: str
    via: str = ""
    sla_id: str = ""
    subject: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: the number of its last entry (0: none yet) and that entry's hash."""

    seq: int = 0
    hash: str = GENESIS


@dataclass(frozen=True, slots=True)
class Link:
    """An entry in its place in the chain, ready to be written: its number, the hash before it, its own, its line."""

    seq: int
    previous: str
    hash: str
    line: str

    @property
    def head(self) -> Head:
        """The chain's end while this is its last entry."""
        return Head(self.seq, self.hash)


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that was read: the fields as they stand there, and whether its hash is that of its contents."""

    seq: int
    partition: str
    previous: str
    hash: str
    is_intact: bool
    document: dict[str, Any]


def link(head: Head, partition: str, fact: Fact) -> Link:
    """The next entry of a partition's chain, which ends at ``head`` now."""
    seq = head.seq + 1
    fields = {
        "format": FORMAT,
        "seq": seq,
        "at_ms": fact.at_ms,
        "partition": partition,
        "what": fact.what,
        "who": fact.who,
        "via": fact.via,
        "sla": fact.sla_id,
        "subject": fact.subject,
        "details": {key: fact.details[key] for key in sorted(fact.details)},
        "previous": head.hash,
    }
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False)
    digest = hashlib.sha256(body.encode("ascii")).hexdigest()
    return Link(seq, head.hash, digest, f'{body[:-1]},"hash":"{digest}"}}')


def read(line: str) -> Entry | None:
    """Reads a line without its line feed; None when it is no entry at all.

    Args:
        line: its bytes as Latin-1, so that no two different lines look the same.
    """
    ending = _ENDING.search(line)
    if ending is None:
        return None
    try:
        body = f"{line[: ending.start()]}}}".encode("latin-1")
        document = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    seq, partition, previous = document.get("seq"), document.get("partition"), document.get("previous")
    if type(seq) is not int or not isinstance(partition, str) or not isinstance(previous, str):
        return None
    digest = hashlib.sha256(body).hexdigest()
    return Entry(seq, partition, previous, ending[1], digest == ending[1], document)


def plain(value: Any) -> Any:
    """A value as it stands in an entry: text, whole numbers, booleans, null, lists, maps with their keys sorted.

    Decimals and floats become their shortest exact text, fractions ``numerator/denominator``.

    Raises:
        TypeError: there is no such form of it.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (str, int)):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [plain(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no place in the audit chain")
