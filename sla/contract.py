"""A contract: what was promised, to whom, and what a broken promise costs.

Frozen values with every key of a contract file. Both spellings of the seed load (``metrics`` and
``sla_metrics``, ``interval`` and ``measurement_interval``, …). Validation reports *all* errors of a contract;
an error's ``type`` is its reason (``invalid_service_level``, ``no_metrics_defined``, …). So that one fault never
hides another, checks across fields stand on the last of these fields (a failed field is missing in ``info.data``),
and checks across items of lists look at the document as given (:func:`~slakeeper.sla.field.validate_with`).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from slakeeper.sla.duration import DAY_MS, MINUTE_MS, format_instant
from slakeeper.sla.field import (
    DurationMs,
    Finding,
    Flag,
    InstantMs,
    Name,
    Number,
    Whole,
    check_instant,
    given,
    given_text,
    validate_with,
)
from slakeeper.sla.formula import check_formula

MIN_SERVICE_LEVEL_PCT = Decimal(90)
MAX_SERVICE_LEVEL_PCT = Decimal(100)

_CURRENCY = re.compile(r"[A-Z]{3}")
_PERCENTILE_SUFFIX = re.compile(r"_p(\d{2,4})$")


class MetricType(StrEnum):
    THRESHOLD = "threshold"
    PERCENTILE = "percentile"
    TREND = "trend"


class Condition(StrEnum):
    """What the promise says of the aggregate: it shall be greater than, less than, … the value."""

    GT = "gt"
    GTE = "gte"
    LT = "lt"
    LTE = "lte"
    EQ = "eq"
    NE = "ne"

    def holds(self, actual: float | Decimal, value: float | Decimal) -> bool:
        """Whether ``actual`` keeps the promise against ``value``."""
        match self:
            case Condition.GT:
                return actual > value
            case Condition.GTE:
                return actual >= value
            case Condition.LT:
                return actual < value
            case Condition.LTE:
                return actual <= value
            case Condition.EQ:
                return actual == value
            case Condition.NE:
                return actual != value


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


class CompensationType(StrEnum):
    CREDIT = "credit"
    REFUND = "refund"
    SERVICE_CREDIT = "service_credit"


class ContractStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _alias(*names: str) -> AliasChoices:
    return AliasChoices(*names)


def _suffix(name: str) -> Decimal | None:
    """The percentile that a name ends in; ``_p00`` is none."""
    match = _PERCENTILE_SUFFIX.search(name)
    if not match:
        return None
    return Decimal(match[1][:2] + "." + match[1][2:]) or None


def _is_negative(value: object) -> bool:
    return value.is_signed() if isinstance(value, Decimal) else isinstance(value, (int, float)) and value < 0


class Metric(_Value):
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

    name: Name = Field(validation_alias=_alias("name", "metric", "metric_name"))
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
        default=MINUTE_MS, validation_alias=_alias("interval", "measurement_interval")
    )
    for_: DurationMs = Field(default=0, validation_alias=_alias("for", "for_"), serialization_alias="for")
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


class Penalty(_Value):
    """A tier: when a period's attainment is below ``threshold`` [%], ``rate`` [% of the fee] is owed."""

    threshold: Number = Field(gt=0, le=100)
    type: CompensationType = Field(
        default=CompensationType.CREDIT, validation_alias=_alias("type", "compensation_type")
    )
    rate: Number = Field(ge=0, le=100)


class CompensationRule(_Value):
    """What one violation of one metric is worth; ``formula`` None means the seed's table."""

    metric: Name = Field(validation_alias=_alias("metric", "metric_name"))
    violation_type: Literal["below_threshold", "above_threshold", "any"] = "any"
    type: CompensationType = Field(
        default=CompensationType.CREDIT, validation_alias=_alias("type", "compensation_type")
    )
    formula: str | None = Field(default=None, validation_alias=_alias("formula", "calculation_formula"))
    auto_approve: Flag = False
    rate: Number | None = None
    base_amount: Number | None = None

    @field_validator("formula")
    @classmethod
    def _formula(cls, formula: str | None) -> str | None:
        if formula is not None:
            check_formula(formula)
        return formula


# Finer frequencies say nothing of maintenance and take minutes to search.
_RRULE = re.compile(
    r"(RRULE:)?(?=.*FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY)(;|$))[A-Z]+=[^;=:\s]+(;[A-Z]+=[^;=:\s]+)*;?"
)


class MaintenanceMode(StrEnum):
    EXCLUDE = "exclude"
    GOOD = "good"


