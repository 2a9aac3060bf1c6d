"""Weekly hours and holidays."""

import re
from datetime import date
from typing import Literal

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.field import Value

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


_HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|24:00)")


class ServiceHours(Value):
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
