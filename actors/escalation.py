"""EscalationActor: walks one violation's policy level by level until somebody answers."""

from dataclasses import dataclass, replace
from typing import Any

from slakeeper.actors.address import alert_address, report_address, violation_address
from slakeeper.actors.audit import note
from slakeeper.actors.cost import cost
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    EscalateNow,
    EscalationEnded,
    EscalationExhausted,
    LevelNotified,
    MessageGivenUp,
    SayAgain,
    SayEnded,
    Tick,
    ViolationAcknowledged,
    ViolationChanged,
    ViolationResolved,
    ViolationWorsened,
)
from slakeeper.actors.muting import INHIBITION_WAIT_MS
from slakeeper.actors.outbox import Delivery, DeliveryChanged, Outbox, RetryDeliveries
from slakeeper.integrations.channel import Recipient
from slakeeper.integrations.log import LogSender
from slakeeper.otp.actor import Actor, Performed
from slakeeper.otp.context import Context
from slakeeper.sla import escalation, notification
from slakeeper.sla.audit import What
from slakeeper.sla.contract import Sla
from slakeeper.sla.escalation import Notify, Told, Walk
from slakeeper.sla.policy import EnforcementPolicy
from slakeeper.sla.record import DeliveryStatus, EscalationRecord
from slakeeper.sla.violation import Violation

DEADLINE_TIMER = "deadline"


@dataclass(frozen=True, slots=True)
class WalkChanged:
    """Event: where the walk stands, with the violation as last heard of."""

    walk: Walk
    violation: Violation


@dataclass(frozen=True, slots=True)
class EscalationState:
    """What a snapshot keeps."""

    violation: Violation
    walk: Walk | None
    records: dict[str, EscalationRecord]
    deliveries: tuple[Delivery, ...]


