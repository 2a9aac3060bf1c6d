"""Samples that wait to be sent: bounded, in order, and numbered, so that a flush knows when its last one is through."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

Sample = dict[str, Any]


@dataclass(frozen=True)
class Portion:
    """What is sent at once; ``last`` is the number of its newest sample."""

    samples: list[Sample]
    last: int


class Backlog:
    """Written by any thread, read by one.

    Args:
        limit: samples that may wait.
        portion: samples that are sent at once.
        wait_s: how long the first of a portion waits for others.
        drops_oldest: a full backlog drops its oldest sample for a new one; else whoever puts waits.
    """

    def __init__(self, limit: int, portion: int, wait_s: float, *, drops_oldest: bool) -> None:
        self._limit = limit
        self._portion = portion
        self._wait_s = wait_s
        self._drops_oldest = drops_oldest
        self._changed = threading.Condition()
        self._samples: deque[Sample] = deque()
        self._first_at_s = 0.0
        self._put = 0
        self._done = 0
        self._in_hand = 0
        self._flushers = 0
        self._closed = False
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Samples that are not through yet."""
        return len(self._samples) + self._in_hand

    def put(self, sample: Sample, within_s: float | None) -> bool:
        """Adds a sample.

        Args:
            sample: to be sent.
            within_s: how long to wait for room; None: as long as it takes.

        Returns:
            False when there was no room in time, or the backlog is closed.
        """
        with self._changed:
            if len(self._samples) >= self._limit and not self._drops_oldest:
                self._changed.wait_for(lambda: self._closed or len(self._samples) < self._limit, within_s)
            if self._closed:
                return False
            if len(self._samples) >= self._limit:
                if not self._drops_oldest:
                    return False
                self._samples.popleft()
                self.dropped += 1
            if not self._samples:
                self._first_at_s = time.monotonic()
            self._samples.append(sample)
            self._put += 1
            if len(self._samples) in {1, self._portion}:
                self._changed.notify_all()
            return True

    def take(self) -> Portion | None:
        """Waits for the next portion; None when the backlog is closed and empty."""
        with self._changed:
            while not self._is_due():
                if self._closed and not self._samples:
                    return None
                wait_s = (
                    max(0.0, self._first_at_s + self._wait_s - time.monotonic()) if self._samples else None
                )
                self._changed.wait(wait_s)
            count = min(self._portion, len(self._samples))
            samples = [self._samples.popleft() for _ in range(count)]
            self._first_at_s = time.monotonic()
            self._in_hand = count
            self._changed.notify_all()
            return Portion(samples, self._put - len(self._samples))

    def done(self, portion: Portion) -> None:
        """A portion is through, whatever became of it."""
        with self._changed:
            self._done = portion.last
            self._in_hand = 0
            self._changed.notify_all()

    def flush(self, within_s: float) -> bool:
        """Waits until all that was put before is through; False when it is not in time."""
        with self._changed:
            target = self._put
            self._flushers += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: self._done >= target, within_s)
            finally:
                self._flushers -= 1

    def close(self) -> None:
        """Takes nothing more; what there is can still be taken out."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _is_due(self) -> bool:
        if not self._samples:
            return False
        is_full = len(self._samples) >= self._portion
        is_late = time.monotonic() >= self._first_at_s + self._wait_s
        return is_full or is_late or self._flushers > 0 or self._closed
