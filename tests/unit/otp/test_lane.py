"""Lanes of outside effects: none holds up another, and none grows without an end."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from slakeeper.otp.actor import LaneFull
from slakeeper.otp.executor import LANE_THREADS, MAX_IN_LANE, ThreadExecutor

WITHIN_S = 10.0

End = tuple[Any, BaseException | None]


class Lane:
    """Submits to a lane and keeps the ends."""

    def __init__(self, executor: ThreadExecutor, name: str) -> None:
        self._executor, self._name = executor, name
        self.ends: list[End] = []
        self._news = threading.Condition()

    def submit(self, effect: Any) -> None:
        self._executor.submit(self._name, effect, self._take)

    def _take(self, value: Any, error: BaseException | None) -> None:
        with self._news:
            self.ends.append((value, error))
            self._news.notify_all()

    def wait_for(self, count: int) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.ends) >= count, WITHIN_S)


@pytest.fixture
def executor() -> Iterator[ThreadExecutor]:
    one = ThreadExecutor()
    lock = threading.Lock()

    def post(run: Any) -> None:
        with lock:  # one after the other, as on the loop's thread
            run()

    one.post = post
    yield one
    one.close()


def test_a_lane_that_hangs_is_full_at_last_and_holds_up_no_other(executor: ThreadExecutor) -> None:
    hung, other, release = Lane(executor, "hung"), Lane(executor, "other"), threading.Event()
    for _ in range(MAX_IN_LANE + 3):
        hung.submit(lambda: release.wait(WITHIN_S))
    assert executor.in_lane("hung") == MAX_IN_LANE
    assert [type(error) for _, error in hung.ends] == [LaneFull] * 3
    for number in range(LANE_THREADS + 1):
        other.submit(lambda number=number: number)
    other.wait_for(LANE_THREADS + 1)
    assert sorted(value for value, _ in other.ends) == list(range(LANE_THREADS + 1))
    release.set()
    hung.wait_for(MAX_IN_LANE + 3)
    assert (executor.in_lane("hung"), executor.in_lane("other")) == (0, 0)


def test_an_effect_that_fails_leaves_its_lane(executor: ThreadExecutor) -> None:
    lane = Lane(executor, "lane")
    lane.submit(lambda: 1 / 0)
    lane.wait_for(1)
    assert isinstance(lane.ends[0][1], ZeroDivisionError)
    assert executor.in_lane("lane") == 0
