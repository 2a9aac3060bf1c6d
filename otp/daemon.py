"""Puts the heart into the background, and tells whoever started it how that went."""

import contextlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from slakeeper.otp.run_file import HeartError

STOPPED_EARLY = "stopped while it was starting"
INTERRUPTED = "interrupted; it goes on starting in the background, and may be stopped there"

# What Ctrl-C and a polite end send.
_STOPS = (signal.SIGINT, signal.SIGTERM)

_STOPPED = {"failed": STOPPED_EARLY, "kind": "Stopped"}


class NotStarted(HeartError):
    """The background process ended, or did not get ready, before it could report; the text has its reason.

    Attributes:
        kind: the class name of the error in the background process, "" when it told none.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


def start_detached(
    run: Callable[[Callable[[Mapping[str, Any]], None]], int], output: Path, timeout_s: float = 60.0
) -> dict[str, Any]:
    """Runs ``run(ready)`` in a new session, without a terminal, and waits until it calls ``ready``.

    Fork before anything opens a thread. The background process has ``/dev/null`` for stdin and ``output`` for
    stdout and stderr, so a pipe the caller stands in ends with the caller.

    Args:
        run: what to do there; its return value becomes the process's exit status.
        output: a file to append to; its folder must exist.
        timeout_s: how long to wait for ``ready`` [s]; then the background process is left to itself.

    Returns:
        What ``ready`` was called with: plain values.

    Raises:
        NotStarted: it failed, or whoever waits was interrupted; ``str()`` is the error's text.
    """
    read_fd, write_fd = os.pipe()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    # Held until both processes can take them: what is raised in one of Python's own hooks of a fork is lost.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    child = os.fork()
    if child == 0:
        os.close(read_fd)
        _detach(run, output, write_fd, held)
    try:
        os.close(write_fd)
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
        os.waitpid(child, 0)
        return _await_report(read_fd, timeout_s)
    except KeyboardInterrupt:
        # In a terminal the child was interrupted too, unless it had a session of its own already. Once it has ended
        # it has said so, or left a background process that no Ctrl-C reaches.
        with contextlib.suppress(ChildProcessError):  # the interrupt came just after it was waited for
            os.waitpid(child, 0)
        return _await_report(read_fd, 0, INTERRUPTED)
    finally:
        os.close(read_fd)


def _detach(
    run: Callable[[Callable[[Mapping[str, Any]], None]], int],
    output: Path,
    write_fd: int,
    mask: Iterable[int],
) -> NoReturn:
    status = 1
    report = _Report(write_fd)

    def stop(*_: object) -> None:
        report.send(_STOPPED)
        os._exit(0)

    try:
        # Until the heart takes its signals there is nothing to stop in order.
        for number in _STOPS:
            signal.signal(number, stop)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setsid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(null)
        os.close(out)
        os.chdir("/")

        status = run(lambda facts: report.send({"ready": dict(facts)}))
        report.send(_STOPPED)  # nobody hears it once it was ready
    except BaseException as error:  # noqa: BLE001  everything is reported, and then the process ends
        if not isinstance(error, HeartError):
            traceback.print_exc()
        report.send({"failed": str(error) or type(error).__name__, "kind": type(error).__name__})
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


class _Report:
    """The one line the background process has to say to whoever started it."""

    def __init__(self, fd: int) -> None:
        self._fd: int | None = fd

    def send(self, report: Mapping[str, Any]) -> None:
        if self._fd is None:
            return
        fd, self._fd = self._fd, None
        # Nobody may be waiting any more.
        with contextlib.suppress(OSError):
            os.write(fd, json.dumps(report).encode() + b"\n")
        os.close(fd)


def _await_report(fd: int, timeout_s: float, late: str = "") -> dict[str, Any]:
    """What the background process reports; ``late`` is said when it has not within ``timeout_s``."""
    text = b""
    until = time.monotonic() + timeout_s
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while not text.endswith(b"\n"):
        if not poll.poll(max(0, int((until - time.monotonic()) * 1000))):
            raise NotStarted(
                late or f"not ready within {timeout_s:g} s; it goes on starting in the background"
            )
        data = os.read(fd, 65536)
        if not data:
            raise NotStarted("the background process ended without a word; its output has the reason")
        text += data
    report = json.loads(text)
    if "failed" in report:
        raise NotStarted(report["failed"], report["kind"])
    ready: dict[str, Any] = report["ready"]
    return ready
