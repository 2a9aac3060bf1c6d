"""Things to do at their time, in the order of their times; equal times in the order they were set."""

import heapq
from collections.abc import Callable


class Timers:
    """A heap of deadlines. What is not wanted any more is left in: its owner looks when it fires."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at_ms: int, fire: Callable[[], None]) -> None:
        """Has ``fire`` called by :meth:`run_due` once ``at_ms`` [Unix ms] has come."""
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._count, fire))

    def run_due(self, now_ms: int) -> None:
        """Fires everything that is due by ``now_ms``, also what is set meanwhile."""
        while self._heap and self._heap[0][0] <= now_ms:
            heapq.heappop(self._heap)[2]()

    def next_ms(self) -> int | None:
        """The earliest deadline [Unix ms], or None."""
        return self._heap[0][0] if self._heap else None
