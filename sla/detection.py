"""Detection: from a metric's sliding aggregate to ok, pending, at risk, violating and back.

The state machine is driven by evaluations at the instants of samples; the clock only lets ``for`` run out and
notices silence. ``[zone_low, zone_high]`` is its promise to the hot path: while the aggregate stays strictly
between them, nothing changes and :meth:`Detection.judge` need not be called.
"""

from math import inf, isnan, nan, nextafter
from typing import Any

from slakeeper.sla.condition import Condition
from slakeeper.sla.forecast import Forecast
from slakeeper.sla.grid import NEVER
from slakeeper.sla.metric import Aggregation, Metric, MetricType
from slakeeper.sla.policy import Severity
from slakeeper.sla.severity import is_goodness, is_worse, severity_of
from slakeeper.sla.signal import MonitorState, Opened, Recovered, Signal, StateChanged, Updated
from slakeeper.sla.timeline import Timeline

UPDATE_EVERY_MS = 1_000

_GROWING = frozenset({Aggregation.SUM, Aggregation.COUNT, Aggregation.RATE})


def is_growing(metric: Metric) -> bool:
    """Whether a window that is not yet full has too little: of sums, but not of the rate of a counter."""
    return metric.aggregation in _GROWING and not metric.counter


def has_nearness(metric: Metric) -> bool:
    """Whether a value can be near the promised one: not for eq and ne, which have no sides, nor for a trend.

    A slope may be promised to be above or below nothing at all, and 100 of 100 leaves no room to be near in.
    """
    if metric.type is MetricType.TREND or metric.condition in (Condition.EQ, Condition.NE):
        return False
    return not (is_goodness(metric) and metric.value >= 100)


def safe_zone(metric: Metric, violation_threshold: float) -> tuple[float, float]:
    """The aggregates strictly between which a promise is kept with room to spare.

    Near is ``actual / value >= violation_threshold`` for lt, ``value / actual >= violation_threshold`` for gt.
    For a percentage of goodness that would call everything near (99.9 of 100), so there it is the share of
    the allowed failure in use: ``(100 - actual) / (100 - value) >= violation_threshold``. Without nearness
    (:func:`has_nearness`) it is everything that keeps the promise.
    """
    value = float(metric.value)
    if not has_nearness(metric):
        near = value
        if metric.condition is Condition.GTE:
            near = nextafter(value, -inf)
        elif metric.condition is Condition.LTE:
            near = nextafter(value, inf)
    elif is_goodness(metric):
        near = 100 - float(100 - metric.value) * violation_threshold
    elif metric.condition in (Condition.LT, Condition.LTE):
        near = value * violation_threshold
    else:
        near = value / violation_threshold
    match metric.condition:
        case Condition.GT | Condition.GTE:
            return near, inf
        case Condition.LT | Condition.LTE:
            return -inf, near
        case Condition.EQ | Condition.NE:
            return inf, -inf


