"""What a service may leave behind: processes and listening sockets."""

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from slakeeper.otp import posix, run_file
from slakeeper.otp.posix import ProcessId

T = TypeVar("T")


def until(condition: Callable[[], T | None], limit_s: float = 20.0, what: str = "it") -> T:
    """The first true value of a condition, asked for again and again; fails after ``limit_s``."""
    end_s = time.monotonic() + limit_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < end_s, f"waited {limit_s:g} s in vain for {what}"
        time.sleep(0.02)


@dataclass(frozen=True)
class Listener:
    """A listening TCP socket: its address as /proc/net/tcp writes it, its port, and the kernel's number for it."""

    address: str
    port: int
    inode: int


def listeners() -> set[Listener]:
    """All of this machine."""
    found = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    address, _, port = fields[1].partition(":")
                    found.add(Listener(address, int(port, 16), int(fields[9])))
    return found


def listening(pids: Iterable[int]) -> set[Listener]:
    """Those of processes."""
    open_files = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    open_files.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return {one for one in listeners() if f"socket:[{one.inode}]" in open_files}


def assert_gone(processes: Iterable[ProcessId], sockets: set[Listener]) -> None:
    """That none of the processes runs, and none of the sockets is open."""
    assert [process for process in processes if process.alive()] == []
    assert listeners() & sockets == set()


def kill(data: Path) -> None:
    """Ends whatever runs on a data directory."""
    heart = run_file.holder(data) if data.is_dir() else None
    if heart is not None:
        posix.kill([heart.pid])
        assert posix.await_end(heart, 10.0)


def sweep(spared: Iterable[ProcessId] = (), limit_s: float = 10.0) -> list[str]:
    """Waits until nothing is below this process any more, and kills what will not go; returns what that was.

    Args:
        spared: processes that may go on.
    """
    kept = {process.pid for process in spared}
    left: list[int] = []

    def nothing_left() -> bool:
        posix.reap()
        left[:] = [pid for pid in posix.descendants(os.getpid()) if pid not in kept]
        return not left

    with contextlib.suppress(AssertionError):
        until(nothing_left, limit_s)
    titles = [_title(pid) for pid in left]
    posix.kill(left)
    posix.reap()
    return titles


def _title(pid: int) -> str:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").strip()
    return str(pid)
