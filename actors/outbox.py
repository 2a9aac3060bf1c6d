"""Messages to people and systems outside: each is recorded before it is tried, and again when its end is known.

A crash in between leaves a delivery of which nobody knows whether it arrived. A channel that can recognise a
repetition, or whose policy says ``resend``, gets it again under the same id; otherwise it is kept as *uncertain*
and shown. One outbox lives inside each actor that sends; its changes are that actor's events.

What ends a matter comes after what began it: over the same channel it waits for every earlier message about it, however
often that has to be tried. A pager that heard of the end first would keep the incident open for ever.
"""

import logging
from dataclasses import dataclass, field, replace
from typing import Any

from slakeeper.actors.environment import Environment
from slakeeper.integrations.channel import DeliveryError, Recipient
from slakeeper.integrations.log import LOGGED
from slakeeper.otp.actor import LaneFull, Performed
from slakeeper.otp.backoff import Backoff, jitter_fraction
from slakeeper.otp.context import Context
from slakeeper.sla.duration import HOUR_MS, MINUTE_MS, SECOND_MS
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.record import DeliveryStatus, RecipientEnd

# A peer that is down for a moment is reached by the third try. Whoever decided to tell meant it for longer: a line that
# is cut at night, and a pager's own bad hour, cost nobody a page. What was decided long ago, because slakeeper itself
# was away, is tried so often at least.
PATIENCE_MS = HOUR_MS
MIN_ATTEMPTS = 6
FIRST_RETRY_MS = 5 * SECOND_MS
LONGEST_RETRY_MS = 5 * MINUTE_MS
_BACKOFF = Backoff(FIRST_RETRY_MS, LONGEST_RETRY_MS)

# What is never given up is tried so often from then on: after a night that a peer is down it is caught up with.
_PATIENCE = Backoff(HOUR_MS, HOUR_MS)

RETRY_TIMER = "outbox"


# Sent before or after another message about the same matter, these would mean something else.
_IN_ORDER = frozenset(
    {
        NotificationKind.ACKNOWLEDGED,
        NotificationKind.RESOLVED,
        NotificationKind.BURN_ENDED,
        NotificationKind.FLAPPING_ENDED,
    }
)


Matter = tuple[str, str]
"""A channel, and what messages over it are about: their dedup key."""


@dataclass(frozen=True, slots=True)
class RetryDeliveries:
    """Some delivery's next attempt is due."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one place.

    Attributes:
        key: unique within the actor that sends it.
        attempts: made so far; 0 while it is held back, or waits for an earlier one.
        due_ms: when it is tried (again) [Unix ms]; None while it is on its way or its end is known.
        ends: what its attempts have come to for each recipient of several, once there was one.
    """

    key: str
    channel: str
    recipients: tuple[str, ...]
    room: str | None
    service: str | None
    notification: Notification
    status: DeliveryStatus = DeliveryStatus.SENDING
    attempts: int = 1
    due_ms: int | None = None
    detail: str = ""
    ends: dict[str, RecipientEnd] = field(default_factory=dict)

    @property
    def is_final(self) -> bool:
        return self.status is not DeliveryStatus.SENDING

    @property
    def matter(self) -> Matter:
        """What it is about, to whomever it goes: a pager tells incidents apart by nothing else."""
        return self.channel, self.notification.dedup_key

    @property
    def unreached(self) -> tuple[str, ...]:
        """Of one that was sent, those who do not have it, or perhaps not, though others do."""
        if self.status is not DeliveryStatus.SENT:
            return ()
        return tuple(who for who, end in self.ends.items() if end.status is not DeliveryStatus.SENT)

    def facts(self) -> dict[str, Any]:
        """What the audit chain keeps of its end; channels mask the secrets in ``detail``."""
        return {
            "key": self.key,
            "channel": self.channel,
            "recipients": self.recipients,
            "status": self.status,
            "attempts": self.attempts,
            "detail": self.detail,
            **({"unreached": self.unreached} if self.unreached else {}),
        }


@dataclass(frozen=True, slots=True)
class DeliveryChanged:
    """Event: a delivery begins, is tried again, or has ended."""

    delivery: Delivery


