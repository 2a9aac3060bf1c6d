"""The relation that a promise states between what is measured and the value promised."""

from decimal import Decimal
from enum import StrEnum


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
