"""The world outside: channels and remedies that remember what reached them, and that fail, or hide that they did it."""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from slakeeper.integrations.channel import DeliveryError, OnUncertain, Recipient
from slakeeper.integrations.remedy import RemedyResult
from slakeeper.sla import target as sla_target
from slakeeper.sla.breaker import Breaker
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.target import Claim, Target

# Of what a channel is asked: not reached, reached but silent about it, refused for good.
UNREACHABLE_RATIO, SILENT_RATIO, REFUSED_RATIO = 0.05, 0.05, 0.01

# Of what a remedy is asked: it says that it failed; it works, and the metric recovers.
REMEDY_FAILS_RATIO, REMEDY_HELPS_RATIO = 0.2, 0.4


def lost(lane: str) -> Exception:
    """What an actor sees of an effect of which nobody knows the end."""
    if lane.startswith("channel-"):
        return DeliveryError("no answer", retryable=True, uncertain=True)
    return TimeoutError("no answer")


@dataclass
class Received:
    """One message of one channel to one place: as it came first, and how often it came."""

    notification: Notification
    count: int = 0


@dataclass
class SharedTargets:
    """What all cells know of the targets, as :class:`slakeeper.actors.target_file.TargetFiles` without the files."""

    known: dict[str, Target] = field(default_factory=dict)

    def claim(self, target: str, new: Claim, settings: RemediationSettings, now_ms: int) -> Breaker:
        after = sla_target.claim(self.known.get(target, Target()), new, settings, now_ms)
        self.known[target] = after
        return after.breaker(new.action)

    def settle(self, target: str, key: str, helped: bool, settings: RemediationSettings, now_ms: int) -> None:
        self.known[target] = sla_target.settle(
            self.known.get(target, Target()), key, helped, settings, now_ms
        )

    def breakers(self) -> dict[str, Breaker]:
        return sla_target.merged(self.known)


@dataclass
class Outside:
    """Everything outside the cells. ``is_calm``: nothing fails any more.

    Attributes:
        received: by (channel, recipient, notification id).
        refused: the same of what was refused for good.
        alerted: openings and rises that were to be told, also those that did not arrive: by violation id.
        asked: of escalations, also those that did not arrive: by violation id, the keys of the walk.
        remedied: how often each idempotency key of a remedy was carried out.
        helped: targets that a remedy has just helped, for whoever makes the values.
        targets: what all cells share of them.
        unclaimed: idempotency keys of remedies that were carried out on a target that was not theirs.
    """

    random: Random
    is_calm: bool = False
    received: dict[tuple[str, Recipient, str], Received] = field(default_factory=dict)
    refused: set[tuple[str, Recipient, str]] = field(default_factory=set)
    alerted: dict[str, dict[str, Notification]] = field(default_factory=dict)
    asked: dict[str, set[str]] = field(default_factory=dict)
    remedied: Counter[str] = field(default_factory=Counter)
    helped: set[str] = field(default_factory=set)
    targets: SharedTargets = field(default_factory=SharedTargets)
    unclaimed: list[str] = field(default_factory=list)

    def run_remedy(self, remedy: Any, action: Any, *, idempotency_key: str, **_: Any) -> RemedyResult:
        """Stands in for ``integrations.remedy.run_remedy``."""
        claim = self.targets.known[action.target_name].claim
        if claim is None or claim.key != idempotency_key:
            self.unclaimed.append(idempotency_key)
        self.remedied[idempotency_key] += 1
        if self.random.random() < REMEDY_HELPS_RATIO:
            self.helped.add(action.trigger_metric)
        ok = self.is_calm or self.random.random() >= REMEDY_FAILS_RATIO
        return RemedyResult(ok, "done" if ok else "exit status 1", "", 0 if ok else 1, 1)

    def messages(self, channel: str | None = None) -> int:
        """How many different messages have arrived."""
        return sum(channel in (None, key[0]) for key in self.received)


@dataclass
class Channel:
    """A sender; keeps the contract of :class:`slakeeper.integrations.channel.Sender`."""

    outside: Outside
    name: str
    idempotent: bool = True
    on_uncertain: OnUncertain = "resend"
    type: str = "fake"

    def send(self, notification: Notification, recipient: Recipient) -> str:
        outside, key = self.outside, (self.name, recipient, notification.id)
        if notification.kind is NotificationKind.ESCALATION:
            [violation_id] = notification.violation_ids
            walked = outside.asked.setdefault(violation_id, set())
            walked.add(notification.id.removeprefix(f"{violation_id}."))
        if notification.kind in (NotificationKind.OPENED, NotificationKind.WORSENED):
            for violation_id in notification.violation_ids:
                outside.alerted.setdefault(violation_id, {})[notification.id] = notification
        fate = 1.0 if outside.is_calm else outside.random.random()
        if fate < UNREACHABLE_RATIO:
            raise DeliveryError("connection refused", retryable=True)
        fate -= UNREACHABLE_RATIO
        if fate < REFUSED_RATIO:
            outside.refused.add(key)
            raise DeliveryError("no such recipient", retryable=False)
        outside.received.setdefault(key, Received(notification)).count += 1
        if fate - REFUSED_RATIO < SILENT_RATIO:
            raise DeliveryError("gone after the message had left", retryable=True, uncertain=True)
        return "taken"
