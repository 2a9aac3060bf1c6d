"""What people are told: one frozen message with everything a channel needs, and its builders.

The body is plain text and answers, in this order: what broke, by how much, since when, what was tried, what it costs,
how to acknowledge.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import MAX_PREC, Context, Decimal
from enum import StrEnum
from typing import Any

from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import format_duration
from slakeeper.sla.ledger import LedgerEntry, decimal_text
from slakeeper.sla.policy import Severity
from slakeeper.sla.violation import ActionStatus, DeliveryStatus, Violation
from slakeeper.sla.wording import local_time, number, promise, with_unit

_SHARE_PLACES = Decimal("0.0001")
# Whatever is measured, and were it 1e300: a message that cannot be written is a page that nobody gets.
_ROUNDING = Context(prec=MAX_PREC)


class NotificationKind(StrEnum):
    OPENED = "opened"
    WORSENED = "worsened"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    ESCALATION = "escalation"
    ESCALATION_FAILED = "escalation_failed"
    BILLING = "billing"
    FLAPPING_STARTED = "flapping_started"
    FLAPPING_ENDED = "flapping_ended"
    BURN = "burn"
    BURN_ENDED = "burn_ended"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Notification:
    """A message, the same for every channel.

    Attributes:
        id: idempotency key: the same news built again has the same id.
        dedup_key: what a later message about the same matter refers to; a resolve carries the key of its opening.
        body: plain text, several lines.
        at_ms: Unix ms of the decision to tell.
        details: plain JSON values for machines.
    """

    id: str
    kind: NotificationKind
    sla_id: str
    sla_name: str
    severity: Severity
    subject: str
    body: str
    dedup_key: str
    violation_ids: tuple[str, ...]
    at_ms: int
    details: dict[str, Any] = field(default_factory=dict)


def bill(entry: LedgerEntry, now_ms: int) -> Notification:
    """An approved ledger entry for the billing system; ``details`` is the entry as it stands in the ledger.

    Its id is the entry's: the same entry is billed once, however often it has to be sent.
    """
    amount = f"{decimal_text(entry.amount)} {entry.currency or ''}".rstrip()
    return Notification(
        id=entry.id,
        kind=NotificationKind.BILLING,
        sla_id=entry.sla_id,
        sla_name=entry.sla_id,
        severity=Severity.INFO,
        subject=f"{entry.compensation_type.value} of {amount} for {entry.sla_id}",
        body=entry.arithmetic,
        dedup_key=entry.id,
        violation_ids=() if entry.violation_id is None else (entry.violation_id,),
        at_ms=now_ms,
        details=entry.to_document(),
    )


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a reader of a message has to go to acknowledge.

    Attributes:
        host: the machine.
        command: how the command line is called there, up to the command itself: ``slakeeper --data /srv/sla``.
    """

    host: str
    command: str


def alert(
    contract: Sla,
    kind: NotificationKind,
    violations: Sequence[Violation],
    now_ms: int,
    *,
    dedup_key: str,
    costs: Mapping[str, str] | None = None,
    desk: Desk | None = None,
) -> Notification:
    """News about one or more violations of one contract for the alert channels.

    Args:
        kind: opened, worsened or resolved.
        violations: at least one.
        costs: for some violation ids what they cost so far, in words.
        desk: where to acknowledge, None when that goes without saying.

    Raises:
        ValueError: no violation.
    """
    severity = max((violation.severity for violation in violations), key=lambda each: each.rank)
    about = " ".join(sorted(f"{violation.id}:{_stage(kind, violation)}" for violation in violations))
    return Notification(
        id=f"{kind.value}-{_digest(about)}",
        kind=kind,
        sla_id=contract.id,
        sla_name=contract.name or contract.id,
        severity=severity,
        subject=_subject(contract, kind, severity, violations),
        body=_body(contract, kind, violations, now_ms, costs or {}, desk),
        dedup_key=dedup_key,
        violation_ids=tuple(violation.id for violation in violations),
        at_ms=now_ms,
        details=_details(contract, violations, now_ms, costs or {}),
    )


