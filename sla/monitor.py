"""A monitor: everything known of one metric of one contract, and what follows from the next sample.

A plain mutable object that exactly one owner uses. It reads no clock and does no I/O: the same calls give the
same signals, accounts and dumps. Detection (sliding) says how the metric stands; accounting (tumbling) what the
period is worth. Samples of one call may be split over several with the same ``now_ms`` without any difference.
"""

from bisect import bisect_left
from collections.abc import Sequence
from decimal import Decimal
from math import isnan, nan
from typing import Any, NamedTuple

from slakeeper.sla.account import Account
from slakeeper.sla.accounting import Accounting
from slakeeper.sla.calm import Stretch, aggregate, can_be_calm, find
from slakeeper.sla.contract import Sla
from slakeeper.sla.counter import CounterWindow
from slakeeper.sla.detection import Detection, is_growing
from slakeeper.sla.duration import WEEK_MS
from slakeeper.sla.forecast import Point, foresee
from slakeeper.sla.grid import NEVER
from slakeeper.sla.metric import Metric, MetricType
from slakeeper.sla.sample import Sample
from slakeeper.sla.signal import MonitorState, Signal
from slakeeper.sla.spending import Spending
from slakeeper.sla.tally import PercentileTally, Tally
from slakeeper.sla.window import open_window

# Of a calm stretch, these last ones are gone through with their forecasts.
_FORESEEN_WINDOWS = 2

# With fewer samples than this at once, to look at them together costs more than it saves.
RUN_FROM = 32

_ALIVE = frozenset({MonitorState.OK, MonitorState.PENDING, MonitorState.AT_RISK})


class Counters(NamedTuple):
    """Samples so far.

    ``accepted`` were used or fell into a cut, ``late`` came after their window was settled, ``duplicate`` were
    sent again (:meth:`Monitor.count_duplicates`).
    """

    accepted: int
    late: int
    duplicate: int


