"""Silences: for a time nobody is told of the violations that match, and everything else goes on.

A silence is what Alertmanager means by one: matchers, who made it, why, from when to when. It never changes but for
its end, which can come earlier. So copies of it that were kept apart agree again by taking the earlier end.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from slakeeper.sla.contract import Sla
from slakeeper.sla.duration import DAY_MS
from slakeeper.sla.pattern import PatternError, compile_pattern
from slakeeper.sla.violation import Violation

MAX_MATCHERS = 20
MAX_NAME_CHARS = 200
MAX_VALUE_CHARS = 200
MAX_BY_CHARS = 200
MAX_REASON_CHARS = 1_000

# Whoever wants no news for longer than this wants another contract.
MAX_LENGTH_MS = 366 * DAY_MS

# So long one that is over is shown; the audit chain keeps who made it for ever. Alertmanager's default.
KEPT_MS = 5 * DAY_MS


class SilenceError(Exception):
    """A silence is refused; ``reason`` is a word for programs, the text one for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Relation(StrEnum):
    """How a label has to stand to a matcher's value; patterns match the whole label."""

    EQUAL = "="
    NOT_EQUAL = "!="
    LIKE = "=~"
    NOT_LIKE = "!~"


class SilenceState(StrEnum):
    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; a label that is not there is an empty one."""

    name: str
    relation: Relation
    value: str

    def matches(self, labels: Mapping[str, str]) -> bool:
        label = labels.get(self.name, "")
        match self.relation:
            case Relation.EQUAL:
                return label == self.value
            case Relation.NOT_EQUAL:
                return label != self.value
            case Relation.LIKE:
                return compile_pattern(self.value).matches(label)
            case Relation.NOT_LIKE:
                return not compile_pattern(self.value).matches(label)

    def __str__(self) -> str:
        return f'{self.name}{self.relation.value}"{self.value}"'

    def to_document(self) -> dict[str, Any]:
        return {"name": self.name, "relation": self.relation.value, "value": self.value}


@dataclass(frozen=True, slots=True)
class Silence:
    """From ``starts_at_ms`` until before ``ends_at_ms`` [Unix ms] nobody is told of what all ``matchers`` match.

    Attributes:
        expired_by: who ended it before its time; empty while nobody has.
    """

    id: str
    matchers: tuple[Matcher, ...]
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    reason: str
    created_at_ms: int
    expired_by: str = ""

    def state(self, now_ms: int) -> SilenceState:
        if now_ms >= self.ends_at_ms:
            return SilenceState.EXPIRED
        return SilenceState.ACTIVE if now_ms >= self.starts_at_ms else SilenceState.PENDING

    def mutes(self, labels: Mapping[str, str], now_ms: int) -> bool:
        """Whether nobody is to be told now of what has these labels."""
        active = self.state(now_ms) is SilenceState.ACTIVE
        return active and all(matcher.matches(labels) for matcher in self.matchers)

    def to_document(self, now_ms: int) -> dict[str, Any]:
        """Plain JSON values under the names users see; times are Unix ms."""
        return {
            "id": self.id,
            "state": self.state(now_ms).value,
            "matchers": [matcher.to_document() for matcher in self.matchers],
            "start_time": self.starts_at_ms,
            "end_time": self.ends_at_ms,
            "created_by": self.created_by,
            "reason": self.reason,
            "created_time": self.created_at_ms,
            "expired_by": self.expired_by or None,
        }


def labels_of(contract: Sla | None, violation: Violation) -> dict[str, str]:
    """What matchers look at: the metric's own labels and, stronger than these, sla, metric, severity and owner_team."""
    found: dict[str, str] = {}
    if contract is not None:
        for metric in contract.metrics:
            if metric.name == violation.metric_name:
                found.update(metric.labels)
        found["owner_team"] = contract.owner_team
    return {
        **found,
        "sla": violation.sla_id,
        "metric": violation.metric_name,
        "severity": violation.severity.value,
    }


_MATCHER = re.compile(r"\s*([^\s=!~\"]+)\s*(=~|!~|!=|=)\s*(.*?)\s*", re.DOTALL)


def read_matcher(text: str) -> Matcher:
    """Reads ``severity=~"warning|info"``; the quotes may be left out.

    Raises:
        SilenceError: ``invalid_matcher``.
    """
    parts = _MATCHER.fullmatch(text) if len(text) <= MAX_NAME_CHARS + MAX_VALUE_CHARS + 10 else None
    if parts is None:
        raise SilenceError(
            "invalid_matcher",
            f'{text[:MAX_VALUE_CHARS]!r} is no matcher: they are like sla=api or severity=~"warning|info"',
        )
    name, relation, value = parts.groups()
    if len(value) >= 2 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return check_matcher(Matcher(name, Relation(relation), value))


