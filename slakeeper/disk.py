"""What the data directory takes of the disk, and what is left of it."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from slakeeper.otp.journal import TORN_SUFFIX
from slakeeper.otp.snapshot import BROKEN_SUFFIX

REPAIRED_PREFIX = "repaired-"
"""Folders of the data directory that hold what a repair took out of a partition."""

KEYS = (
    "used_bytes",
    "free_bytes",
    "journal_bytes",
    "snapshot_bytes",
    "audit_bytes",
    "logs_bytes",
    "left_over_bytes",
)
"""Of :func:`disk_use`."""

# A look at a thousand partitions takes tens of milliseconds, and the dashboard asks every other second.
KEPT_S = 5.0


def disk_use(data: Path) -> dict[str, int]:
    """What the files of a data directory take, and what is left for it.

    Returns:
        All in bytes: ``used_bytes`` everything, ``free_bytes`` what this user may still write, ``journal_bytes`` and
        ``snapshot_bytes`` what the partitions live of, ``audit_bytes`` the audit chain, ``logs_bytes`` the log
        folder, ``left_over_bytes`` what nothing uses any more. A file that comes or goes meanwhile counts or does not.

    Raises:
        OSError: there is no such directory, or it cannot be read.
    """
    found = dict.fromkeys(KEYS, 0)
    for relative, size in _files(data):
        found["used_bytes"] += size
        if _is_left_over(relative):
            found["left_over_bytes"] += size
            continue
        match relative.parts:
            case ("audit", *_):
                found["audit_bytes"] += size
            case ("log", *_):
                found["logs_bytes"] += size
            case ("partitions", _, name) if name.startswith("journal-"):
                found["journal_bytes"] += size
            case ("partitions", _, name) if name.startswith("snapshot-"):
                found["snapshot_bytes"] += size
    disk = os.statvfs(data)
    found["free_bytes"] = disk.f_bavail * disk.f_frsize
    return found


def left_over(data: Path) -> list[tuple[Path, int]]:
    """What openings and repairs have put aside and nothing uses any more, with its size [bytes]."""
    return [(data / relative, size) for relative, size in sorted(_files(data)) if _is_left_over(relative)]


class DiskGauge:
    """:func:`disk_use` of one directory, looked at again when the last look is old; any thread may ask.

    Args:
        now_s: a monotonic clock [s].
    """

    def __init__(self, data: Path, now_s: Callable[[], float] = time.monotonic) -> None:
        self._data = data
        self._now_s = now_s
        self._looking = threading.Lock()
        self._until_s = float("-inf")
        self._last: dict[str, int] | None = None

    def read(self) -> dict[str, int] | None:
        """At most ``KEPT_S`` old; None when it cannot be told."""
        with self._looking:
            if self._now_s() >= self._until_s:
                try:
                    self._last = disk_use(self._data)
                except OSError:
                    self._last = None
                self._until_s = self._now_s() + KEPT_S
            return self._last


def _is_left_over(relative: Path) -> bool:
    return relative.suffix in (BROKEN_SUFFIX, TORN_SUFFIX) or relative.parts[0].startswith(REPAIRED_PREFIX)


def _files(data: Path) -> Iterator[tuple[Path, int]]:
    """Every file with what it takes of the disk [bytes], which is less than its length when it has holes."""
    pending = [data]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        size = entry.stat(follow_symlinks=False).st_blocks * 512
                        yield Path(entry.path).relative_to(data), size
        except FileNotFoundError:
            if folder == data:
                raise
            # Pruned meanwhile; what else is in the folder is counted with the next look.
