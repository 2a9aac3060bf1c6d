"""Calm stretches of a history: accounting windows in which nothing can follow from any sample, passed over as wholes.

While a metric is well, and every sample of a stretch lies strictly within the zone in which its promise is kept with
room to spare, so does every average, extreme, percentile and latest value of them: detection has nothing to say and
every window is good. Where single samples do not, averages and percentiles are followed by running sums and counts.
All that could still turn up is the forecast. That no forecast of a whole group of windows can say that a breach is
near follows from a few figures of all their aggregates (:func:`slakeeper.sla.forecast.is_surely_below`): the nearest to
the promised value, and the greatest rise and the greatest sum of squares of any that one forecast is made from. Only
where that does not do, each is made.

Groups are as large as it goes well, and nothing is done window by window where samples come as regularly as they
mostly do: a year in windows of a minute has half a million of them.

What is proved to be calm is not evaluated. The result is the same to the last bit, and a test holds it to that.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from math import sqrt
from operator import le, lt, mul, neg, sub, truediv
from typing import NamedTuple

from slakeeper.sla.condition import Condition
from slakeeper.sla.forecast import POINTS, Point, foresee, is_surely_below
from slakeeper.sla.grid import EXACT_ENTRIES
from slakeeper.sla.metric import Aggregation, Metric, MetricType

MOST_SAMPLES = EXACT_ENTRIES // 4
"""In a window; with more, a sliding window that covers parts of two might be crowded, and then it has a history."""

# Far more than the forecast and the averages here lose by rounding.
_SLACK = 1e-6
_ROUNDING = 1e-9

_MOST_WINDOWS = 64 * POINTS
"""At a time: beyond, doing nothing for each of them gains little, and the nearest of more is nearer."""

_MOST_AVERAGED = 2_000
"""Samples whose running sums are certain to lose less than ``_ROUNDING``."""


class Stretch(NamedTuple):
    """Calm windows one after the other.

    Attributes:
        start_ms: of the first [Unix ms].
        places: of the first sample of each window, and of the first after them.
    """

    start_ms: int
    places: list[int]

    @property
    def windows(self) -> int:
        return len(self.places) - 1


def can_be_calm(metric: Metric) -> bool:
    """Whether the metric's aggregates lie between the least and the greatest of their samples."""
    if metric.type is MetricType.PERCENTILE:
        return True
    return metric.type is MetricType.THRESHOLD and metric.aggregation in (
        Aggregation.AVG,
        Aggregation.MIN,
        Aggregation.MAX,
        Aggregation.LAST,
    )


