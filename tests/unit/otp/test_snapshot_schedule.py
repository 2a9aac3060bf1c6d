"""When partitions are due for a snapshot."""

from dataclasses import dataclass, field
from typing import cast

from slakeeper.otp.partition import Partition
from slakeeper.otp.snapshot_schedule import (
    JOURNAL_BYTES_A_RECORD,
    MAX_HELD_BYTES,
    MIN_BETWEEN_MS,
    MIN_JOURNAL_BYTES,
    SNAPSHOT_BYTES_A_JOURNAL_BYTE,
    SnapshotSchedule,
)

INTERVAL_MS = 60_000


@dataclass(eq=False)
class FakePartition:
    journal_bytes: int = 0
    held_bytes: int = 0
    snapshot_bytes: int = 0
    snapshotting: bool = False
    records: dict[str, None] = field(default_factory=dict)


def schedule_of(*partitions: FakePartition) -> SnapshotSchedule:
    return SnapshotSchedule(cast("tuple[Partition, ...]", partitions), INTERVAL_MS, 0)


def due(schedule: SnapshotSchedule, now_ms: int) -> object:
    return schedule.next_due(now_ms)


def test_partitions_take_turns_in_an_interval() -> None:
    first, second = FakePartition(), FakePartition()
    schedule = schedule_of(first, second)
    found = {now_ms: due(schedule, now_ms) for now_ms in range(0, 2 * INTERVAL_MS + 1, 10_000)}
    assert {now_ms: each for now_ms, each in found.items() if each is not None} == {
        30_000: first, 60_000: second, 90_000: first, 120_000: second,
    }  # fmt: skip


def test_a_long_journal_does_not_wait_for_its_time() -> None:
    short, long = FakePartition(MIN_JOURNAL_BYTES - 1), FakePartition(MIN_JOURNAL_BYTES)
    assert due(schedule_of(short, long), 0) is long


def test_a_journal_may_be_longer_where_a_snapshot_is_more_work() -> None:
    records = dict.fromkeys(map(str, range(10_000)))
    partition = FakePartition(MIN_JOURNAL_BYTES, records=records)
    schedule = schedule_of(partition)
    assert due(schedule, 0) is None
    partition.journal_bytes = 10_000 * JOURNAL_BYTES_A_RECORD
    assert due(schedule, 0) is partition


def test_large_records_are_not_written_anew_for_a_little_that_happened() -> None:
    size = 10 * MIN_JOURNAL_BYTES * SNAPSHOT_BYTES_A_JOURNAL_BYTE
    partition = FakePartition(MIN_JOURNAL_BYTES, snapshot_bytes=size)
    schedule = schedule_of(partition)
    assert due(schedule, 0) is None
    partition.journal_bytes = 10 * MIN_JOURNAL_BYTES
    assert due(schedule, 0) is partition


def test_what_lies_in_memory_counts_too() -> None:
    partition = FakePartition(held_bytes=MAX_HELD_BYTES)
    assert due(schedule_of(partition), 0) is partition


def test_one_is_written_at_a_time() -> None:
    first, second = FakePartition(MIN_JOURNAL_BYTES), FakePartition(MIN_JOURNAL_BYTES)
    schedule = schedule_of(first, second)
    assert due(schedule, 0) is first
    first.snapshotting = True
    assert due(schedule, 1) is None
    first.snapshotting = False
    assert due(schedule, 2) is second


def test_one_that_finds_no_room_is_not_tried_in_every_turn() -> None:
    partition = FakePartition(MIN_JOURNAL_BYTES)
    schedule = schedule_of(partition)
    assert due(schedule, 0) is partition
    assert due(schedule, MIN_BETWEEN_MS - 1) is None
    assert due(schedule, MIN_BETWEEN_MS) is partition