class Maintenance(_Value):
    """A maintenance window, once or by RRULE (RFC 5545) in the contract's time zone.

    ``start`` without an offset is local time of the contract's zone, so it is kept as text until then.
    """

    start: str | int
    duration: DurationMs
    rrule: str | None = None
    mode: MaintenanceMode = MaintenanceMode.EXCLUDE
    reason: str = ""

    @field_validator("start", mode="before")
    @classmethod
    def _start(cls, start: object) -> object:
        isoformat = getattr(start, "isoformat", None)
        start = isoformat() if isoformat else start
        if isinstance(start, str):
            try:
                datetime.fromisoformat(start.strip())
            except ValueError:
                check_instant(start)  # raises
        else:
            check_instant(start)
        return start

    @field_validator("rrule")
    @classmethod
    def _rrule(cls, rule: str | None) -> str | None:
        if rule is None:
            return None
        wrong = None
        match = _RRULE.fullmatch(rule)
        if not match:
            wrong = "it must look like FREQ=WEEKLY;BYDAY=SU, with a FREQ from HOURLY to YEARLY"
        else:
            try:
                parsed = rrulestr(rule)
            except (ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
                wrong = str(error)
            else:
                if not isinstance(parsed, rrule):
                    wrong = "only a single rule can be given"
        # With INTERVAL=0 an iteration never ends.
        if wrong is None and re.search(r"INTERVAL=[-+]?0*(;|$)", rule):
            wrong = "INTERVAL must be at least 1"
        if wrong is not None:
            raise PydanticCustomError(
                "invalid_rrule", "{rule} is not a recurrence: {wrong}", {"rule": repr(rule), "wrong": wrong}
            )
        return rule


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


class ServiceHours(_Value):
    """Weekly hours in the contract's time zone outside which nothing counts."""

    days: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri")
    hours: str = "00:00-24:00"
    holidays: tuple[date, ...] = ()

    @field_validator("hours")
    @classmethod
    def _hours(cls, hours: str) -> str:
        if not _HOURS.fullmatch(hours):
            raise PydanticCustomError("invalid_service_hours", 'hours must look like "08:00-18:00"')
        return hours


def _findings(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Names given twice, and names that nothing bears, in a contract's document."""
    names: set[str] = set()
    metrics_key, metrics = given(data, "metrics", "sla_metrics")
    for index, metric in enumerate(metrics):
        name = given_text(metric, "name", "metric", "metric_name")
        if name is not None and name in names:
            yield Finding(
                (metrics_key, index, "name"), "duplicate_metric", f"metric {name} is defined twice", name
            )
        names.add(name or "")
    rules_key, rules = given(data, "compensation", "compensation_rules")
    for index, rule in enumerate(rules):
        name = given_text(rule, "metric", "metric_name")
        if name is not None and name not in names:
            message = f"compensation names {name}, which is no metric of this contract"
            yield Finding((rules_key, index, "metric"), "unknown_metric", message, name)


class Sla(_Value):
    """A contract (``sla_contract`` of the seed), checked and frozen.

    Attributes:
        service_level: the promised attainment [%], 90..100.
        time_period: length of an accounting period [ms]; None when ``calendar`` is given.
        calendar: calendar periods in ``timezone`` instead of a fixed span.
        effective_date: Unix ms from which it counts; None until the contract is first loaded.
        expiry_date: Unix ms at which it ends; or ``term`` [ms] from ``effective_date``.
        renew: at expiry a new term of the same length begins.
        fee: base of penalties and of ``base_amount``, per period, in ``currency``.
        penalty_cap: most that penalties may take of the fee in one period [%].
    """

    id: Name
    name: str = ""
    description: str = ""
    service_level: Number = Decimal("99.9")
    time_period: DurationMs | None = None
    calendar: Literal["day", "week", "month", "quarter"] | None = Field(default=None, validate_default=True)
    timezone: str = "UTC"
    effective_date: InstantMs | None = None
    expiry_date: InstantMs | None = None
    term: DurationMs | None = None
    renew: Flag = False
    status: ContractStatus = ContractStatus.ACTIVE
    owner_team: str = Field(default="", validation_alias=_alias("owner_team", "owner"))
    approver: str = ""
    fee: Number | None = Field(default=None, ge=0)
    currency: str = "EUR"
    isolation: Literal["shared", "process"] = "shared"
    depends_on: tuple[Name, ...] = ()
    service_hours: ServiceHours | None = None
    maintenance: tuple[Maintenance, ...] = ()
    metrics: tuple[Metric, ...] = Field(
        default=(), validate_default=True, validation_alias=_alias("metrics", "sla_metrics")
    )
    penalties: tuple[Penalty, ...] = Field(default=(), validation_alias=_alias("penalties", "penalty_terms"))
    penalty_cap: Number | None = Field(default=None, gt=0, le=100)
    compensation: tuple[CompensationRule, ...] = Field(
        default=(), validation_alias=_alias("compensation", "compensation_rules")
    )

    @field_validator("service_level")
    @classmethod
    def _service_level(cls, level: Decimal) -> Decimal:
        if not MIN_SERVICE_LEVEL_PCT <= level <= MAX_SERVICE_LEVEL_PCT:
            raise PydanticCustomError("invalid_service_level", "service_level must be from 90 to 100 percent")
        return level

    @field_validator("time_period", mode="before")
    @classmethod
    def _time_period_sign(cls, period: object) -> object:
        # The seed's reason; parse_duration would call a negative span no duration at all.
        negative = period.lstrip().startswith("-") if isinstance(period, str) else _is_negative(period)
        if negative:
            raise PydanticCustomError("invalid_time_period", "time_period must be longer than 0")
        return period

    @field_validator("time_period")
    @classmethod
    def _time_period(cls, period_ms: int | None) -> int | None:
        if period_ms is not None and period_ms <= 0:
            raise PydanticCustomError("invalid_time_period", "time_period must be longer than 0")
        return period_ms

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, zone: str) -> str:
        try:
            ZoneInfo(zone)
        except (ValueError, OSError, KeyError) as error:
            raise PydanticCustomError(
                "invalid_timezone", "{zone} is not a time zone", {"zone": repr(zone)}
            ) from error
        return zone

    @field_validator("currency")
    @classmethod
    def _currency(cls, currency: str) -> str:
        if not _CURRENCY.fullmatch(currency):
            raise PydanticCustomError("invalid_currency", "currency is three capital letters, such as EUR")
        return currency

    @field_validator("metrics")
    @classmethod
    def _metrics(cls, metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
        if not metrics:
            raise PydanticCustomError("no_metrics_defined", "a contract needs at least one metric")
        return metrics

    @field_validator("penalties")
    @classmethod
    def _penalties(cls, penalties: tuple[Penalty, ...]) -> tuple[Penalty, ...]:
        if len({penalty.threshold for penalty in penalties}) < len(penalties):
            raise PydanticCustomError("duplicate_penalty", "two penalties have the same threshold")
        return penalties

    @field_validator("calendar")
    @classmethod
    def _calendar(cls, calendar: str | None, info: ValidationInfo) -> str | None:
        if calendar and info.data.get("time_period") is not None:
            raise PydanticCustomError("invalid_time_period", "give time_period or calendar, not both")
        return calendar

    @field_validator("expiry_date")
    @classmethod
    def _expiry_date(cls, expiry_ms: int | None, info: ValidationInfo) -> int | None:
        begin_ms = info.data.get("effective_date")
        if expiry_ms is not None and begin_ms is not None and expiry_ms <= begin_ms:
            raise PydanticCustomError("invalid_term", "expiry_date must come after effective_date")
        return expiry_ms

    @field_validator("term")
    @classmethod
    def _term(cls, term_ms: int | None, info: ValidationInfo) -> int | None:
        if term_ms == 0:
            raise PydanticCustomError("invalid_term", "term must be longer than 0")
        if term_ms is not None and info.data.get("expiry_date") is not None:
            raise PydanticCustomError("invalid_term", "give expiry_date or term, not both")
        return term_ms

    @field_validator("renew")
    @classmethod
    def _renew(cls, renew: bool, info: ValidationInfo) -> bool:
        # A broken date or term is missing in info.data: then there was one.
        if (
            renew
            and info.data.get("expiry_date", "broken") is None
            and info.data.get("term", "broken") is None
        ):
            raise PydanticCustomError("invalid_term", "renew needs a term or an expiry_date")
        return renew

    @model_validator(mode="wrap")
    @classmethod
    def _cross_references(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        return validate_with(_findings(data) if isinstance(data, Mapping) else (), data, handler)

    @property
    def time_period_ms(self) -> int:
        """The fixed period [ms]; the seed's 24 h when neither time_period nor calendar is given."""
        return DAY_MS if self.time_period is None else self.time_period

    def metric(self, name: str) -> Metric:
        """The metric of that name.

        Raises:
            KeyError: the contract has none.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    def to_document(self) -> dict[str, Any]:
        """The contract as plain JSON values under its field names; :meth:`from_document` reads it back.

        Decimals become text; durations integer ms; instants (Unix ms here) are written as ISO 8601.
        """
        document = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        for key in ("effective_date", "expiry_date"):
            if key in document:
                document[key] = format_instant(document[key])
        return document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Reads what :meth:`to_document` wrote, or any mapping with a contract's keys.

        Raises:
            pydantic.ValidationError: with every error of the contract.
        """
        return cls.model_validate(document)
