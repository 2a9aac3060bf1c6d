"""A metric: one promise about one measured quantity."""

import re
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import AliasChoices, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.condition import Condition
from slakeeper.sla.duration import MINUTE_MS
from slakeeper.sla.field import DurationMs, Flag, Name, Number, Value, Whole

_PERCENTILE_SUFFIX = re.compile(r"_p(\d{2,4})$")


class MetricType(StrEnum):
    THRESHOLD = "threshold"
    PERCENTILE = "percentile"
    TREND = "trend"


class Aggregation(StrEnum):
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    SUM = "sum"
    COUNT = "count"
    LAST = "last"
    RATE = "rate"


class NoData(StrEnum):
    """What a window without samples counts as."""

    UNKNOWN = "unknown"
    GOOD = "good"
    BAD = "bad"


def _suffix(name: str) -> Decimal | None:
    """The percentile that a name ends in; ``_p00`` is none."""
    match = _PERCENTILE_SUFFIX.search(name)
    if not match:
        return None
    return Decimal(match[1][:2] + "." + match[1][2:]) or None


class Metric(Value):
    """One promise of a contract about one measured quantity.

    Attributes:
        value: the threshold in ``unit`` (for ``trend``: of the slope, in ``unit`` per hour).
        condition: the relation that keeps the promise, aggregate on the left.
        weight: share in score and attainment, 0 < weight <= 1.
        counter: samples are readings of a counter, of which ``rate`` is how fast it rises.
        interval: detection span and length of an accounting window [ms].
        for_: how long the condition fails before a violation opens [ms].
        keep_for: how long it holds before one closes [ms]; default one interval.
        lateness: how late a sample still counts in its window [ms]; default one interval.
        alert_threshold: probability of a breach within ten intervals above which the metric is at risk, 0..1.
        query: what the source is asked (PromQL, JSON pointer, host metric); default the metric's name.
        labels: only samples that carry all of these labels count.
    """

    name: Name = Field(validation_alias=AliasChoices("name", "metric", "metric_name"))
    type: MetricType = MetricType.THRESHOLD
    value: Number
    unit: str = ""
    condition: Condition = Condition.GT
    weight: Number = Decimal(1)
    aggregation: Aggregation = Aggregation.AVG
    counter: Flag = False
    percentile: Number | None = Field(default=None, validate_default=True)
    trend_points: Whole = Field(default=10, ge=2, le=1000)
    interval: DurationMs = Field(
        default=MINUTE_MS, validation_alias=AliasChoices("interval", "measurement_interval")
    )
    for_: DurationMs = Field(
        default=0, validation_alias=AliasChoices("for", "for_"), serialization_alias="for"
    )
    keep_for: DurationMs | None = None
    lateness: DurationMs | None = None
    no_data: NoData = NoData.UNKNOWN
    deviation: Literal["auto", "relative"] = "auto"
    alert_threshold: Number = Decimal("0.95")
    source: str | None = None
    query: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)

    @field_validator("weight")
    @classmethod
    def _weight(cls, weight: Decimal) -> Decimal:
        if not 0 < weight <= 1:
            raise PydanticCustomError("invalid_metric_weight", "weight must be greater than 0 and at most 1")
        return weight

    @field_validator("alert_threshold")
    @classmethod
    def _alert_threshold(cls, threshold: Decimal) -> Decimal:
        if not 0 < threshold <= 1:
            raise PydanticCustomError("invalid_alert_threshold", "alert_threshold must be in (0, 1]")
        return threshold

    @field_validator("interval")
    @classmethod
    def _interval(cls, interval_ms: int) -> int:
        if interval_ms <= 0:
            raise PydanticCustomError("invalid_interval", "interval must be longer than 0")
        return interval_ms

    @field_validator("value")
    @classmethod
    def _value(cls, value: Decimal, info: ValidationInfo) -> Decimal:
        # A slope may be negative or nothing; with a broken type it cannot be judged.
        if value <= 0 and info.data.get("type", MetricType.TREND) is not MetricType.TREND:
            raise PydanticCustomError("invalid_metric_value", "value must be greater than 0")
        return value

    @field_validator("counter")
    @classmethod
    def _counter(cls, counter: bool, info: ValidationInfo) -> bool:
        # A broken type or aggregation is missing in info.data, and says enough.
        is_rate = info.data.get("aggregation", Aggregation.RATE) is Aggregation.RATE
        if counter and not (is_rate and info.data.get("type") is not MetricType.PERCENTILE):
            raise PydanticCustomError("invalid_counter", "counter needs aggregation: rate")
        return counter

    @field_validator("percentile")
    @classmethod
    def _percentile(cls, percentile: Decimal | None, info: ValidationInfo) -> Decimal | None:
        if percentile is not None and not 0 < percentile < 100:
            raise PydanticCustomError(
                "invalid_percentile", "percentile must lie between 0 and 100, both excluded"
            )
        kind, name = info.data.get("type"), info.data.get("name")
        if percentile is not None and kind in {MetricType.THRESHOLD, MetricType.TREND}:
            raise PydanticCustomError("invalid_percentile", "percentile needs type: percentile")
        if (
            percentile is None
            and kind is MetricType.PERCENTILE
            and name is not None
            and _suffix(name) is None
        ):
            raise PydanticCustomError(
                "invalid_percentile", "a percentile metric needs 'percentile', or a name that ends in _pNN"
            )
        return percentile

    @property
    def effective_percentile(self) -> Decimal | None:
        """The percentile asked for, or read from a ``_pNN`` suffix: p95 is 95, p999 is 99.9."""
        if self.percentile is not None:
            return self.percentile
        return _suffix(self.name)

    @property
    def keep_for_ms(self) -> int:
        return self.interval if self.keep_for is None else self.keep_for

    @property
    def lateness_ms(self) -> int:
        return self.interval if self.lateness is None else self.lateness
