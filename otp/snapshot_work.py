"""The snapshots of a host, made between its turns: a part of one after a turn, and its file beside them."""

import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from slakeeper.otp.host import Host
from slakeeper.otp.partition import JournalError, NoRoom, Partition
from slakeeper.otp.room import Room
from slakeeper.otp.snapshot_schedule import SnapshotSchedule

# How long one turn works for a snapshot: as long as a turn under load, so that its batches wait twice as long at most.
SNAPSHOT_SLICE_S = 0.005

_LONG_S = 0.05


class _Snapshot:
    """A snapshot that is being made, until only its file is left to be written, and how long it has held up the turns.

    Attributes:
        dumps: an actor of the partition at each step.
        written: of its file, once all actors are dumped and the rest is the background's.
    """

    def __init__(self, partition: Partition, dumps: Iterator[None]) -> None:
        self.partition = partition
        self.dumps = dumps
        self.written: Future[None] | None = None
        self._longest_s = 0.0

    def held_up(self, for_s: float) -> None:
        """Nothing else was done for so long."""
        self._longest_s = max(self._longest_s, for_s)

    def count(self, counts: Counter[str]) -> None:
        """It holds nothing up any more: its file is written beside the turns."""
        counts["snapshots"] += 1
        counts["snapshots_over_50_ms"] += self._longest_s > _LONG_S
        counts["snapshot_longest_ms"] = max(counts["snapshot_longest_ms"], math.ceil(self._longest_s * 1000))


class SnapshotWork:
    """What one host's snapshots need of its loop's thread, and a thread for their files.

    Args:
        name: of the loop, in the thread's name and in logs.
        host: between its turns whenever a method is called.
        interval_ms: how often each partition is snapshotted.
        now_ms: Unix ms.
        room: on the disk of the partitions. None looks at nothing.
    """

    def __init__(self, name: str, host: Host, interval_ms: int, now_ms: int, room: Room | None) -> None:
        self._name = name
        self._host = host
        self._room = room
        self._schedule = SnapshotSchedule(tuple(host.partitions.values()), interval_ms, now_ms)
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"snapshot-{name}")
        self._snapshot: _Snapshot | None = None
        self._failure: JournalError | None = None

    @property
    def is_pressing(self) -> bool:
        """Whether it goes on at once, also when nothing happens."""
        return self._snapshot is not None and self._snapshot.written is None

    def go_on(self, may_begin: bool) -> None:
        """Goes on with the snapshot that is begun, or begins the one that is due; not for longer than a slice.

        Raises:
            JournalError: the partition has failed, though nobody wants to write to it at the moment.
        """
        if self._failure is not None:
            raise self._failure
        began_s = time.perf_counter()
        snapshot = self._snapshot
        if snapshot is None:
            due = self._due() if may_begin else None
            if due is None:
                return
            snapshot = self._snapshot = _Snapshot(due, self._host.dump(due))
        if snapshot.written is None:
            for _ in snapshot.dumps:
                if time.perf_counter() - began_s >= SNAPSHOT_SLICE_S:
                    snapshot.held_up(time.perf_counter() - began_s)
                    return
            snapshot.written = snapshot.partition.snapshot({}, self._writer)
            snapshot.written.add_done_callback(self._report)
            snapshot.held_up(time.perf_counter() - began_s)
        if not snapshot.partition.rotating:
            self._snapshot = None
            snapshot.held_up(snapshot.partition.waited_s)
            snapshot.count(self._host.counts)
        elif snapshot.written.done():
            # The segment could not be begun and never will be: all other snapshots would wait for it.
            snapshot.written.result()

    def close(self) -> None:
        """Returns when the file that is being written is on the disk, or has failed; what is not begun never is."""
        self._writer.shutdown()

    def _due(self) -> Partition | None:
        due = self._schedule.next_due(self._host.now_ms)
        # Half-written it would take the journal's room; and everything is in the journal.
        if due is None or not (self._room is None or self._room.holds(due.snapshot_bytes)):
            return None
        return None if due.seq == due.snapshot_seq else due

    def _report(self, done: "Future[None]") -> None:
        """Logs a snapshot that could not be written; nothing is lost, its events stay in the journal."""
        error = done.exception()
        if error is not None:
            logging.getLogger("slakeeper.otp").error("%s: %s", self._name, error)
        if isinstance(error, JournalError) and not isinstance(error, NoRoom):
            self._failure = error
