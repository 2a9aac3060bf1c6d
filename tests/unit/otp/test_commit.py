"""Partitions committed at the same time: all durable, or an error once none is being written any more."""

import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.journal import JournalError
from slakeeper.otp.partition import Partition

WITHIN_S = 10.0


class FakePartition:
    """A partition whose commit does what it is told to."""

    def __init__(self, work: Callable[[], object] = lambda: None) -> None:
        self.committed = False
        self._work = work

    def commit(self) -> None:
        self._work()
        self.committed = True


def fail() -> None:
    raise JournalError("the disk is gone")


@pytest.fixture
def executor() -> Iterator[ThreadExecutor]:
    one = ThreadExecutor()
    yield one
    one.close()


def commit(executor: ThreadExecutor, *partitions: FakePartition) -> None:
    executor.commit([cast("Partition", partition) for partition in partitions])


def test_every_partition_is_committed(executor: ThreadExecutor) -> None:
    partitions = [FakePartition() for _ in range(12)]
    commit(executor, *partitions)
    assert all(partition.committed for partition in partitions)


def test_they_are_committed_at_the_same_time(executor: ThreadExecutor) -> None:
    meeting = threading.Barrier(4, timeout=WITHIN_S)
    commit(executor, *(FakePartition(meeting.wait) for _ in range(4)))
    assert not meeting.broken


def test_one_alone_needs_no_thread(executor: ThreadExecutor) -> None:
    seen: list[threading.Thread] = []
    commit(executor, FakePartition(lambda: seen.append(threading.current_thread())))
    assert seen == [threading.current_thread()]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_error_comes_when_the_others_have_ended(executor: ThreadExecutor, place: int) -> None:
    failed = threading.Event()

    def fail_first() -> None:
        failed.set()
        fail()

    partitions = [FakePartition(lambda: failed.wait(WITHIN_S)) for _ in range(3)]
    partitions[place] = FakePartition(fail_first)
    with pytest.raises(JournalError, match="the disk is gone"):
        commit(executor, *partitions)
    assert [partition.committed for partition in partitions] == [index != place for index in range(3)]