class Monitor:
    """The state of one metric of one contract.

    Args:
        contract: the contract; its ``effective_date`` or else ``since_ms`` anchors its periods.
        metric: one of its metrics.
        since_ms: from when on the metric is watched [Unix ms]; what of the period lies before is unknown.
        violation_threshold: nearness from which a kept promise is at risk, a ratio in (0, 1].
        chapter: the version of the contract since which its metrics have the weights they have.
        joined_late: the metric came to a contract that was there already; what was before is not its time.
    """

    __slots__ = ("_accepted", "_accounting", "_contract", "_detection", "_due_ms", "_duplicate", "_end_ms",
                 "_foreseen_ms", "_is_trend", "_late", "_metric", "_newest_ms", "_next_silence_ms", "_source_error",
                 "_start_ms", "_tally", "_violation_threshold", "_window", "is_due_anew")  # fmt: skip

    def __init__(
        self,
        contract: Sla,
        metric: Metric,
        since_ms: int,
        violation_threshold: Decimal,
        chapter: int = 1,
        *,
        joined_late: bool = False,
    ) -> None:
        self._take(contract, metric)
        self._violation_threshold = float(violation_threshold)
        self._accounting = Accounting(contract, metric, since_ms, chapter, joined_late=joined_late)
        self._window = open_window(metric)
        self._detection = Detection(metric, self._violation_threshold, self._accounting.timeline)
        self._accepted = self._late = self._duplicate = 0
        self._source_error: str | None = None
        self._newest_ms = NEVER
        self._next_silence_ms = 0
        self._foreseen_ms = NEVER
        self._tally: Tally | None = None
        self.is_due_anew = True
        """Whether :meth:`next_deadline_ms` may be earlier than it was before the last :meth:`observe`."""
        self._leave_place()

    def _take(self, contract: Sla, metric: Metric) -> None:
        self._contract = contract
        self._metric = metric
        self._is_trend = metric.type is MetricType.TREND

    def _leave_place(self) -> None:
        """Forgets where the last sample was tallied: settling or a new cut may have closed it."""
        self._note_percentile()
        self._tally = None
        self._start_ms = self._end_ms = 0
        self._due_ms = self._accounting.next_window_ms()

    def _note_percentile(self) -> None:
        """Leaves the sliding percentile with the tally, which cannot know it, for the forecast."""
        if type(self._tally) is PercentileTally:
            self._tally.seen = self._detection.value

    # --- what happens ----------------------------------------------------------------------------------

    def observe(self, samples: Sequence[Sample], now_ms: int) -> list[Signal]:
        """Takes samples in, each evaluated at its own instant.

        Args:
            samples: (ts_ms, value) that passed :func:`~slakeeper.sla.sample.check_sample`, in any order.
            now_ms: the present [Unix ms]; windows whose lateness has passed by now are settled first.

        Returns:
            What followed, in order.
        """
        signals: list[Signal] = []
        if now_ms >= self._due_ms:
            self._settle(now_ms, signals)
        if self._source_error is not None and samples:
            self._source_error = None
            self._accounting.source_recovered(now_ms)
        late_before = self._late
        self.is_due_anew = False
        if len(samples) < RUN_FROM:
            value = self._take_one_by_one(samples, signals)
        else:
            value = self._take_in_runs(samples, signals)
        if value == value:
            self._detection.value = value
        if self._window.newest_ms > self._newest_ms:
            self._newest_ms = self._window.newest_ms
        self._accepted += len(samples) - (self._late - late_before)
        return signals

    def _take_one_by_one(self, samples: Sequence[Sample], signals: list[Signal]) -> float:
        """Evaluates each sample; returns the last aggregate, NaN when there was none."""
        detection, window, is_trend = self._detection, self._window, self._is_trend
        add, tally = window.add, self._tally
        start_ms, end_ms = self._start_ms, self._end_ms
        value = nan
        for ts_ms, x in samples:
            if not start_ms <= ts_ms < end_ms or tally is None:
                if value == value:
                    detection.value = value
                tally = self._go_to(ts_ms)
                start_ms, end_ms = self._start_ms, self._end_ms
                self.is_due_anew = True
                if tally is None:
                    continue
            tally.add(ts_ms, x)
            value = add(ts_ms, x)
            if is_trend:
                value = self._slope()
            if detection.zone_low < value < detection.zone_high:
                continue
            detection.judge(window.newest_ms, value, signals)
            self.is_due_anew = True
        return value

    def _take_in_runs(self, samples: Sequence[Sample], signals: list[Signal]) -> float:
        """The same with less work for each of many: those of one accounting window are taken together."""
        detection, window, is_trend = self._detection, self._window, self._is_trend
        instants = [ts_ms for ts_ms, _ in samples]
        values = [x for _, x in samples]
        first_ms, last_ms = min(instants), max(instants)
        value = nan
        place, count = 0, len(samples)
        while place < count:
            tally = self._tally
            if tally is None or not self._start_ms <= instants[place] < self._end_ms:
                if value == value:
                    detection.value = value
                tally = self._go_to(instants[place])
                self.is_due_anew = True
                if tally is None:
                    place += 1
                    continue
            if is_trend:
                # A slope is worked out from the tallies: each sample has to be in them by itself.
                stop = place + 1
            elif self._start_ms <= first_ms and last_ms < self._end_ms:
                stop = count
            else:
                stop = self._leaves_at(instants, place)
            tally.extend(instants[place:stop], values[place:stop])
            while place < stop:
                low, high = detection.zone_low, detection.zone_high
                place, value = window.run(instants, values, place, stop, low, high)
                if is_trend:
                    value = self._slope()
                if not low < value < high:
                    detection.judge(window.newest_ms, value, signals)
                    self.is_due_anew = True
        return value

    def _leaves_at(self, instants: Sequence[int], place: int) -> int:
        """The place of the first sample from ``place`` on that is not tallied where that one is."""
        start_ms, end_ms = self._start_ms, self._end_ms
        while place < len(instants) and start_ms <= instants[place] < end_ms:
            place += 1
        return place

    def _go_to(self, ts_ms: int) -> Tally | None:
        """Turns to the window of an instant; None when a sample there is late or cut away."""
        place = self._accounting.place(ts_ms)
        if place is None:
            self._late += 1
            return None
        if place.tally is None:
            return None
        self._note_percentile()
        if place.window_ms > self._foreseen_ms and not self._is_trend:
            self._foreseen_ms = place.window_ms
            if not self._accounting.is_held:  # what is filled in afterwards foretells nothing
                self._foresee()
        window = self._window
        if isinstance(window, CounterWindow) and window.newest_ms < place.start_ms:
            since_ms = max(window.newest_ms, place.start_ms - self._metric.interval)
            if self._accounting.timeline.is_cut(since_ms, place.start_ms):
                window.restart(place.start_ms)
        self._tally, self._start_ms, self._end_ms = place.tally, place.start_ms, place.end_ms
        return place.tally

    def _foresee(self) -> None:
        """A forecast at the start of each interval, from the aggregates since the last violation ended."""
        metric = self._metric
        points = self._points(self._foreseen_ms)
        self._detection.foresee(foresee(points, metric.condition, float(metric.value), metric.interval))

    def _points(self, before_ms: int) -> list[Point]:
        calm_ms = self._detection.calm_since_ms
        return [point for point in self._accounting.points(before_ms) if point[0] >= calm_ms]

    def _slope(self) -> float:
        newest_ms = self._window.newest_ms
        before_ms = newest_ms + 1 if not is_growing(self._metric) else newest_ms - self._metric.interval + 1
        slope = self._accounting.slope(before_ms)
        return nan if slope is None else slope

    def _settle(self, now_ms: int, signals: list[Signal]) -> None:
        self._note_percentile()
        self._accounting.settle(now_ms, signals)
        self._leave_place()

    def tick(self, now_ms: int) -> list[Signal]:
        """Lets time pass without samples: windows and periods close, ``for`` runs out, silence is noticed."""
        signals: list[Signal] = []
        self._settle(now_ms, signals)
        detection = self._detection
        if not self._accounting.timeline.is_suspended:
            detection.run_out(now_ms, signals)
        if detection.state in _ALIVE and now_ms >= self._silence_due_ms():
            silent_ms = self._accounting.timeline.elapsed_at_ms(
                self._newest_ms, detection.silence_ms, now_ms + WEEK_MS
            )
            if silent_ms is not None and silent_ms <= now_ms:
                detection.fall_silent(silent_ms, signals)
            else:
                # Cut time is no silence: look again when it would have become one, a week ahead at most.
                self._next_silence_ms = now_ms + WEEK_MS if silent_ms is None else silent_ms
        return signals

    def _silence_due_ms(self) -> int:
        return max(self._newest_ms + self._detection.silence_ms, self._next_silence_ms)

    def next_deadline_ms(self) -> int | None:
        """When :meth:`tick` should be called next [Unix ms]; None: only samples can change anything."""
        detection = self._detection
        deadlines = (
            self._accounting.next_settling_ms(),
            None if self._accounting.timeline.is_suspended else detection.due_ms,
            self._silence_due_ms() if detection.state in _ALIVE else None,
        )
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    @property
    def settles_at_ms(self) -> int:
        """From when on the next window can be settled [Unix ms]; samples seen before settle nothing."""
        return self._due_ms

    def close(self, at_ms: int) -> list[Signal]:
        """Settles every window that has ended by ``at_ms`` at once: no sample will come, so none can be late."""
        signals: list[Signal] = []
        self._note_percentile()
        self._accounting.close(at_ms, signals)
        self._leave_place()
        return signals

    # --- calm stretches of a history -------------------------------------------------------------------

    def find_calm(self, ts_ms: Sequence[int], values: Sequence[float], place: int) -> Stretch | None:
        """Where nothing can follow from the samples of a history, as far as that is certain; None: nowhere here.

        Args:
            ts_ms, values: in order of time; those before ``place`` have been observed.
        """
        detection, accounting = self._detection, self._accounting
        zone = detection.zone_low, detection.zone_high
        if not (zone[0] < zone[1] and can_be_calm(self._metric) and self._window.is_exact):
            return None
        window = accounting.calm_window(ts_ms[place])
        if window is None or window[0] - 2 * self._metric.interval < ts_ms[0]:
            return None
        start_ms, begin_ms = window[0], window[0] - self._metric.interval
        points = self._points(start_ms)
        if ts_ms[place] < start_ms:
            # The window before has not got all of its samples yet.
            points = [point for point in points if point[0] < begin_ms]
            begin, end = bisect_left(ts_ms, begin_ms), bisect_left(ts_ms, start_ms)
            points.append((begin_ms, aggregate(self._metric, ts_ms, values, begin, end)))
        return find(self._metric, zone, points, ts_ms, values, *window)

    def pass_over(
        self, stretch: Stretch, windows: int, ts_ms: Sequence[int], values: Sequence[float], place: int
    ) -> tuple[int, list[Signal]]:
        """Takes a calm stretch as a whole, but for its end, from which all that is remembered follows.

        Args:
            windows: how many of the stretch may be taken.

        Returns:
            The place from which on samples have still to be observed, and what followed.
        """
        signals: list[Signal] = []
        accounting, interval_ms = self._accounting, self._metric.interval
        remembered = accounting.remembered_windows
        skipped = windows - remembered - _FORESEEN_WINDOWS
        if skipped < remembered:
            return place, signals  # no gain
        before = list(zip(ts_ms[place : stretch.places[0]], values[place : stretch.places[0]], strict=True))
        if before:
            signals = self.observe(before, before[-1][0])
            if not self._detection.zone_low < self._detection.zone_high:
                return stretch.places[0], signals
        self._note_percentile()
        until_ms = stretch.start_ms + skipped * interval_ms
        end = stretch.places[skipped]
        accounting.pass_over(stretch.start_ms, until_ms, signals)
        self._window.clear()
        for number in range(bisect_left(ts_ms, until_ms - interval_ms, 0, end), end):
            self._detection.value = self._window.add(ts_ms[number], values[number])
        self._newest_ms = ts_ms[end - 1]
        self._accepted += end - stretch.places[0]
        # Forecasts begin again once there are enough windows to make them from.
        self._foreseen_ms = until_ms + (remembered - 1) * interval_ms
        self._leave_place()
        self.is_due_anew = True
        return end, signals

    def source_error(self, text: str, now_ms: int) -> list[Signal]:
        """The source could not be asked; lasts until the next sample. Silence meanwhile is unknown, never bad."""
        signals: list[Signal] = []
        self._source_error = text
        self._accounting.source_failed(now_ms)
        self._detection.source_failed(now_ms, signals)
        return signals

    def hold(self, patience_ms: int) -> None:
        """Samples after the newest may be missing that the source can still give.

        Their windows wait for them, up to ``patience_ms`` longer than for late ones, until :meth:`source_answered`.
        """
        self._accounting.hold(max(self._newest_ms, self._accounting.cursor_ms), patience_ms)
        self._leave_place()

    def source_answered(self, now_ms: int) -> list[Signal]:
        """The source has given all there is until now; what is missing then is silence."""
        signals: list[Signal] = []
        if self._source_error is not None:
            self._source_error = None
            self._accounting.source_recovered(now_ms)
            self._detection.source_answered(now_ms, signals)
        self._accounting.release()
        self._settle(now_ms, signals)
        return signals

    def suspend(self, now_ms: int) -> None:
        """From now on nothing counts: samples are cut away, an open violation stays as it is."""
        self._accounting.timeline.suspend(now_ms)
        self._detection.pause()
        self._leave_place()

    def resume(self, now_ms: int) -> None:
        """Counts again from now on."""
        self._accounting.timeline.resume(now_ms)
        self._next_silence_ms = now_ms + self._detection.silence_ms
        if isinstance(self._window, CounterWindow):
            self._window.restart(now_ms)
        self._leave_place()

    def force_close(self, now_ms: int) -> list[Signal]:
        """An operator resolved the open violation; only a later failing evaluation opens another."""
        signals: list[Signal] = []
        self._detection.force_close(now_ms, signals)
        return signals

    def rebase(
        self,
        contract: Sla,
        metric: Metric,
        at_ms: int,
        chapter: int | None = None,
        weight: Decimal | None = None,
    ) -> list[Signal]:
        """A new version of the contract from ``at_ms`` on.

        What was before is settled under the old version at once, also the window that is cut in two; the
        running account and an open violation go on. ``metric`` has the same name.

        Args:
            chapter: the version since which the contract's metrics have the weights they have; None: unchanged.
            weight: with which the metric counts from now on; None: the one it says itself.
        """
        signals: list[Signal] = []
        self._note_percentile()
        old = self._metric
        self._late += self._accounting.rebase(contract, metric, at_ms, signals)
        if chapter is not None:
            self._accounting.begin_chapter(chapter, metric.weight if weight is None else weight)
        if (old.type, old.aggregation, old.counter, old.interval, old.effective_percentile) != (
            metric.type, metric.aggregation, metric.counter, metric.interval, metric.effective_percentile,
        ):  # fmt: skip
            self._window = open_window(metric)
            self._detection.foresee(None)
        self._take(contract, metric)
        self._detection.take(metric, self._violation_threshold, self._accounting.timeline)
        self._leave_place()
        return signals

    def retire(self, contract: Sla, metric: Metric, at_ms: int, chapter: int) -> list[Signal]:
        """The metric is no part of the contract's version from ``at_ms`` on.

        What it was worth until then stays in the running account; nothing counts from now on, and a violation is
        the contract's to end. A later :meth:`rebase` and :meth:`resume` take it in again.
        """
        signals = self.rebase(contract, metric, at_ms, chapter, Decimal(0))
        self._detection.force_close(at_ms, [])
        self.suspend(at_ms)
        return signals

    def count_duplicates(self, count: int) -> None:
        """Counts samples of a resent batch; who receives batches knows them, a monitor cannot."""
        self._duplicate += count

    # --- how it stands ---------------------------------------------------------------------------------

    @property
    def contract(self) -> Sla:
        return self._contract

    @property
    def metric(self) -> Metric:
        return self._metric

    @property
    def chapter(self) -> int:
        """The version of the contract since which its metrics have the weights that count now."""
        return self._accounting.chapter

    @property
    def state(self) -> MonitorState:
        return self._detection.state

    @property
    def value(self) -> float | None:
        """The latest aggregate of the sliding window, None before the first."""
        value = self._detection.value
        return None if isnan(value) else value

    @property
    def breach_probability(self) -> float | None:
        """Probability that the promise fails within ten intervals, as of the last interval; None if unknown."""
        return self._detection.probability

    @property
    def last_sample_ms(self) -> int | None:
        """The instant of the newest sample used; None before the first."""
        return self._newest_ms if self._newest_ms != NEVER else None

    @property
    def is_held(self) -> bool:
        """Between :meth:`hold` and :meth:`source_answered`."""
        return self._accounting.is_held

    @property
    def holds_needlessly(self) -> bool:
        """Whether windows wait whose samples have come since :meth:`hold`: another would begin later."""
        since_ms = self._accounting.held_since_ms
        return since_ms is not None and self._newest_ms - since_ms >= self._metric.interval

    def misses_window(self, since_ms: int, until_ms: int | None = None, *, now_ms: int) -> bool:
        """Whether a whole window went by of which nothing is known, since its source was asked.

        Args:
            until_ms: when it was asked again [Unix ms]; None: it was not, or has not answered. A window that would be
                judged at ``now_ms`` is missed all the same: what comes for it is late.
        """
        judged_ms = self._accounting.horizon_ms(now_ms)
        end_ms = judged_ms if until_ms is None else max(until_ms, judged_ms)
        return self._accounting.has_window(max(since_ms, self._newest_ms), end_ms)

    def gap_from_ms(self, now_ms: int) -> int:
        """The first instant of which a sample may be missing and would still count [Unix ms]."""
        return max(self._newest_ms + 1, self._accounting.open_from_ms(now_ms))

    @property
    def is_suspended(self) -> bool:
        """Between :meth:`suspend` and :meth:`resume`."""
        return self._accounting.timeline.is_suspended

    @property
    def calm_since_ms(self) -> int | None:
        """When the last violation ended [Unix ms]; None before the first has."""
        calm_ms = self._detection.calm_since_ms
        return calm_ms if calm_ms != NEVER else None

    @property
    def error(self) -> str | None:
        """What the source said when it could not be asked, until the next sample."""
        return self._source_error

    @property
    def counters(self) -> Counters:
        return Counters(self._accepted, self._late, self._duplicate)

    def account(self, now_ms: int | None = None) -> Account:
        """The account of the running period; with ``now_ms`` as :meth:`tick` would leave it, yet unchanged."""
        return self._accounting.account() if now_ms is None else self._accounting.standing_at(now_ms)[0]

    def remaining_ms(self, now_ms: int | None = None) -> int:
        """How much of the running period is not in :meth:`account` yet and can still count [ms]."""
        return self._accounting.remaining_ms() if now_ms is None else self._accounting.standing_at(now_ms)[1]

    def standing(self, now_ms: int) -> tuple[Account, int]:
        """:meth:`account` and :meth:`remaining_ms`, at the price of one of them."""
        return self._accounting.standing_at(now_ms)

    @property
    def spending(self) -> Spending:
        """What the last days were worth; the monitor goes on writing into it."""
        return self._accounting.spending

    # --- on disk ---------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """Everything but contract and metric as plain values (dict, list, str, bytes, int of 64 bits, float, None)."""
        self._note_percentile()
        return {
            "threshold": self._violation_threshold,
            "accounting": self._accounting.dump(),
            "window": self._window.dump(),
            "detection": self._detection.dump(),
            "counters": [self._accepted, self._late, self._duplicate],
            "source_error": self._source_error,
            "newest": self._newest_ms,
            "next_silence": self._next_silence_ms,
            "foreseen": self._foreseen_ms,
        }

    @classmethod
    def restore(cls, contract: Sla, metric: Metric, dump: dict[str, Any]) -> "Monitor":
        """The monitor that :meth:`dump` wrote; contract and metric as they were then."""
        self = cls.__new__(cls)
        self._take(contract, metric)
        self._violation_threshold = dump["threshold"]
        self._accounting = Accounting.restore(contract, metric, dump["accounting"])
        self._window = open_window(metric)
        self._window.load(dump["window"])
        self._detection = Detection(metric, self._violation_threshold, self._accounting.timeline)
        self._detection.load(dump["detection"])
        self._accepted, self._late, self._duplicate = dump["counters"]
        self._source_error = dump["source_error"]
        self._newest_ms = dump["newest"]
        self._next_silence_ms = dump["next_silence"]
        self._foreseen_ms = dump["foreseen"]
        self._tally = None
        self.is_due_anew = True
        self._leave_place()
        return self
