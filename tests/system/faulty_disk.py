"""``python -m tests.system.faulty_disk --data DIR …``: slakeeper on a disk that fails, or is full, when a test says so.

All processes of a service are forked from the one that starts it, and so have that disk. A test breaks it with a
:class:`Disk`, by files beside the data directory: no privileges are needed, and nothing in the product knows of it.
"""

import errno
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from slakeeper.otp.filesystem import TEMPORARY_SUFFIX, File, OsFileSystem

PROGRAM = (sys.executable, "-m", "tests.system.faulty_disk")

Operation = Literal["write", "sync", "sync_data"]


class Disk:
    """The disk of a data directory, as a test breaks it and as the processes on it ask how it is."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self._fault = data.with_name(data.name + ".fault")
        self._room = data.with_name(data.name + ".room")

    # -- for a test -------------------------------------------------------------------------------------------

    def break_once(self, operation: Operation, pattern: str) -> None:
        """The next such operation on a file fails with EIO, in whichever process.

        Args:
            pattern: of the end of its path, as for ``Path.match``. A file has its temporary name until its first sync.
        """
        _put(self._fault, json.dumps([operation, pattern]))

    @property
    def is_to_break(self) -> bool:
        """Whether that has not happened yet."""
        return self._fault.exists()

    def fill(self, leave_bytes: int) -> None:
        """Others take all room but so much."""
        _put(self._room, str(leave_bytes))

    def clear(self) -> None:
        """There is room again."""
        self._room.unlink()

    # -- for the processes on it ------------------------------------------------------------------------------

    def touch(self, operation: Operation, path: Path) -> None:
        """Fails if this operation is to."""
        try:
            wanted, pattern = json.loads(self._fault.read_text())
        except FileNotFoundError:
            return
        if operation == wanted and path.match(pattern):
            try:
                self._fault.unlink()
            except FileNotFoundError:
                return  # another thread or process was there first
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def free_bytes(self) -> int | None:
        """What is left while others have filled it; None: as much as there really is."""
        try:
            return int(self._room.read_text())
        except FileNotFoundError:
            return None

    def require(self, wanted_bytes: int, path: Path) -> None:
        """Fails if there is no room for what is to be written. What is written takes none: nobody has to count it."""
        free_bytes = self.free_bytes()
        if free_bytes is not None and wanted_bytes > free_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


class _FaultyFile:
    """A file of which any operation may fail; a write that does has written nothing."""

    def __init__(self, file: File, path: Path, disk: Disk) -> None:
        self._file, self._path, self._disk = file, path, disk

    def write(self, data: bytes) -> None:
        self._disk.touch("write", self._path)
        self._disk.require(len(data), self._path)
        self._file.write(data)

    def sync(self) -> None:
        self._disk.touch("sync", self._path)
        self._file.sync()
        self._path = self._path.with_name(self._path.name.removesuffix(TEMPORARY_SUFFIX))

    def sync_data(self) -> None:
        self._disk.touch("sync_data", self._path)
        self._file.sync_data()

    def close(self) -> None:
        self._file.close()


def install(disk: Disk, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Puts the disk below everything in this process that asks for the operating system's files.

    Args:
        replace: ``setattr``, or a monkeypatch's.
    """
    create, free_bytes = OsFileSystem.create, OsFileSystem.free_bytes

    def faulty_create(fs: OsFileSystem, path: Path) -> File:
        return _FaultyFile(create(fs, path), path, disk)

    def faulty_free_bytes(fs: OsFileSystem, path: Path) -> int:
        left_bytes = disk.free_bytes()
        return free_bytes(fs, path) if left_bytes is None else left_bytes

    replace(OsFileSystem, "create", faulty_create)
    replace(OsFileSystem, "free_bytes", faulty_free_bytes)


def _put(path: Path, text: str) -> None:
    """Whoever reads it finds all of it."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


if __name__ == "__main__":
    from slakeeper.cli import main

    install(Disk(Path(sys.argv[sys.argv.index("--data") + 1])))
    main(prog_name="slakeeper")