class Outbox:
    """The deliveries of one actor that have not ended yet.

    Args:
        never_gives_up: whether one that may succeed yet is tried every hour after its last usual attempt.
    """

    def __init__(self, deliveries: tuple[Delivery, ...] = (), *, never_gives_up: bool = False) -> None:
        self._never_gives_up = never_gives_up
        self._open: dict[str, Delivery] = {}
        # The same by what they are about, each in the order in which they were posted.
        self._matters: dict[Matter, dict[str, Delivery]] = {}
        for delivery in deliveries:
            self._keep(delivery)

    def dump(self) -> tuple[Delivery, ...]:
        return tuple(self._open.values())

    @property
    def is_empty(self) -> bool:
        return not self._open

    def apply(self, event: DeliveryChanged) -> None:
        """Takes the event into the state; call it from the owner's ``apply``."""
        delivery = event.delivery
        if not delivery.is_final:
            self._keep(delivery)
            return
        self._open.pop(delivery.key, None)
        about = self._matters.get(delivery.matter, {})
        about.pop(delivery.key, None)
        if not about:
            self._matters.pop(delivery.matter, None)

    def _keep(self, delivery: Delivery) -> None:
        self._open[delivery.key] = delivery
        self._matters.setdefault(delivery.matter, {})[delivery.key] = delivery

    def delivery(self, key: str) -> Delivery | None:
        """The delivery of that key that has not ended."""
        return self._open.get(key)

    def is_slow(self, key: str) -> bool:
        """Whether a delivery that has not ended has failed so often that nobody should wait for it."""
        delivery = self._open.get(key)
        return delivery is not None and delivery.attempts >= MIN_ATTEMPTS

    def withdraw(self, ctx: Context, key: str, detail: str) -> None:
        """Gives up a delivery that waits for its next attempt."""
        ctx.emit(
            DeliveryChanged(
                replace(self._open[key], status=DeliveryStatus.FAILED, due_ms=None, detail=detail)
            )
        )

    def post(
        self,
        ctx: Context,
        key: str,
        channel: str,
        recipient: Recipient,
        notification: Notification,
        held_until_ms: int | None = None,
    ) -> None:
        """Records a delivery and sends it as soon as that is durable, or when nothing holds it back any longer."""
        delivery = Delivery(
            key, channel, recipient.recipients, recipient.room, recipient.service, notification
        )
        if held_until_ms is None and not self._waits(delivery):
            ctx.emit(DeliveryChanged(delivery))
            self._send(ctx, delivery)
        else:
            due_ms = ctx.now_ms if held_until_ms is None else held_until_ms
            ctx.emit(DeliveryChanged(replace(delivery, attempts=0, due_ms=due_ms)))
            self._arm(ctx)

    def resume(self, ctx: Context) -> list[Delivery]:
        """After a restart: what was on its way is sent again or given up as uncertain.

        Not what is on its way still, as after a crash of the actor alone: its end comes here, and what is to follow
        on it waits.

        Returns:
            The deliveries that are now uncertain.
        """
        environment: Environment = ctx.environment
        given_up: list[Delivery] = []
        for delivery in list(self._open.values()):
            if delivery.due_ms is not None or ctx.awaits(delivery.key):
                continue
            sender = environment.sender(delivery.channel)
            if sender.idempotent or sender.on_uncertain == "resend":
                self._again(ctx, delivery)
            else:
                uncertain = replace(
                    delivery, status=DeliveryStatus.UNCERTAIN, detail="interrupted while it was being sent"
                )
                ctx.emit(DeliveryChanged(uncertain))
                _log(uncertain)
                given_up.append(uncertain)
        self._arm(ctx)
        return given_up

    def performed(self, ctx: Context, performed: Performed) -> Delivery | None:
        """Takes the end of an attempt.

        Returns:
            The delivery when it has ended for good, None while it will be tried again (or is not ours).
        """
        delivery = self._open.get(performed.key)
        if delivery is None:
            return None
        error = performed.error
        if error is None:
            detail = str(performed.value)
            status = DeliveryStatus.LOGGED if detail.startswith(LOGGED) else DeliveryStatus.SENT
            after = replace(delivery, status=status, due_ms=None, detail=detail, ends={})
        else:
            after = self._after_failure(ctx, delivery, error)
            _log(after)
        ctx.emit(DeliveryChanged(after))
        self._arm(ctx)
        return after if after.is_final else None

    def retry_due(self, ctx: Context) -> None:
        """Sends what is due again."""
        for delivery in list(self._open.values()):
            if delivery.due_ms is not None and delivery.due_ms <= ctx.now_ms and not self._waits(delivery):
                self._again(ctx, delivery)
        self._arm(ctx)

    def _waits(self, delivery: Delivery) -> bool:
        """Whether it has to wait for the end of one that was posted before it."""
        kind = delivery.notification.kind
        for earlier in self._matters.get(delivery.matter, {}).values():
            before = earlier.notification.kind
            if earlier.key == delivery.key:
                break
            if before is not kind and (kind in _IN_ORDER or before in _IN_ORDER):
                return True
        return False

    def _after_failure(self, ctx: Context, delivery: Delivery, error: BaseException) -> Delivery:
        environment: Environment = ctx.environment
        sender = environment.sender(delivery.channel)
        detail = str(error)
        failure = (
            error
            if isinstance(error, DeliveryError)
            else DeliveryError(detail, retryable=isinstance(error, LaneFull), uncertain=False)
        )
        delivery = replace(delivery, detail=detail, ends=failure.ends or delivery.ends)
        if failure.uncertain and not sender.idempotent and sender.on_uncertain == "hold":
            return replace(delivery, status=DeliveryStatus.UNCERTAIN, due_ms=None)
        is_fresh = ctx.now_ms - delivery.notification.at_ms < PATIENCE_MS
        is_last = delivery.attempts >= MIN_ATTEMPTS and not is_fresh
        if not (failure.retryable or failure.uncertain) or (is_last and not self._never_gives_up):
            return replace(delivery, status=_end_of(delivery), due_ms=None)
        # What failed together, because a channel was down, does not come back together.
        fraction = jitter_fraction(delivery.notification.id + delivery.key, delivery.attempts)
        backoff = _PATIENCE if is_last else _BACKOFF
        wait_ms = max(backoff.delay_ms(delivery.attempts - 1, fraction), failure.retry_after_ms or 0)
        return replace(delivery, due_ms=ctx.now_ms + wait_ms)

    def _again(self, ctx: Context, delivery: Delivery) -> None:
        again = replace(delivery, attempts=delivery.attempts + 1, due_ms=None)
        ctx.emit(DeliveryChanged(again))
        self._send(ctx, again)

    def _arm(self, ctx: Context) -> None:
        due = [
            delivery.due_ms
            for delivery in self._open.values()
            if delivery.due_ms is not None and not self._waits(delivery)
        ]
        if due:
            ctx.set_timer(RETRY_TIMER, min(due), RetryDeliveries())

    @staticmethod
    def _send(ctx: Context, delivery: Delivery) -> None:
        environment: Environment = ctx.environment
        sender = environment.sender(delivery.channel)
        recipient = Recipient(delivery.recipients, delivery.room, delivery.service, ends=delivery.ends)
        ctx.perform(
            delivery.key,
            lambda: sender.send(delivery.notification, recipient),
            lane=lane_of(delivery.channel),
        )


