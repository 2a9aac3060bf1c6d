"""The heart's signals: they are counted, and end its wait."""

import os
import select
import signal
import time
from typing import Any

_SAME_S = 1.0


class StopSignals:
    """Takes SIGTERM and SIGINT as wishes to stop, ignores SIGHUP, and wakes ``poll`` for SIGCHLD as well.

    Attributes:
        count: how often a stop was wished; the second wish means at once.
        fds: the pipe the kernel's news comes through; a forked child closes it.
    """

    def __init__(self, poll: "select.poll") -> None:
        self.count = 0
        self.fds = (-1, -1)
        self._poll = poll
        self._asked_at = 0.0
        self._kept_fd = -1
        self._kept: dict[int, Any] = {}

    def take(self) -> None:
        """Takes the signals over; on the main thread."""
        self.fds = os.pipe()
        for fd in self.fds:
            os.set_blocking(fd, False)
        self._poll.register(self.fds[0], select.POLLIN)
        self._kept_fd = signal.set_wakeup_fd(self.fds[1], warn_on_full_buffer=False)
        handlers: dict[int, Any] = {
            signal.SIGTERM: lambda *_: self.ask(),
            signal.SIGINT: lambda *_: self.ask(),
            signal.SIGHUP: signal.SIG_IGN,
            # Without a handler it would not wake anybody.
            signal.SIGCHLD: lambda *_: None,
        }
        self._kept = {number: signal.signal(number, handler) for number, handler in handlers.items()}

    def give_back(self) -> None:
        """Restores what was there before."""
        signal.set_wakeup_fd(self._kept_fd)
        for number, handler in self._kept.items():
            signal.signal(number, handler)
        self._poll.unregister(self.fds[0])
        for fd in self.fds:
            os.close(fd)

    def ask(self) -> None:
        """Counts a wish to stop. One Ctrl-C may come twice: from the terminal, and handed on by a parent."""
        now = time.monotonic()
        if self.count == 0 or now - self._asked_at > _SAME_S:
            self.count += 1
            self._asked_at = now

    def drain(self) -> None:
        """Empties the pipe after a wait."""
        try:
            while os.read(self.fds[0], 512):
                pass
        except BlockingIOError:
            return
