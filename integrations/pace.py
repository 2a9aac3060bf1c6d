"""How fast a peer may be told: so many messages in a time, and none while it has asked to be left alone."""

import threading
import time
from collections.abc import Callable


class Pace:
    """Turns for messages to one peer, taken by any thread; for each process by itself.

    Args:
        gap_s: between two messages [s].
        clock: monotonic [s].
    """

    def __init__(self, gap_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._gap_s = gap_s
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at_s = 0.0

    def take(self, within_s: float) -> tuple[bool, float]:
        """Takes the next turn if it comes soon enough.

        Returns:
            Whether it was taken, and how long it is until then [s].
        """
        with self._lock:
            now_s = self._clock()
            at_s = max(now_s, self._free_at_s)
            if at_s - now_s > within_s:
                return False, at_s - now_s
            self._free_at_s = at_s + self._gap_s
            return True, at_s - now_s

    def rest(self, for_s: float) -> None:
        """The peer asks to be left alone for so long."""
        with self._lock:
            self._free_at_s = max(self._free_at_s, self._clock() + for_s)