def check_matcher(matcher: Matcher) -> Matcher:
    """The matcher, when it can be one.

    Raises:
        SilenceError: ``invalid_matcher``.
    """
    if not matcher.name or len(matcher.name) > MAX_NAME_CHARS or len(matcher.value) > MAX_VALUE_CHARS:
        why = f"a label's name has 1 to {MAX_NAME_CHARS} characters, a value at most {MAX_VALUE_CHARS}"
        raise SilenceError("invalid_matcher", why)
    if matcher.relation in (Relation.LIKE, Relation.NOT_LIKE):
        try:
            compile_pattern(matcher.value)
        except PatternError as error:
            raise SilenceError("invalid_matcher", str(error)) from error
    return matcher


def make(
    matchers: Sequence[Matcher], starts_at_ms: int, ends_at_ms: int, by: str, reason: str, now_ms: int
) -> Silence:
    """A new silence; the same one made again in the same moment has the same id.

    Args:
        matchers: each as :func:`check_matcher` returns it.
        starts_at_ms, ends_at_ms: Unix ms.

    Raises:
        SilenceError: ``nobody``, ``no_reason``, ``invalid_matcher`` (none, too many, or they match everything), or
            ``invalid_time``.
    """
    if not by.strip() or len(by) > MAX_BY_CHARS:
        raise SilenceError("nobody", f"say who does this, in at most {MAX_BY_CHARS} characters")
    if not reason.strip() or len(reason) > MAX_REASON_CHARS:
        raise SilenceError("no_reason", f"say why, in at most {MAX_REASON_CHARS} characters")
    if not 1 <= len(matchers) <= MAX_MATCHERS:
        raise SilenceError("invalid_matcher", f"a silence has 1 to {MAX_MATCHERS} matchers")
    if all(matcher.matches({}) for matcher in matchers):
        # As in Alertmanager: what matches a violation without any label would match them all, by mistake more often.
        raise SilenceError("invalid_matcher", "at least one matcher must not match an empty label")
    if not starts_at_ms < ends_at_ms or ends_at_ms <= now_ms:
        raise SilenceError("invalid_time", "a silence ends after it begins, and in the future")
    if ends_at_ms - starts_at_ms > MAX_LENGTH_MS or starts_at_ms - now_ms > MAX_LENGTH_MS:
        raise SilenceError(
            "invalid_time", f"a silence lasts at most {MAX_LENGTH_MS // DAY_MS} days, and begins within them"
        )
    content = "\0".join([*map(str, matchers), str(starts_at_ms), str(ends_at_ms), by, reason, str(now_ms)])
    digest = hashlib.blake2b(content.encode(), digest_size=4).hexdigest()
    # What lies in the past has been told already: it begins now.
    return Silence(
        f"s{now_ms:012x}-{digest}", tuple(matchers), max(starts_at_ms, now_ms), ends_at_ms, by, reason, now_ms
    )


def expire(silence: Silence, by: str, now_ms: int) -> Silence:
    """Ends it now.

    Raises:
        SilenceError: ``already_expired``, or ``nobody`` when ``by`` is empty.
    """
    if silence.state(now_ms) is SilenceState.EXPIRED:
        raise SilenceError("already_expired", f"silence {silence.id} is over already")
    if not by.strip() or len(by) > MAX_BY_CHARS:
        raise SilenceError("nobody", f"say who does this, in at most {MAX_BY_CHARS} characters")
    return replace(silence, ends_at_ms=now_ms, expired_by=by)


def merge(one: Silence, other: Silence) -> Silence:
    """Two copies of a silence as one: whoever ended it first has the last word. In any order the same comes out."""
    return min(one, other, key=lambda each: (each.ends_at_ms, each.expired_by))


def is_kept(silence: Silence, now_ms: int) -> bool:
    """Whether it is in force, will be, or has been over for less than KEPT_MS."""
    return silence.ends_at_ms > now_ms - KEPT_MS


def muting(silences: Iterable[Silence], labels: Mapping[str, str], now_ms: int) -> tuple[Silence, ...]:
    """Those that mute what has these labels, by id."""
    found = (silence for silence in silences if silence.mutes(labels, now_ms))
    return tuple(sorted(found, key=lambda each: each.id))
