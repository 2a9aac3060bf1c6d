"""The threads of a host: those that outside effects block, and those on which partitions wait for the disk."""

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from slakeeper.otp.actor import LaneFull
from slakeeper.otp.partition import Partition

# Threads for each lane of outside effects: one may hang to its timeout while another still gets through.
LANE_THREADS = 2

MAX_IN_LANE = 1_000
"""So many effects of a lane wait for their turn at most, and who wants more is told so: a hanging peer takes a thread
to its timeout each time, and what waits for it must not fill the memory."""

# More partitions than this are committed in several goes; a cell of two has four of the eight.
MAX_COMMIT_THREADS = 7


class ThreadExecutor:
    """A host's threads: a few for each lane of outside effects, whose ends are posted back to the loop; and commits."""

    def __init__(self) -> None:
        self.post: Callable[[Callable[[], None]], object] = lambda run: run()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._in_lane: Counter[str] = Counter()
        self._commits: ThreadPoolExecutor | None = None
        self._closed = False

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        if self._closed:
            return
        if self._in_lane[lane] >= MAX_IN_LANE:
            full = LaneFull(f"not tried: {MAX_IN_LANE} wait before it")
            self.post(lambda: done(None, full))
            return
        self._in_lane[lane] += 1
        pool = self._lanes.get(lane)
        if pool is None:
            pool = self._lanes[lane] = ThreadPoolExecutor(LANE_THREADS, thread_name_prefix=f"io-{lane}")

        def run() -> None:
            value: Any = None
            failure: BaseException | None = None
            try:
                value = effect()
            except BaseException as error:  # noqa: BLE001  carried to the actor that asked, which decides
                failure = error

            def ended() -> None:
                self._in_lane[lane] -= 1
                done(value, failure)

            self.post(ended)

        pool.submit(run)

    def in_lane(self, lane: str) -> int:
        """How many effects of a lane have not ended; on the loop's thread, as is :meth:`submit`."""
        return self._in_lane[lane]

    def is_busy(self, concerns: Callable[[str], bool]) -> bool:
        """Whether effects of certain lanes have not ended; on the loop's thread."""
        return any(count and concerns(lane) for lane, count in self._in_lane.items())

    def commit(self, partitions: Sequence[Partition]) -> None:
        """Commits partitions at the same time, so that their waits for the disk do not add up; not empty.

        Syncs that run beside each other share one write of the file system's own journal: four partitions take
        little longer than one.

        Raises:
            JournalError: one is not durable; by then none is being written any more.
        """
        first, *others = partitions
        if not others:
            first.commit()
            return
        if self._commits is None:
            self._commits = ThreadPoolExecutor(MAX_COMMIT_THREADS, thread_name_prefix="commit")
        commits = [self._commits.submit(partition.commit) for partition in others]
        try:
            first.commit()
        finally:
            wait(commits)
        for commit in commits:
            commit.result()

    def close(self) -> None:
        """Starts nothing more; what runs is left to end by its own timeout."""
        self._closed = True
        if self._commits is not None:
            self._commits.shutdown()
        for pool in self._lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)
