"""Commands as remedies: a program in a session of its own, ended with all its offspring when it ends or is late.

The call waits for the program, not for the end of its output: something left in the background that holds the pipe
open keeps nobody waiting. What is still in the program's process group when it has ended is killed; whatever a
command means to leave running (a service) must be started in a session of its own, as daemons do.
"""

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slakeeper.integrations.remedy import OUTPUT_LIMIT, RemedyResult
from slakeeper.sla.duration import format_duration
from slakeeper.sla.policy import AutomaticAction, CommandRemedy, PythonRemedy

# What a program may know of our own environment; anything else, credentials first, it is given by name.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")

_PYTHON_CALL = Path(__file__).with_name("python_call.py")

_CHUNK = 64 * 1024

# After SIGKILL a process is gone at once, unless the kernel itself holds it (a dead network file system).
_KILL_GRACE_S = 5.0

# How often the program is looked at where the kernel has no pidfd.
_LOOK_S = 0.02

_DETAIL_LIMIT = 200


def run_command(
    remedy: CommandRemedy, action: AutomaticAction, *, idempotency_key: str, timeout_ms: int
) -> RemedyResult:
    """Runs a program; it did well when its exit code is 0.

    See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment.update(remedy.env)
    environment.update(_facts(action, idempotency_key))
    return _run(remedy.argv, environment, remedy.cwd, timeout_ms)


def run_python(
    remedy: PythonRemedy, action: AutomaticAction, *, idempotency_key: str, timeout_ms: int
) -> RemedyResult:
    """Calls a function in a Python process of its own, where it can be ended and can break nothing of ours.

    It sees this process's environment and import path. It did well unless it raises or returns False; a text that
    it returns becomes the detail. See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, **_facts(action, idempotency_key)}
    # By its file, so that it loads nothing of ours; -P keeps the file's directory out of the import path.
    argv = (sys.executable, "-P", str(_PYTHON_CALL), remedy.entry)
    return _run(argv, environment, None, timeout_ms)


def _facts(action: AutomaticAction, idempotency_key: str) -> dict[str, str]:
    return {
        "SLAKEEPER_ACTION": action.name,
        "SLAKEEPER_REMEDY": action.action,
        "SLAKEEPER_TARGET": action.target_name,
        "SLAKEEPER_TRIGGER_METRIC": action.trigger_metric,
        "SLAKEEPER_PARAMETERS": json.dumps(action.parameters, default=str),
        "SLAKEEPER_IDEMPOTENCY_KEY": idempotency_key,
    }


def _run(
    argv: Sequence[str], environment: Mapping[str, str], cwd: str | None, timeout_ms: int
) -> RemedyResult:
    began_s = time.monotonic()
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # not there, not executable, a NUL in an argument, too long
        reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else str(error)
        return RemedyResult(False, f"cannot be started: {reason}", "", None, _since_ms(began_s))
    tail = _Tail()
    watch = _Watch(process, tail)
    try:
        in_time = watch.until(began_s + timeout_ms / 1000)
    finally:
        gone = watch.end()
    output = tail.text()
    duration_ms = _since_ms(began_s)
    if not gone:
        detail = f"process {process.pid} cannot be killed"
        return RemedyResult(False, detail, output, None, duration_ms)
    code = process.returncode
    if not in_time:
        detail = f"killed after {format_duration(timeout_ms)}"
        return RemedyResult(False, detail, output, code, duration_ms)
    return RemedyResult(code == 0, _ended(code, tail), output, code, duration_ms)


def _ended(code: int, tail: "_Tail") -> str:
    """How it went, with the last thing that was said."""
    if code < 0:
        words = f"ended by {_signal_name(-code)}"
    else:
        words = f"exit code {code}"
    return f"{words}: {tail.last_line}" if tail.last_line else words


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"


def _since_ms(began_s: float) -> int:
    return round((time.monotonic() - began_s) * 1000)


class _Tail:
    """The end of an output, in bounded space."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._is_cut = False

    def add(self, piece: bytes) -> None:
        self._kept += piece
        if len(self._kept) > OUTPUT_LIMIT:
            self._is_cut = True
            del self._kept[:-OUTPUT_LIMIT]

    def text(self) -> str:
        kept = bytes(self._kept)
        if self._is_cut:
            # The cut may go through a sign; at most three bytes of it are left.
            while kept and kept[0] & 0xC0 == 0x80:
                kept = kept[1:]
        # A sign that stands for a broken byte takes three: the limit holds for what is handed on, too.
        return kept.decode("utf-8", "replace").encode()[-OUTPUT_LIMIT:].decode("utf-8", "ignore")

    @property
    def last_line(self) -> str:
        lines = self.text().strip().splitlines()
        line = "".join(sign if sign.isprintable() else " " for sign in lines[-1]).strip() if lines else ""
        return line if len(line) <= _DETAIL_LIMIT else line[: _DETAIL_LIMIT - 1] + "…"


@dataclass(slots=True)
class _Watch:
    """Reads a program's output while waiting for its end."""

    process: subprocess.Popen[bytes]
    tail: _Tail

    def until(self, end_s: float) -> bool:
        """Waits for the program's end.

        Args:
            end_s: on the monotonic clock.

        Returns:
            Whether it ended in time.
        """
        pid = self.process.pid
        with contextlib.ExitStack() as stack:
            selector = stack.enter_context(selectors.DefaultSelector())
            pipe = self._pipe()
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ)
            longest_s = _LOOK_S
            with contextlib.suppress(OSError, AttributeError):  # a kernel or a sandbox without pidfd
                end = os.pidfd_open(pid)
                stack.callback(os.close, end)
                selector.register(end, selectors.EVENT_READ)
                longest_s = math.inf
            while not _has_ended(pid):
                left_s = end_s - time.monotonic()
                if left_s <= 0:
                    return False
                for key, _ in selector.select(min(left_s, longest_s)):
                    if key.fd == pipe and not self._read():
                        selector.unregister(pipe)
        return True

    def end(self) -> bool:
        """Kills what is left of the group and reads what is left of the output.

        Returns:
            Whether the program is gone.
        """
        # The program is not yet waited for, so that its number cannot be somebody else's by now.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        try:
            self.process.wait(_KILL_GRACE_S)
        except subprocess.TimeoutExpired:
            return False
        finally:
            # As much as the pipe holds; something outside the group may go on writing.
            for _ in range(64):
                if not self._read():
                    break
            if self.process.stdout is not None:
                self.process.stdout.close()
        return True

    def _pipe(self) -> int:
        if self.process.stdout is None:
            raise ValueError("the program was started without a pipe")
        return self.process.stdout.fileno()

    def _read(self) -> bool:
        """One piece of output; False when there is none, now or ever."""
        try:
            piece = os.read(self._pipe(), _CHUNK)
        except BlockingIOError:
            return False
        self.tail.add(piece)
        return bool(piece)


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays to be waited for."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        # Somebody else in this process waits for all children; subprocess copes with it.
        return True
