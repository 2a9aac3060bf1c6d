"""Accounting: tumbling windows from the period's start, judged once late samples can come no more.

A window counts with what no cut (suspension, service hours, maintenance, an end of a period) takes of it and is
judged on the samples outside the cuts. Windows without samples are settled a whole silence at a time.
"""

from collections import deque
from copy import copy
from decimal import Decimal
from typing import Any, NamedTuple

from slakeeper.sla import burn
from slakeeper.sla.account import Account, Verdict
from slakeeper.sla.calendar import Cuts
from slakeeper.sla.chapter import Chapters, dump_account, load_account
from slakeeper.sla.contract import Sla
from slakeeper.sla.forecast import POINTS, Point, slope_per_hour
from slakeeper.sla.metric import Metric, MetricType, NoData
from slakeeper.sla.patience import bounded_wait_ms, patience_for
from slakeeper.sla.period import Period
from slakeeper.sla.series import Series
from slakeeper.sla.signal import PeriodClosed, Signal, WindowClosed
from slakeeper.sla.span import Span, subtract, total_ms, union
from slakeeper.sla.spending import Spending
from slakeeper.sla.tally import Tally
from slakeeper.sla.timeline import FOREVER, Timeline
from slakeeper.sla.window import open_tally


class Place(NamedTuple):
    """Where samples of ``[start_ms, end_ms)``, within the window that began at ``window_ms``, are tallied.

    No tally: a cut takes them, they count for nothing.
    """

    tally: Tally | None
    start_ms: int
    end_ms: int
    window_ms: int


CUT = Place(None, 0, 0, 0)


