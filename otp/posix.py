"""What Linux offers for keeping processes together: who they are, whose children, and how they all end.

A pid alone names nobody: it is used again. A process is known by its pid and the tick it was started at, and,
over a restart of the machine, by the boot's id.
"""

import contextlib
import ctypes
import os
import select
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_LIBC: Final = ctypes.CDLL(None, use_errno=True)

FATAL_SIGNALS: Final = (
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGABRT,
    signal.SIGTRAP,
    signal.SIGSYS,
    signal.SIGQUIT,
)
"""Signals whose own meaning is the end of the process; a Python handler for one of these loops for ever."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, never mistaken for a later one with its pid; ``started`` is in clock ticks since boot."""

    pid: int
    started: int

    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return identify(self.pid) == self


def boot_id() -> str:
    """Names this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def identify(pid: int) -> ProcessId | None:
    """Who has this pid now; None when nobody has, or a zombie."""
    fields = _stat(pid)
    # The first thread of a process is a zombie as soon as it has ended itself: its files stay open, and its ports
    # taken, until the last of the others is gone.
    if fields is None or (fields[0] in "ZX" and int(fields[17]) <= 1):
        return None
    return ProcessId(pid, int(fields[19]))


def descendants(pid: int) -> list[int]:
    """All children of a process, their children, and so on; zombies included, parents before children."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
    found = [pid]
    for one in found:
        found.extend(children.get(one, ()))
    return found[1:]


def children(pid: int) -> list[int]:
    """The direct children of a process, zombies included; none when it is gone."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            # One file for each thread: a child belongs to the thread that forked it.
            text = _read(f"/proc/{pid}/task/{thread}/children")
            found.extend(int(one) for one in (text or "").split())
    return found


def variable(pid: int, name: str) -> str | None:
    """What a process was given in its environment when its program began; None without it, or when that is secret."""
    try:
        text = _read(f"/proc/{pid}/environ") or ""
    except PermissionError:  # it runs as somebody else by now
        return None
    before = f"{name}="
    return next((each.removeprefix(before) for each in text.split("\0") if each.startswith(before)), None)


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the state on: state, ppid, pgrp, session, … started at index 19."""
    text = _read(f"/proc/{pid}/stat")
    return None if text is None else text[text.rindex(")") + 2 :].split()


def _read(name: str) -> str | None:
    """What a file of /proc says; None when its process is gone."""
    # Not by a Path: it interns each part of a name. These come and go by the ten thousand, and then the table of all
    # interned strings is made anew at twice its size: 2 MiB more after 40 minutes of looking at the same processes.
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None


# -- ends -----------------------------------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Makes every descendant whose parent ends a child of this process, so that none can get away."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent_pid: int, number: int = signal.SIGKILL) -> None:
    """Has the kernel send ``number`` to this process when its parent ends; ends it now when the parent is gone."""
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent_pid:
        os._exit(1)


def die_with_adopter(adopter_pid: int, wait_s: float) -> None:
    """As :func:`die_with`, for a process whose parent is about to end and leave it to ``adopter_pid``.

    Args:
        adopter_pid: the process that has called :func:`adopt_orphans`.
        wait_s: how long to wait for the parent's end [s]; after that this process ends itself.
    """
    until = time.monotonic() + wait_s
    while os.getppid() != adopter_pid:
        if time.monotonic() > until or os.getppid() == 1:
            os._exit(1)
        time.sleep(0.0005)
    die_with(adopter_pid)


_tied = False
_forking_pid = 0


def tie_children(tied: bool) -> None:
    """From now on, the kernel kills the children forked by this process when it ends; theirs likewise.

    The request is made by the child in the fork itself, so there is no moment at which it could be missed.
    Programs started by ``subprocess`` are not concerned.
    """
    global _tied
    _tied = tied


def _before_fork() -> None:
    global _forking_pid
    _forking_pid = os.getpid()


def _after_fork_in_child() -> None:
    if _tied:
        die_with(_forking_pid)


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)


def restore_fatal_signals() -> None:
    """Gives the signals that mean a crash their own meaning back."""
    for number in FATAL_SIGNALS:
        signal.signal(number, signal.SIG_DFL)


def kill(pids: Iterable[int], number: int = signal.SIGKILL) -> None:
    """Sends a signal to each process that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_descendants(wait_s: float) -> list[int]:
    """Kills and reaps everything below this process, which must have called :func:`adopt_orphans`.

    Args:
        wait_s: how long to wait for the kernel to be done [s].

    Returns:
        The pids that would not end, as a rule none. Empty means that this process has no child of any kind.
    """
    until = time.monotonic() + wait_s
    pause_s = 0.001
    while True:
        # Whoever forks while being killed is found in the next round: its child is ours by then.
        kill(descendants(os.getpid()))
        if not reap():
            return []
        if time.monotonic() > until:
            return descendants(os.getpid())
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.02)


def reap() -> bool:
    """Takes leave of every child that has ended; returns whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def await_end(process: ProcessId, wait_s: float) -> bool:
    """Waits for the end of any process, child or not; returns whether it came within ``wait_s`` [s]."""
    until = time.monotonic() + wait_s
    pidfd = open_pidfd(process)
    if pidfd is not None:
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            poll.poll(max(0, int(wait_s * 1000)))
        finally:
            os.close(pidfd)
    while process.alive():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def open_pidfd(process: ProcessId) -> int | None:
    """A descriptor that becomes readable when the process ends; None when it has, or on an old kernel."""
    try:
        pidfd = os.pidfd_open(process.pid)
    except OSError:
        return None
    if process.alive():
        return pidfd
    os.close(pidfd)
    return None


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl({option}, {value}): {os.strerror(code)}")
