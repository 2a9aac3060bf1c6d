"""What was done about a violation: its attempts of actions and the levels of its escalation, as kept in it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from slakeeper.sla.policy import Severity


class ActionType(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"
    ESCALATION = "escalation"


class ActionStatus(StrEnum):
    PENDING = "pending"
    EXECUTING = "executing"
    COMPLETED = "completed"
    FAILED = "failed"


class DeliveryStatus(StrEnum):
    """What is known of a message.

    ``uncertain`` may or may not have arrived; ``held`` is deliberately not sent; ``logged`` stands in slakeeper's
    own log and has reached nobody.
    """

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    HELD = "held"
    LOGGED = "logged"


@dataclass(frozen=True, slots=True)
class RecipientEnd:
    """What a message to several has come to for one of them.

    Attributes:
        status: sent, failed, uncertain, or sending while it is worth another try.
        words: the other side's.
    """

    status: DeliveryStatus
    words: str = ""


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """One attempt of an enforcement action (the seed's ``enforcement_action``).

    Attributes:
        id: unique; the same attempt recorded again has the same id.
        name: the automatic action; ``target`` is what it acts on.
        execution_time: Unix ms of its start.
        attempt: 1 for the first.
        result: what came of it, for people.
        late_ms: by how much it began after it was due; 0 on time [ms].
    """

    id: str
    action_type: ActionType
    name: str
    target: str
    parameters: dict[str, Any]
    execution_time: int
    status: ActionStatus = ActionStatus.PENDING
    result: str = ""
    attempt: int = 1
    by: str = ""
    late_ms: int = 0

    def to_document(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "action_type": self.action_type.value,
            "name": self.name,
            "target": self.target,
            "parameters": self.parameters,
            "execution_time": self.execution_time,
            "status": self.status.value,
            "result": self.result,
            "attempt": self.attempt,
            "by": self.by,
            "late_ms": self.late_ms,
        }


@dataclass(frozen=True, slots=True)
class EscalationRecord:
    """One level told.

    Attributes:
        key: unique in its violation.
        level: counted from 0.
        at_ms: Unix ms; ``late_ms`` after it was due, 0 on time.
        on_call: names of those who are among the recipients because they were on call then.
        unreached: recipients who do not have it, or perhaps not, though others do.
    """

    key: str
    level: int
    severity: Severity
    channel: str
    recipients: tuple[str, ...]
    at_ms: int
    status: DeliveryStatus = DeliveryStatus.SENDING
    detail: str = ""
    late_ms: int = 0
    on_call: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "level": self.level,
            "severity": self.severity.value,
            "channel": self.channel,
            "recipients": list(self.recipients),
            "at": self.at_ms,
            "status": self.status.value,
            "detail": self.detail,
            "late_ms": self.late_ms,
            "on_call": list(self.on_call),
            "unreached": list(self.unreached),
        }
