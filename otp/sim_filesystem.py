"""A file system in memory that loses power, or an operation, exactly where a simulation says.

What a program sees and what a power loss leaves are kept apart: contents survive a sync of the file, names one of
the directory, and of everything since any part may survive: any of a file's writes, any sectors of a
write, any names, as long as changes of one name keep their order. A sync that fails leaves the contents
visible but gone from the disk for good, as Linux does: a later sync will not write them.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Literal

SECTOR_BYTES = 512

Survival = Literal["nothing", "everything"] | Random


class PowerLoss(BaseException):
    """The machine is off. Not an Exception: no program catches it."""


class _PowerLossNow(PowerLoss):
    """During this very operation, which may have happened."""


@dataclass(eq=False)
class _Inode:
    seen: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)
    """(offset, data) of a write, (size, None) of a truncation."""

    def change(self, offset: int, data: bytes | None) -> None:
        _apply(self.seen, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        # In place: a journal is synced thousands of times, and copying it each time would be most of a run.
        for offset, data in self.unsynced:
            _apply(self.durable, offset, data)
        self.unsynced.clear()

    def survivor(self, survival: Survival) -> "_Inode":
        content = bytearray(self.durable)
        for offset, data in self.unsynced:
            if survival == "everything":
                _apply(content, offset, data)
            elif isinstance(survival, Random):
                match survival.randrange(3):
                    case 1:
                        _apply(content, offset, data)
                    case 2 if data is not None:
                        _apply_torn(content, offset, data, survival)
        return _Inode(content, bytearray(content))


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    else:
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def _apply_torn(content: bytearray, offset: int, data: bytes, random: Random) -> None:
    """Only some sectors, in any order; the length may be ahead of the contents, which are then zeros."""
    end = offset + random.randint(0, len(data))
    content.extend(bytes(max(0, end - len(content))))
    for start in range(offset - offset % SECTOR_BYTES, end, SECTOR_BYTES):
        first, last = max(start, offset), min(start + SECTOR_BYTES, end)
        if random.random() < 0.5:
            content[first:last] = data[first - offset : last - offset]


@dataclass
class _Directory:
    seen: dict[str, _Inode] = field(default_factory=dict)
    durable: dict[str, _Inode] = field(default_factory=dict)
    unsynced: list[dict[str, _Inode | None]] = field(default_factory=list)
    """Each change: the names it sets or, with None, removes."""

    def change(self, names: dict[str, _Inode | None]) -> None:
        _rename(self.seen, names)
        self.unsynced.append(names)

    def sync(self) -> None:
        self.durable = dict(self.seen)
        self.unsynced.clear()

    def survivor(self, survival: Survival) -> dict[str, _Inode]:
        names = dict(self.durable)
        lost: set[str] = set()
        for change in self.unsynced:
            kept = survival == "everything" or (isinstance(survival, Random) and survival.random() < 0.5)
            if kept and not lost & change.keys():
                _rename(names, change)
            else:
                lost |= change.keys()
        return names


def _rename(names: dict[str, _Inode], change: dict[str, _Inode | None]) -> None:
    for name, inode in change.items():
        if inode is None:
            names.pop(name, None)
        else:
            names[name] = inode


class _File:
    def __init__(self, fs: "CrashFileSystem", inode: _Inode) -> None:
        self._fs = fs
        self._inode = inode

    def write(self, data: bytes) -> None:
        try:
            self._fs.step()
        except OSError:
            self._inode.change(len(self._inode.seen), data[: len(data) // 2])  # out of room half-way
            raise
        except _PowerLossNow:
            self._inode.change(len(self._inode.seen), data)
            raise
        self._inode.change(len(self._inode.seen), data)

    def sync(self) -> None:
        self._fs.sync_inode(self._inode)

    def sync_data(self) -> None:
        self._fs.sync_inode(self._inode)

    def close(self) -> None:
        pass


class _Readable:
    def __init__(self, fs: "CrashFileSystem", path: Path, inode: _Inode) -> None:
        self._fs = fs
        self._path = path
        self._inode = inode
        self.size = len(inode.seen)
        self.is_open = True

    def read_at(self, offset: int, length: int) -> bytes:
        if not self.is_open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self._path))
        self._fs.refuse_unreadable(self._path)
        return bytes(self._inode.seen[offset : offset + length])

    def close(self) -> None:
        self.is_open = False

    def __str__(self) -> str:
        return str(self._path)


class _Lock:
    def __init__(self, fs: "CrashFileSystem", path: Path) -> None:
        self._fs = fs
        self._path = path

    def is_current(self) -> bool:
        return self._path in self._fs.locks

    def release(self) -> None:
        self._fs.locks.discard(self._path)


class CrashFileSystem:
    """Counts the operations that change something; the one numbered ``crash_at`` is the last thing that begins.

    Args:
        crash_at: from 0; None for never.
        fail_at: operation numbers and the errno that they fail with.
    """

    def __init__(self, crash_at: int | None = None, fail_at: dict[int, int] | None = None) -> None:
        self.crash_at = crash_at
        self.fail_at = fail_at or {}
        self.steps = 0
        self.is_on = True
        self.locks: set[Path] = set()
        self.before_step: Callable[[int], None] | None = None
        self.unreadable: set[Path] = set()
        self.free = 2**40
        self._directories: dict[Path, _Directory] = {}

    # -- the port -------------------------------------------------------------------------------------------

    def make_directory(self, path: Path) -> None:
        # The interesting part is inside the directory; making it is taken as durable.
        self._directories.setdefault(path, _Directory())

    def names(self, directory: Path) -> list[str]:
        return list(self._directories[directory].seen)

    def read(self, path: Path) -> bytes:
        self.refuse_unreadable(path)
        return bytes(self._directories[path.parent].seen[path.name].seen)

    def open(self, path: Path) -> _Readable:
        return _Readable(self, path, self._directories[path.parent].seen[path.name])

    def create(self, path: Path) -> _File:
        inode = _Inode()
        with self._doing():
            self._directories[path.parent].change({path.name: inode})
        return _File(self, inode)

    def rewrite_end(self, path: Path, offset: int, data: bytes) -> None:
        inode = self._directories[path.parent].seen[path.name]
        with self._doing():
            inode.change(offset, data)
        with self._doing():
            inode.change(offset + len(data), None)
        self.sync_inode(inode)

    def rename(self, source: Path, target: Path) -> None:
        directory = self._directories[source.parent]
        with self._doing():
            directory.change({source.name: None, target.name: directory.seen[source.name]})
        self.unreadable.discard(target)  # another file has that name now

    def link(self, source: Path, target: Path) -> None:
        with self._doing():
            self._directories[target.parent].change(
                {target.name: self._directories[source.parent].seen[source.name]}
            )

    def remove(self, path: Path) -> None:
        with self._doing():
            self._directories[path.parent].change({path.name: None})

    def sync_directory(self, path: Path) -> None:
        self.step()
        self._directories[path].sync()

    def free_bytes(self, path: Path) -> int:
        return self.free

    def lock(self, path: Path) -> _Lock:
        if path in self.locks:
            raise BlockingIOError(errno.EAGAIN, "locked", str(path))
        self.locks.add(path)
        return _Lock(self, path)

    # -- faults ---------------------------------------------------------------------------------------------

    def step(self) -> None:
        if not self.is_on:
            raise PowerLoss
        step, self.steps = self.steps, self.steps + 1
        if self.before_step is not None:
            self.before_step(step)
        if step == self.crash_at:
            self.is_on = False
            raise _PowerLossNow
        if step in self.fail_at:
            number = self.fail_at[step]
            raise OSError(number, os.strerror(number))

    @contextmanager
    def _doing(self) -> Iterator[None]:
        """An operation that power loss interrupts may have happened, one that fails has not."""
        try:
            self.step()
        except _PowerLossNow:
            yield
            raise
        yield

    def refuse_unreadable(self, path: Path) -> None:
        if path in self.unreadable:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def sync_inode(self, inode: _Inode) -> None:
        try:
            self.step()
        except OSError:
            inode.unsynced.clear()
            raise
        inode.sync()

    def after_power_loss(self, survival: Survival) -> "CrashFileSystem":
        """A new machine with what of the disk survived; this one stays as it is."""
        survivor = CrashFileSystem()
        kept: dict[int, _Inode] = {}  # a file of two names is one file
        for path, directory in self._directories.items():
            names = directory.survivor(survival)
            for inode in names.values():
                if id(inode) not in kept:
                    kept[id(inode)] = inode.survivor(survival)
            files = {name: kept[id(inode)] for name, inode in names.items()}
            survivor._directories[path] = _Directory(dict(files), dict(files))
        return survivor

    def after_kill(self) -> None:
        """The program is gone, its locks with it; the machine, and what it has in memory, stays."""
        self.locks.clear()
        self.fail_at = {}
        self.is_on = True
        self.crash_at = None

    # -- looking and meddling ---------------------------------------------------------------------------------

    def files(self, directory: Path) -> dict[str, bytes]:
        """Every file a program sees."""
        return {name: bytes(inode.seen) for name, inode in self._directories[directory].seen.items()}

    def put(self, path: Path, content: bytes) -> None:
        """Puts a file there, durably, whatever was there before."""
        directory = self._directories.setdefault(path.parent, _Directory())
        directory.seen[path.name] = directory.durable[path.name] = _Inode(
            bytearray(content), bytearray(content)
        )

    def copy(self) -> "CrashFileSystem":
        """A machine with the same files, all durable."""
        return self.after_power_loss("everything")
