"""Alerts: which news of a contract goes out together, and which has been told already.

A group collects the news of one contract for ``group_wait``. Every opening and every end is told once; a rise once for
each severity. News held back by maintenance waits and goes out afterwards.

*Muted* news (a silence, or a contract that this one depends on is broken) is kept, and told as soon as it is muted no
longer, if what it is about is still going on: nobody loses a page for ever. An end that comes meanwhile takes the
opening with it when nobody has heard of that; who was told of an opening is told of its end, muted or not.

While a metric *flaps* (:mod:`~slakeeper.sla.flapping`) its news is kept in the same way. One notice says that it began
and one that it is over, and then what is still open is told.

The dedup key of an opening is its violation's id, or one made of all ids when several went out in one message. An end
carries the key of its opening once everything in that message has ended; an earlier end gets a key of its own, so that
a pager does not close an incident in which something is still broken.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from slakeeper.sla import flapping
from slakeeper.sla.contract import Sla
from slakeeper.sla.flapping import Flap
from slakeeper.sla.notification import Desk, Notification, NotificationKind, alert, flapping_notice
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
    """One piece of news: opened, worsened or resolved; or that its metric began to flap."""

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
        known: keys of news that was accepted.
        incidents: what was told and has not ended.
        muted: news whose wait is over, and that is not told for now, in order.
        flaps: how each metric changes, by its name.
        flapping_told: metrics of which was told that they flap, and not yet that it is over.
    """

    sla_id: str
    pending: tuple[Item, ...] = ()
    due_ms: int | None = None
    known: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    muted: tuple[Item, ...] = ()
    flaps: dict[str, Flap] = field(default_factory=dict)
    flapping_told: tuple[str, ...] = ()


def intervals_of(contract: Sla, settings: AlertSettings) -> dict[str, int]:
    """The metrics that are watched for flapping, each with its interval [ms]."""
    return {metric.name: metric.interval for metric in contract.metrics} if settings.flapping else {}


def add(
    group: Group, item: Item, settings: AlertSettings, now_ms: int, intervals: Mapping[str, int] | None = None
) -> Group:
    """Takes a piece of news in; the first of a group starts its wait.

    Args:
        intervals: of the metrics that are watched for flapping.

    Raises:
        ValueError: the violation is another contract's.
    """
    violation_id = item.violation.id
    if item.violation.sla_id != group.sla_id:
        raise ValueError(f"{violation_id} is not of {group.sla_id}")
    if item.key in group.known:
        return group
    group = _remember(replace(group, known=(*group.known, item.key)))
    news = [item]
    if item.kind is NotificationKind.RESOLVED:
        told, kept = _is_told(group, violation_id), _without(group.muted, violation_id)
        if not told and len(kept) < len(group.muted):
            # It was muted from its beginning to its end.
            group = replace(group, muted=kept, pending=_without(group.pending, violation_id))
            news = []
        elif told:
            group = replace(group, muted=kept)
        elif all(each.violation.id != violation_id for each in group.pending):
            news = []  # of what nobody heard no end is told
    group, notices = _count(group, item, now_ms, intervals or {})
    news += notices
    if not news:
        return group
    due_ms = now_ms + settings.group_wait if group.due_ms is None else group.due_ms
    return replace(group, pending=_shortened((*group.pending, *news)), due_ms=due_ms)


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


def deadline_ms(group: Group, intervals: Mapping[str, int] | None = None) -> int | None:
    """When :func:`flush` is to be called next [Unix ms], but for muted news, of which only its caller knows."""
    calm = [_calm_ms(name, flap, intervals or {}) for name, flap in group.flaps.items()]
    return min((each for each in (group.due_ms, *calm) if each is not None), default=None)


def waiting(group: Group, now_ms: int) -> tuple[Item, ...]:
    """What :func:`flush` would look at now."""
    is_due = group.due_ms is not None and group.due_ms <= now_ms
    return (*group.muted, *group.pending) if is_due else group.muted


def unended(group: Group) -> list[str]:
    """Ids of the violations that it knows of and whose end it has not heard."""
    over = {
        item.violation.id for item in (*group.muted, *group.pending) if item.kind is NotificationKind.RESOLVED
    }
    known = [
        each for incident in group.incidents for each in incident.violation_ids if each not in incident.ended
    ]
    known += [item.violation.id for item in (*group.muted, *group.pending)]
    return [each for each in dict.fromkeys(known) if each not in over]