def escalation(
    contract: Sla,
    violation: Violation,
    key: str,
    level: int,
    now_ms: int,
    *,
    kind: NotificationKind = NotificationKind.ESCALATION,
    cost: str = "",
    desk: Desk | None = None,
    late_ms: int = 0,
) -> Notification:
    """A level of the escalation walk, or with ``kind`` escalation_failed its end without an answer.

    Args:
        key: of the walk's ``Notify`` or ``EscalationFailed``.
        level: counted from 0.
        cost: what the violation costs so far, in words.
        desk: where to acknowledge, None when that goes without saying.
        late_ms: by how much it comes after it was due, which it then says [ms].
    """
    costs = {violation.id: cost} if cost else {}
    body = _body(contract, kind, [violation], now_ms, costs, desk)
    if late_ms:
        due = local_time(now_ms - late_ms, contract.timezone)
        body = f"Late by {format_duration(late_ms)}: this was due at {due}, and nobody could send it then.\n\n{body}"
    return Notification(
        id=f"{violation.id}.{key}",
        kind=kind,
        sla_id=contract.id,
        sla_name=contract.name or contract.id,
        severity=violation.severity,
        subject=_subject(contract, kind, violation.severity, [violation]),
        body=body,
        dedup_key=violation.id,
        violation_ids=(violation.id,),
        at_ms=now_ms,
        details={
            **_details(contract, [violation], now_ms, costs),
            "escalation": {"key": key, "level": level, "late_ms": late_ms},
        },
    )


def acknowledged(contract: Sla, violation: Violation, now_ms: int, *, dedup_key: str) -> Notification:
    """That somebody is on it, for channels that keep an incident open until they hear so.

    Args:
        dedup_key: of the message that opened the incident.
    """
    return Notification(
        id=f"{violation.id}.acknowledged.{len(violation.acknowledgements)}",
        kind=NotificationKind.ACKNOWLEDGED,
        sla_id=contract.id,
        sla_name=contract.name or contract.id,
        severity=violation.severity,
        subject=_subject(contract, NotificationKind.ACKNOWLEDGED, violation.severity, [violation]),
        body=_paragraph(contract, violation, now_ms, "") + "\n",
        dedup_key=dedup_key,
        violation_ids=(violation.id,),
        at_ms=now_ms,
        details=_details(contract, [violation], now_ms, {}),
    )


def escalation_resolved(contract: Sla, violation: Violation, now_ms: int, *, cost: str = "") -> Notification:
    """The end of an escalated violation, for everyone the walk has told."""
    news = alert(
        contract,
        NotificationKind.RESOLVED,
        [violation],
        now_ms,
        dedup_key=violation.id,
        costs={violation.id: cost} if cost else None,
    )
    # Not the alert's id: its receivers are others, and a pager has to close the escalation's incident too.
    return replace(news, id=f"{violation.id}.resolved")


def flapping_notice(
    contract: Sla, kind: NotificationKind, metric_name: str, changes: Sequence[int], now_ms: int
) -> Notification:
    """A metric has begun to flap, or has calmed down.

    Args:
        changes: instants by which it is judged [Unix ms], at least one, the newest last.
    """
    name, zone = contract.name or contract.id, contract.timezone
    if kind is NotificationKind.FLAPPING_STARTED:
        subject = f"[flapping] {name}: {metric_name}"
        said = (
            f"{name}: {metric_name} breaks and keeps its promise by turns: {len(changes)} times since "
            f"{local_time(changes[0], zone)}.\n\n"
            "Until it calms down nothing is said here about single violations of it. They are recorded, priced and\n"
            "escalated as ever; what is still open then is told then.\n"
        )
    else:
        subject = f"[calm] {name}: {metric_name}"
        said = f"{name}: {metric_name} does not flap any more; it changed last at {local_time(changes[-1], zone)}.\n"
    about = _digest(f"{contract.id}\0{metric_name}")
    return Notification(
        id=f"{kind.value}-{_digest(f'{about}:{changes[-1]}')}",
        kind=kind,
        sla_id=contract.id,
        sla_name=name,
        severity=Severity.INFO,
        subject=subject,
        body=said,
        dedup_key=f"flapping-{about}",
        violation_ids=(),
        at_ms=now_ms,
        details={"sla_id": contract.id, "sla_name": name, "timezone": zone, "metric_name": metric_name},
    )


