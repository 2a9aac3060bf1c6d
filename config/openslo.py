"""The objects of OpenSLO v1 as values, as far as the specification fixes their shape.

Keys that it does not know are kept (``model_extra``), so that what has no meaning here can be named and is never
dropped in silence. Source: https://github.com/OpenSLO/OpenSLO, README and ``schemas/v1``.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from slakeeper.sla.condition import Condition
from slakeeper.sla.duration import DAY_MS, HOUR_MS, MINUTE_MS, WEEK_MS
from slakeeper.sla.field import MAX_DIGITS, Flag, Number

API_VERSION: Final = "openslo/v1"

_FIXED_MS: Final = {"m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS, "w": WEEK_MS}

# Enough for every duration that means something.
_MAX_DIGITS: Final = 9


def _check_shorthand(text: str) -> str:
    number, unit = text[:-1], text[-1:]
    sane = number.isascii() and number.isdecimal() and number[0] != "0" and len(number) <= _MAX_DIGITS
    if not sane or unit not in {*_FIXED_MS, *"MQY"}:
        raise PydanticCustomError(
            "invalid_duration",
            "{text} is no duration of OpenSLO: a whole number and one of m h d w M Q Y",
            {"text": repr(text)},
        )
    return text


Shorthand = Annotated[str, AfterValidator(_check_shorthand)]
"""A duration such as ``30d`` or ``1M``: m, h, d, w have a fixed length; M (month), Q and Y have none."""


def fixed_ms(duration: str) -> int | None:
    """The length of a shorthand [ms]; None of months, quarters and years."""
    unit_ms = _FIXED_MS.get(duration[-1])
    return None if unit_ms is None else int(duration[:-1]) * unit_ms


def write_shorthand(duration_ms: int) -> str | None:
    """A length [ms] as a shorthand in its largest unit; None when it is not a whole number of minutes."""
    for unit, unit_ms in reversed(_FIXED_MS.items()):
        if duration_ms > 0 and duration_ms % unit_ms == 0:
            return f"{duration_ms // unit_ms}{unit}"
    return None


# Room for every digit that a number may have, and for the two places that a percentage moves.
_EXACT: Final = Context(prec=MAX_DIGITS + 3)


def share_of(percentage: Decimal) -> Decimal:
    """99.9 as 0.999, exactly."""
    return _EXACT.normalize(_EXACT.divide(percentage, Decimal(100)))


def percentage_of(share: Decimal) -> Decimal:
    """0.999 as 99.9, exactly."""
    return tidy(_EXACT.multiply(share, Decimal(100)))


def tidy(number: Decimal) -> Decimal:
    """Without trailing zeros, and never as 1E+2."""
    return _EXACT.add(_EXACT.normalize(number), Decimal(0))


class _Value(BaseModel):
    # The aliases are dynamic, which does no harm: these are made of files, never by name in code.
    model_config = ConfigDict(frozen=True, extra="allow", alias_generator=to_camel)  # type: ignore[pydantic-alias]


class Metadata(_Value):
    """What every object is called; labels are for people, annotations for programs."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    display_name: str = ""
    labels: dict[str, str | tuple[str, ...]] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class MetricSource(_Value):
    """Where a query goes: a DataSource by name, or a type alone; ``spec`` is the source's own."""

    metric_source_ref: str | None = None
    type: str | None = None
    spec: dict[str, Any]


class SourcedMetric(_Value):
    metric_source: MetricSource


class RatioMetric(_Value):
    """good or bad of total, or ``raw``, a ratio somebody else has computed (0..1)."""

    counter: Flag = False
    good: SourcedMetric | None = None
    bad: SourcedMetric | None = None
    total: SourcedMetric | None = None
    raw: SourcedMetric | None = None
    raw_type: Literal["success", "failure"] | None = None

    @model_validator(mode="after")
    def _is_one_ratio(self) -> Self:
        parts = [self.good is not None, self.bad is not None, self.total is not None]
        if self.raw is not None:
            if any(parts) or self.raw_type is None:
                raise PydanticCustomError(
                    "invalid_ratio", "'raw' goes with 'rawType', without good, bad, total"
                )
        elif not parts[2] or parts[0] == parts[1]:
            raise PydanticCustomError(
                "invalid_ratio", "a ratio is 'total' with one of 'good' and 'bad', or 'raw'"
            )
        return self


class SliSpec(_Value):
    description: str = ""
    threshold_metric: SourcedMetric | None = None
    ratio_metric: RatioMetric | None = None

    @model_validator(mode="after")
    def _is_one_metric(self) -> Self:
        if (self.threshold_metric is None) == (self.ratio_metric is None):
            raise PydanticCustomError(
                "invalid_indicator", "an indicator has either 'thresholdMetric' or 'ratioMetric'"
            )
        return self


class Calendar(_Value):
    """Where the first window begins, in local time of ``time_zone``."""

    start_time: str
    time_zone: str

    @field_validator("start_time")
    @classmethod
    def _start_time(cls, text: str) -> str:
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise PydanticCustomError(
                "invalid_start_time",
                "{text} is no date with a time: 2026-01-31 12:30:00",
                {"text": repr(text)},
            ) from error
        return text

    @property
    def start(self) -> datetime:
        """The start as the clock on the wall of the zone shows it."""
        return datetime.fromisoformat(self.start_time).replace(tzinfo=None)


class TimeWindow(_Value):
    duration: Shorthand
    is_rolling: Flag = False
    calendar: Calendar | None = None

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        if self.is_rolling == (self.calendar is not None):
            raise PydanticCustomError(
                "invalid_time_window", "a time window has either 'isRolling: true' or 'calendar'"
            )
        return self


