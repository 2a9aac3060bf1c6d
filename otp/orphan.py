"""Programs that a service was running when its process was killed.

They would go on, now as children of the heart, while the service's next incarnation may start the same program again.
So a program whose parent was a process of the system, and no longer is, is killed with its group. A program that
detached itself while its parent lived (a daemon some command started) has a parent of its own by then, or none that
was ours, and is left alone until the system stops.

What was started and orphaned between two looks nobody has seen with its parent: a program says itself who started it,
in its environment. One that detached itself in the very second in which its service ended cannot be told from it.
"""

import os
import signal
from collections.abc import Iterable

from slakeeper.otp import posix
from slakeeper.otp.posix import ProcessId

STARTED_BY = "SLAKEEPER_STARTED_BY"
"""The variable in a program's environment that holds the pid of who started it: ``integrations/program.py`` sets it,
and neither room may know the other."""


class Orphans:
    """Remembers whose children there were; owned by the heart, looked at about once a second."""

    def __init__(self) -> None:
        self._of: dict[ProcessId, ProcessId] = {}
        # Seen here while who had started them was alive.
        self._detached: set[ProcessId] = set()
        # Pids of those whose programs have been dealt with: what comes here later had a parent of its own at their end.
        self._gone: set[int] = set()
        self._own: set[int] = set()

    def look(self, own: Iterable[int]) -> list[int]:
        """Kills the programs whose parent has ended since the last look.

        Args:
            own: pids of the processes of the system that may run programs.

        Returns:
            The pids that were killed.
        """
        adopted = {process for pid in posix.children(os.getpid()) if (process := posix.identify(pid))}
        said = {
            child: starter
            for child in adopted - self._of.keys() - self._detached
            if (starter := _starter(child)) is not None and starter not in self._gone
        }
        gone = {pid for pid in self._own.union(said.values()) if posix.identify(pid) is None}
        ended = {child for child, starter in said.items() if starter in gone}
        self._detached = (self._detached & adopted) | (said.keys() - ended)
        ended |= {child for child, parent in self._of.items() if child in adopted and not parent.alive()}
        killed = sorted(child.pid for child in ended)
        for pid in killed:
            _kill_group(pid)
        parents = [parent for parent in map(posix.identify, own) if parent is not None]
        self._own = {parent.pid for parent in parents}
        self._gone = (self._gone | gone) - self._own
        self._of = {
            child: parent
            for parent in parents
            for child in map(posix.identify, posix.children(parent.pid))
            if child is not None
        }
        return killed


def _starter(child: ProcessId) -> int | None:
    """The pid of who started a program; None when that is not said, or was said of this process and is inherited."""
    said = posix.variable(child.pid, STARTED_BY)
    if said is None or said == os.environ.get(STARTED_BY) or not said.isdecimal():
        return None
    return int(said)


def _kill_group(pid: int) -> None:
    try:
        leads = os.getpgid(pid) == pid
        if leads:
            os.killpg(pid, signal.SIGKILL)
        else:
            posix.kill([pid])
    except ProcessLookupError:
        return
