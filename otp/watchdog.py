"""Whether Thespian's admin and its logger still turn: neither is supervised by anybody else.

A message to each is sent through Thespian's transport; the peer's loop acknowledges it, so a peer that is stopped or
stuck shows by its silence. One message at a time is on its way to each.
"""

import logging
import os
from typing import Any

from slakeeper.otp import posix
from slakeeper.otp.generation import THESPIAN_ADMIN, THESPIAN_LOGGER

from slakeeper.otp.transport import TransmitIntent  # isort: skip
from thespian.system.messages.admin import QueryExists  # isort: skip

_EVERY_MS = 1_000


class Watchdog:
    """Owned by the root; ``manager`` is its Thespian ActorManager, whose parent is the admin."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._targets = {THESPIAN_ADMIN: manager._adminAddr, THESPIAN_LOGGER: manager.asLogger}
        self._asked_at_ms = dict.fromkeys(self._targets, -_EVERY_MS)
        self._owed = dict.fromkeys(self._targets, False)
        self._under_way = dict.fromkeys(self._targets, False)
        # The admin forks its logger first and this process last.
        siblings = [pid for pid in posix.descendants(os.getppid()) if pid != os.getpid()]
        self.logger_pid = siblings[0] if siblings else None

    def watch(self, now_ms: int, late_ms: int) -> dict[str, int]:
        """Sends what is due.

        Args:
            now_ms: monotonic time [ms].
            late_ms: how long this process itself did not turn before this call [ms].

        Returns:
            For each of the two, how long it has owed an answer [ms].
        """
        ages: dict[str, int] = {}
        for name in self._targets:
            if self._owed[name]:
                self._asked_at_ms[name] += late_ms
                ages[name] = now_ms - self._asked_at_ms[name]
            else:
                ages[name] = 0
                if now_ms - self._asked_at_ms[name] < _EVERY_MS:
                    continue
                self._asked_at_ms[name] = now_ms
                self._owed[name] = True
            if not self._under_way[name]:
                self._ask(name)
        return ages

    def _ask(self, name: str) -> None:
        self._under_way[name] = True
        message = QueryExists() if name == THESPIAN_ADMIN else _unwritten_record()

        def answered(*_: Any) -> None:
            self._under_way[name] = self._owed[name] = False

        def failed(*_: Any) -> None:
            # The answer is still owed; the next call asks again.
            self._under_way[name] = False

        intent = TransmitIntent(self._targets[name], message, answered, failed)
        self._manager.transport.scheduleTransmit(None, intent)


def _unwritten_record() -> logging.LogRecord:
    """The one message Thespian's logger takes; too low in level to be written."""
    return logging.LogRecord(__name__, logging.DEBUG, "", 0, "are you there", None, None)