class Objective(_Value):
    """What share of events or slices must be good (``target``, or ``targetPercent``)."""

    display_name: str = ""
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    value: Number | None = None
    target: Number | None = Field(default=None, ge=0, lt=1)
    target_percent: Number | None = Field(default=None, ge=0, lt=100)
    time_slice_target: Number | None = Field(default=None, gt=0, le=1)
    time_slice_window: Number | Shorthand | None = None

    @model_validator(mode="after")
    def _has_one_target(self) -> Self:
        if (self.target is None) == (self.target_percent is None):
            raise PydanticCustomError("invalid_target", "an objective has 'target' or 'targetPercent'")
        return self

    @property
    def target_pct(self) -> Decimal:
        """The target [%]."""
        if self.target_percent is not None:
            return tidy(self.target_percent)
        return percentage_of(self.target or Decimal(0))

    @property
    def condition(self) -> Condition | None:
        return None if self.op is None else Condition(self.op)

    @property
    def slice_ms(self) -> Decimal | None:
        """The length of a slice [ms]; a number alone is minutes. None when there is none of a fixed length."""
        window = self.time_slice_window
        if isinstance(window, Decimal):
            return window * MINUTE_MS
        length_ms = None if window is None else fixed_ms(window)
        return None if length_ms is None else Decimal(length_ms)


class Indicator(_Value):
    """An SLI that stands within its SLO."""

    metadata: Metadata | None = None
    spec: SliSpec


class BurnRate(_Value):
    kind: Literal["burnrate"] = "burnrate"
    op: Literal["lte", "gte", "lt", "gt"] | None = None
    threshold: Number
    lookback_window: Shorthand
    alert_after: str = "0m"


class AlertConditionSpec(_Value):
    description: str = ""
    severity: str
    condition: BurnRate


class TargetSpec(_Value):
    description: str = ""
    target: str


class ConditionItem(_Value):
    """A condition within its policy, or the name of one."""

    condition_ref: str | None = None
    kind: Literal["AlertCondition"] | None = None
    metadata: Metadata | None = None
    spec: AlertConditionSpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.condition_ref is None) == (self.spec is None):
            raise PydanticCustomError("invalid_condition", "give either 'conditionRef' or 'kind' with 'spec'")
        return self


class TargetItem(_Value):
    """A target within its policy, or the name of one."""

    target_ref: str | None = None
    kind: Literal["AlertNotificationTarget"] | None = None
    metadata: Metadata | None = None
    spec: TargetSpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.target_ref is None) == (self.spec is None):
            raise PydanticCustomError("invalid_target", "give either 'targetRef' or 'kind' with 'spec'")
        return self


class AlertPolicySpec(_Value):
    description: str = ""
    alert_when_no_data: Flag = False
    alert_when_resolved: Flag = False
    alert_when_breaching: Flag = False
    conditions: tuple[ConditionItem, ...] = Field(min_length=1, max_length=1)
    notification_targets: tuple[TargetItem, ...] = Field(min_length=1)


class PolicyItem(_Value):
    """A policy within its SLO, or the name of one."""

    alert_policy_ref: str | None = None
    kind: Literal["AlertPolicy"] | None = None
    metadata: Metadata | None = None
    spec: AlertPolicySpec | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.alert_policy_ref is None) == (self.spec is None):
            raise PydanticCustomError(
                "invalid_alert_policy", "give either 'alertPolicyRef' or 'kind' with 'spec'"
            )
        return self


BudgetingMethod = Literal["Occurrences", "Timeslices", "RatioTimeslices"]


class SloSpec(_Value):
    description: str = ""
    service: str
    indicator: Indicator | None = None
    indicator_ref: str | None = None
    time_window: tuple[TimeWindow, ...] = Field(default=(), max_length=1)
    budgeting_method: BudgetingMethod
    objectives: tuple[Objective, ...] = Field(min_length=1)
    alert_policies: tuple[PolicyItem, ...] = ()

    @field_validator("alert_policies", mode="before")
    @classmethod
    def _names(cls, items: object) -> object:
        # The project's own Go types and many files give names alone.
        if not isinstance(items, list):
            return items
        return [{"alertPolicyRef": item} if isinstance(item, str) else item for item in items]

    @model_validator(mode="after")
    def _has_one_indicator(self) -> Self:
        if (self.indicator is None) == (self.indicator_ref is None):
            raise PydanticCustomError("invalid_indicator", "an SLO has either 'indicator' or 'indicatorRef'")
        return self


class ServiceSpec(_Value):
    description: str = ""


class DataSourceSpec(_Value):
    description: str = ""
    type: str
    connection_details: Any = None


class Object(_Value):
    """Common to all kinds."""

    api_version: Literal["openslo/v1"]
    metadata: Metadata


class Slo(Object):
    kind: Literal["SLO"]
    spec: SloSpec


class Sli(Object):
    kind: Literal["SLI"]
    spec: SliSpec


class Service(Object):
    kind: Literal["Service"]
    spec: ServiceSpec = Field(default_factory=ServiceSpec)


class DataSource(Object):
    kind: Literal["DataSource"]
    spec: DataSourceSpec


class AlertPolicy(Object):
    kind: Literal["AlertPolicy"]
    spec: AlertPolicySpec


class AlertCondition(Object):
    kind: Literal["AlertCondition"]
    spec: AlertConditionSpec


class AlertNotificationTarget(Object):
    kind: Literal["AlertNotificationTarget"]
    spec: TargetSpec


KINDS: Final[Mapping[str, type[Object]]] = {
    "SLO": Slo,
    "SLI": Sli,
    "Service": Service,
    "DataSource": DataSource,
    "AlertPolicy": AlertPolicy,
    "AlertCondition": AlertCondition,
    "AlertNotificationTarget": AlertNotificationTarget,
}