class Detection:
    """The state of one metric as it is now.

    ``last_ms`` is the instant of the last evaluation that was judged, ``value`` the aggregate then or later,
    ``calm_since_ms`` when the last violation ended.
    """

    __slots__ = ("_closed_ms", "_failing_since_ms", "_forecast", "_holding_since_ms", "_is_foreseen", "_metric",
                 "_safe", "_severity", "_silence_ms", "_timeline", "_updated_ms", "_worst", "calm_since_ms", "last_ms",
                 "state", "value", "zone_high", "zone_low")  # fmt: skip

    def __init__(self, metric: Metric, violation_threshold: float, timeline: Timeline) -> None:
        self.state = MonitorState.NO_DATA
        self.value = nan
        self._forecast: Forecast | None = None
        self.last_ms = self.calm_since_ms = NEVER
        self._failing_since_ms: int | None = None
        self._holding_since_ms: int | None = None
        self._closed_ms = NEVER
        self._worst = nan
        self._severity = Severity.INFO
        self._updated_ms = NEVER
        self.take(metric, violation_threshold, timeline)

    def take(self, metric: Metric, violation_threshold: float, timeline: Timeline) -> None:
        """Judges by another version of the metric from now on; what is open stays open."""
        self._metric = metric
        self._timeline = timeline
        self._safe = safe_zone(metric, violation_threshold)
        self._silence_ms = metric.interval + max(metric.interval, metric.lateness_ms)
        self.foresee(self._forecast)

    @property
    def silence_ms(self) -> int:
        """How long without a sample is silence: two intervals, or longer where samples may be later."""
        return self._silence_ms

    def _set_zone(self) -> None:
        calm = self.state is MonitorState.OK and not self._is_foreseen
        self.zone_low, self.zone_high = self._safe if calm else (inf, -inf)

    def foresee(self, forecast: Forecast | None) -> None:
        """Takes in a new forecast, None for none; it shows in the state at the next evaluation."""
        self._forecast = forecast
        self._is_foreseen = forecast is not None and forecast.exceeds(float(self._metric.alert_threshold))
        self._set_zone()

    @property
    def probability(self) -> float | None:
        """What the latest forecast says of a breach; None: nothing."""
        return None if self._forecast is None else self._forecast.probability

    # --- evaluations -----------------------------------------------------------------------------------

    def judge(self, at_ms: int, value: float, signals: list[Signal]) -> None:
        """An evaluation: the aggregate at an instant, nan when there is none yet."""
        if isnan(value):
            return
        self.run_out(at_ms, signals)
        if at_ms - self.last_ms >= self._silence_ms:
            # Nobody knows what was in between, so neither span goes on across it.
            self._failing_since_ms = self._holding_since_ms = None
        self.last_ms = at_ms
        self.value = value
        if self._keeps(at_ms, value):
            self._kept(at_ms, value, signals)
        elif at_ms > self._closed_ms:
            self._failed(at_ms, value, signals)

    def _keeps(self, at_ms: int, value: float) -> bool:
        metric = self._metric
        if metric.condition.holds(value, float(metric.value)):
            return True
        # Too little may only mean that the window is not full; too much is too much.
        return metric.condition not in (Condition.LT, Condition.LTE) and not self._is_full(at_ms)

    def _kept(self, at_ms: int, value: float, signals: list[Signal]) -> None:
        self._failing_since_ms = None
        if self.state is MonitorState.VIOLATING:
            if self._holding_since_ms is None:
                self._holding_since_ms = at_ms
            if at_ms - self._holding_since_ms < self._metric.keep_for_ms:
                return
            signals.append(Recovered(at_ms, value))
            self.calm_since_ms = at_ms
        self._holding_since_ms = None
        risky = self._is_near(at_ms, value) or self._is_foreseen
        self._enter(MonitorState.AT_RISK if risky else MonitorState.OK, at_ms, signals)

    def _is_near(self, at_ms: int, value: float) -> bool:
        low, high = self._safe
        if low < value < high or not has_nearness(self._metric):
            return False
        # Too little in a window that is not full is on its way, not near.
        return self._metric.condition in (Condition.LT, Condition.LTE) or self._is_full(at_ms)

    def _is_full(self, at_ms: int) -> bool:
        """Whether the sliding window can have all there is: only sums of some kind care."""
        metric = self._metric
        if metric.type is not MetricType.THRESHOLD or not is_growing(metric):
            return True
        return self._timeline.is_covered(at_ms - metric.interval, at_ms)

    def _failed(self, at_ms: int, value: float, signals: list[Signal]) -> None:
        self._holding_since_ms = None
        if self.state is MonitorState.VIOLATING:
            self._update(at_ms, value, signals)
            return
        if self._failing_since_ms is None:
            self._failing_since_ms = at_ms
        if at_ms - self._failing_since_ms >= self._metric.for_:
            self._open(at_ms, value, signals)
        else:
            self._enter(MonitorState.PENDING, at_ms, signals)

    def run_out(self, now_ms: int, signals: list[Signal]) -> None:
        """Opens the violation when ``for`` has run out by now without a word to the contrary, or to the point."""
        due_ms = self.due_ms
        if due_ms is None or due_ms > now_ms:
            return
        if self._timeline.is_covered(self.last_ms, due_ms):
            self._open(due_ms, self.value, signals)
        else:
            self._failing_since_ms = None

    @property
    def due_ms(self) -> int | None:
        """When ``for`` runs out; None when nothing is pending, or silence comes before."""
        if self._failing_since_ms is None or self.state is MonitorState.VIOLATING:
            return None
        due_ms = self._failing_since_ms + self._metric.for_
        return due_ms if due_ms - self.last_ms < self._silence_ms else None

    def _open(self, at_ms: int, value: float, signals: list[Signal]) -> None:
        self._failing_since_ms = None
        self._severity = severity_of(self._metric, value)
        self._worst = value
        self._updated_ms = at_ms
        signals.append(Opened(at_ms, value, self._severity))
        self._enter(MonitorState.VIOLATING, at_ms, signals)

    def _update(self, at_ms: int, value: float, signals: list[Signal]) -> None:
        severity = severity_of(self._metric, value)
        rises = severity.rank > self._severity.rank
        worse = is_worse(self._metric, value, self._worst)
        if rises:
            self._severity = severity
        if worse:
            self._worst = value
        if rises or worse or at_ms - self._updated_ms >= UPDATE_EVERY_MS:
            self._updated_ms = at_ms
            signals.append(Updated(at_ms, value, self._severity))

    def _enter(self, state: MonitorState, at_ms: int, signals: list[Signal]) -> None:
        if state is not self.state:
            signals.append(StateChanged(self.state, state, at_ms))
            self.state = state
        self._set_zone()

    # --- without samples -------------------------------------------------------------------------------

    def fall_silent(self, at_ms: int, signals: list[Signal]) -> None:
        """No sample came for :attr:`silence_ms`; an open violation stays open."""
        self._failing_since_ms = self._holding_since_ms = None
        if self.state not in (MonitorState.VIOLATING, MonitorState.SOURCE_ERROR):
            self._enter(MonitorState.NO_DATA, at_ms, signals)

    def source_failed(self, now_ms: int, signals: list[Signal]) -> None:
        """The source could not be asked; an open violation stays open."""
        if self.state is not MonitorState.VIOLATING:
            self._enter(MonitorState.SOURCE_ERROR, now_ms, signals)

    def source_answered(self, now_ms: int, signals: list[Signal]) -> None:
        """The source can be asked again, and has no value."""
        if self.state is MonitorState.SOURCE_ERROR:
            self._enter(MonitorState.NO_DATA, now_ms, signals)

    def pause(self) -> None:
        """The contract is suspended: neither span goes on."""
        self._failing_since_ms = self._holding_since_ms = None

    def force_close(self, now_ms: int, signals: list[Signal]) -> None:
        """An operator resolved the violation; it takes a later evaluation to open the next one."""
        if self.state is not MonitorState.VIOLATING:
            return
        self._closed_ms = self.calm_since_ms = self.last_ms
        self._failing_since_ms = self._holding_since_ms = None
        kept = self._metric.condition.holds(self.value, float(self._metric.value))
        self._enter(MonitorState.OK if kept else MonitorState.PENDING, now_ms, signals)

    # --- on disk ---------------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        return {
            "state": self.state.value,
            "value": None if isnan(self.value) else self.value,
            "probability": self.probability,
            "last": self.last_ms,
            "failing": self._failing_since_ms,
            "holding": self._holding_since_ms,
            "closed": self._closed_ms,
            "calm_since": self.calm_since_ms,
            "worst": None if isnan(self._worst) else self._worst,
            "severity": self._severity.value,
            "updated": self._updated_ms,
        }

    def load(self, dump: dict[str, Any]) -> None:
        self.state = MonitorState(dump["state"])
        self.value = nan if dump["value"] is None else dump["value"]
        self.last_ms = dump["last"]
        self._failing_since_ms = dump["failing"]
        self._holding_since_ms = dump["holding"]
        self._closed_ms = dump["closed"]
        self.calm_since_ms = dump["calm_since"]
        self._worst = nan if dump["worst"] is None else dump["worst"]
        self._severity = Severity(dump["severity"])
        self._updated_ms = dump["updated"]
        probability = dump["probability"]
        self.foresee(None if probability is None else Forecast(probability))
