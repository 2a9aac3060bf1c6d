"""Alerts: which news of a contract goes out together, and which has been told already.

A group collects the news of one contract for ``group_wait``. Every opening and every end is told once; a rise once for
each severity. Silenced news is forgotten, and so is the end of what was never told; news held back by maintenance
waits and goes out afterwards.

The dedup key of an opening is its violation's id, or one made of all ids when several went out in one message. An end
carries the key of its opening once everything in that message has ended; an earlier end gets a key of its own, so that
a pager does not close an incident in which something is still broken.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from slakeeper.sla.contract import Sla
from slakeeper.sla.notification import Desk, Notification, NotificationKind, alert
from slakeeper.sla.policy import AlertSettings
from slakeeper.sla.violation import Violation

# Ended violations whose news is remembered; replays reach back a snapshot, far less than this.
_REMEMBERED_COUNT = 500

GROUP_PREFIX = "group-"
"""How the dedup key of a message about several violations begins; that of one is its id."""

# So much news waits at most: a contract that flaps through a week of maintenance must not fill the disk, nor a message.
MAX_PENDING = 500


@dataclass(frozen=True, slots=True)
class Item:
    """One piece of news: opened, worsened or resolved."""

    kind: NotificationKind
    violation: Violation

    @property
    def key(self) -> str:
        """News of the same key is told once."""
        severity = f":{self.violation.severity.value}" if self.kind is NotificationKind.WORSENED else ""
        return f"{self.violation.id}:{self.kind.value}{severity}"


@dataclass(frozen=True, slots=True)
class Incident:
    """An opening that was told: its dedup key, the violations in it, and those of them that have ended."""

    dedup_key: str
    violation_ids: tuple[str, ...]
    ended: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The alerts of one contract.

    Attributes:
        pending: news not yet told, in order.
        due_ms: when it goes out [Unix ms]; None when there is none.
        known: keys of news that was accepted or silenced.
        incidents: what was told and has not ended.
    """

    sla_id: str
    pending: tuple[Item, ...] = ()
    due_ms: int | None = None
    known: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()


def add(group: Group, item: Item, settings: AlertSettings, now_ms: int, *, silenced: bool = False) -> Group:
    """Takes a piece of news in; the first of a group starts its wait.

    Args:
        silenced: nobody is to hear of it (a silence, or a contract this one depends on is broken).

    Raises:
        ValueError: the violation is another contract's.
    """
    if item.violation.sla_id != group.sla_id:
        raise ValueError(f"{item.violation.id} is not of {group.sla_id}")
    if item.key in group.known:
        return group
    group = _remember(replace(group, known=(*group.known, item.key)))
    # Who was told of the beginning is told of the end, silence or not; of what nobody heard no end is told.
    is_end = item.kind is NotificationKind.RESOLVED
    wanted = _was_told(group, item.violation.id) if is_end else not silenced
    if not wanted:
        return group
    due_ms = now_ms + settings.group_wait if group.due_ms is None else group.due_ms
    return replace(group, pending=_shortened((*group.pending, item)), due_ms=due_ms)


def incident(group: Group, dedup_key: str) -> tuple[str, ...]:
    """The violations of an incident that have not ended; none when no incident has the key."""
    found = next((each for each in group.incidents if each.dedup_key == dedup_key), None)
    return () if found is None else tuple(each for each in found.violation_ids if each not in found.ended)


def incident_of(group: Group, identity: str) -> str | None:
    """The dedup key of the incident in which a violation is all that is left; None when there is none.

    Of an incident with others in it nobody may say that somebody is on it.
    """
    return next(
        (each.dedup_key for each in group.incidents if incident(group, each.dedup_key) == (identity,)), None
    )


def deadline_ms(group: Group) -> int | None:
    """When :func:`flush` is to be called next [Unix ms]."""
    return group.due_ms


