"""What holds automatic remediation back: the off switch, and an action that helps again and again.

An action that keeps helping hides what keeps breaking. So what helped is counted, for a metric of a contract, and after
``max_runs`` times within ``per`` the action is left alone until the first of them is that long ago: people are told
instead. What a person asks for by hand is neither held back nor counted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slakeeper.sla.duration import format_duration
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.wording import local_time


class RestraintError(Exception):
    """A change of the switch is refused; ``reason`` is a word for programs, the text one for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether actions may run by themselves, as an operator has said: who, why, when [Unix ms]."""

    is_on: bool
    by: str
    reason: str
    at_ms: int

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values under the names users see; times are Unix ms."""
        return {
            "state": "on" if self.is_on else "off",
            "by": self.by,
            "reason": self.reason,
            "time": self.at_ms,
        }


@dataclass(frozen=True, slots=True)
class Helped:
    """An action helped against a violation of a metric, by itself, at ``at_ms`` [Unix ms]."""

    sla_id: str
    metric_name: str
    action: str
    violation_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Recurrence:
    """An action that is left alone because it helped too often.

    Attributes:
        count: how often within ``per_ms`` [ms].
        until_ms: when it may be tried again [Unix ms].
    """

    sla_id: str
    metric_name: str
    action: str
    count: int
    per_ms: int
    until_ms: int

    def __str__(self) -> str:
        return (
            f"{self.action} has helped {self.count} times within {format_duration(self.per_ms)} and does not last; "
            f"it is left alone until {local_time(self.until_ms, 'UTC')}"
        )

    def to_document(self) -> dict[str, Any]:
        """Plain JSON values under the names users see; times are Unix ms."""
        return {
            "sla_id": self.sla_id,
            "metric_name": self.metric_name,
            "action": self.action,
            "count": self.count,
            "until": self.until_ms,
            "message": str(self),
        }


def turn(known: Switch | None, is_on: bool, by: str, reason: str, now_ms: int) -> Switch:
    """The switch as an operator wants it from now on; as it is when it stands so already.

    Raises:
        RestraintError: ``nobody`` when ``by`` is empty, ``no_reason`` when ``reason`` is.
    """
    if not by.strip():
        raise RestraintError("nobody", "say who does this")
    if not reason.strip():
        raise RestraintError("no_reason", "say why")
    if known is not None and known.is_on is is_on:
        return known
    # Later than what it replaces, whatever the clock says: the latest is in force everywhere.
    return Switch(is_on, by, reason, now_ms if known is None else max(now_ms, known.at_ms + 1))


def merge(one: Switch | None, other: Switch | None) -> Switch | None:
    """What is in force when two say different things: the later; of the same moment the one that is off."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda each: (each.at_ms, not each.is_on, each.by, each.reason))


def off(switch: Switch | None) -> str:
    """Why no action runs by itself now, for people; empty when they do."""
    if switch is None or switch.is_on:
        return ""
    return f"remediation is switched off by {switch.by}: {switch.reason}"


def recurrence(
    helped: Iterable[Helped],
    sla_id: str,
    metric_name: str,
    action: str,
    settings: RemediationSettings,
    now_ms: int,
) -> Recurrence | None:
    """Whether an action helped so often that it is not to be tried again now; None when it may be."""
    times = sorted(
        each.at_ms
        for each in helped
        if (each.sla_id, each.metric_name, each.action) == (sla_id, metric_name, action)
        and now_ms - settings.per < each.at_ms <= now_ms
    )
    if len(times) < settings.max_runs:
        return None
    # When this one is out of sight, fewer than max_runs are left.
    leaves_ms = times[-settings.max_runs] + settings.per
    return Recurrence(sla_id, metric_name, action, len(times), settings.per, leaves_ms)


def recurrences(
    helped: Iterable[Helped], settings: RemediationSettings, now_ms: int
) -> tuple[Recurrence, ...]:
    """All actions that are left alone now, by contract, metric and action."""
    known = tuple(helped)
    keys = sorted({(each.sla_id, each.metric_name, each.action) for each in known})
    found = (recurrence(known, *key, settings, now_ms) for key in keys)
    return tuple(each for each in found if each is not None)


def remembered(helped: Iterable[Helped], settings: RemediationSettings, now_ms: int) -> tuple[Helped, ...]:
    """Those that still count, in the order they were told."""
    return tuple(each for each in helped if now_ms - each.at_ms < settings.per)