_LANES = "channel-"


def lane_of(channel: str) -> str:
    """The lane of all that is sent over a channel."""
    return f"{_LANES}{channel}"


def is_channel(lane: str) -> bool:
    """Whether messages are what is done in a lane."""
    return lane.startswith(_LANES)


def _end_of(delivery: Delivery) -> DeliveryStatus:
    """How one has ended that is not tried again: sent if somebody has it, uncertain if somebody may, or failed."""
    ends = [end.status for end in delivery.ends.values()]
    known = (DeliveryStatus.SENT, DeliveryStatus.UNCERTAIN)
    return next((each for each in known if each in ends), DeliveryStatus.FAILED)


def _log(delivery: Delivery) -> None:
    """A failed attempt is a warning, a message given up an error; channels mask the secrets in their reasons."""
    message = delivery.notification
    about = ", ".join(message.violation_ids) or message.sla_id
    what = f"{message.kind.value} message about {about} over {delivery.channel}"
    if not delivery.is_final:
        outcome, level = "failed and will be repeated", logging.WARNING
    elif delivery.status is DeliveryStatus.UNCERTAIN:
        outcome, level = "may have arrived or not, and is not repeated", logging.ERROR
    elif delivery.unreached:
        outcome, level = "was the last and did not reach everybody", logging.ERROR
    else:
        outcome, level = "failed and was the last", logging.ERROR
    logging.getLogger("slakeeper.delivery").log(
        level, "%s: attempt %d %s: %s", what, delivery.attempts, outcome, delivery.detail
    )