def flush(
    group: Group,
    contract: Sla,
    now_ms: int,
    *,
    muted: Collection[str] = (),
    intervals: Mapping[str, int] | None = None,
    held_until_ms: int | None = None,
    cost_of: Callable[[Violation], str] | None = None,
    desk: Desk | None = None,
) -> tuple[Group, list[Notification]]:
    """The messages due by ``now_ms``: openings in one; rises and ends in one for each incident.

    Args:
        muted: ids of violations of which nobody is to hear now.
        intervals: of the metrics that are watched for flapping.
        held_until_ms: end of the maintenance that goes on; everything waits until then.
        cost_of: what a violation costs so far, in words; asked only of what is told.
        desk: where the messages are to be acknowledged.
    """
    items = waiting(group, now_ms)
    is_due = group.due_ms is not None and group.due_ms <= now_ms
    if held_until_ms is not None and held_until_ms > now_ms:
        return (replace(group, due_ms=held_until_ms) if is_due else group), []
    group, calmed = _settle(group, now_ms, intervals or {})
    if is_due:
        group = replace(group, pending=(), due_ms=None)
    kept = [item for item in items if _is_kept(group, item, muted)]
    over = {item.violation.id for item in kept if item.kind is NotificationKind.RESOLVED}
    group = replace(group, muted=tuple(kept))
    for identity in over:
        if not _is_told(group, identity):  # it began and ended within one wait, and nobody is to hear of it
            group = replace(group, muted=_without(group.muted, identity))
    pending = tuple(item for item in items if item not in kept)
    opened = _violations(pending, NotificationKind.OPENED)
    worsened = [each for each in _violations(pending, NotificationKind.WORSENED) if each not in opened]
    ended = _violations(pending, NotificationKind.RESOLVED)
    known = {each for incident in group.incidents for each in incident.violation_ids}
    # A rise of something whose opening nobody heard of is the first that people hear of it.
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
            costs = {each.id: cost_of(each) for each in violations} if cost_of is not None else None
            messages.append(alert(contract, kind, violations, now_ms, dedup_key=key, costs=costs, desk=desk))
    group = _end(group, ended)
    started = [
        item.violation.metric_name for item in pending if item.kind is NotificationKind.FLAPPING_STARTED
    ]
    return _tell_flapping(group, contract, now_ms, dict.fromkeys(started), calmed, messages)


def _is_kept(group: Group, item: Item, muted: Collection[str]) -> bool:
    """Whether a piece of news is not told now, and so looked at again later."""
    is_notice = item.kind is NotificationKind.FLAPPING_STARTED
    if not is_notice and _flaps(group, item.violation.metric_name):
        return True
    told = item.kind is NotificationKind.RESOLVED and _is_told(group, item.violation.id)
    return item.violation.id in muted and not told


# -- flapping -----------------------------------------------------------------------------------------------------


def _flaps(group: Group, metric_name: str) -> bool:
    flap = group.flaps.get(metric_name)
    return flap is not None and flap.is_flapping


def _count(group: Group, item: Item, now_ms: int, intervals: Mapping[str, int]) -> tuple[Group, list[Item]]:
    """Takes a change of a metric into account; the second value is the notice, if it begins to flap by it."""
    name = item.violation.metric_name
    if name not in intervals or item.kind is NotificationKind.WORSENED:
        return group, []
    flap = flapping.change(group.flaps.get(name, Flap()), now_ms, intervals[name])
    began = flap.is_flapping and not _flaps(group, name)
    notices = [Item(NotificationKind.FLAPPING_STARTED, item.violation)] if began else []
    watched = {each: kept for each, kept in group.flaps.items() if each in intervals or kept.is_flapping}
    return replace(group, flaps={**watched, name: flap}), notices


def _calm_ms(name: str, flap: Flap, intervals: Mapping[str, int]) -> int | None:
    """When a metric will have calmed down; at once if it is not watched for it any more."""
    if not flap.is_flapping:
        return None
    return flapping.ends_at_ms(flap, intervals[name]) if name in intervals else 0


def _settle(group: Group, now_ms: int, intervals: Mapping[str, int]) -> tuple[Group, list[str]]:
    """Time has passed: the second value is which metrics do not flap any more."""
    calmed = [
        name
        for name, flap in group.flaps.items()
        if (calm_ms := _calm_ms(name, flap, intervals)) is not None and calm_ms <= now_ms
    ]
    if not calmed:
        return group, []
    flaps = {name: replace(flap, is_flapping=flap.is_flapping and name not in calmed)
             for name, flap in group.flaps.items()}  # fmt: skip
    return replace(group, flaps=flaps), calmed


def _tell_flapping(
    group: Group,
    contract: Sla,
    now_ms: int,
    started: Collection[str],
    calmed: Collection[str],
    messages: list[Notification],
) -> tuple[Group, list[Notification]]:
    """The notices: that a metric flaps before all other news, that it does not any more after it.

    What calmed down before anybody heard that it flapped needs no notice at all.
    """
    begun = [name for name in started if _flaps(group, name) and name not in group.flapping_told]
    over = [name for name in calmed if name in group.flapping_told]
    first = [
        flapping_notice(contract, NotificationKind.FLAPPING_STARTED, name, group.flaps[name].changes, now_ms)
        for name in begun
    ]
    last = [
        flapping_notice(contract, NotificationKind.FLAPPING_ENDED, name, group.flaps[name].changes, now_ms)
        for name in over
    ]
    told = tuple(name for name in (*group.flapping_told, *begun) if name not in over)
    # A notice that waited until all was calm again is of no use to anybody.
    muted = tuple(
        item
        for item in group.muted
        if item.kind is not NotificationKind.FLAPPING_STARTED or _flaps(group, item.violation.metric_name)
    )
    return replace(group, flapping_told=told, muted=muted), [*first, *messages, *last]


# -- news ---------------------------------------------------------------------------------------------------------


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


def _is_told(group: Group, identity: str) -> bool:
    return any(identity in incident.violation_ids for incident in group.incidents)


def _without(items: tuple[Item, ...], identity: str) -> tuple[Item, ...]:
    """The items that are not about a violation; notices are about its metric and stay."""
    notice = NotificationKind.FLAPPING_STARTED
    return tuple(item for item in items if item.violation.id != identity or item.kind is notice)


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
