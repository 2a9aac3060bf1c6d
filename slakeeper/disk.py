"""What the data directory takes of the disk, and what is left of it."""

import os
from collections.abc import Iterator
from pathlib import Path

from slakeeper.otp.snapshot import BROKEN_SUFFIX
from slakeeper.otp.survey import TORN_SUFFIX


def disk_use(data: Path) -> dict[str, int]:
    """What the files of a data directory take, and what is left for it [bytes].

    ``used_bytes`` is everything, ``journal_bytes`` and ``snapshot_bytes`` the partitions' files, ``logs_bytes`` the log
    folder; ``free_bytes`` is what this user may still write. Files that come and go meanwhile count or do not.
    """
    used = {"used_bytes": 0, "free_bytes": 0, "journal_bytes": 0, "snapshot_bytes": 0, "logs_bytes": 0}
    for relative, size in _files(data):
        used["used_bytes"] += size
        match relative.parts:
            case ("log", *_):
                used["logs_bytes"] += size
            case ("partitions", _, name) if name.startswith("journal-"):
                used["journal_bytes"] += size
            case ("partitions", _, name) if name.startswith("snapshot-"):
                used["snapshot_bytes"] += size
    disk = os.statvfs(data)
    used["free_bytes"] = disk.f_bavail * disk.f_frsize
    return used


def left_over(data: Path) -> list[tuple[Path, int]]:
    """What openings and repairs have put aside and nothing uses any more, with its size [bytes]."""
    return [
        (data / relative, size)
        for relative, size in sorted(_files(data))
        if relative.suffix in (BROKEN_SUFFIX, TORN_SUFFIX) or relative.parts[0].startswith(REPAIRED_PREFIX)
    ]


REPAIRED_PREFIX = "repaired-"
"""Folders of the data directory that hold what a repair took out of a partition."""


def _files(data: Path) -> Iterator[tuple[Path, int]]:
    pending = [data]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    else:
                        # What it takes on the disk: a file may have holes.
                        size = entry.stat(follow_symlinks=False).st_blocks * 512
                        yield Path(entry.path).relative_to(data), size
        except FileNotFoundError:
            continue  # pruned meanwhile