class EscalationActor(Actor):
    """One for each running escalation; ends when its violation is resolved and everyone told has heard of it.

    Its argument is the contract's document, the :class:`Violation` as it stood when the walk began, and whether
    an operator asked for it and so does not want to wait for the first level's delay.
    """

    def __init__(self, address: str, arg: tuple[dict[str, Any], Violation, bool]) -> None:
        super().__init__(address, arg)
        document, self._violation, self._at_once = arg
        self._contract = Sla.from_document(document)
        # As last heard of, for the next message's text; not worth an event, so after a crash it is a little older.
        self._news = self._violation
        self._walk: Walk | None = None
        self._is_muted = False
        self._records: dict[str, EscalationRecord] = {}
        self._outbox = Outbox()

    def init(self, ctx: Context, fresh: bool) -> None:
        environment: Environment = ctx.environment
        if self._walk is None:
            policy, violation = environment.enforcement, self._violation
            walk = escalation.begin(policy, violation.severity, ctx.now_ms)
            if self._at_once:
                moved, effects = escalation.escalate_now(walk, policy.as_of(ctx.now_ms), ctx.now_ms)
                self._take(ctx, moved, violation, effects)
            else:
                if violation.acknowledged_at_ms is not None:  # somebody is on it already
                    walk = escalation.acknowledge(walk, policy, violation.acknowledged_at_ms)
                if self._contract.depends_on:
                    # What broke it may be known only a moment later.
                    walk = escalation.hold(walk, ctx.now_ms + INHIBITION_WAIT_MS)
                self._go_on(ctx, walk, violation)
        else:
            for uncertain in self._outbox.resume(ctx):
                self._record_end(ctx, uncertain)
            walk = self._walk
            unsaid = self._unsaid(environment)
            if unsaid:
                walk = escalation.released(walk, environment.enforcement, unsaid, ctx.now_ms)
            self._go_on(ctx, walk, self._violation)
            self._ask_again(ctx)
            self._begin_again_if_in_vain(ctx)
            self._end_if_done(ctx)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        environment: Environment = ctx.environment
        walk = self._current()
        match message:
            case ViolationWorsened(violation):
                raised = escalation.raise_severity(
                    walk, environment.enforcement, violation.severity, ctx.now_ms
                )
                self._go_on(ctx, raised, violation)
            case ViolationAcknowledged(violation):
                self._acknowledged(ctx, walk, violation)
            case EscalateNow(violation):
                policy = environment.enforcement.as_of(ctx.now_ms)
                moved, effects = escalation.escalate_now(walk, policy, ctx.now_ms)
                self._take(ctx, moved, violation, effects)
            case ViolationResolved(violation):
                self._resolve(ctx, violation)
            case ViolationChanged(violation):
                self._hear(ctx, walk, violation)
            case _:
                super().handle_cast(ctx, message)

    def _hear(self, ctx: Context, walk: Walk, violation: Violation) -> None:
        """News, and with them what was missed while it was down."""
        policy, acknowledged = ctx.environment.enforcement, violation.acknowledged_at_ms
        if acknowledged is not None and acknowledged != self._violation.acknowledged_at_ms:
            self._acknowledged(ctx, walk, violation)
        elif violation.severity.rank > walk.violation_severity.rank:
            self._go_on(
                ctx, escalation.raise_severity(walk, policy, violation.severity, ctx.now_ms), violation
            )
        else:
            self._news = violation

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._go_on(ctx, self._current(), self._news)
                self._begin_again_if_in_vain(ctx)
            case RetryDeliveries():
                self._outbox.retry_due(ctx)
            case Performed():
                ended = self._outbox.performed(ctx, message)
                if ended is not None:
                    self._record_end(ctx, ended)
                elif self._outbox.is_slow(message.key):
                    self._not_reached(ctx, message.key)
                self._begin_again_if_in_vain(ctx)
                self._end_if_done(ctx)
            case _:
                super().handle_info(ctx, message)

    def apply(self, event: Any) -> None:
        match event:
            case WalkChanged(walk, violation):
                self._walk, self._violation = walk, violation
                self._news = violation
            case DeliveryChanged():
                self._outbox.apply(event)
            case EscalationRecord():
                self._records[event.key] = event
            case _:
                super().apply(event)

    def dump(self) -> EscalationState:
        return EscalationState(self._violation, self._walk, dict(self._records), self._outbox.dump())

    def load(self, state: EscalationState) -> None:
        self._violation, self._walk = state.violation, state.walk
        self._news = state.violation
        self._records = dict(state.records)
        self._outbox = Outbox(state.deliveries)

    # -- inside -----------------------------------------------------------------------------------------------

    def _ask_again(self, ctx: Context) -> None:
        """Has what it may have missed said again; of a violation that has ended meanwhile the past has it."""
        address = violation_address(self._violation.id)
        if ctx.status_of(address) is None:
            ended = SayEnded((self._violation.id,), self.address)
            ctx.cast(report_address(self._violation.sla_id), ended)
        else:
            ctx.cast(address, SayAgain(self.address))

    def _current(self) -> Walk:
        if self._walk is None:
            raise LookupError("the walk has not begun")
        return self._walk

    def _go_on(self, ctx: Context, walk: Walk, violation: Violation) -> None:
        """Tells whom it is time to tell; while nobody is to be told the walk waits, and goes on where it stood."""
        environment: Environment = ctx.environment
        muted = environment.muted(violation, ctx.now_ms)
        if muted:
            self._is_muted = True
            self._take(ctx, walk, violation, [])
            if escalation.deadline_ms(walk) is not None:
                ctx.set_timer(DEADLINE_TIMER, muted.look_again_ms, Tick())
            return
        if self._is_muted:
            # What has come due meanwhile is due now, and not late.
            self._is_muted = False
            walk = escalation.hold(walk, ctx.now_ms)
        held_until_ms = environment.held_until_ms(violation.sla_id, ctx.now_ms)
        if held_until_ms is not None:
            walk = escalation.hold(walk, held_until_ms)
        after, effects = escalation.advance(walk, environment.enforcement.as_of(ctx.now_ms), ctx.now_ms)
        self._take(ctx, after, violation, effects)

    def _take(
        self,
        ctx: Context,
        walk: Walk,
        violation: Violation,
        effects: list[Notify | escalation.EscalationFailed],
    ) -> None:
        if walk != self._walk or violation != self._violation:
            ctx.emit(WalkChanged(walk, violation))
        for effect in effects:
            if isinstance(effect, Notify):
                self._notify(ctx, effect)
            else:
                ctx.cast(violation_address(violation.id), EscalationExhausted())
        deadline_ms = escalation.deadline_ms(walk)
        if deadline_ms is None:
            ctx.cancel_timer(DEADLINE_TIMER)
        else:
            ctx.set_timer(DEADLINE_TIMER, deadline_ms, Tick())

    def _notify(self, ctx: Context, effect: Notify) -> None:
        environment: Environment = ctx.environment
        level = effect.level
        on_call = self._on_call(environment.enforcement, effect, ctx.now_ms)
        record = EscalationRecord(
            effect.key, effect.level_index, effect.severity, level.channel, level.recipients, ctx.now_ms,
            late_ms=effect.late_ms, on_call=tuple(dict.fromkeys(on_call.values())),
        )  # fmt: skip
        self._record(ctx, record)
        self._note(
            ctx, What.ESCALATION_TOLD, key=effect.key, level=effect.level_index, severity=effect.severity,
            channel=level.channel, recipients=level.recipients, **({"on_call": on_call} if on_call else {}),
        )  # fmt: skip
        message = notification.escalation(
            self._contract,
            self._news,
            effect.key,
            effect.level_index,
            ctx.now_ms,
            cost=cost(environment, self._news, ctx.now_ms),
            desk=environment.desk,
            late_ms=effect.late_ms,
        )
        recipient = Recipient(level.recipients, level.room, level.service)
        self._outbox.post(ctx, effect.key, level.channel, recipient, message)
        policy = environment.enforcement.policy(effect.severity)
        for channel in policy.notify_channels if policy is not None else ():
            if (channel, Recipient()) == (level.channel, recipient):
                continue  # the level has told it
            self._outbox.post(ctx, f"{effect.key}@{channel}", channel, Recipient(), message)

    @staticmethod
    def _on_call(policy: EnforcementPolicy, effect: Notify, now_ms: int) -> dict[str, str]:
        """Who is on call, by the rotations that the level names."""
        walked = policy.policy(effect.severity)
        if walked is None or effect.level_index >= len(walked.levels):
            return {}
        duties = policy.duties(walked.levels[effect.level_index], now_ms)
        return {name: duty.person for name, duty in duties.items()}

    def _record(self, ctx: Context, record: EscalationRecord) -> None:
        ctx.emit(record)
        ctx.cast(violation_address(self._violation.id), LevelNotified(record))

    def _note(self, ctx: Context, what: What, **details: Any) -> None:
        note(ctx, what, sla_id=self._violation.sla_id, subject=self._violation.id, **details)

    def _record_end(self, ctx: Context, delivery: Delivery) -> None:
        self._note(ctx, What.ESCALATION_DELIVERED, **delivery.facts())
        record = self._records.get(delivery.key)
        if record is not None:
            end = replace(
                record, status=delivery.status, detail=delivery.detail, unreached=delivery.unreached
            )
            self._record(ctx, end)
        if delivery.status in (DeliveryStatus.SENT, DeliveryStatus.LOGGED):
            payload = {
                "violation_id": self._violation.id,
                "channel": delivery.channel,
                "key": delivery.key,
                "status": delivery.status.value,
                "detail": delivery.detail,
            }
            ctx.publish("escalation.sent", payload)
            if not delivery.unreached:
                return
        ctx.cast(alert_address(self._violation.sla_id), MessageGivenUp(ctx.now_ms))
        if delivery.status is not DeliveryStatus.UNCERTAIN:
            self._not_reached(ctx, delivery.key)

    def _not_reached(self, ctx: Context, key: str) -> None:
        """Nobody is waited for any longer who was not told; a message that can still arrive is tried on."""
        environment: Environment = ctx.environment
        failed = [each.key for each in self._records.values() if each.status is DeliveryStatus.FAILED]
        walk = escalation.undelivered(self._current(), environment.enforcement, key, ctx.now_ms, failed)
        if walk != self._current():
            self._go_on(ctx, walk, self._news)

    def _begin_again_if_in_vain(self, ctx: Context) -> None:
        """A walk is over when somebody was told; else nobody would hear of a violation for as long as it is open."""
        environment: Environment = ctx.environment
        walk = self._current()
        if walk.status is not escalation.WalkStatus.FAILED or not self._outbox.is_empty:
            return
        if all(
            record.status not in (DeliveryStatus.SENT, DeliveryStatus.LOGGED) for record in self._levels()
        ):
            again = escalation.unreached(walk, environment.enforcement, ctx.now_ms)
            self._take(ctx, again, self._violation, [])

    def _levels(self) -> list[EscalationRecord]:
        """Those that the walk has told since it was begun last."""
        return [each for each in self._records.values() if escalation.is_of(self._current(), each.key)]

    def _unsaid(self, environment: Environment) -> list[str]:
        """Keys of messages that stand in the log alone, of which somebody was to be told now that messages leave."""
        if environment.held:
            return []
        return [
            each.key
            for each in self._levels()
            if each.status is DeliveryStatus.LOGGED
            and environment.sender(each.channel).type != LogSender.type
        ]

    def _acknowledged(self, ctx: Context, walk: Walk, violation: Violation) -> None:
        environment: Environment = ctx.environment
        self._go_on(ctx, escalation.acknowledge(walk, environment.enforcement, ctx.now_ms), violation)
        message = notification.acknowledged(self._contract, violation, ctx.now_ms, dedup_key=violation.id)
        told = [place.channel for place in walk.told]
        for channel in environment.pagers([*told, *self._notified_channels(environment.enforcement)]):
            key = f"acknowledged.{len(violation.acknowledgements)}@{channel}"
            self._outbox.post(ctx, key, channel, Recipient(), message)

    def _resolve(self, ctx: Context, violation: Violation) -> None:
        environment: Environment = ctx.environment
        if self._current().status is escalation.WalkStatus.RESOLVED:
            return  # said again
        walk, told = escalation.resolve(self._current())
        self._take(ctx, walk, violation, [])
        message = notification.escalation_resolved(
            self._contract, violation, ctx.now_ms, cost=cost(environment, violation, ctx.now_ms)
        )
        held_until_ms = environment.held_until_ms(violation.sla_id, ctx.now_ms)
        for place in told:
            key = f"resolved.{place.channel}.{'.'.join(place.recipients)}.{place.room or ''}.{place.service or ''}"
            recipient = Recipient(place.recipients, place.room, place.service)
            self._outbox.post(ctx, key, place.channel, recipient, message, held_until_ms)
        for channel in self._notified_channels(environment.enforcement):
            if Told(channel) in told:
                continue
            self._outbox.post(ctx, f"resolved@{channel}", channel, Recipient(), message, held_until_ms)
        self._end_if_done(ctx)

    def _notified_channels(self, policy: EnforcementPolicy) -> list[str]:
        """Channels that were told of levels beside the levels' own, once each."""
        walked = [policy.policy(record.severity) for record in self._records.values()]
        return list(dict.fromkeys(channel for each in walked if each for channel in each.notify_channels))

    def _end_if_done(self, ctx: Context) -> None:
        if self._outbox.is_empty and self._current().status is escalation.WalkStatus.RESOLVED:
            ctx.cast(violation_address(self._violation.id), EscalationEnded())
            ctx.stop()
