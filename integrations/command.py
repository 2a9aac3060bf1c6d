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

from slakeeper.integrations import program
from slakeeper.integrations.program import Tail
from slakeeper.integrations.remedy import OUTPUT_LIMIT, RemedyResult
from slakeeper.sla.duration import SECOND_MS, format_duration
from slakeeper.sla.policy import AutomaticAction, CommandRemedy, Limits, PythonRemedy

_PYTHON_CALL = Path(__file__).with_name("python_call.py")

_LIMITED = Path(__file__).with_name("limited.py")

_CHUNK = 64 * 1024


def run_command(
    remedy: CommandRemedy, action: AutomaticAction, *, idempotency_key: str, timeout_ms: int
) -> RemedyResult:
    """Runs a program; it did well when its exit code is 0.

    See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    given, secrets = _given(remedy, action, idempotency_key)
    argv = _limited(remedy.argv, remedy.limits)
    return _run(argv, given, remedy.cwd, timeout_ms, secrets)


def run_python(
    remedy: PythonRemedy, action: AutomaticAction, *, idempotency_key: str, timeout_ms: int
) -> RemedyResult:
    """Calls a function in a Python process of its own, where it can be ended and can break nothing of ours.

    It sees this process's import path, and of the environment what a command sees. It did well unless it raises or
    returns False; a text that it returns becomes the detail. See :func:`slakeeper.integrations.remedy.run_remedy`.
    """
    given, secrets = _given(remedy, action, idempotency_key)
    before = filter(None, [given.get("PYTHONPATH")])
    path = os.pathsep.join((*before, *map(os.path.abspath, sys.path)))
    # By its file, so that it loads nothing of ours; -P keeps the file's directory out of the import path.
    argv = _limited((sys.executable, "-P", str(_PYTHON_CALL), remedy.entry), remedy.limits)
    return _run(argv, {**given, "PYTHONPATH": path}, None, timeout_ms, secrets)


def _given(
    remedy: CommandRemedy | PythonRemedy, action: AutomaticAction, idempotency_key: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """A program's environment, and what of it is to be masked in all that it says."""
    secrets = {name: value.get_secret_value() for name, value in remedy.secrets.items()}
    given = program.environment({**remedy.env, **secrets, **_facts(action, idempotency_key)})
    return given, tuple(secrets.values())


def _limited(argv: Sequence[str], limits: Limits) -> Sequence[str]:
    """The program behind one that sets its limits; itself when there are none."""
    given = {
        "cpu": None if limits.cpu is None else math.ceil(limits.cpu / SECOND_MS),
        "as": limits.memory_bytes,
        "fsize": limits.file_bytes,
        "nofile": limits.open_files,
        "no_new_privs": limits.no_new_privileges or None,
    }
    set_ = {name: value for name, value in given.items() if value is not None}
    return (sys.executable, "-I", "-S", str(_LIMITED), json.dumps(set_), *argv) if set_ else argv


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
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: str | None,
    timeout_ms: int,
    secrets: Sequence[str],
) -> RemedyResult:
    began_s = time.monotonic()
    try:
        process = program.start(argv, environment, cwd, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    except program.StartFailed as error:
        return RemedyResult(False, str(error), "", None, _since_ms(began_s))
    tail = Tail(OUTPUT_LIMIT, secrets)
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


def _ended(code: int, tail: Tail) -> str:
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


@dataclass(slots=True)
class _Watch:
    """Reads a program's output while waiting for its end."""

    process: subprocess.Popen[bytes]
    tail: Tail

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
            longest_s = program.LOOK_S
            with contextlib.suppress(OSError, AttributeError):  # a kernel or a sandbox without pidfd
                end = os.pidfd_open(pid)
                stack.callback(os.close, end)
                selector.register(end, selectors.EVENT_READ)
                longest_s = math.inf
            while not program.has_ended(pid):
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
        try:
            return program.end_group(self.process)
        finally:
            # As much as the pipe holds; something outside the group may go on writing.
            for _ in range(64):
                if not self._read():
                    break
            if self.process.stdout is not None:
                self.process.stdout.close()

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
