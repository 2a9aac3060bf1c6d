"""Things to do at their time, in the order of their times; equal times in the order they were set."""

import heapq
from collections.abc import Callable

# Below this many dead entries the heap is left as it is: cleaning costs more than they do.
MIN_DEAD = 64


class Timer:
    """One deadline. ``fire`` is None once it has fired or was cancelled."""

    __slots__ = ("at_ms", "fire", "order")

    def __init__(self, at_ms: int, order: int, fire: Callable[[], None]) -> None:
        self.at_ms = at_ms
        self.order = order
        self.fire: Callable[[], None] | None = fire

    def __lt__(self, other: "Timer") -> bool:
        return (self.at_ms, self.order) < (other.at_ms, other.order)


class Timers:
    """A heap of deadlines. What is cancelled is left in it until half of it is: its size follows what is set."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self._count = 0
        self._dead = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at_ms: int, fire: Callable[[], None]) -> Timer:
        """Has ``fire`` called by :meth:`run_due` once ``at_ms`` [Unix ms] has come."""
        self._count += 1
        timer = Timer(at_ms, self._count, fire)
        heapq.heappush(self._heap, timer)
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forgets a deadline; one that has passed, or was cancelled, is left alone."""
        if timer.fire is None:
            return
        timer.fire = None
        self._dead += 1
        if self._dead > MIN_DEAD and 2 * self._dead > len(self._heap):
            self._heap = [each for each in self._heap if each.fire is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def run_due(self, now_ms: int) -> None:
        """Fires everything that is due by ``now_ms``, also what is set meanwhile."""
        while self._heap and self._heap[0].at_ms <= now_ms:
            timer = heapq.heappop(self._heap)
            fire, timer.fire = timer.fire, None
            if fire is None:
                self._dead -= 1
            else:
                fire()

    def next_ms(self) -> int | None:
        """The earliest deadline [Unix ms], or None."""
        while self._heap and self._heap[0].fire is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0].at_ms if self._heap else None
