"""What the heart leaves in its data directory for others: who holds it, and how to reach the running system."""

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from slakeeper.otp import posix
from slakeeper.otp.posix import ProcessId

_LOCK_TRIES: Final = 10
_LOCK_PAUSE_S: Final = 0.03
# A Unix socket's path has at most 107 bytes; the sockets' own names need some of them.
_RUNTIME_DIR_BYTES: Final = 70
_RUNTIME_PREFIX: Final = "slakeeper-"


class HeartError(Exception):
    """The heart cannot start; the text says why and what to do."""


class AlreadyRunning(HeartError):
    """Another heart has the data directory.

    Attributes:
        pid: that heart's, None when it cannot be told.
    """

    def __init__(self, data: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{data} is in use by {who}; stop that one first, or choose another data directory")
        self.pid = pid


class DataDirUnusable(HeartError):
    """The data directory cannot be written."""


@dataclass(frozen=True)
class Claim:
    """A data directory that is this process's own, and empty of what an earlier heart left running.

    Attributes:
        lock_fd: holds the lock; see :func:`lock`.
        killed: names of the processes that had to be killed for it.
    """

    lock_fd: int
    killed: tuple[str, ...]


def claim(data: Path) -> Claim:
    """Takes the data directory; from then on whoever wants to stop the system finds this process.

    Raises:
        AlreadyRunning: another process has it.
        DataDirUnusable: it cannot be made or written.
    """
    prepare(data)
    lock_fd = lock(data)
    return Claim(lock_fd, tuple(clean_leftovers(data)))


def prepare(data: Path) -> None:
    """Makes the data directory with its ``log`` folder and tries to write there.

    Raises:
        DataDirUnusable: it cannot be made or written.
    """
    try:
        for folder in (data, data / "log"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataDirUnusable(f"cannot write to the data directory {data}: {reason}") from error


def lock(data: Path) -> int:
    """Takes the data directory for this process until it ends or closes the descriptor.

    Returns:
        The descriptor; a forked child must close it, or it would hold the lock as well.

    Raises:
        AlreadyRunning: another process has it.
    """
    fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Perhaps only somebody asking who holds it, see below.
            time.sleep(_LOCK_PAUSE_S)
            continue
        if not _is_at(data / "lock", fd):
            # A start that was refused has taken a directory away again that it had made.
            os.close(fd)
            prepare(data)
            fd = os.open(data / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            continue
        me = posix.identify(os.getpid())
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps([os.getpid(), me.started if me else 0, posix.boot_id()]).encode(), 0)
        return fd
    os.close(fd)
    written = _written_holder(data)
    raise AlreadyRunning(data, written.pid if written else None)


def _is_at(path: Path, fd: int) -> bool:
    """Whether the open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def holder(data: Path) -> ProcessId | None:
    """The heart that has the data directory now, None when nobody has."""
    written = _written_holder(data)
    if written is None or not written.alive():
        return None
    with contextlib.suppress(FileNotFoundError), (data / "lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return written
    return None


def _written_holder(data: Path) -> ProcessId | None:
    try:
        pid, started, boot = json.loads((data / "lock").read_text(encoding="ascii"))
        process = ProcessId(int(pid), int(started))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None
    return process if boot == posix.boot_id() else None


def write(data: Path, run: Mapping[str, Any]) -> None:
    """Replaces ``run.json``, readable by its owner alone."""
    _replace(data / "run.json", json.dumps(run, indent=1).encode(), durable=False)


def read(data: Path) -> dict[str, Any] | None:
    """What ``run.json`` says, None when there is none; it may be left by a heart that was killed."""
    try:
        run = json.loads((data / "run.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    return run if isinstance(run, dict) else None


def remove(data: Path) -> None:
    """Takes ``run.json`` away."""
    (data / "run.json").unlink(missing_ok=True)


def token(data: Path) -> str:
    """The API token: made once for a data directory, so that senders keep theirs over restarts."""
    path = data / "token"
    with contextlib.suppress(FileNotFoundError):
        if kept := path.read_text(encoding="ascii").strip():
            return kept
    made = secrets.token_urlsafe(32)
    _replace(path, made.encode() + b"\n", durable=True)
    return made


def make_runtime_dir() -> Path:
    """A new folder for the Unix sockets, for its owner alone, with a path short enough for them."""
    # The user's own runtime folder comes last: it goes when the user logs out.
    for base in (
        os.environ.get("RUNTIME_DIRECTORY"),
        tempfile.gettempdir(),
        "/tmp",
        os.environ.get("XDG_RUNTIME_DIR"),
    ):
        if base and len(os.fsencode(base)) <= _RUNTIME_DIR_BYTES - 20:
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix=_RUNTIME_PREFIX, dir=base))
    raise DataDirUnusable("no folder for Unix sockets can be made; set TMPDIR to a short, writable one")


def remove_runtime_dir(path: str | Path | None) -> None:
    """Takes a folder made by :func:`make_runtime_dir` away; anything else is left alone."""
    if path and Path(path).name.startswith(_RUNTIME_PREFIX) and Path(path).is_absolute():
        shutil.rmtree(path, ignore_errors=True)


def clean_leftovers(data: Path) -> list[str]:
    """Ends and removes what a heart that was killed left behind; only with the lock held.

    Returns:
        The names of the processes that had to be killed.
    """
    run = read(data)
    if run is None:
        return []
    killed = []
    if run.get("boot_id") == posix.boot_id():
        for one in run.get("processes", ()):
            process = ProcessId(int(one.get("pid") or 0), int(one.get("started") or 0))
            if process.pid > 1 and process.pid != os.getpid() and process.alive():
                posix.kill([process.pid])
                killed.append(str(one.get("name")))
    remove_runtime_dir(run.get("runtime_dir"))
    remove(data)
    return killed


def _replace(path: Path, content: bytes, durable: bool) -> None:
    fd, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
