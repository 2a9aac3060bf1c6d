"""A replay: what one contract's monitors, violations and ledger would have said of a history, without any actors.

Nothing is decided here: monitors say what follows from samples, :mod:`slakeeper.sla.violation`,
:mod:`slakeeper.sla.compensation` and :mod:`slakeeper.sla.settlement` what follows from that, as they do for the actors
of a running contract. This is only the order of it.

The clock of a replay is the greatest instant of any sample so far. A sample is seen at its own instant, or when it
comes out of order at what the clock shows then, so it is as late as it would have been. Timers go off on the way.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from slakeeper.sla import compensation, compliance, settlement, violation
from slakeeper.sla.account import Account
from slakeeper.sla.calm import Stretch
from slakeeper.sla.compliance import Standing
from slakeeper.sla.contract import ContractStatus, Sla
from slakeeper.sla.duration import SECOND_MS
from slakeeper.sla.ledger import LedgerEntry
from slakeeper.sla.metric import Metric
from slakeeper.sla.monitor import Monitor
from slakeeper.sla.period import Period, anchor_ms, period_at, period_from, term_at
from slakeeper.sla.policy import Severity
from slakeeper.sla.signal import MonitorState, Opened, PeriodClosed, Recovered, Signal, Updated, WindowClosed
from slakeeper.sla.timeline import FOREVER
from slakeeper.sla.violation import Violation

# A history that is not calm here is looked at again after so many windows.
_CALM_AGAIN_WINDOWS = 8


class Feed(NamedTuple):
    """Samples of one metric in the order they came: what the clock showed, their own instants, their values.

    ``clock_ms`` never falls; in a history without samples out of order it is ``ts_ms``.
    """

    clock_ms: Sequence[int]
    ts_ms: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Settled:
    """What a period came to.

    Attributes:
        accounts: of each metric.
        is_complete: it has ended; of one that has not, nothing is owed yet.
        met: None when nothing is known, or nothing is decided yet.
        credits: its penalties.
    """

    start_ms: int
    end_ms: int
    is_complete: bool
    met: bool | None
    standing: Standing
    accounts: Mapping[str, Account]
    credits: tuple[LedgerEntry, ...] = ()


def begin(contract: Sla, first_ms: int) -> Sla:
    """The contract as if it had been in force when its history begins, unless it says itself from when on it is.

    Periods of a contract without an effective date begin with the first sample, or where the calendar says.
    """
    if contract.effective_date is not None:
        return contract
    start_ms = first_ms
    if contract.calendar is not None:
        endless = contract.model_copy(update={"effective_date": 0, "expiry_date": None, "term": None})
        period = period_at(endless, 0, first_ms)
        start_ms = first_ms if period is None else period.start_ms
    return contract.model_copy(update={"effective_date": start_ms})


def _window_start(contract: Sla, metric: Metric, first_ms: int) -> int:
    """Where the accounting window begins that holds an instant; the instant itself outside every period."""
    period = period_at(contract, first_ms, first_ms)
    if period is None:
        return first_ms
    return period.start_ms + (first_ms - period.start_ms) // metric.interval * metric.interval


class Replay:
    """One contract and its history.

    Args:
        contract: as it is for the whole history; its violations and entries are of version 1.
        first_ms: where the history begins [Unix ms]. What of the period lies before is unknown, whatever
            ``no_data`` says: nobody watched.
        violation_threshold: as :class:`~slakeeper.sla.monitor.Monitor` takes it.
        whole_windows: watches from the start of the accounting window that holds ``first_ms``, so that a history
            that begins in the middle of a window loses nothing of it; otherwise from ``first_ms`` sharp, as a
            contract that was defined then.
    """

    def __init__(
        self, contract: Sla, first_ms: int, violation_threshold: Decimal, *, whole_windows: bool = False
    ) -> None:
        if whole_windows:
            contract = begin(contract, first_ms)
        elif contract.effective_date is None:
            contract = contract.model_copy(update={"effective_date": first_ms})
        self.contract = contract
        self.periods: list[Settled] = []
        self.entries: list[LedgerEntry] = []
        self.monitors: dict[str, Monitor] = {}
        self._deadlines: dict[str, int] = {}
        # The running one; of a contract not yet effective its first, None after the last.
        self._period = period_from(contract, first_ms, first_ms)
        self._open: dict[str, Violation] = {}
        self._ended: list[Violation] = []
        self._gathered: dict[int, dict[str, Account]] = {}
        self._now_ms = self._calm_from_ms = first_ms
        # Of the running period, None: to be worked out again; and until when it is as it was worked out.
        self._lost: bool | None = None
        self._lost_until_ms = FOREVER
        # When it is looked next whether the contract has expired with violations open.
        self._look_ms = FOREVER if self._expires_ms is None else self._expires_ms
        for metric in contract.metrics:
            since_ms = _window_start(contract, metric, first_ms) if whole_windows else first_ms
            monitor = self.monitors[metric.name] = Monitor(contract, metric, since_ms, violation_threshold)
            if contract.status is not ContractStatus.ACTIVE:
                monitor.suspend(since_ms)
            self._follow(metric.name, monitor.tick(first_ms))
            self._arm(metric.name)

    # --- samples ---------------------------------------------------------------------------------------

    def take(self, feeds: Mapping[str, Feed]) -> None:
        """Takes the next stretch of the history in.

        Args:
            feeds: by metric of the contract; no sample of a later call has an earlier ``clock_ms`` than one of these.
        """
        places = {name: 0 for name, feed in feeds.items() if feed.ts_ms}
        while places:
            at_ms = min(feeds[name].clock_ms[place] for name, place in places.items())
            self._pass_time(at_ms)
            if at_ms >= self._calm_from_ms and self._pass_over(feeds, places):
                continue
            # Until then no window is settled and no timer goes off: samples that far can be seen together.
            limit_ms = self._limit_ms(at_ms, feeds, places)
            said: list[tuple[str, Signal]] = []
            for name, place in list(places.items()):
                clock_ms, ts_ms, values = feeds[name]
                end = bisect_left(clock_ms, limit_ms, place)
                if end == place:
                    continue
                monitor = self.monitors[name]
                samples = list(zip(ts_ms[place:end], values[place:end], strict=True))
                self._now_ms = max(self._now_ms, clock_ms[end - 1])
                signals = monitor.observe(samples, clock_ms[end - 1])
                said += [(name, signal) for signal in signals]
                if signals or monitor.is_due_anew:
                    self._arm(name)
                if end < len(ts_ms):
                    places[name] = end
                else:
                    del places[name]
            if said:
                self._hear(said)

    def _pass_over(self, feeds: Mapping[str, Feed], places: dict[str, int]) -> bool:
        """Takes what is surely calm in all metrics as a whole; whether there was any. Moves the places on."""
        begin_ms = self._now_ms
        longest_ms = max(self.contract.metric(name).interval for name in places)
        self._calm_from_ms = begin_ms + _CALM_AGAIN_WINDOWS * longest_ms
        if self._open or any(self.monitors[name].state is MonitorState.PENDING for name in self.monitors):
            return False
        stretches: dict[str, Stretch] = {}
        for name, place in places.items():
            clock_ms, ts_ms, values = feeds[name]
            stretch = self.monitors[name].find_calm(ts_ms, values, place) if clock_ms is ts_ms else None
            if stretch is None:
                return False
            stretches[name] = stretch
        end_ms = min(
            stretch.start_ms + stretch.windows * self.contract.metric(name).interval
            for name, stretch in stretches.items()
        )
        has_moved = False
        for name, stretch in stretches.items():
            windows = (end_ms - stretch.start_ms) // self.contract.metric(name).interval
            _, ts_ms, values = feeds[name]
            place, signals = self.monitors[name].pass_over(stretch, windows, ts_ms, values, places[name])
            if place > places[name]:
                has_moved = True
                places[name] = place
                self._arm(name)
            self._follow(name, signals)
        self._calm_from_ms = max(self._calm_from_ms, end_ms + longest_ms)
        return has_moved

    def finish(self, to_ms: int) -> None:
        """Lets the history end at an instant: what has ended by then is settled, for nothing can come late any more."""
        self._pass_time(to_ms)
        for name, monitor in self.monitors.items():
            self._follow(name, monitor.tick(to_ms))
            self._follow(name, monitor.close(to_ms))
        self._show_running(to_ms)

    # --- time ------------------------------------------------------------------------------------------

    def _pass_time(self, to_ms: int) -> None:
        """Lets every timer go off that is due by an instant, in order."""
        while True:
            name = min(self._deadlines, key=self._deadlines.__getitem__)
            if self._look_ms <= to_ms and self._look_ms < self._deadlines[name]:
                self._expire()
                continue
            if self._deadlines[name] > to_ms:
                break
            self._now_ms = max(self._deadlines[name], self._now_ms)
            self._follow(name, self.monitors[name].tick(self._now_ms))
            self._arm(name)
        self._now_ms = max(self._now_ms, to_ms)

    @property
    def _expires_ms(self) -> int | None:
        """The end of the last term [Unix ms]; None when there is none, or the contract counts nothing anyway."""
        contract = self.contract
        start_ms = anchor_ms(contract, self._now_ms)
        term = None if contract.renew else term_at(contract, start_ms, start_ms)
        return None if term is None or contract.status is ContractStatus.EXPIRED else term.end_ms

    def _expire(self) -> None:
        """Ends what is open when the contract does: nothing is left that could recover."""
        self._now_ms = max(self._now_ms, self._look_ms)
        self._look_ms = FOREVER
        ended_ms = self._expires_ms
        for name in sorted(self._open) if ended_ms is not None else ():
            broken = self._open.pop(name)
            self._end(
                violation.resolve(
                    broken, ended_ms or self._now_ms, by=violation.SELF, note=violation.CONTRACT_EXPIRED
                )
            )
            self._follow(name, self.monitors[name].force_close(self._now_ms))
            self._arm(name)

    def _arm(self, name: str) -> None:
        deadline_ms = self.monitors[name].next_deadline_ms()
        self._deadlines[name] = FOREVER if deadline_ms is None else max(deadline_ms, self._now_ms + 1)

    def _limit_ms(self, at_ms: int, feeds: Mapping[str, Feed], places: Mapping[str, int]) -> int:
        # A monitor that has long had no samples settles when the next one comes, and not before.
        settles_ms = (
            max(self.monitors[name].settles_at_ms, feeds[name].clock_ms[place])
            for name, place in places.items()
        )
        due_ms = min(*self._deadlines.values(), *settles_ms, self._look_ms)
        if self._period is not None and at_ms >= self._period.end_ms:
            self._period = self._running
        period = self._period
        if period is not None and at_ms < period.end_ms < due_ms:
            # From its end on the period is not the one that is won or lost.
            due_ms = period.end_ms
        return max(due_ms, at_ms + 1)

    @property
    def _running(self) -> Period | None:
        return period_at(self.contract, self._now_ms, self._now_ms)

    # --- what follows ----------------------------------------------------------------------------------

    def _hear(self, said: list[tuple[str, Signal]]) -> None:
        """Follows what several metrics said of one stretch, in order of time."""
        if len({name for name, _ in said}) > 1:
            said.sort(key=lambda each: getattr(each[1], "at_ms", 0))
        for name in dict.fromkeys(name for name, _ in said):
            self._forget_if_closed([signal for other, signal in said if other == name])
        for name, signal in said:
            self._follow_one(name, signal)

    def _follow(self, name: str, signals: Sequence[Signal]) -> None:
        self._forget_if_closed(signals)
        for signal in signals:
            self._follow_one(name, signal)

    def _forget_if_closed(self, signals: Sequence[Signal]) -> None:
        if any(type(signal) is WindowClosed for signal in signals):
            self._lost = None

    def _follow_one(self, name: str, signal: Signal) -> None:
        match signal:
            case Opened() | Updated():
                self._violated(name, signal)
            case Recovered(at_ms, value):
                broken = self._open.pop(name, None)
                if broken is not None:
                    self._end(violation.resolve(broken, at_ms, value=value))
            case PeriodClosed(account):
                self._gathered.setdefault(account.end_ms, {})[name] = account
                self._settle()

    def _violated(self, name: str, signal: Opened | Updated) -> None:
        broken = self._open.get(name)
        # Severity only rises, so of a breach nothing more has to be found out.
        if broken is not None and broken.severity is Severity.BREACH:
            severity = Severity.BREACH
        else:
            # No single value is a breach: that the period is lost is.
            severity = Severity.BREACH if self._is_lost() else signal.severity
        self._open[name] = (
            violation.open_violation(
                self.contract, self.contract.metric(name), signal.value, severity, signal.at_ms
            )
            if broken is None
            else violation.update(broken, signal.value, severity, signal.at_ms)
        )
        expires_ms = self._expires_ms
        if broken is None and expires_ms is not None and self._now_ms >= expires_ms:
            self._look_ms = self._now_ms + SECOND_MS  # a late sample, of the time before

    def _is_lost(self) -> bool:
        if self._lost is None or self._now_ms >= self._lost_until_ms:
            accounts = self._accounts()
            ends = [each.end_ms for each in accounts.values() if each.end_ms > self._now_ms]
            self._lost_until_ms = min(ends, default=FOREVER)
            self._lost = settlement.is_lost(self.contract, accounts, self._now_ms)
        return self._lost

    def _end(self, resolved: Violation) -> None:
        self._ended.append(resolved)
        attainment = settlement.running_attainment(self.contract, self._accounts())
        self.entries += compensation.book(self.contract, resolved, attainment=attainment)

    def _settle(self) -> None:
        """Settles every period of which the last metric's account is in."""
        for end_ms, accounts in sorted(self._gathered.items()):
            if len(accounts) < len(self.monitors):
                continue
            del self._gathered[end_ms]
            start_ms = min(account.start_ms for account in accounts.values())
            shares = settlement.settled_shares(self.contract, accounts)
            standing = compliance.standing(self.contract.service_level, shares)
            owed = compensation.settle_penalties(self.contract, standing.attainment, (start_ms, end_ms))
            met = compliance.met(self.contract.service_level, standing.attainment)
            self.entries += owed
            self.periods.append(Settled(start_ms, end_ms, True, met, standing, accounts, tuple(owed)))

    def _show_running(self, to_ms: int) -> None:
        """Adds the period that goes on, when any of it has passed."""
        period = self._running
        if period is None or period.start_ms >= to_ms:
            return
        weights = {metric.name: metric.weight for metric in self.contract.metrics}
        shares = [
            share
            for name, monitor in self.monitors.items()
            for share in compliance.shares_of(monitor.account(), weights[name], monitor.remaining_ms(to_ms))
        ]
        standing = compliance.standing(self.contract.service_level, shares)
        met = False if standing.breached else None
        self.periods.append(Settled(period.start_ms, period.end_ms, False, met, standing, self._accounts()))

    def _accounts(self) -> dict[str, Account]:
        return {name: monitor.account() for name, monitor in self.monitors.items()}

    @property
    def violations(self) -> list[Violation]:
        """All of them, oldest first; one that is still open with its metric's latest value, also a good one."""
        still_open: list[Violation] = []
        for name, broken in self._open.items():
            value = self.monitors[name].value
            still_open.append(broken if value is None else replace(broken, actual_value=value))
        return sorted([*self._ended, *still_open], key=lambda each: each.id)
