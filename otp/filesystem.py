"""The few file operations that durability rests on, as a port, so that tests can lose power between any two.

Every operation here either happened, as far as the running system can see, or raised OSError. *Durable* is
said explicitly: file contents after ``sync``/``sync_data``, names (created, renamed, removed) only after
``sync_directory``. Nothing else may be assumed to survive a power loss, in any order.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

# A file of this name was never finished; the next opening removes it.
TEMPORARY_SUFFIX = ".tmp"

# Written in pieces of about this size: large enough for the disk, small enough to let other threads run.
_PIECE_BYTES = 256 * 1024


class File(Protocol):
    """A file open for appending. Not thread-safe; owned by whoever opened it."""

    def write(self, data: bytes) -> None:
        """Appends all of ``data``; not durable yet. After an OSError any part of it may have been written."""

    def sync(self) -> None:
        """Makes contents and metadata durable (fsync). After an OSError the contents are unknown: never retry."""

    def sync_data(self) -> None:
        """Makes contents, and the length needed to read them, durable (fdatasync). Errors as ``sync``."""

    def close(self) -> None:
        """Closes without syncing; a second call does nothing."""


class Readable(Protocol):
    """A file open for reading; any thread may. It stays readable when its name is gone. ``str`` is its path."""

    size: int
    """When it was opened [bytes]."""

    def read_at(self, offset: int, length: int) -> bytes:
        """The bytes from ``offset`` on; fewer than ``length`` only where the file ends."""

    def close(self) -> None:
        """Closes it; a second call does nothing."""


class Lock(Protocol):
    """An exclusive lock on a path, held by this process until released or dead."""

    def is_current(self) -> bool:
        """Whether the path still names the locked file: false when someone removed or replaced it."""

    def release(self) -> None:
        """Gives the lock back; a second call does nothing."""


class FileSystem(Protocol):
    """What journal and snapshots need of a file system. All methods raise OSError, none is retried."""

    def make_directory(self, path: Path) -> None:
        """Creates the directory (mode 0700) and missing parents, durably; one that exists is fine."""

    def names(self, directory: Path) -> list[str]:
        """The names in a directory, in any order."""

    def read(self, path: Path) -> bytes:
        """The whole file."""

    def open(self, path: Path) -> Readable:
        """Opens a file for reading parts of it."""

    def create(self, path: Path) -> File:
        """Creates an empty file (mode 0600), or empties the one there, open for appending."""

    def rewrite_end(self, path: Path, offset: int, data: bytes) -> None:
        """Writes ``data`` at ``offset`` [bytes], cuts the file right after it; durable on return."""

    def rename(self, source: Path, target: Path) -> None:
        """Renames atomically, replacing the target; durable only after ``sync_directory``."""

    def link(self, source: Path, target: Path) -> None:
        """Gives a file a second name, in any directory of the same disk; durable only after ``sync_directory``."""

    def remove(self, path: Path) -> None:
        """Removes a file; durable only after ``sync_directory``."""

    def sync_directory(self, path: Path) -> None:
        """Makes the directory's names durable."""

    def free_bytes(self, path: Path) -> int:
        """Room left for this user on the disk that an existing path is on."""

    def lock(self, path: Path) -> Lock:
        """Locks the path exclusively, creating it if need be.

        Raises:
            BlockingIOError: someone else holds it.
        """


def write_atomically(fs: FileSystem, path: Path, pieces: Iterable[bytes]) -> File:
    """Puts a whole new file at ``path``: after a crash there is the old one (or none) or all of the new one.

    The recipe: a temporary file in the same directory, write, fsync, rename, fsync of the directory.

    Args:
        pieces: the contents, in order; joined into larger writes.

    Returns:
        The file, open for appending, durable under its name; the caller closes it.

    Raises:
        OSError: the temporary file is removed if that is still possible; ``path`` has the old contents, or
            the new ones when only the last step failed. So too for whatever ``pieces`` raises.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    file = fs.create(temporary)
    try:
        piece = bytearray()
        for part in pieces:
            piece += part
            if len(piece) >= _PIECE_BYTES:
                file.write(bytes(piece))
                piece.clear()
        if piece:
            file.write(bytes(piece))
        # The contents come before the name: a rename that overtakes them would show an empty file.
        file.sync()
        fs.rename(temporary, path)
        fs.sync_directory(path.parent)
    except BaseException:
        file.close()
        # Only tidying, gone wrong or gone already (renamed); the next open removes leftovers. The first error matters.
        with contextlib.suppress(OSError):
            fs.remove(temporary)
        raise
    return file


class _OsFile:
    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, data: bytes) -> None:
        written = os.write(self._fd, data)
        while written < len(data):
            data = data[written:]
            written = os.write(self._fd, data)

    def sync(self) -> None:
        os.fsync(self._fd)

    def sync_data(self) -> None:
        os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class _OsReadable:
    __slots__ = ("_fd", "_path", "size")

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._fd).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        while 0 < len(data) < length:
            more = os.pread(self._fd, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def __str__(self) -> str:
        return str(self._path)


class _OsLock:
    __slots__ = ("_fd", "_path")

    def __init__(self, fd: int, path: Path) -> None:
        self._fd = fd
        self._path = path

    def is_current(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd)
        return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        # The file stays: removing it would let two processes hold "the" lock on two files of one name.
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class OsFileSystem:
    """The operating system's files. Stateless; safe to share between threads."""

    def make_directory(self, path: Path) -> None:
        missing: list[Path] = []
        while not path.is_dir():
            missing.append(path)
            path = path.parent
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            self.sync_directory(directory.parent)

    def names(self, directory: Path) -> list[str]:
        return os.listdir(directory)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def open(self, path: Path) -> Readable:
        return _OsReadable(path)

    def create(self, path: Path) -> File:
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        return _OsFile(os.open(path, flags, 0o600))

    def rewrite_end(self, path: Path, offset: int, data: bytes) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            at = offset
            while at < offset + len(data):
                at += os.pwrite(fd, data[at - offset :], at)
            os.ftruncate(fd, at)
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def link(self, source: Path, target: Path) -> None:
        target.hardlink_to(source)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        disk = os.statvfs(path)
        return disk.f_bavail * disk.f_frsize

    def lock(self, path: Path) -> Lock:
        fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        lock = _OsLock(fd, path)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not lock.is_current():
                raise BlockingIOError(f"{path} was replaced while it was being locked")
        except OSError:
            lock.release()
            raise
        return lock