def flush(
    group: Group,
    contract: Sla,
    now_ms: int,
    *,
    held_until_ms: int | None = None,
    costs: Mapping[str, str] | None = None,
    desk: Desk | None = None,
) -> tuple[Group, list[Notification]]:
    """The messages due by ``now_ms``: openings in one; rises and ends in one for each incident.

    Args:
        held_until_ms: end of the maintenance that goes on; everything waits until then.
        costs: for some violation ids what they cost so far, in words.
        desk: where the messages are to be acknowledged.
    """
    if group.due_ms is None or group.due_ms > now_ms:
        return group, []
    if held_until_ms is not None and held_until_ms > now_ms:
        return replace(group, due_ms=held_until_ms), []
    pending = group.pending
    group = replace(group, pending=(), due_ms=None)
    opened = _violations(pending, NotificationKind.OPENED)
    worsened = [each for each in _violations(pending, NotificationKind.WORSENED) if each not in opened]
    ended = _violations(pending, NotificationKind.RESOLVED)
    known = {each for incident in group.incidents for each in incident.violation_ids}
    # A rise of something whose opening was silenced is the first that people hear of it.
    for fresh in (opened, [each for each in worsened if each not in known]):
        if fresh:
            group = replace(group, incidents=(*group.incidents, Incident(_dedup_key(fresh), tuple(fresh))))
    messages: list[Notification] = []
    for kind, identities in (
        (NotificationKind.OPENED, opened),
        (NotificationKind.WORSENED, worsened),
        (NotificationKind.RESOLVED, ended),
    ):
        is_end = kind is NotificationKind.RESOLVED
        # What has ended meanwhile is still told as it was when it opened; its end follows in its own message.
        news = [item for item in pending if (item.kind is NotificationKind.RESOLVED) is is_end]
        latest = {item.violation.id: item.violation for item in news}
        for key, part in _by_incident(group, identities, is_end=is_end):
            violations = [latest[each] for each in part]
            messages.append(alert(contract, kind, violations, now_ms, dedup_key=key, costs=costs, desk=desk))
    return _end(group, ended), messages


def _shortened(pending: tuple[Item, ...]) -> tuple[Item, ...]:
    """Without what began and ended while it waited, the oldest first, as far as there is too much."""
    if len(pending) <= MAX_PENDING:
        return pending
    began = set(_violations(pending, NotificationKind.OPENED))
    over = [each for each in _violations(pending, NotificationKind.RESOLVED) if each in began]
    gone: set[str] = set()
    left = len(pending)
    for identity in over:
        if left <= MAX_PENDING:
            break
        gone.add(identity)
        left -= sum(item.violation.id == identity for item in pending)
    return tuple(item for item in pending if item.violation.id not in gone)


def _violations(items: tuple[Item, ...], kind: NotificationKind) -> list[str]:
    return list(dict.fromkeys(item.violation.id for item in items if item.kind is kind))


def _was_told(group: Group, identity: str) -> bool:
    in_incident = any(identity in incident.violation_ids for incident in group.incidents)
    return in_incident or any(item.violation.id == identity for item in group.pending)


def _dedup_key(identities: list[str]) -> str:
    if len(identities) == 1:
        return identities[0]
    return GROUP_PREFIX + hashlib.blake2b(" ".join(identities).encode(), digest_size=8).hexdigest()


def _by_incident(group: Group, identities: list[str], *, is_end: bool) -> list[tuple[str, list[str]]]:
    """The violations by the incident they were told in: (dedup key, violations)."""
    parts: list[tuple[str, list[str]]] = []
    for incident in group.incidents:
        here = [each for each in identities if each in incident.violation_ids]
        if here:
            goes_on = is_end and {*incident.ended, *here} != set(incident.violation_ids)
            parts.append((f"{here[0]}.part" if goes_on else incident.dedup_key, here))
    return parts


def _end(group: Group, ended: list[str]) -> Group:
    kept = []
    for incident in group.incidents:
        over = tuple(each for each in incident.violation_ids if each in incident.ended or each in ended)
        if len(over) < len(incident.violation_ids):
            kept.append(replace(incident, ended=over))
    return replace(group, incidents=tuple(kept))


def _remember(group: Group) -> Group:
    """Bounds the memory: news of ended violations is forgotten, the oldest first."""
    suffix = f":{NotificationKind.RESOLVED.value}"
    over = [key.removesuffix(suffix) for key in group.known if key.endswith(suffix)]
    if len(over) <= _REMEMBERED_COUNT:
        return group
    gone = set(over[: len(over) - _REMEMBERED_COUNT])
    return replace(group, known=tuple(key for key in group.known if key.split(":", 1)[0] not in gone))
