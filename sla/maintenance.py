"""Maintenance that was announced: once, or again and again."""

import re
from datetime import datetime
from enum import StrEnum

from dateutil.rrule import rrule, rrulestr
from pydantic import field_validator
from pydantic_core import PydanticCustomError

from slakeeper.sla.field import DurationMs, Value, check_instant

# Finer frequencies say nothing of maintenance and take minutes to search.
_RRULE = re.compile(
    r"(RRULE:)?(?=.*FREQ=(YEARLY|MONTHLY|WEEKLY|DAILY|HOURLY)(;|$))[A-Z]+=[^;=:\s]+(;[A-Z]+=[^;=:\s]+)*;?"
)


class MaintenanceMode(StrEnum):
    EXCLUDE = "exclude"
    GOOD = "good"


class Maintenance(Value):
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
