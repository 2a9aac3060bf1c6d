"""When which partition of a host is written into a snapshot: at its time, or when much has come in since the last.

What is in the journal since then is read and applied again by the next opening. One snapshot at a time: it encodes
whatever changed, and meanwhile nothing else is done.
"""

from collections.abc import Sequence

from slakeeper.otp.partition import Partition

# A snapshot costs about as much for each record as the journal for four short events. So many bytes in the journal
# for each record keep the snapshots' share of the work small, and what a recovery has to repeat to two seconds' worth
# of a stream of samples that gives each actor ten a second.
JOURNAL_BYTES_A_RECORD = 256
MIN_JOURNAL_BYTES = 256 * 2**10

# Where records are large (windows full of samples), it is their bytes that a snapshot costs: copied, summed up and
# written. So many of them for each byte of the journal at most: a stream would write the same windows over and over.
SNAPSHOT_BYTES_A_JOURNAL_BYTE = 8
MAX_JOURNAL_BYTES = 64 * 2**20

# Events, and states that were put away, are in memory until the next snapshot.
MAX_HELD_BYTES = 64 * 2**20

# Between two snapshots of one partition, however fast it grows; also when there is no room for one.
MIN_BETWEEN_MS = 1_000


class SnapshotSchedule:
    """Owned by the loop of a host.

    Args:
        partitions: open.
        interval_ms: at least so often each of them is due, if anything happened in it.
        now_ms: Unix ms.
    """

    def __init__(self, partitions: Sequence[Partition], interval_ms: int, now_ms: int) -> None:
        self._partitions = tuple(partitions)
        self._interval_ms = interval_ms
        count = len(self._partitions)
        self._due_ms = [now_ms + interval_ms * (number + 1) // count for number in range(count)]
        self._not_before_ms = [now_ms] * count

    def next_due(self, now_ms: int) -> Partition | None:
        """A partition to write now; None while another one is being written. Whoever is told of one writes it."""
        found = None
        for number, partition in enumerate(self._partitions):
            if partition.snapshotting:
                return None
            if found is None and now_ms >= self._not_before_ms[number]:
                if now_ms >= self._due_ms[number] or _is_long(partition):
                    found = number
        if found is None:
            return None
        self._due_ms[found] = now_ms + self._interval_ms
        self._not_before_ms[found] = now_ms + min(self._interval_ms, MIN_BETWEEN_MS)
        return self._partitions[found]


def _is_long(partition: Partition) -> bool:
    limit_bytes = max(
        MIN_JOURNAL_BYTES,
        JOURNAL_BYTES_A_RECORD * len(partition.records),
        partition.snapshot_bytes // SNAPSHOT_BYTES_A_JOURNAL_BYTE,
    )
    return (
        partition.journal_bytes >= min(MAX_JOURNAL_BYTES, limit_bytes)
        or partition.held_bytes >= MAX_HELD_BYTES
    )
