"""The escalation walk: who is told next about a violation nobody has acknowledged, and when.

A walk goes through the levels of a policy in order, then through those of the next severity, and after the critical
policy's repetitions records one failure. It is a value: kept with its violation, it goes on after a restart at the
level and deadline where it stood.

A level is reached when the one before it was sent, so a walk that was asleep does not catch up in one burst: people
get their time to acknowledge.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from slakeeper.sla.duration import DAY_MS, HOUR_MS
from slakeeper.sla.lateness import late_ms
from slakeeper.sla.policy import EnforcementPolicy, EscalationLevel, EscalationPolicy, Severity
from slakeeper.sla.violation import ViolationError

_ORDER = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)

# How long a severity without a policy of its own is waited out before the next one's begins.
_NO_POLICY_TIMEOUT_MS = EscalationPolicy.model_fields["timeout"].default


# Each of its messages was tried for an hour before; and a violation that stays open for a month with nobody to be
# reached keeps some forty walks, not seven hundred.
_FIRST_UNREACHED_MS = HOUR_MS
_LONGEST_UNREACHED_MS = DAY_MS
_MOST_DOUBLINGS = 5


class WalkStatus(StrEnum):
    WALKING = "walking"
    ACKNOWLEDGED = "acknowledged"
    FAILED = "failed"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Told:
    """An address that got a message; the same fields as an :class:`EscalationLevel` without its delay."""

    channel: str
    recipients: tuple[str, ...] = ()
    room: str | None = None
    service: str | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """Where the escalation of one violation stands.

    Attributes:
        severity: whose policy is walked: info, warning or critical.
        level_index: the level due next; the count of levels when only the timeout is left.
        due_ms: when that level is sent or the timeout ends [Unix ms]; when acknowledged, when the walk starts again.
            None when nothing is due any more.
        round: how often the critical policy was begun again.
        number: how often the walk was begun again: after an acknowledgement ran out, by an operator, or because it had
            reached nobody.
        violation_severity: where a walk that starts again begins.
        told: every address that got a message, once each, in order.
    """

    severity: Severity
    level_index: int
    due_ms: int | None
    status: WalkStatus = WalkStatus.WALKING
    round: int = 0
    number: int = 0
    violation_severity: Severity = Severity.CRITICAL
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Notify:
    """Send ``level`` now. ``key`` is unique in the violation and the same after a replay; late by ``late_ms``."""

    key: str
    severity: Severity
    level_index: int
    level: EscalationLevel
    late_ms: int = 0


@dataclass(frozen=True, slots=True)
class EscalationFailed:
    """Every level was told, repetitions included, and nobody acknowledged. Once for a walk."""

    key: str
    severity: Severity


def needs_escalation(severity: Severity, applicable_count: int, *, exhausted: bool) -> bool:
    """Whether a violation is escalated by itself: critical and breach always, info never, a warning when nothing
    automatic applies (``applicable_count`` 0) or all of it was tried in vain (``exhausted``)."""
    if severity is Severity.WARNING:
        return applicable_count == 0 or exhausted
    return severity in (Severity.CRITICAL, Severity.BREACH)


def begin(policy: EnforcementPolicy, severity: Severity, now_ms: int) -> Walk:
    """A walk that reaches its first level at ``now_ms``; call :func:`advance` for what is due at once.

    A severity without a policy waits for the default timeout and goes on with the next severity's; when none follows,
    the highest policy below is walked.
    """
    start = _walked(policy, severity)
    return _reach(Walk(start, 0, now_ms, violation_severity=severity), policy, now_ms)


def advance(
    walk: Walk, policy: EnforcementPolicy, now_ms: int
) -> tuple[Walk, list[Notify | EscalationFailed]]:
    """Everything due by ``now_ms``, in order.

    Args:
        policy: the one in force now; it may have changed since the last call.

    Returns:
        The walk afterwards and what to do. Calling again at the same time gives nothing more.
    """
    effects: list[Notify | EscalationFailed] = []
    if walk.status is WalkStatus.ACKNOWLEDGED and walk.due_ms is not None and walk.due_ms <= now_ms:
        walk = _again(walk, policy, now_ms)
    while walk.status is WalkStatus.WALKING and walk.due_ms is not None and walk.due_ms <= now_ms:
        levels = _levels(policy, walk.severity)
        if walk.level_index < len(levels):
            walk, notify = _send(walk, policy, levels[walk.level_index], now_ms)
            effects.append(notify)
        else:
            walk, failed = _after_last(walk, policy, now_ms)
            effects.extend(failed)
    return walk, effects


def deadline_ms(walk: Walk) -> int | None:
    """When :func:`advance` is to be called next [Unix ms]; None: never by itself."""
    return walk.due_ms if walk.status in (WalkStatus.WALKING, WalkStatus.ACKNOWLEDGED) else None


def hold(walk: Walk, until_ms: int) -> Walk:
    """Maintenance goes on: nothing of the walk is due before ``until_ms`` [Unix ms]."""
    return walk if walk.due_ms is None else replace(walk, due_ms=max(walk.due_ms, until_ms))


def acknowledge(walk: Walk, policy: EnforcementPolicy, now_ms: int) -> Walk:
    """Stops the walk; with the policy's ``ack_timeout`` it starts again that long after ``now_ms``."""
    if walk.status is WalkStatus.RESOLVED:
        return walk
    walked = policy.policy(walk.severity)
    hold_ms = walked.ack_timeout if walked else None
    due_ms = None if hold_ms is None else now_ms + hold_ms
    return replace(walk, status=WalkStatus.ACKNOWLEDGED, due_ms=due_ms)


