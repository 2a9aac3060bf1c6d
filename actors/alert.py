"""AlertActor: tells a contract's news to the alert channels, grouped and each piece once."""

from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import contract_address, report_address, violation_address
from slakeeper.actors.audit import note
from slakeeper.actors.cost import cost
from slakeeper.actors.definition import definition_of
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    ContractChanged,
    CountGivenUp,
    DescribeAlerts,
    DescribeIncident,
    MessageGivenUp,
    SayAgain,
    SayEnded,
    ViolationAcknowledged,
    ViolationOpened,
    ViolationResolved,
    ViolationWorsened,
)
from slakeeper.actors.muting import INHIBITION_WAIT_MS
from slakeeper.actors.outbox import Delivery, DeliveryChanged, Outbox, RetryDeliveries
from slakeeper.integrations.channel import Recipient
from slakeeper.otp.actor import Actor, Entrusted, Performed
from slakeeper.otp.context import Context
from slakeeper.sla import alert, notification
from slakeeper.sla.alert import Group, Item
from slakeeper.sla.audit import What
from slakeeper.sla.duration import DAY_MS
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.record import DeliveryStatus
from slakeeper.sla.violation import Violation

FLUSH_TIMER = "flush"

# So many messages that were given up are remembered: a channel that is down for a week must not fill the disk.
KEPT_GIVEN_UP = 1_000


@dataclass(frozen=True, slots=True)
class FlushAlerts:
    """The group's wait is over."""


@dataclass(frozen=True, slots=True)
class AlertState:
    """What a snapshot keeps.

    Attributes:
        given_up: when messages were, within about a day [Unix ms].
        notices: those that were entrusted and are to be posted.
    """

    document: dict[str, Any]
    group: Group
    deliveries: tuple[Delivery, ...]
    given_up: tuple[int, ...] = ()
    notices: tuple[Notification, ...] = ()


@dataclass(frozen=True, slots=True)
class NoticePosted:
    """Event: the notice with this id is among the deliveries."""

    notice_id: str


