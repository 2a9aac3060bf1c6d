"""Programs that a service was running when its process was killed.

They would go on, now as children of the heart, while the service's next incarnation may start the same program again.
So a program whose parent was a process of the system, and no longer is, is killed with its group. A program that
detached itself while its parent lived (a daemon some command started) has a parent of its own by then, or none that
was ours, and is left alone until the system stops.
"""

import os
import signal
from collections.abc import Iterable

from slakeeper.otp import posix
from slakeeper.otp.posix import ProcessId


class Orphans:
    """Remembers whose children there were; owned by the heart, looked at about once a second."""

    def __init__(self) -> None:
        self._of: dict[ProcessId, ProcessId] = {}

    def look(self, own: Iterable[int]) -> list[int]:
        """Kills the programs whose parent has ended since the last look.

        Args:
            own: pids of the processes of the system that may run programs.

        Returns:
            The pids that were killed.
        """
        adopted = {process for pid in posix.children(os.getpid()) if (process := posix.identify(pid))}
        killed = [child.pid for child, parent in self._of.items() if child in adopted and not parent.alive()]
        for pid in killed:
            _kill_group(pid)
        self._of = {
            child: parent
            for parent in map(posix.identify, own)
            if parent is not None
            for child in map(posix.identify, posix.children(parent.pid))
            if child is not None
        }
        return killed


def _kill_group(pid: int) -> None:
    try:
        leads = os.getpgid(pid) == pid
        if leads:
            os.killpg(pid, signal.SIGKILL)
        else:
            posix.kill([pid])
    except ProcessLookupError:
        return
