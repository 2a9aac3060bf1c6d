"""Programs of others: started without a shell in a session of their own, and ended with all their offspring."""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence

# What a program may know of our own environment; anything else, credentials first, it is given by name.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")

# After SIGKILL a process is gone at once, unless the kernel itself holds it (a dead network file system).
_KILL_GRACE_S = 5.0

LOOK_S = 0.02
"""How often a program is looked at where the kernel has no pidfd [s]."""

_LINE_LIMIT = 200

STARTED_BY = "SLAKEEPER_STARTED_BY"
"""The variable that tells a program, and whoever looks at it, the pid of the process that started it: by it the heart
(``otp/orphan.py``) knows a program whose service was killed."""


class StartFailed(Exception):
    """The program cannot be started; the text says why."""


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What a program sees: little of our own environment, and what it is given."""
    return {**{name: os.environ[name] for name in _INHERITED if name in os.environ}, **given}


def start(
    argv: Sequence[str], env: Mapping[str, str], cwd: str | None, *, stdin: int, stderr: int
) -> subprocess.Popen[bytes]:
    """Starts a program at the head of a session of its own, its output in a pipe.

    Raises:
        StartFailed: it is not there, not executable, or its arguments are not to be passed on.
    """
    marked = {**env, STARTED_BY: str(os.getpid())}
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=cwd,
            env=marked,
            start_new_session=True,
        )
    except OSError as error:
        raise StartFailed(f"cannot be started: {error.strerror}: {error.filename}") from None
    except ValueError as error:  # a NUL in an argument
        raise StartFailed(f"cannot be started: {error}") from None


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        # Somebody else in this process waits for all children; subprocess copes with it.
        return True


def ends_within(pid: int, seconds: float) -> bool:
    """Waits for a child's end; it stays to be waited for."""
    end_s = time.monotonic() + seconds
    while not has_ended(pid):
        left_s = end_s - time.monotonic()
        if left_s <= 0:
            return False
        try:
            end = os.pidfd_open(pid)
        except (OSError, AttributeError):  # a kernel or a sandbox without pidfd
            time.sleep(min(LOOK_S, left_s))
            continue
        try:
            poll = select.poll()
            poll.register(end, select.POLLIN)
            poll.poll(left_s * 1000)
        finally:
            os.close(end)
    return True


def end_group(process: subprocess.Popen[bytes]) -> bool:
    """Kills what is left of a program's group.

    Returns:
        Whether the program is gone.
    """
    # The program is not yet waited for, so that its number cannot be somebody else's by now.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(_KILL_GRACE_S)
    except subprocess.TimeoutExpired:
        return False
    return True


class Tail:
    """The end of an output, in bounded space.

    Args:
        limit: how much is kept [bytes].
        secrets: texts that are never shown.
    """

    def __init__(self, limit: int, secrets: Sequence[str] = ()) -> None:
        self._limit = limit
        # The longest first: one that stands in another would leave the rest of that.
        self._secrets = sorted((secret.encode() for secret in secrets if secret), key=len, reverse=True)
        # A secret through which the cut goes would show its end: so much more is kept until the text is wanted.
        self._spare = max(map(len, self._secrets), default=0)
        self._kept = bytearray()
        self._is_cut = False

    def add(self, piece: bytes) -> None:
        self._kept += piece
        if len(self._kept) > self._limit + self._spare:
            self._is_cut = True
            del self._kept[: -(self._limit + self._spare)]

    def text(self) -> str:
        kept = bytes(self._kept)
        for secret in self._secrets:
            kept = kept.replace(secret, b"***")
        if self._is_cut:
            kept = self._without_rest(kept)
        if len(kept) > self._limit:
            self._is_cut = True
            kept = kept[-self._limit :]
        if self._is_cut:
            # The cut may go through a sign; at most three bytes of it are left.
            while kept and kept[0] & 0xC0 == 0x80:
                kept = kept[1:]
        # A sign that stands for a broken byte takes three: the limit holds for what is handed on, too.
        return kept.decode("utf-8", "replace").encode()[-self._limit :].decode("utf-8", "ignore")

    def _without_rest(self, kept: bytes) -> bytes:
        """What was kept, without the end of a secret whose beginning is gone."""
        for secret in self._secrets:
            for length in range(len(secret) - 1, 0, -1):
                if kept.startswith(secret[-length:]):
                    return kept[length:]
        return kept

    @property
    def last_line(self) -> str:
        lines = self.text().strip().splitlines()
        line = "".join(sign if sign.isprintable() else " " for sign in lines[-1]).strip() if lines else ""
        return line if len(line) <= _LINE_LIMIT else line[: _LINE_LIMIT - 1] + "…"
