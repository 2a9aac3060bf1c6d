"""A contract: what was promised, to whom, and what a broken promise costs.

Frozen values with every key of a contract file. Both spellings of the seed load (``metrics`` and
``sla_metrics``, ``interval`` and ``measurement_interval``, …). Validation reports *all* errors of a contract;
an error's ``type`` is its reason (``invalid_service_level``, ``no_metrics_defined``, …).
"""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AliasChoices,
    Field,
    ModelWrapValidatorHandler,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from slakeeper.sla.duration import DAY_MS, format_instant
from slakeeper.sla.field import (
    DurationMs,
    Finding,
    Flag,
    InstantMs,
    Name,
    Number,
    Value,
    given,
    given_text,
    validate_with,
)
from slakeeper.sla.maintenance import Maintenance
from slakeeper.sla.metric import Metric
from slakeeper.sla.penalty import CompensationRule, Penalty
from slakeeper.sla.service_hours import ServiceHours

MIN_SERVICE_LEVEL_PCT = Decimal(90)
MAX_SERVICE_LEVEL_PCT = Decimal(100)

_CURRENCY = re.compile(r"[A-Z]{3}")


class ContractStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    EXPIRED = "expired"


def _is_negative(value: object) -> bool:
    return value.is_signed() if isinstance(value, Decimal) else isinstance(value, (int, float)) and value < 0


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


class Sla(Value):
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
    owner_team: str = Field(default="", validation_alias=AliasChoices("owner_team", "owner"))
    approver: str = ""
    fee: Number | None = Field(default=None, ge=0)
    currency: str = "EUR"
    isolation: Literal["shared", "process"] = "shared"
    depends_on: tuple[Name, ...] = ()
    service_hours: ServiceHours | None = None
    maintenance: tuple[Maintenance, ...] = ()
    metrics: tuple[Metric, ...] = Field(
        default=(), validate_default=True, validation_alias=AliasChoices("metrics", "sla_metrics")
    )
    penalties: tuple[Penalty, ...] = Field(
        default=(), validation_alias=AliasChoices("penalties", "penalty_terms")
    )
    penalty_cap: Number | None = Field(default=None, gt=0, le=100)
    compensation: tuple[CompensationRule, ...] = Field(
        default=(), validation_alias=AliasChoices("compensation", "compensation_rules")
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
