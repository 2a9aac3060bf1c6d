"""How long to wait before the next try: exponential, bounded, spread by a fraction that is an input."""

from dataclasses import dataclass
from zlib import crc32

# 2**64 times the smallest wait is past any cap that means anything; without this, a shift by a large attempt
# number would build a huge integer only to throw it away.
_MAX_DOUBLINGS = 64


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from ``min_ms`` to ``max_ms``, each made longer by up to ``jitter_ratio``.

    Args:
        min_ms: the first wait [ms], > 0.
        max_ms: no wait is longer than this before jitter [ms], >= min_ms.
        jitter_ratio: the most that is added, as a ratio of the wait, 0 <= x <= 1.

    Raises:
        ValueError: a bound is broken.
    """

    min_ms: int
    max_ms: int
    jitter_ratio: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.min_ms <= self.max_ms:
            raise ValueError(f"a backoff needs 0 < min_ms <= max_ms, not {self.min_ms} and {self.max_ms}")
        if not 0 <= self.jitter_ratio <= 1:
            raise ValueError(f"a backoff needs 0 <= jitter_ratio <= 1, not {self.jitter_ratio}")

    def delay_ms(self, attempt: int, fraction: float) -> int:
        """The wait before a try.

        Args:
            attempt: how many waits came before this one, >= 0.
            fraction: where in the jitter it falls, 0 <= fraction < 1; see ``jitter_fraction``.

        Returns:
            ``min(max_ms, min_ms * 2**attempt) * (1 + fraction * jitter_ratio)``, whole milliseconds, rounded down.

        Source: Apache Pekko, BackoffSupervisor.calculateDelay.
        """
        base_ms = min(self.max_ms, self.min_ms << min(attempt, _MAX_DOUBLINGS))
        return base_ms + int(base_ms * self.jitter_ratio * fraction)

    def longest_ms(self, attempts: int) -> int:
        """The most that the first ``attempts`` waits together can last [ms]; 0 for none."""
        total_ms, base_ms = 0, self.min_ms
        for attempt in range(attempts):
            if base_ms >= self.max_ms:
                return total_ms + (attempts - attempt) * self.delay_ms(attempt, 1.0)
            total_ms += self.delay_ms(attempt, 1.0)
            base_ms *= 2
        return total_ms


def jitter_fraction(name: str, attempt: int) -> float:
    """A fraction in [0, 1) that is always the same for the same name and attempt.

    Different children that fail together wait for different times, and a run that is played again does
    exactly the same; a hash does both where a random number would do only the first.
    """
    return crc32(f"{name}\0{attempt}".encode()) / 2**32