class AlertActor(Actor):
    """One for each contract; its argument is the contract's document.

    Notices of the contract itself are entrusted to it: of those nobody would say again what was lost.
    """

    recovers_later = True

    def __init__(self, address: str, arg: dict[str, Any]) -> None:
        super().__init__(address, arg)
        self._document = arg
        self._sla_id: str = arg["id"]
        self._group = Group(self._sla_id)
        self._outbox = Outbox()
        self._given_up: tuple[int, ...] = ()
        self._notices: dict[str, Notification] = {}

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh:
            for uncertain in self._outbox.resume(ctx):
                self._end(ctx, uncertain)
            self._post_notices(ctx)
            self._ask_again(ctx)
            self._flush(ctx)

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case ViolationOpened(violation):
                self._add(ctx, NotificationKind.OPENED, violation)
            case ViolationWorsened(violation):
                self._add(ctx, NotificationKind.WORSENED, violation)
            case ViolationResolved(violation):
                self._add(ctx, NotificationKind.RESOLVED, violation)
            case ViolationAcknowledged(violation):
                self._acknowledged(ctx, violation)
            case ContractChanged() | MessageGivenUp():
                ctx.emit(message)
            case _:
                super().handle_cast(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if isinstance(request, CountGivenUp):
            return sum(at_ms > ctx.now_ms - DAY_MS for at_ms in self._given_up)
        if isinstance(request, DescribeIncident):
            return alert.incident(self._group, request.dedup_key)
        if isinstance(request, DescribeAlerts):
            return self._group
        return super().handle_call(ctx, request)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                self._post_notices(ctx)
            case FlushAlerts():
                self._flush(ctx)
            case RetryDeliveries():
                self._outbox.retry_due(ctx)
            case Performed():
                ended = self._outbox.performed(ctx, message)
                if ended is not None:
                    self._end(ctx, ended)
            case _:
                super().handle_info(ctx, message)

    def apply(self, event: Any) -> None:
        match event:
            case Group():
                self._group = event
            case DeliveryChanged():
                self._outbox.apply(event)
            case MessageGivenUp(at_ms):
                recent = [each for each in self._given_up if each > at_ms - DAY_MS]
                self._given_up = (*recent, at_ms)[-KEPT_GIVEN_UP:]
            case Notification():
                self._notices[event.id] = event
            case NoticePosted(notice_id):
                self._notices.pop(notice_id, None)
            case ContractChanged(document, _):
                self._document = document
            case _:
                super().apply(event)

    def dump(self) -> AlertState:
        notices = tuple(self._notices.values())
        return AlertState(self._document, self._group, self._outbox.dump(), self._given_up, notices)

    def load(self, state: AlertState) -> None:
        self._document = state.document
        self._group, self._outbox = state.group, Outbox(state.deliveries)
        self._given_up = state.given_up
        self._notices = {notice.id: notice for notice in state.notices}

    def _add(self, ctx: Context, kind: NotificationKind, violation: Violation) -> None:
        environment: Environment = ctx.environment
        contract, settings = definition_of(self._document).contract, environment.enforcement.alerts
        intervals = alert.intervals_of(contract, settings)
        if contract.depends_on:
            # What broke it may be known only a moment later.
            settings = settings.model_copy(
                update={"group_wait": max(settings.group_wait, INHIBITION_WAIT_MS)}
            )
        after = alert.add(self._group, Item(kind, violation), settings, ctx.now_ms, intervals)
        if after != self._group:
            ctx.emit(after)
            self._flush(ctx)

    def _ask_again(self, ctx: Context) -> None:
        """It may have died on news: has those say again how they stand that are open, or of which it knows no end."""
        environment: Environment = ctx.environment
        known = environment.known(self._sla_id)
        if known is not None and known.is_broken:
            ctx.cast(contract_address(self._sla_id), SayAgain(self.address))
        mine = alert.unended(self._group)
        there = [each for each in mine if violation_address(each) in environment.violations]
        for each in there:
            ctx.cast(violation_address(each), SayAgain(self.address))
        if len(there) < len(mine):
            gone = tuple(each for each in mine if each not in there)
            ctx.cast(report_address(self._sla_id), SayEnded(gone, self.address))

    def _flush(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        contract = definition_of(self._document).contract
        intervals = alert.intervals_of(contract, environment.enforcement.alerts)
        news = {item.violation.id: item.violation for item in alert.waiting(self._group, ctx.now_ms)}
        muted = {each: environment.muted(violation, ctx.now_ms) for each, violation in news.items()}
        held_until_ms = environment.held_until_ms(self._sla_id, ctx.now_ms)
        after, messages = alert.flush(
            self._group,
            contract,
            ctx.now_ms,
            muted=[each for each, by in muted.items() if by],
            intervals=intervals,
            held_until_ms=held_until_ms,
            cost_of=lambda violation: cost(environment, violation, ctx.now_ms),
            desk=environment.desk,
        )
        if after != self._group:
            ctx.emit(after)
        for message in messages:
            self._post(ctx, message)
        kept = {item.violation.id for item in self._group.muted}
        due = [by.look_again_ms for each, by in muted.items() if by and each in kept]
        due_ms = alert.deadline_ms(self._group, intervals)
        if due_ms is not None:
            due.append(due_ms)
        if due:
            ctx.set_timer(FLUSH_TIMER, max(min(due), held_until_ms or 0), FlushAlerts())

    def _post_notices(self, ctx: Context) -> None:
        for notice in list(self._notices.values()):
            self._post(ctx, notice)
            ctx.emit(NoticePosted(notice.id))

    def _post(self, ctx: Context, message: Notification) -> None:
        environment: Environment = ctx.environment
        for channel in environment.monitoring.alert_channels:
            self._outbox.post(ctx, f"{message.id}@{channel}", channel, Recipient(), message)

    def _acknowledged(self, ctx: Context, violation: Violation) -> None:
        environment: Environment = ctx.environment
        pagers = environment.pagers(environment.monitoring.alert_channels)
        key = alert.incident_of(self._group, violation.id) if pagers else None
        if key is None:
            return
        contract = definition_of(self._document).contract
        message = notification.acknowledged(contract, violation, ctx.now_ms, dedup_key=key)
        for channel in pagers:
            self._outbox.post(ctx, f"{message.id}@{channel}", channel, Recipient(), message)

    def _end(self, ctx: Context, ended: Delivery) -> None:
        about, sla_id = ended.notification.violation_ids, definition_of(self._document).contract.id
        note(
            ctx, What.ALERT_DELIVERED, sla_id=sla_id, subject=about[0] if len(about) == 1 else "",
            kind=ended.notification.kind, violations=about, **ended.facts(),
        )  # fmt: skip
        sent = ended.status in (DeliveryStatus.SENT, DeliveryStatus.LOGGED) and not ended.unreached
        if not sent:
            ctx.emit(MessageGivenUp(ctx.now_ms))
        ids = list(ended.notification.violation_ids)
        payload = {
            "channel": ended.channel,
            "violation_ids": ids,
            "status": ended.status.value,
            "detail": ended.detail,
        }
        ctx.publish("alert.sent" if sent else "alert.failed", payload)
