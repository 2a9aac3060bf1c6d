"""Time as a port: the same code runs on the wall clock and on virtual time."""

import time
from typing import Protocol

# Within this much the wall clock is only being slewed; beyond it somebody set it, or the machine slept.
STEP_MS = 1_000


class Clock(Protocol):
    """What reads the time."""

    def now_ms(self) -> int:
        """Unix time [ms]; never goes backwards within one process."""
        ...


class SystemClock:
    """Wall time carried by the monotonic clock.

    Elapsed time inside a process is monotonic. A wall clock that stepped forward by more than ``STEP_MS`` is
    followed at once (the machine slept, or was set right); one that stepped back is not followed before the
    next start, because deadlines that have been reached must stay reached.
    """

    def __init__(self) -> None:
        self._offset_ms = self._wall_ms() - self._monotonic_ms()

    @staticmethod
    def _wall_ms() -> int:
        return time.time_ns() // 1_000_000

    @staticmethod
    def _monotonic_ms() -> int:
        return time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        now_ms = self._monotonic_ms() + self._offset_ms
        wall_ms = self._wall_ms()
        if wall_ms - now_ms > STEP_MS:
            self._offset_ms += wall_ms - now_ms
            return wall_ms
        return now_ms


class ManualClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, by_ms: int) -> None:
        """Moves on by ``by_ms`` [ms], >= 0."""
        if by_ms < 0:
            raise ValueError("a clock does not go backwards")
        self._now_ms += by_ms