class Accounting:
    """The running account of one metric, and its windows still open.

    ``cursor_ms`` is how far time has been settled; a sample before it is late. ``spending`` remembers what the last
    days were worth, also of former periods.

    Args:
        contract, metric, since_ms: as :class:`~slakeeper.sla.monitor.Monitor` takes them.
        chapter: the version of the contract since which its metrics have the weights they have.
        joined_late: the metric came to the contract with that version; what was before is not its time.
    """

    __slots__ = ("_bad_ms", "_chapters", "_errors", "_excluded_ms", "_good_ms", "_last", "_metric", "_patience",
                 "_series", "_start_ms", "_tallies", "_unknown_ms", "cursor_ms", "spending", "timeline")  # fmt: skip

    def __init__(
        self, contract: Sla, metric: Metric, since_ms: int, chapter: int = 1, *, joined_late: bool = False
    ) -> None:
        self._chapters = Chapters(0, Decimal(0)) if joined_late else Chapters(chapter, metric.weight)
        self.timeline = Timeline(contract, metric.interval, since_ms)
        self._tallies: dict[int, Tally] = {}
        self._errors: list[Span] = []
        self._series = Series()
        self._last: Account | None = None
        self.spending = Spending(0)
        self._take(metric)
        self._open_account(since_ms)
        self.begin_chapter(chapter, metric.weight)

    def _take(self, metric: Metric) -> None:
        self._metric = metric
        self._patience = patience_for(metric)

    def _open_account(self, from_ms: int) -> None:
        """An account for the period, settled up to ``from_ms``."""
        period = self.timeline.period
        self._begin(period.start_ms if period else from_ms)
        self.cursor_ms = max(from_ms, self._start_ms)
        # Nobody watched before; whatever no_data says, that time is unknown.
        cuts, left = self.timeline.cut(self._start_ms, self.cursor_ms)
        self._book(cuts, unknown_ms=total_ms(left))

    def _begin(self, start_ms: int) -> None:
        self._start_ms = start_ms
        self._chapters.begin_account()
        period = self.timeline.period
        if period is not None:
            self.spending.kept_ms = burn.kept_ms(period.end_ms - period.start_ms)
        self._good_ms = self._bad_ms = self._unknown_ms = self._excluded_ms = 0

    # --- samples ---------------------------------------------------------------------------------------

    def place(self, ts_ms: int) -> Place | None:
        """Where a sample is tallied; None when it is late."""
        if ts_ms < self.cursor_ms:
            return CUT if ts_ms < self.timeline.anchor_ms else None
        window = self.timeline.window(ts_ms)
        if window is None:
            return CUT
        for start_ms, end_ms in self.timeline.cut(max(window[0], self.cursor_ms), window[1])[1]:
            if start_ms <= ts_ms < end_ms:
                tally = self._tallies.get(window[0])
                if tally is None:
                    tally = self._tallies[window[0]] = open_tally(self._metric)
                return Place(tally.at(start_ms), start_ms, end_ms, window[0])
        return CUT

    def source_failed(self, now_ms: int) -> None:
        """Silence from now on is the source's failure, which is no verdict on the service."""
        if self._errors and self._errors[-1][1] == FOREVER:
            return
        window = self.timeline.window(now_ms)
        if self._errors and window and self._errors[-1][1] > window[0]:
            # Failures within one window are one: the list stays as short as the list of windows.
            now_ms = self._errors.pop()[0]
        self._errors.append((now_ms, FOREVER))

    def source_recovered(self, now_ms: int) -> None:
        if self._errors and self._errors[-1][1] == FOREVER:
            start_ms, _ = self._errors.pop()
            self._errors.append((start_ms, max(start_ms + 1, now_ms)))

    # --- waiting for what can still be fetched ---------------------------------------------------------

    @property
    def held_since_ms(self) -> int | None:
        """Of the last :meth:`hold`, until :meth:`release`; None otherwise."""
        return self._patience.since_ms

    @property
    def is_held(self) -> bool:
        """Between :meth:`hold` and :meth:`release`."""
        return self._patience.since_ms is not None

    def hold(self, since_ms: int, patience_ms: int) -> None:
        """Has the windows that end after ``since_ms`` wait up to ``patience_ms`` longer than lateness."""
        longer_ms = bounded_wait_ms(patience_ms, self._metric)
        self._patience = self._patience._replace(since_ms=since_ms, longer_ms=longer_ms)

    def release(self) -> None:
        """Ends a :meth:`hold`: nothing more will be fetched."""
        self._patience = patience_for(self._metric)

    def open_from_ms(self, now_ms: int) -> int:
        """The first instant whose window still takes samples at ``now_ms``."""
        horizon_ms = self._patience.horizon_ms(now_ms)
        period = self.timeline.period
        if period is None or horizon_ms <= self.cursor_ms:
            return self.cursor_ms
        window = self.timeline.window(horizon_ms)
        return max(self.cursor_ms, window[0] if window else horizon_ms)

    def horizon_ms(self, now_ms: int) -> int:
        """Up to where windows are judged at ``now_ms``."""
        return self._patience.horizon_ms(now_ms)

    def has_window(self, after_ms: int, until_ms: int) -> bool:
        """Whether a window not judged yet begins after one instant and ends by the other, and counts for anything."""
        window = self.timeline.window(max(after_ms + 1, self.cursor_ms))
        if window is not None and window[0] <= after_ms:
            window = self.timeline.window(window[1])
        if window is None or window[1] > until_ms:
            return False
        last = self.timeline.window(until_ms)
        end_ms = until_ms if last is None else last[0]
        return bool(self.timeline.cut(max(window[0], self.cursor_ms), end_ms)[1])

    # --- settling --------------------------------------------------------------------------------------

    def settle(self, now_ms: int, signals: list[Signal]) -> bool:
        """Judges every window whose late samples have had their time; whether there was one."""
        return self._settle_to(self._patience.horizon_ms(now_ms), signals)

    def close(self, at_ms: int, signals: list[Signal]) -> None:
        """Judges every window that has ended by ``at_ms``, whether or not late samples could still come."""
        self._settle_to(at_ms, signals)

    def _settle_to(self, horizon_ms: int, signals: list[Signal]) -> bool:
        before_ms = self.cursor_ms
        waiting = deque(sorted(self._tallies))
        while (period := self.timeline.period) is not None:
            interval_ms = self._metric.interval
            limit_ms = period.end_ms
            if horizon_ms < limit_ms:
                limit_ms = period.start_ms + (horizon_ms - period.start_ms) // interval_ms * interval_ms
            if limit_ms <= self.cursor_ms:
                break
            first_ms = waiting[0] if waiting else FOREVER
            if first_ms >= limit_ms:
                self._silence(limit_ms, signals)
            else:
                if first_ms > self.cursor_ms:
                    self._silence(first_ms, signals)
                self._judge(waiting.popleft(), min(first_ms + interval_ms, period.end_ms), signals)
            if self.cursor_ms >= period.end_ms:
                self._close(period, signals)
        if self.cursor_ms == before_ms:
            return False
        self.timeline.forget_before(self.cursor_ms)
        self._errors = [span for span in self._errors if span[1] > self.cursor_ms]
        return True

    def _book(self, cuts: Cuts, *, good_ms: int = 0, bad_ms: int = 0, unknown_ms: int = 0) -> None:
        self._excluded_ms += total_ms(cuts.excluded)
        self._good_ms += good_ms + total_ms(cuts.good)
        self._bad_ms += bad_ms
        self._unknown_ms += unknown_ms

    def _silence(self, end_ms: int, signals: list[Signal]) -> None:
        """Settles windows without samples up to ``end_ms``, the end of a window."""
        start_ms, self.cursor_ms = self.cursor_ms, end_ms
        cuts, left = self.timeline.cut(start_ms, end_ms)
        unknown: list[Span] = left
        good, bad = list(cuts.good), list[Span]()
        if self._metric.no_data is not NoData.UNKNOWN:
            judged = subtract(left, union(self.timeline.whole_windows(span) for span in self._errors))
            unknown = subtract(left, judged)
            judged_ms = total_ms(judged)
            if self._metric.no_data is NoData.GOOD:
                self._book(cuts, good_ms=judged_ms, unknown_ms=total_ms(unknown))
                good += judged
            else:
                self._book(cuts, bad_ms=judged_ms, unknown_ms=total_ms(unknown))
                bad = judged
        else:
            self._book(cuts, unknown_ms=total_ms(unknown))
        self.spending.add(end_ms, good=good, bad=bad)
        if not left:
            verdict = Verdict.GOOD if cuts.good and not cuts.excluded else Verdict.EXCLUDED
        else:
            verdict = (
                Verdict.UNKNOWN
                if total_ms(unknown) == total_ms(left)
                else Verdict(self._metric.no_data.value)
            )
        signals.append(WindowClosed(start_ms, end_ms, verdict))

    def _judge(self, window_ms: int, end_ms: int, signals: list[Signal]) -> None:
        """Settles the window that began at ``window_ms`` on its samples, up to ``end_ms``."""
        tally = self._tallies.pop(window_ms)
        start_ms, self.cursor_ms = max(window_ms, self.cursor_ms), end_ms
        cuts, left = self.timeline.cut(start_ms, end_ms)
        left_ms = total_ms(left)
        verdict = Verdict.EXCLUDED
        if left_ms:
            self._series.keep(start_ms, tally.value(left_ms), self._most_points)
            kept = self._holds(tally, left_ms)
            verdict = Verdict.UNKNOWN if kept is None else Verdict.GOOD if kept else Verdict.BAD
        self._book(
            cuts,
            good_ms=left_ms if verdict is Verdict.GOOD else 0,
            bad_ms=left_ms if verdict is Verdict.BAD else 0,
            unknown_ms=left_ms if verdict is Verdict.UNKNOWN else 0,
        )
        good = left if verdict is Verdict.GOOD else []
        self.spending.add(end_ms, good=[*cuts.good, *good], bad=left if verdict is Verdict.BAD else ())
        signals.append(WindowClosed(start_ms, end_ms, verdict))

    def _holds(self, tally: Tally, left_ms: int) -> bool | None:
        metric = self._metric
        if metric.type is not MetricType.TREND:
            return tally.holds(metric.condition, float(metric.value), left_ms)
        slope = self._slope(self._series.points())
        return None if slope is None else metric.condition.holds(slope, float(metric.value))

    def _close(self, period: Period, signals: list[Signal]) -> None:
        self._last = self.account()
        signals.append(PeriodClosed(self._last))
        self.timeline.next_period(period)
        self._begin(period.end_ms)

    @property
    def chapter(self) -> int:
        """The version of the contract since which its metrics have the weights that count now."""
        return self._chapters.chapter

    def begin_chapter(self, chapter: int, weight: Decimal) -> None:
        """From where time is settled now it counts with another weight, or beside other metrics."""
        self._chapters.begin(chapter, weight, self._account(self._start_ms, self.cursor_ms))

    def rebase(self, contract: Sla, metric: Metric, at_ms: int, signals: list[Signal]) -> int:
        """A new version of the contract from ``at_ms`` on; what was before is settled under the old one, now.

        Its weight counts from the next call of :meth:`begin_chapter` on.

        Returns:
            How many samples from after ``at_ms`` the new version cannot use, because their tallies do not
            hold what it asks for.
        """
        self.release()
        self._settle_to(at_ms, signals)
        if self.timeline.period is not None and at_ms > self.cursor_ms:
            window = self.timeline.window(self.cursor_ms)
            if window is not None and window[0] in self._tallies:
                self._judge(window[0], at_ms, signals)
            else:
                self._silence(at_ms, signals)
        kept = self._tally_key(self._metric) == self._tally_key(metric)
        had_ms = self.account().settled_ms if self.timeline.period else 0
        self._take(metric)
        self.timeline.take(contract, metric.interval, self.cursor_ms)
        period = self.timeline.period
        if had_ms and (period is None or period.start_ms > self.cursor_ms):
            # The new version is not in force now: the running account ends here.
            self._last = self._account(self._start_ms, self.cursor_ms)
            signals.append(PeriodClosed(self._last))
            had_ms = 0
        if not had_ms:
            self._open_account(self.cursor_ms)
        lost = (
            list(self._tallies)
            if not kept
            else [start for start in self._tallies if not self._is_window(start)]
        )
        return sum(self._tallies.pop(start).count for start in lost)

    def _is_window(self, start_ms: int) -> bool:
        window = self.timeline.window(start_ms)
        return window is not None and window[0] == start_ms

    @staticmethod
    def _tally_key(metric: Metric) -> tuple[object, ...]:
        return (
            metric.type, metric.aggregation, metric.counter, metric.interval, metric.effective_percentile,
            metric.value,
        )  # fmt: skip

    # --- calm stretches ----------------------------------------------------------------------------------

    def calm_window(self, at_ms: int) -> Span | None:
        """The start of the next whole window from an instant on, and up to when windows are whole; None: nowhere."""
        timeline = self.timeline
        period = timeline.period_at(at_ms)
        if period is None or timeline.is_suspended or self._errors:
            return None
        interval_ms = self._metric.interval
        start_ms = period.start_ms - (period.start_ms - at_ms) // interval_ms * interval_ms
        # The window before it, which is still going on when it is not the last of another period, is whole, too.
        before_ms = max(period.start_ms, start_ms - interval_ms, self.cursor_ms)
        left = timeline.cut(before_ms, period.end_ms)[1]
        if not left or left[0][0] != before_ms or left[0][1] <= start_ms:
            return None
        return start_ms, left[0][1]

    @property
    def remembered_windows(self) -> int:
        """How many windows leave something behind that is still there after as many more: points, late samples."""
        return self._most_points + -(-self._patience.lateness_ms // self._metric.interval) + 1

    def pass_over(self, start_ms: int, until_ms: int, signals: list[Signal]) -> None:
        """All windows in between are good, and nothing of them has to be remembered."""
        self._settle_to(start_ms, signals)
        self._good_ms += until_ms - start_ms
        self.cursor_ms = until_ms
        self.spending.add(until_ms, good=[(start_ms, until_ms)])
        self._series.clear()
        signals.append(WindowClosed(start_ms, until_ms, Verdict.GOOD))

    # --- interval aggregates ---------------------------------------------------------------------------

    @property
    def _most_points(self) -> int:
        """So many of the newest aggregates are ever looked at."""
        return max(POINTS, self._metric.trend_points)

    def points(self, before_ms: int) -> list[Point]:
        """Recent interval aggregates, also of windows still open for late samples, that begin before an instant."""
        keep, newest = self._most_points, list[Point]()
        for start_ms in sorted(
            (start_ms for start_ms in self._tallies if start_ms < before_ms), reverse=True
        ):
            if len(newest) == keep:
                break  # of a long gap that is being filled thousands are open
            window = self.timeline.window(start_ms)
            # A new version cut the window in two: its first part is a point already.
            first_ms = max(start_ms, self.cursor_ms)
            left_ms = total_ms(self.timeline.cut(first_ms, window[1])[1]) if window else 0
            if left_ms:
                value = self._tallies[start_ms].value(left_ms)
                if value - value == 0:
                    newest.append((first_ms, value))
        return [*self._series.points(), *reversed(newest)]

    def slope(self, before_ms: int) -> float | None:
        """Slope of the last ``trend_points`` aggregates before an instant; None while there are fewer."""
        return self._slope(self.points(before_ms))

    def _slope(self, points: list[Point]) -> float | None:
        wanted = self._metric.trend_points
        return slope_per_hour(points[-wanted:]) if len(points) >= wanted else None

    # --- what is known ---------------------------------------------------------------------------------

    def _account(self, start_ms: int, end_ms: int) -> Account:
        known_ms = self._good_ms + self._bad_ms
        account = Account(
            start_ms, end_ms, known_ms, self._good_ms, self._bad_ms, self._unknown_ms, self._excluded_ms
        )
        return self._chapters.divide(account)

    def account(self) -> Account:
        """The running account; of an expired contract the last one."""
        if self.timeline.period is None:
            return self._last or self._account(self._start_ms, self._start_ms)
        return self._account(self._start_ms, self.timeline.period.end_ms)

    def standing_at(self, now_ms: int) -> tuple[Account, int]:
        """The account of the period that goes on now, and :meth:`remaining_ms`, as :meth:`settle` would leave them.

        One that ended and still waits for late samples is not it: the next begins at its first millisecond.
        """
        settled = self if self._is_settled(now_ms) else self._as_of(now_ms)
        return settled.account(), settled.remaining_ms(now_ms)

    def _is_settled(self, now_ms: int) -> bool:
        """Whether :meth:`settle` would find nothing to judge, in the period that goes on now."""
        period = self.timeline.period
        return period is None or (
            now_ms < period.end_ms and self._patience.horizon_ms(now_ms) < self._end_of(self.cursor_ms)
        )

    def _as_of(self, now_ms: int) -> "Accounting":
        shadow = copy(self)
        shadow._tallies = dict(self._tallies)
        shadow.timeline, shadow._chapters = copy(self.timeline), copy(self._chapters)
        shadow.spending = Spending(0)
        shadow._series = self._series.copy()
        shadow.settle(now_ms, [])
        period = shadow.timeline.period
        if period is not None and period.end_ms <= now_ms:
            present = shadow.timeline.period_at(now_ms)
            if present is not None:
                shadow._settle_to(present.start_ms, [])
        return shadow

    def remaining_ms(self, now_ms: int = FOREVER) -> int:
        """How much of the period is not settled yet and can still be won or lost [ms].

        A suspension that goes on may end any time after ``now_ms``: its future is no loss of budget.
        """
        period = self.timeline.period
        if period is None or period.end_ms <= self.cursor_ms:
            return 0
        cuts, _ = self.timeline.cut(self.cursor_ms, period.end_ms, now_ms)
        return period.end_ms - self.cursor_ms - total_ms(cuts.excluded)

    def next_settling_ms(self) -> int | None:
        """When a window has to be judged next; silence that decides nothing waits for the period's end."""
        if self.timeline.period is None:
            return None
        due_ms = self.timeline.period.end_ms
        if self._metric.no_data is not NoData.UNKNOWN:
            due_ms = min(due_ms, self._end_of(self.cursor_ms))
        elif self._tallies:
            due_ms = min(due_ms, self._end_of(min(self._tallies)))
        return self._patience.settled_at_ms(due_ms)

    def next_window_ms(self) -> int:
        """When the next window, whatever is in it, can be settled; samples for it are late from then on."""
        return self._patience.settled_at_ms(self._end_of(self.cursor_ms)) if self.timeline.period else FOREVER

    def _end_of(self, at_ms: int) -> int:
        window = self.timeline.window(at_ms)
        return window[1] if window else FOREVER

    def dump(self) -> dict[str, Any]:
        return {
            "timeline": self.timeline.dump(),
            "cursor": self.cursor_ms,
            "start": self._start_ms,
            "chapters": self._chapters.dump(),
            "ms": [self._good_ms, self._bad_ms, self._unknown_ms, self._excluded_ms],
            "tallies": [[start_ms, *tally.dump()] for start_ms, tally in self._tallies.items()],
            "errors": [list(span) for span in self._errors],
            "hold": [self._patience.since_ms, self._patience.longer_ms] if self.is_held else None,
            "points": self._series.dump(),
            "last": dump_account(self._last) if self._last else None,
            "spending": self.spending.dump(),
        }

    @classmethod
    def restore(cls, contract: Sla, metric: Metric, dump: dict[str, Any]) -> "Accounting":
        self = cls.__new__(cls)
        self._take(metric)
        self.timeline = Timeline.restore(contract, metric.interval, dump["timeline"])
        self.cursor_ms = dump["cursor"]
        self._start_ms = dump["start"]
        self._chapters = Chapters.restore(dump["chapters"])
        self._good_ms, self._bad_ms, self._unknown_ms, self._excluded_ms = dump["ms"]
        self._tallies = {}
        for start_ms, *fields in dump["tallies"]:
            self._tallies[start_ms] = open_tally(metric)
            self._tallies[start_ms].load(fields)
        self._errors = [(a, b) for a, b in dump["errors"]]
        hold = dump.get("hold")  # before sources could catch up there was none
        if hold:
            self._patience = self._patience._replace(since_ms=hold[0], longer_ms=hold[1])
        self._series = Series(*dump["points"])
        self._last = load_account(dump["last"]) if dump["last"] else None
        period = self.timeline.period
        self.spending = Spending(burn.kept_ms(period.end_ms - period.start_ms) if period else 0)
        if "spending" in dump:  # older dumps have none
            self.spending.load(dump["spending"])
        return self