def find(
    metric: Metric,
    zone: tuple[float, float],
    points: Sequence[Point],
    ts_ms: Sequence[int],
    values: Sequence[float],
    start_ms: int,
    limit_ms: int,
) -> Stretch:
    """The calm windows from ``start_ms`` on, none later than ``limit_ms``.

    Args:
        metric: one that :func:`can_be_calm`.
        zone: strictly between these its aggregates have nothing to say.
        points: interval aggregates before ``start_ms``, from which a forecast is made there.
        ts_ms, values: samples in order of time, from an interval before ``start_ms`` on.
        start_ms: where an accounting window begins; nothing is cut out from there to ``limit_ms``.
    """
    interval_ms = metric.interval
    places = [bisect_left(ts_ms, start_ms)]
    if not _are_regular(points, start_ms, interval_ms):
        return Stretch(start_ms, places)
    aggregates_of = _aggregates(metric, ts_ms, values)
    limit_ms = min(limit_ms, ts_ms[-1])
    recent = list(points[-POINTS:])
    group_ms, most = start_ms, POINTS
    while True:
        group = _windows(
            ts_ms, places[-1], group_ms, interval_ms, min(most, (limit_ms - group_ms) // interval_ms)
        )
        if len(group) == 1:
            break
        end_ms = group_ms + (len(group) - 1) * interval_ms
        instants = range(group_ms, end_ms, interval_ms)
        aggregates = aggregates_of(group) if _stays_between(metric, zone, ts_ms, values, group) else None
        if aggregates is not None and _is_unforeseen(metric, recent, instants, aggregates):
            places += group[1:]
            newest = zip(instants[-POINTS:], aggregates[-POINTS:], strict=True)
            recent = [*recent, *newest][-POINTS:]
            group_ms, most = end_ms, min(2 * most, _MOST_WINDOWS)
        elif most > POINTS:
            most = POINTS
        else:
            break
    return Stretch(start_ms, places)


def _windows(ts_ms: Sequence[int], begin: int, start_ms: int, interval_ms: int, most: int) -> Sequence[int]:
    """The places where windows from ``start_ms`` on begin, and where the last one ends; none is empty or crowded.

    A range when each has as many samples as the first.
    """
    count = len(ts_ms)

    def end_of(begin: int, end_ms: int) -> int:
        return bisect_left(ts_ms, end_ms, begin, min(count, begin + MOST_SAMPLES + 1))

    each = end_of(begin, start_ms + interval_ms) - begin
    if most <= 0 or not 0 < each <= MOST_SAMPLES:
        return range(begin, begin + 1)
    regular = range(begin, min(begin + most * each, count - 1) + 1, each)
    end, end_ms = regular[-1], start_ms + (len(regular) - 1) * interval_ms
    if (
        ts_ms[end] >= end_ms
        and all(map(le, range(start_ms, end_ms, interval_ms), ts_ms[begin:end:each]))
        and all(
            map(
                lt,
                ts_ms[begin + each - 1 : end : each],
                range(start_ms + interval_ms, end_ms + 1, interval_ms),
            )
        )
    ):
        return regular
    places = [begin]
    for end_ms in range(start_ms + interval_ms, start_ms + most * interval_ms + 1, interval_ms):
        end = end_of(begin, end_ms)
        if not 0 < end - begin <= MOST_SAMPLES:
            break
        places.append(end)
        begin = end
    return places


def aggregate(metric: Metric, ts_ms: Sequence[int], values: Sequence[float], begin: int, end: int) -> float:
    """What a window with the samples from one place to another leaves behind for the forecast, but for rounding."""
    return _aggregates(metric, ts_ms, values)([begin, end])[0]


def _stays_between(
    metric: Metric,
    zone: tuple[float, float],
    ts_ms: Sequence[int],
    values: Sequence[float],
    places: Sequence[int],
) -> bool:
    """Whether the aggregates of the windows, and the sliding one at each sample, lie strictly within the zone."""
    low, high = zone
    begin, end = places[0], places[-1]
    first = bisect_right(ts_ms, ts_ms[begin] - metric.interval, 0, begin)
    part = values[first:end]
    least, greatest = min(part), max(part)
    if low < least and greatest < high:
        return True
    slices = [
        *((start - first, stop - first) for start, stop in pairwise(places)),
        *_sliding(ts_ms[first:end], metric.interval, begin - first),
    ]
    if metric.type is MetricType.PERCENTILE:
        return _percentiles_stay(metric, zone, part, slices)
    if metric.aggregation is not Aggregation.AVG or len(part) > _MOST_AVERAGED:
        return False
    rounding = _ROUNDING * max(abs(least), abs(greatest))
    sums = list(accumulate(part, initial=0.0))
    return all(
        low + rounding < (sums[stop] - sums[start]) / (stop - start) < high - rounding
        for start, stop in slices
    )


def _percentiles_stay(
    metric: Metric, zone: tuple[float, float], values: Sequence[float], slices: Sequence[tuple[int, int]]
) -> bool:
    """A percentile is above ``low`` when fewer samples than its rank are not, below ``high`` when as many are."""
    low, high = zone
    numerator, denominator = _share(metric)
    not_above = list(accumulate((x <= low for x in values), initial=0))
    below = list(accumulate((x < high for x in values), initial=0))
    return all(
        not_above[stop] - not_above[start]
        < max(1, -(-(stop - start) * numerator // denominator))
        <= below[stop] - below[start]
        for start, stop in slices
    )


def _sliding(ts_ms: Sequence[int], interval_ms: int, begin: int) -> Iterator[tuple[int, int]]:
    """Where the sliding window begins and ends at each sample from ``begin`` on."""
    start = 0
    for place in range(begin, len(ts_ms)):
        limit_ms = ts_ms[place] - interval_ms
        while ts_ms[start] <= limit_ms:
            start += 1
        # Of several at one instant each is an evaluation of its own.
        yield start, place + 1


def _share(metric: Metric) -> tuple[int, int]:
    return (Fraction(metric.effective_percentile or 0) / 100).as_integer_ratio()


def _aggregates(
    metric: Metric, ts_ms: Sequence[int], values: Sequence[float]
) -> Callable[[Sequence[int]], list[float]]:
    """What windows leave behind for the forecast, by the places where they begin and the last one ends."""
    if metric.type is MetricType.PERCENTILE:
        numerator, denominator = _share(metric)

        def percentile(end: int) -> float:
            first = bisect_right(ts_ms, ts_ms[end - 1] - metric.interval, 0, end)
            ordered = sorted(values[first:end])
            return ordered[max(1, -(-len(ordered) * numerator // denominator)) - 1]

        return lambda places: [percentile(end) for end in places[1:]]
    match metric.aggregation:
        case Aggregation.MIN:
            return lambda places: list(map(min, _parts(values, places)))
        case Aggregation.MAX:
            return lambda places: list(map(max, _parts(values, places)))
        case Aggregation.LAST:
            return lambda places: [values[end - 1] for end in places[1:]]
        case _:
            return lambda places: list(
                map(truediv, map(sum, _parts(values, places)), map(sub, places[1:], places))
            )


def _parts(values: Sequence[float], places: Sequence[int]) -> Iterable[Sequence[float]]:
    """The samples of each window."""
    if isinstance(places, range):
        return zip(*[iter(values[places[0] : places[-1]])] * places.step, strict=True)
    return (values[begin:end] for begin, end in pairwise(places))


def _are_regular(points: Sequence[Point], start_ms: int, interval_ms: int) -> bool:
    """Whether there are as many as a forecast takes, each of them at least an interval after the one before."""
    instants = [at_ms for at_ms, _ in points[-POINTS - 1 :]] + [start_ms]
    return len(points) >= POINTS and all(
        later - sooner >= interval_ms for sooner, later in pairwise(instants)
    )


def _is_unforeseen(
    metric: Metric, recent: Sequence[Point], instants: Sequence[int], aggregates: Sequence[float]
) -> bool:
    """Whether no forecast from :data:`POINTS` in a row of ``recent`` and what follows can say that a breach is near."""
    value, alert = float(metric.value), float(metric.alert_threshold) * (1 - _SLACK)
    if _is_far([*(x for _, x in recent), *aggregates], metric.condition, value, alert):
        return True
    if len(aggregates) > POINTS:
        return False
    # The bound of many together is generous; of each alone it is less so.
    points = [*recent, *zip(instants, aggregates, strict=True)]
    return not any(
        foresee(points[first : first + POINTS], metric.condition, value, metric.interval).exceeds(alert)
        for first in range(len(points) - POINTS + 1)
    )


def _is_far(aggregates: Sequence[float], condition: Condition, value: float, alert: float) -> bool:
    """Whether that follows from figures of all of them."""
    rounding = _ROUNDING * max(map(abs, aggregates))
    if condition not in (Condition.LT, Condition.LTE):
        aggregates, value = list(map(neg, aggregates)), -value
    return is_surely_below(
        alert,
        value - max(aggregates) - rounding,
        max(map(sub, aggregates[POINTS - 1 :], aggregates)) + 2 * rounding,
        _greatest_deviation(aggregates) + 2 * rounding,
        POINTS - 1,
    )


def _greatest_deviation(aggregates: Sequence[float]) -> float:
    """The greatest of any :data:`POINTS` in a row; see :func:`slakeeper.sla.forecast.is_surely_below`."""
    level = sum(aggregates) / len(aggregates)
    above = [x - level for x in aggregates]
    squares = list(accumulate(map(mul, above, above), initial=0.0))
    return sqrt(max(map(sub, squares[POINTS:], squares)) / (POINTS - 1))
