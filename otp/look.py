"""A file system that is only looked at: a partition opens on it as it lies there, and nothing on disk changes."""

import fcntl
import os
from pathlib import Path

from slakeeper.otp.filesystem import OsFileSystem, Readable


class _Nothing:
    """A file, or a lock, that is none."""

    def write(self, data: bytes) -> None:
        pass

    def sync(self) -> None:
        pass

    def sync_data(self) -> None:
        pass

    def close(self) -> None:
        pass

    def is_current(self) -> bool:
        return True

    def release(self) -> None:
        pass


class Look:
    """Reads like the operating system's files; whatever would change something does nothing and says it did.

    So what recovery repairs (a torn end, a damaged snapshot) it repairs in memory alone. Only for a partition that
    nobody writes: :meth:`lock` sees to that at the beginning, and keeps nobody from starting.
    """

    def __init__(self) -> None:
        self._real = OsFileSystem()

    def names(self, directory: Path) -> list[str]:
        return self._real.names(directory)

    def read(self, path: Path) -> bytes:
        return self._real.read(path)

    def open(self, path: Path) -> Readable:
        return self._real.open(path)

    def free_bytes(self, path: Path) -> int:
        return self._real.free_bytes(path)

    def make_directory(self, path: Path) -> None:
        pass

    def create(self, path: Path) -> _Nothing:
        return _Nothing()

    def rewrite_end(self, path: Path, offset: int, data: bytes) -> None:
        pass

    def rename(self, source: Path, target: Path) -> None:
        pass

    def link(self, source: Path, target: Path) -> None:
        pass

    def remove(self, path: Path) -> None:
        pass

    def sync_directory(self, path: Path) -> None:
        pass

    def lock(self, path: Path) -> _Nothing:
        """Sees that nobody holds the lock.

        Raises:
            BlockingIOError: someone does.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return _Nothing()
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(fd)
        return _Nothing()