def raise_severity(walk: Walk, policy: EnforcementPolicy, severity: Severity, now_ms: int) -> Walk:
    """The violation became worse: a walk still below the new severity's policy jumps to that policy's first level.

    A walk that has got there by itself goes on: nobody is told twice. An acknowledged one stays stopped, but would
    start again at the new severity.
    """
    if severity.rank <= walk.violation_severity.rank:
        return walk
    walk = replace(walk, violation_severity=severity)
    wanted = _walked(policy, severity)
    if walk.status is WalkStatus.WALKING and wanted.rank > walk.severity.rank:
        walk = _reach(replace(walk, severity=wanted, level_index=0, round=0), policy, now_ms)
    return walk


def escalate_now(
    walk: Walk, policy: EnforcementPolicy, now_ms: int
) -> tuple[Walk, list[Notify | EscalationFailed]]:
    """An operator does not wait: the next level is sent at once; a walk that has ended or is held starts again.

    Raises:
        ViolationError: ``already_resolved``.
    """
    if walk.status is WalkStatus.RESOLVED:
        raise ViolationError("already_resolved", "a resolved violation is not escalated")
    if walk.status is not WalkStatus.WALKING:
        walk = _again(walk, policy, now_ms)
    # Past the last level "next" means the next policy's first level, whose delay is then skipped as well.
    number = walk.number, walk.round, walk.severity
    walk, effects = advance(replace(walk, due_ms=now_ms), policy, now_ms)
    moved = (walk.number, walk.round, walk.severity) != number
    if not effects and moved and walk.status is WalkStatus.WALKING:
        walk, effects = advance(replace(walk, due_ms=now_ms), policy, now_ms)
    return walk, effects


def undelivered(
    walk: Walk, policy: EnforcementPolicy, key: str, now_ms: int, failed: Collection[str] = ()
) -> Walk:
    """The message ``key`` has failed for good, or many times: what waits for its answer alone is due now.

    Nobody is waited for who was not told. That is the next level, when the message was of the level told last. After a
    policy's last level its timeout runs as long as one of its levels may still answer, or a channel that it notifies
    beside them: only when the messages of all of them are in ``failed``, for good, is it over.
    """
    if walk.status is not WalkStatus.WALKING or walk.due_ms is None:
        return walk
    levels = _levels(policy, walk.severity)
    if walk.level_index < len(levels):
        waits = walk.level_index == 0 or key != _key(walk, str(walk.level_index - 1))
    else:
        waits = _may_answer(walk, policy, failed)
    return walk if waits else replace(walk, due_ms=min(walk.due_ms, now_ms))


def _may_answer(walk: Walk, policy: EnforcementPolicy, failed: Collection[str]) -> bool:
    """Whether somebody whom this round of the policy has told may have heard of it."""
    walked = policy.policy(walk.severity)
    if walked is None or not walked.levels:
        return True
    if set(walked.notify_channels) - {level.channel for level in walked.levels}:
        return True
    return any(_key(walk, str(index)) not in failed for index in range(len(walked.levels)))


def unreached(walk: Walk, policy: EnforcementPolicy, now_ms: int) -> Walk:
    """Every message of a walk that has ended was in vain: it begins again later, ever more seldom, once a day at last.

    Nobody did not answer; nobody was told. What keeps messages from arriving may last for a night.
    """
    if walk.status is not WalkStatus.FAILED or not walk.told:
        return walk
    wait_ms = min(_LONGEST_UNREACHED_MS, _FIRST_UNREACHED_MS << min(walk.number, _MOST_DOUBLINGS))
    return hold(_again(walk, policy, now_ms), now_ms + wait_ms)


