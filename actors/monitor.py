"""MetricMonitorActor: watches one metric of one contract; the state is ``sla``'s :class:`Monitor`."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from slakeeper.actors.address import contract_address
from slakeeper.actors.contract_event import AccountGathered, MetricTurned
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import (
    CountDuplicates,
    DescribeMetric,
    ForceClose,
    LookAtBurn,
    MetricRecovered,
    Observe,
    Rebase,
    SayAgain,
    SetSuspended,
    Tick,
)
from slakeeper.actors.promise import Promise, narrowed, promise_of
from slakeeper.actors.source_message import ObservePresent, ReportSourceError, SourceAnswered
from slakeeper.otp.actor import Actor, Resumed
from slakeeper.otp.context import Context
from slakeeper.sla.account import Account
from slakeeper.sla.contract import ContractStatus
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.signal import MonitorState as State
from slakeeper.sla.signal import Opened, PeriodClosed, Recovered, Signal, StateChanged, Updated, WindowClosed
from slakeeper.sla.spending import Spending

DEADLINE_TIMER = "deadline"

# Events are plain tuples: samples are the bulk of the journal. The first item says what it is.
SAMPLES, TIME, SOURCE_ERROR, SUSPEND, RESUME, CLOSE, REBASE, DUPLICATES, HOLD, ANSWERED = (
    "s",
    "t",
    "e",
    "-",
    "+",
    "c",
    "r",
    "d",
    "h",
    "a",
)

_KEEPS = frozenset({State.OK, State.AT_RISK})
_SHOWS_AN_ERROR = frozenset({State.SOURCE_ERROR, State.VIOLATING})


@dataclass(frozen=True, slots=True)
class MonitorOrder:
    """What a monitor is started with.

    Attributes:
        document: of the contract; a whole one on records of former times, otherwise with this metric alone.
        since_ms: when the contract was first loaded, which anchors its periods [Unix ms].
        watched_ms: from when on this metric is watched: later, when it was added later [Unix ms].
        chapter: the contract's version since which its metrics have the weights they have.
        joined_late: it was added to a contract that was there already.
    """

    document: dict[str, Any]
    metric_name: str
    since_ms: int
    violation_threshold: Decimal
    watched_ms: int
    chapter: int = 1
    joined_late: bool = False


@dataclass(frozen=True, slots=True)
class MonitorState:
    """What a snapshot keeps; ``retired``: the metric has left the contract, its account of the period has not.

    ``document`` is that of a :class:`MonitorOrder`.
    """

    document: dict[str, Any]
    monitor: dict[str, Any]
    retired: bool = False


@dataclass(frozen=True, slots=True)
class MetricView:
    """How a metric stands, for those who look."""

    metric: Metric
    state: str
    value: float | None
    account: Account
    counters: dict[str, int]
    breach_probability: float | None
    remaining_ms: int


class MetricMonitorActor(Actor):
    """One for each metric of each contract; its argument is a :class:`MonitorOrder`.

    Every input is an event with its time, so a replay goes through the same states. It stands in the
    environment's catalog while it lives, and in the bindings when a source is polled for it; until it is made again
    after a start of the cell, its contract has it stand there.
    """

    recovers_later = True
    hears_resumed = True

    def __init__(self, address: str, arg: MonitorOrder) -> None:
        super().__init__(address, arg)
        self._take(promise_of(arg.document, arg.metric_name), arg.since_ms)
        # What it goes by is in the promise, which it shares with others: as it came it would be held twice.
        self._order = replace(arg, document={})
        self._retired = False
        self._armed_ms: int | None = None

    @cached_property
    def _monitor(self) -> Monitor:
        """Begun by what it was started with, unless :meth:`load` brings a state: to begin is half of a recovery."""
        order = self._order
        return Monitor(
            self._contract,
            self._metric,
            order.watched_ms,
            order.violation_threshold,
            order.chapter,
            joined_late=order.joined_late,
        )

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh:
            self._resume(ctx)
        else:
            self._enter(ctx)
            self._follow(ctx, ctx.emit((TIME, ctx.now_ms)))

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if type(message) is Observe:  # nearly every message is one: asked for first, and in the fastest way
            signals = ctx.emit((SAMPLES, ctx.now_ms, message.samples))
            # As a rule nothing follows, and the timer that is set comes early enough.
            if signals or self._armed_ms is None or self._monitor.is_due_anew:
                self._follow(ctx, signals)
            return
        match message:
            case CountDuplicates(count):
                signals = ctx.emit((DUPLICATES, ctx.now_ms, count))
            case ReportSourceError(text):
                self._hold(ctx)
                if self._monitor.error is not None and self._monitor.state in _SHOWS_AN_ERROR:
                    return  # as at every poll of a long failure: the first has said it
                signals = ctx.emit((SOURCE_ERROR, ctx.now_ms, text))
            case ObservePresent(sample, step_ms):
                if self._misses(ctx, step_ms, sample[0]):
                    return  # as when this message has woken it: the source actor learns of the gap, and fills it
                signals = ctx.emit((SAMPLES, ctx.now_ms, (sample,)))
            case SourceAnswered(step_ms):
                if self._monitor.error is None and not self._monitor.is_held:
                    return
                if step_ms and self._misses(ctx, step_ms, ctx.now_ms):
                    return
                signals = ctx.emit((ANSWERED, ctx.now_ms))
                self._show_gap(ctx)
            case SetSuspended(suspended):
                signals = ctx.emit((SUSPEND if suspended else RESUME, ctx.now_ms))
            case ForceClose():
                signals = ctx.emit((CLOSE, ctx.now_ms))
            case SayAgain():
                self._say_again(ctx)
                return
            case Rebase(document, _, chapter, retired, ended_ms):
                self._leave(ctx)
                at_ms = ctx.now_ms if ended_ms is None else ended_ms
                signals = ctx.emit((REBASE, at_ms, narrowed(document, self._metric.name), chapter, retired))
                self._enter(ctx)
            case _:
                super().handle_cast(ctx, message)
                return
        self._follow(ctx, signals)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Tick():
                self._armed_ms = None
                self._follow(ctx, ctx.emit((TIME, ctx.now_ms)))
            case Resumed():
                self._leave(ctx)
                self._armed_ms = None
                self._resume(ctx)
            case _:
                super().handle_info(ctx, message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        if isinstance(request, DescribeMetric):
            account, remaining_ms = self._monitor.standing(ctx.now_ms)
            return MetricView(
                self._metric,
                self._monitor.state.value,
                self._monitor.value,
                account,
                self._monitor.counters._asdict(),
                self._monitor.breach_probability,
                remaining_ms,
            )
        return super().handle_call(ctx, request)

    def terminate(self, ctx: Context, reason: str) -> None:
        self._leave(ctx)
        environment: Environment = ctx.environment
        environment.accounts.get(self._contract.id, {}).pop(self._metric.name, None)
        environment.spendings.get(self._contract.id, {}).pop(self._metric.name, None)

    def apply(self, event: Any) -> list[Signal]:
        what = event[0]
        if what == SAMPLES:
            return self._monitor.observe(event[2], event[1])
        _, now_ms, *rest = event
        if what == TIME:
            return self._monitor.tick(now_ms)
        if what == SOURCE_ERROR:
            return self._monitor.source_error(rest[0], now_ms)
        if what == HOLD:
            self._monitor.hold(rest[0])
            return []
        if what == ANSWERED:
            return self._monitor.source_answered(now_ms)
        if what == SUSPEND:
            self._monitor.suspend(now_ms)
            return []
        if what == RESUME:
            self._monitor.resume(now_ms)
            return []
        if what == DUPLICATES:
            self._monitor.count_duplicates(rest[0])
            return []
        if what == CLOSE:
            return self._monitor.force_close(now_ms)
        if what == REBASE:
            return self._rebase(now_ms, *rest)
        raise LookupError(f"unknown event {what!r}")

    def dump(self) -> MonitorState:
        return MonitorState(self._promise.document, self._monitor.dump(), self._retired)

    def load(self, state: MonitorState) -> None:
        self._take_document(state.document)
        self._monitor = Monitor.restore(self._contract, self._metric, state.monitor)
        self._retired = state.retired

    # -- inside -----------------------------------------------------------------------------------------------

    def _take_document(self, document: dict[str, Any]) -> None:
        self._take(promise_of(document, self._order.metric_name, self._promise), self._order.since_ms)

    def _take(self, promise: Promise, since_ms: int) -> None:
        # Its periods are anchored where the contract's are, also when this metric was added later.
        self._promise, self._contract, self._metric = (
            promise,
            promise.frame.anchored(since_ms),
            promise.metric,
        )

    def _rebase(self, now_ms: int, document: dict[str, Any], chapter: int, retired: bool) -> list[Signal]:
        monitor = self._monitor  # begun before it goes by another document
        was_retired, self._retired = self._retired, retired
        self._take_document(document)
        if retired:
            return monitor.retire(self._contract, self._metric, now_ms, chapter)
        signals = monitor.rebase(self._contract, self._metric, now_ms, chapter)
        if was_retired and self._contract.status is not ContractStatus.SUSPENDED:
            monitor.resume(now_ms)
        return signals

    def _resume(self, ctx: Context) -> None:
        """Goes on after a time in which it heard nothing, or not all."""
        monitor = self._monitor
        self._catch_up(ctx, monitor)
        self._hold(ctx)  # nobody asked its source meanwhile
        self._say_again(ctx)
        self._enter(ctx)
        due_ms = monitor.next_deadline_ms()
        if due_ms is not None and due_ms <= ctx.now_ms:
            # Time has passed since the last event: windows without samples are closed now.
            self._follow(ctx, ctx.emit((TIME, ctx.now_ms)))
        else:
            self._follow(ctx, ())

    def _say_again(self, ctx: Context) -> None:
        """That the metric has recovered, for those who were down when it was said."""
        calm_since_ms = self._monitor.calm_since_ms
        if calm_since_ms is not None and self._monitor.state is not State.VIOLATING:
            recovered = MetricRecovered(self._metric.name, calm_since_ms, self._monitor.value)
            ctx.cast(contract_address(self._contract.id), recovered)

    def _catch_up(self, ctx: Context, monitor: Monitor) -> None:
        """Takes what it may have missed while it was down: a new version, a suspension or its end."""
        environment: Environment = ctx.environment
        known = environment.known(self._contract.id)
        promise = None if known is None else known.promise_of(self._metric.name)
        if known is None or promise is None:
            return
        document, retired = promise
        newest = promise_of(document, self._metric.name, self._promise)
        is_new = known.chapter != monitor.chapter or not newest.is_same(self._promise)
        if is_new or retired != self._retired:
            at_ms = ctx.now_ms if known.ended_ms is None else known.ended_ms
            self._follow(
                ctx,
                ctx.emit((REBASE, at_ms, narrowed(document, self._metric.name), known.chapter, retired)),
            )
        # By the document: to read the contract takes longer than all else here.
        is_suspended = document["status"] == ContractStatus.SUSPENDED.value
        if not retired and is_suspended != monitor.is_suspended:
            self._follow(ctx, ctx.emit((SUSPEND if is_suspended else RESUME, ctx.now_ms)))

    def _hold(self, ctx: Context) -> None:
        """Has what is missing wait for the source, where that can tell it later."""
        environment: Environment = ctx.environment
        patience_ms = 0 if self._retired else environment.catch_up_ms(self._metric)
        if patience_ms and not self._monitor.is_held:
            ctx.emit((HOLD, ctx.now_ms, patience_ms))
        self._show_gap(ctx)

    def _misses(self, ctx: Context, step_ms: int, until_ms: int) -> bool:
        """Whether it waits for samples between the newest and the one at ``until_ms``."""
        monitor = self._monitor
        return monitor.is_held and monitor.gap_from_ms(ctx.now_ms) + step_ms <= until_ms

    def _show_gap(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        if self._monitor.is_held and not self._retired:
            environment.gaps[self.address] = self._monitor.gap_from_ms
        else:
            environment.gaps.pop(self.address, None)

    def _follow(self, ctx: Context, signals: Iterable[Signal]) -> None:
        name, contract = self._metric.name, contract_address(self._contract.id)
        followed = list(signals)
        has_recovered = any(isinstance(signal, Recovered) for signal in followed)
        for signal in followed:
            match signal:
                # Not sent: whoever crashes on a message has lost it, and a violation would never be opened, a period
                # never be settled.
                case Opened(at_ms, value, severity) | Updated(at_ms, value, severity):
                    ctx.entrust(contract, MetricTurned(name, at_ms, value, severity))
                case Recovered(at_ms, value):
                    ctx.entrust(contract, MetricTurned(name, at_ms, value))
                case PeriodClosed(account):
                    ctx.entrust(contract, AccountGathered(name, account))
                case StateChanged(old, new, at_ms):
                    payload = {
                        "sla_id": self._contract.id,
                        "metric_name": name,
                        "old": old.value,
                        "new": new.value,
                    }
                    ctx.publish("metric.changed", {**payload, "at_ms": at_ms})
                    if new in _KEEPS and old not in _KEEPS and not has_recovered:
                        self._tell_calm(ctx, at_ms)
        if any(isinstance(signal, WindowClosed) for signal in followed):
            environment: Environment = ctx.environment
            known = environment.known(self._contract.id)
            if not self._monitor.spending.is_spotless or (known is not None and known.is_burning):
                ctx.cast(contract, LookAtBurn())
        deadline_ms = self._monitor.next_deadline_ms()
        if deadline_ms is not None and deadline_ms != self._armed_ms:
            self._armed_ms = deadline_ms
            ctx.set_timer(DEADLINE_TIMER, max(deadline_ms, ctx.now_ms + 1), Tick())

    def _tell_calm(self, ctx: Context, at_ms: int) -> None:
        """That the metric keeps its promise, in case a violation is open of which this monitor does not know.

        What it said of a bad sample may have crossed an operator's word that the violation is over, and opened another.
        """
        environment: Environment = ctx.environment
        known = environment.known(self._contract.id)
        if known is not None and known.is_broken:
            ctx.cast(
                contract_address(self._contract.id),
                MetricRecovered(self._metric.name, at_ms, self._monitor.value),
            )

    def account(self) -> Account:
        """The metric's running account."""
        return self._monitor.account()

    def spending(self) -> Spending:
        """What the last days were worth for the metric."""
        return self._monitor.spending

    def _enter(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        sla_id, metric = self._contract.id, self._metric
        environment.accounts.setdefault(sla_id, {})[metric.name] = self.account
        environment.spendings.setdefault(sla_id, {})[metric.name] = self.spending
        if not self._retired:
            environment.enter(self.address, sla_id, metric.name, metric.labels, metric.source, metric.query)

    def _leave(self, ctx: Context) -> None:
        environment: Environment = ctx.environment
        environment.catalog.leave(self.address, self._metric.name)
        environment.gaps.pop(self.address, None)
        environment.source_errors.pop(self.address, None)
        for queries in environment.bindings.values():
            queries.pop(self.address, None)