def trial(now_ms: int, *, note: str = "") -> Notification:
    """A message that asks for nothing, to try a channel."""
    return Notification(
        id=f"test-{now_ms}",
        kind=NotificationKind.TEST,
        sla_id="slakeeper",
        sla_name="slakeeper",
        severity=Severity.INFO,
        subject="slakeeper test message",
        body=f"This is a test of the channel; nothing is wrong.\n{note}".strip() + "\n",
        dedup_key=f"test-{now_ms}",
        violation_ids=(),
        at_ms=now_ms,
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _stage(kind: NotificationKind, violation: Violation) -> str:
    return violation.severity.value if kind is NotificationKind.WORSENED else ""


def _subject(
    contract: Sla, kind: NotificationKind, severity: Severity, violations: Sequence[Violation]
) -> str:
    name = contract.name or contract.id
    what = violations[0].metric_name
    if len(violations) > 1:
        what = f"{len(violations)} metrics ({', '.join(violation.metric_name for violation in violations)})"
    match kind:
        case NotificationKind.RESOLVED:
            return f"[resolved] {name}: {what}"
        case NotificationKind.ACKNOWLEDGED:
            return f"[acknowledged] {name}: {what}, by {violations[0].acknowledged_by}"
        case NotificationKind.WORSENED:
            return f"[{severity.value}] {name}: {what}, now worse"
        case NotificationKind.ESCALATION:
            return f"[{severity.value}] {name}: {what}, not acknowledged"
        case NotificationKind.ESCALATION_FAILED:
            return f"[{severity.value}] {name}: {what}, nobody has answered"
        case _:
            return f"[{severity.value}] {name}: {what}"


def _body(
    contract: Sla,
    kind: NotificationKind,
    violations: Sequence[Violation],
    now_ms: int,
    costs: Mapping[str, str],
    desk: Desk | None,
) -> str:
    parts = [_paragraph(contract, violation, now_ms, costs.get(violation.id, "")) for violation in violations]
    if kind is NotificationKind.ESCALATION_FAILED:
        parts.insert(0, "Every level of the escalation was told and nobody has acknowledged.")
    waiting = [violation.id for violation in violations if violation.is_open]
    if waiting:
        where, command = (f" on {desk.host}", desk.command) if desk is not None else ("", "slakeeper")
        lines = [f"  {command} ack {each} --by YOUR-NAME" for each in waiting]
        parts.append("\n".join([f"Acknowledge{where} with:", *lines]))
    return "\n\n".join(parts) + "\n"


def _paragraph(contract: Sla, violation: Violation, now_ms: int, cost: str) -> str:
    lines = [_headline(contract, violation), ""]
    rows = _facts(contract, violation, now_ms, cost)
    return "\n".join([*lines, *(f"  {name:<9} {text}" for name, text in rows)])


def _headline(contract: Sla, violation: Violation) -> str:
    return f"{contract.name or contract.id}: {violation.metric_name} {_state(violation)}"


def _facts(contract: Sla, violation: Violation, now_ms: int, cost: str) -> list[tuple[str, str]]:
    """What is to be said about a violation, each thing with its name."""
    zone = contract.timezone
    lasted = format_duration(violation.duration_ms(now_ms))
    rows = [
        ("promised", promise(violation.condition, violation.threshold_value, violation.unit)),
        *_values(violation),
        ("since", f"{local_time(violation.opened_at_ms, zone)}, for {lasted}"),
        ("severity", violation.severity.value),
    ]
    if violation.closed_at_ms is not None:
        who = f" by {violation.resolved_by}" if violation.resolved_by else ""
        rows[-2] = ("since", f"{local_time(violation.opened_at_ms, zone)}")
        rows.insert(-1, ("until", f"{local_time(violation.closed_at_ms, zone)}{who}, after {lasted}"))
    if violation.acknowledged_by:
        note = f": {violation.acknowledge_note}" if violation.acknowledge_note else ""
        before = [each.by for each in violation.acknowledgements[:-1] if each.by != violation.acknowledged_by]
        after = f" (before: {', '.join(dict.fromkeys(before))})" if before else ""
        rows.append(("taken by", f"{violation.acknowledged_by}{note}{after}"))
    rows.append(("tried", _tried(violation)))
    if told := _told(violation):
        rows.append(("told", told))
    if cost:
        rows.append(("costs", cost))
    return rows


def _state(violation: Violation) -> str:
    if violation.is_open:
        return "does not keep its promise."
    if violation.resolved_by is None:
        return "has recovered."
    if violation.resolve_note:
        return f"was resolved by {violation.resolved_by}: {violation.resolve_note}."
    return "was resolved by hand."


def _values(violation: Violation) -> list[tuple[str, str]]:
    """While it lasts the latest value and, where it differs, the worst; afterwards the worst and what came of it."""
    latest, worst = (
        with_unit(value, violation.unit) for value in (violation.actual_value, violation.worst_value)
    )
    if violation.is_open:
        rows = [("measured", f"{latest}{_distance(violation, violation.actual_value)}")]
        return rows if violation.worst_value == violation.actual_value else [*rows, ("worst", worst)]
    rows = [("worst", f"{worst}{_distance(violation, violation.worst_value)}")]
    if violation.resolved_by is not None:
        return [*rows, ("at last", latest)]
    recovered = violation.recovered_value
    return rows if recovered is None else [*rows, ("now", with_unit(recovered, violation.unit))]


def _distance(violation: Violation, value: float) -> str:
    """How far a value is from the threshold, in its unit and relative to it."""
    threshold = violation.threshold_value
    off = abs(Decimal(repr(value)) - threshold)
    if off == 0 or threshold == 0:
        return ""
    share = (off / abs(threshold) * 100).quantize(_SHARE_PLACES, context=_ROUNDING)
    return f" ({with_unit(off, violation.unit)} off, {number(share)} % of it)"


def _tried(violation: Violation) -> str:
    if not violation.remediation_actions:
        return "nothing automatic"
    return "; ".join(
        f"{action.name} (attempt {action.attempt}) {_attempt(action.status, action.result)}"
        for action in violation.remediation_actions
    )


def _attempt(status: ActionStatus, result: str) -> str:
    words = {ActionStatus.PENDING: "is about to be tried", ActionStatus.EXECUTING: "is being tried"}
    word = words.get(status, status.value)
    return f"{word}: {result}" if result else word


def _told(violation: Violation) -> str:
    sent = [record for record in violation.escalations if record.status is DeliveryStatus.SENT]
    told = [
        " ".join([record.channel, *(each for each in record.recipients if each not in record.unreached)])
        for record in sent
    ]
    return ", ".join(dict.fromkeys(told))


def _details(
    contract: Sla, violations: Sequence[Violation], now_ms: int, costs: Mapping[str, str]
) -> dict[str, Any]:
    keys = (
        *("id", "metric_name", "severity", "status", "actual_value", "worst_value", "threshold_value"),
        *("condition", "unit", "start_time", "end_time", "acknowledged_by"),
    )
    described = []
    for violation in violations:
        document = violation.to_document()
        facts = _facts(contract, violation, now_ms, costs.get(violation.id, ""))
        words = {"headline": _headline(contract, violation), "facts": dict(facts)}
        described.append({**{key: document[key] for key in keys}, **words})
    return {
        "sla_id": contract.id,
        "sla_name": contract.name or contract.id,
        "timezone": contract.timezone,
        "violations": described,
    }
