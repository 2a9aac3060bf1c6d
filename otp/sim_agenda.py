"""Virtual time: what happens next, and a clock that goes on from one thing to the next without waiting."""

import heapq
from collections.abc import Callable
from random import Random


class Agenda:
    """A clock and what is to happen by it. Things of the same millisecond happen in an order drawn from the seed."""

    def __init__(self, start_ms: int, random: Random) -> None:
        self._now_ms = start_ms
        self._random = random
        self._heap: list[tuple[int, float, int, Callable[[], None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        """Virtual Unix time [ms]."""
        return self._now_ms

    def at(self, at_ms: int, run: Callable[[], None]) -> None:
        """Has ``run`` called at ``at_ms`` [Unix ms], or as soon as possible when that has passed."""
        self._count += 1
        heapq.heappush(self._heap, (at_ms, self._random.random(), self._count, run))

    def after(self, delay_ms: int, run: Callable[[], None]) -> None:
        """Has ``run`` called in ``delay_ms`` [ms]."""
        self.at(self._now_ms + delay_ms, run)

    def jump(self, by_ms: int) -> None:
        """Time is ``by_ms`` [ms] later at once, as after a machine's sleep: what was due meanwhile comes late."""
        self._now_ms += by_ms

    def run_until(self, until_ms: int) -> None:
        """Lets everything happen that is due before or at ``until_ms`` [Unix ms], then it is that time."""
        while self._heap and self._heap[0][0] <= until_ms:
            at_ms, _, _, run = heapq.heappop(self._heap)
            self._now_ms = max(self._now_ms, at_ms)
            run()
        self._now_ms = max(self._now_ms, until_ms)