def released(walk: Walk, policy: EnforcementPolicy, unsaid: Collection[str], now_ms: int) -> Walk:
    """Nothing was to leave while the walk told some of its levels, and now it may: it begins again.

    Args:
        unsaid: keys of the messages that did not leave. Who was told of a level before the first of them is not told
            again, if the policy that it begins with is the one that is walked now.
    """
    if walk.status not in (WalkStatus.WALKING, WalkStatus.FAILED):
        return walk
    again = _again(walk, policy, now_ms)
    levels = _levels(policy, walk.severity)
    first = next((index for index in range(len(levels)) if _key(walk, str(index)) in unsaid), 0)
    if walk.severity is not again.severity or not first:
        return again
    return _reach(replace(again, level_index=first), policy, now_ms)


def resolve(walk: Walk) -> tuple[Walk, tuple[Told, ...]]:
    """Ends the walk; the second value is who was told and so is told of the end. Empty when it had ended already."""
    if walk.status is WalkStatus.RESOLVED:
        return walk, ()
    return replace(walk, status=WalkStatus.RESOLVED, due_ms=None), walk.told


def _walked(policy: EnforcementPolicy, severity: Severity) -> Severity:
    """Whose policy a violation of this severity begins with."""
    wanted = Severity.CRITICAL if severity is Severity.BREACH else severity
    if any(policy.policy(each) for each in _ORDER[wanted.rank :]):
        return wanted
    return next((each for each in reversed(_ORDER[: wanted.rank]) if policy.policy(each)), wanted)


def _levels(policy: EnforcementPolicy, severity: Severity) -> tuple[EscalationLevel, ...]:
    walked = policy.policy(severity)
    return walked.levels if walked else ()


def _reach(walk: Walk, policy: EnforcementPolicy, now_ms: int) -> Walk:
    """The walk stands before its level from now on: due after the level's delay, or after the timeout."""
    levels = _levels(policy, walk.severity)
    if walk.level_index < len(levels):
        wait_ms = levels[walk.level_index].delay
    elif not policy.escalation_policies:
        wait_ms = 0
    else:
        walked = policy.policy(walk.severity)
        wait_ms = walked.timeout if walked else _NO_POLICY_TIMEOUT_MS
    return replace(walk, due_ms=now_ms + wait_ms)


def _send(walk: Walk, policy: EnforcementPolicy, level: EscalationLevel, now_ms: int) -> tuple[Walk, Notify]:
    key = _key(walk, str(walk.level_index))
    told = Told(level.channel, level.recipients, level.room, level.service)
    everyone = walk.told if told in walk.told else (*walk.told, told)
    after = replace(walk, level_index=walk.level_index + 1, told=everyone)
    notify = Notify(key, walk.severity, walk.level_index, level, late_ms(walk.due_ms, now_ms))
    return _reach(after, policy, now_ms), notify


def _after_last(walk: Walk, policy: EnforcementPolicy, now_ms: int) -> tuple[Walk, list[EscalationFailed]]:
    higher = _ORDER[walk.severity.rank + 1 :]
    following = next((each for each in higher if policy.policy(each)), None)
    if following is not None:
        return _reach(replace(walk, severity=following, level_index=0, round=0), policy, now_ms), []
    walked = policy.policy(walk.severity)
    if walked and walk.round < walked.repeat:
        return _reach(replace(walk, level_index=0, round=walk.round + 1), policy, now_ms), []
    failed = EscalationFailed(_key(walk, "failed"), walk.severity)
    if not walk.told:  # there was nobody to answer
        return replace(walk, status=WalkStatus.FAILED, due_ms=None), []
    return replace(walk, status=WalkStatus.FAILED, due_ms=None), [failed]


def _again(walk: Walk, policy: EnforcementPolicy, now_ms: int) -> Walk:
    start = _walked(policy, walk.violation_severity)
    fresh = replace(
        walk, severity=start, level_index=0, round=0, number=walk.number + 1, status=WalkStatus.WALKING
    )
    return _reach(fresh, policy, now_ms)


def is_of(walk: Walk, key: str) -> bool:
    """Whether a message belongs to the walk as it was begun last."""
    return key.startswith(f"{walk.number}.")


def _key(walk: Walk, what: str) -> str:
    return f"{walk.number}.{walk.severity.value}.{walk.round}.{what}"
