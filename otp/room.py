"""Room on the disk: what is still taken when it runs out, and when a host that had none may begin again.

A journal that finds no room ends its host, as every failed write does. To keep it from that, a reserve is left free
for what must go on: with less than it, requests that bring much and can come back are refused. When others have used
up the reserve too, the host ends, and the next one waits until half of it is there; so it neither fails again at once
nor waits for more than it needs.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slakeeper.otp.filesystem import FileSystem, OsFileSystem

# The disk is asked this often. At 50 MB/s of journal, more than one disk of the time syncs, a reserve of 64 MB lasts
# longer.
ASK_EVERY_S = 1.0


Background = Callable[[Callable[[], int], Callable[[Any, BaseException | None], None]], None]


class Room:
    """The free room on the disk of one directory.

    Args:
        directory: exists.
        reserve_bytes: left for what must go on; 0 looks at nothing.
        fs: where the directory is; the operating system's if None.
        monotonic_s: the time, in seconds from anywhere.
        background: has the disk asked on another thread, and what it says told on this one: a network file system
            that is gone does not answer, and everything else waits for nobody. Meanwhile the last answer counts. The
            first is waited for; without a background each is.
    """

    def __init__(
        self,
        directory: Path,
        reserve_bytes: int,
        fs: FileSystem | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
        background: Background | None = None,
    ) -> None:
        self.directory = directory
        self.reserve_bytes = reserve_bytes
        self._fs: FileSystem = OsFileSystem() if fs is None else fs
        self._monotonic_s = monotonic_s
        self._asked_at_s = float("-inf")
        self._free_bytes: int | None = None
        self._background = background
        self._is_asking = False

    @property
    def free_bytes(self) -> int:
        """What this user may still write, as of a second ago, or as the disk said last [bytes]."""
        now_s = self._monotonic_s()
        if now_s - self._asked_at_s >= ASK_EVERY_S and not self._is_asking:
            self._asked_at_s = now_s
            if self._background is not None and self._free_bytes is not None:
                self._is_asking = True
                self._background(self._ask, self._told)
            else:
                self._free_bytes = self._ask()
        return self._free_bytes or 0

    def _ask(self) -> int:
        return self._fs.free_bytes(self.directory)

    def _told(self, free_bytes: int | None, error: BaseException | None) -> None:
        self._is_asking = False
        if error is None:
            self._free_bytes = free_bytes
        else:
            # What cannot be asked can hardly be written either, and a journal that fails says so by itself.
            logging.getLogger("slakeeper.otp").warning(
                "the room of %s is not known: %s", self.directory, error
            )

    @property
    def is_low(self) -> bool:
        """Whether what can come back is to be refused."""
        return self.reserve_bytes > 0 and self.free_bytes < self.reserve_bytes

    @property
    def suffices(self) -> bool:
        """Whether a host may begin."""
        return self.reserve_bytes == 0 or self.free_bytes >= self.reserve_bytes // 2

    def holds(self, file_bytes: int) -> bool:
        """Whether a file of that size leaves half of the reserve free."""
        return self.reserve_bytes == 0 or self.free_bytes >= file_bytes + self.reserve_bytes // 2

    def __str__(self) -> str:
        return (
            f"{_mib(self.free_bytes)} free for {self.directory}, {_mib(self.reserve_bytes)} are to stay free"
        )


def _mib(count_bytes: int) -> str:
    # As everything that the data directory takes is shown.
    return f"{count_bytes / 2**20:.1f} MiB"
