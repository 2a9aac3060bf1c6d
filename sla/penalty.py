"""What a broken promise costs: tiers of a period's attainment, and rules for single violations."""

from enum import StrEnum
from typing import Literal

from pydantic import AliasChoices, Field, field_validator

from slakeeper.sla.field import Flag, Name, Number, Value
from slakeeper.sla.formula import check_formula


class CompensationType(StrEnum):
    CREDIT = "credit"
    REFUND = "refund"
    SERVICE_CREDIT = "service_credit"


class Penalty(Value):
    """A tier: when a period's attainment is below ``threshold`` [%], ``rate`` [% of the fee] is owed."""

    threshold: Number = Field(gt=0, le=100)
    type: CompensationType = Field(
        default=CompensationType.CREDIT, validation_alias=AliasChoices("type", "compensation_type")
    )
    rate: Number = Field(ge=0, le=100)


class CompensationRule(Value):
    """What one violation of one metric is worth; ``formula`` None means the seed's table."""

    metric: Name = Field(validation_alias=AliasChoices("metric", "metric_name"))
    violation_type: Literal["below_threshold", "above_threshold", "any"] = "any"
    type: CompensationType = Field(
        default=CompensationType.CREDIT, validation_alias=AliasChoices("type", "compensation_type")
    )
    formula: str | None = Field(default=None, validation_alias=AliasChoices("formula", "calculation_formula"))
    auto_approve: Flag = False
    rate: Number | None = None
    base_amount: Number | None = None

    @field_validator("formula")
    @classmethod
    def _formula(cls, formula: str | None) -> str | None:
        if formula is not None:
            check_formula(formula)
        return formula
