"""An account: what a stretch of time was worth for one metric, in integer milliseconds."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction


class Verdict(StrEnum):
    """What an accounting window was worth; ``excluded`` when a cut left nothing of it."""

    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Account:
    """The time of one metric within a period, sorted by worth [ms].

    Of a running period only closed accounting windows are in it, so
    ``known_ms + unknown_ms + excluded_ms`` is the time settled so far, and
    ``end_ms`` is where the period will end. ``known_ms == good_ms + bad_ms`` always.

    Attributes:
        parts: the same time by the versions of the contract in which it counts, in order; none where nobody asked
            for it. How an account is divided is no part of what it is worth, so it does not count in a comparison.
    """

    start_ms: int
    end_ms: int
    known_ms: int = 0
    good_ms: int = 0
    bad_ms: int = 0
    unknown_ms: int = 0
    excluded_ms: int = 0
    parts: tuple["Part", ...] = field(default=(), compare=False)

    @property
    def settled_ms(self) -> int:
        """How much of the period has been settled [ms]."""
        return self.known_ms + self.unknown_ms + self.excluded_ms

    @property
    def attainment(self) -> Fraction | None:
        """Share of known time that kept the promise [%], exact; None without known time."""
        return Fraction(100 * self.good_ms, self.known_ms) if self.known_ms else None


@dataclass(frozen=True, slots=True)
class Part:
    """What of an account counts with one weight beside one set of metrics.

    Attributes:
        chapter: the version of the contract that gave its metrics the weights of this part; parts of one chapter, of
            whichever metric, are weighed against each other.
        weight: of the metric in that chapter; 0 while it was no part of the contract.
        account: the time within the chapter.
    """

    chapter: int
    weight: Decimal
    account: Account
