"""Processes of this machine as a source: do they run, and what do they take?"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil

from slakeeper.integrations.source import Reading
from slakeeper.sla.monitoring import ProcessSource

_PID_DIGITS = 9  # the kernel gives 4 194 304 at most

_Identity = tuple[int, float]
"""Id and start of a process: an id alone is used again."""


class ProcessPoller:
    """One look at all processes that match; cpu is the mean since the poll before.

    No such process is a reading (up 0, count 0) and no error; what it would take is silence then. A pid file that is
    not there means that nothing runs; one that cannot be read, or holds no number, is an error.
    """

    type = "process"

    def __init__(self, name: str, settings: ProcessSource) -> None:
        self.name = name
        self._settings = settings
        self._cpu_s: dict[_Identity, float] = {}
        self._looked_s: float | None = None
        self._looked_at_s = 0.0

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        try:
            found = list(self._matching())
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            where = f"{self._settings.pid_file}: " if self._settings.pid_file else ""
            return [Reading(metric, None, None, f"{where}{reason}") for metric in queries]
        cpu_pct = self._cpu(found) if "cpu" in queries.values() else None
        return [self._reading(metric, query, found, cpu_pct) for metric, query in queries.items()]

    def _reading(
        self, metric: str, query: str, found: list[psutil.Process], cpu_pct: float | None
    ) -> Reading:
        if query == "up":
            return Reading(metric, 100.0 if found else 0.0)
        if query == "count":
            return Reading(metric, float(len(found)))
        if query != "cpu" and query not in _SUMS and query != "age":
            known = ", ".join(("up", "count", "cpu", *_SUMS, "age"))
            return Reading(metric, None, None, f"unknown query {query!r}: {known}")
        if not found:
            return Reading(metric, None, None, "no such process", is_silence=True)
        if query == "cpu":
            reason = None if cpu_pct is not None else "no data: looked at for the first time"
            return Reading(metric, cpu_pct, None, reason, is_silence=cpu_pct is None)
        try:
            if query == "age":
                return Reading(metric, max(time.time() - min(each.create_time() for each in found), 0.0))
            return Reading(metric, float(sum(_SUMS[query](each) for each in found)))
        except psutil.AccessDenied as error:
            return Reading(metric, None, None, f"{query} of process {error.pid}: not permitted")
        except psutil.NoSuchProcess:
            return Reading(metric, None, None, "a process ended while it was looked at", is_silence=True)

    def _cpu(self, found: list[psutil.Process]) -> float | None:
        """Percent of one core since the look before, of all together; None at the first."""
        now_s, before_s = time.monotonic(), self._looked_s
        used: dict[_Identity, float] = {}
        for process in found:
            try:
                times = process.cpu_times()
                used[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:  # it has ended
                continue
        spent_s = 0.0
        for identity, each_s in used.items():
            is_new = identity[1] >= self._looked_at_s  # all it has used, it has used since
            spent_s += each_s - self._cpu_s.get(identity, 0.0 if is_new else each_s)
        self._cpu_s, self._looked_s, self._looked_at_s = used, now_s, time.time()
        if before_s is None or now_s <= before_s:
            return None
        return max(100.0 * spent_s / (now_s - before_s), 0.0)

    def _matching(self) -> Iterator[psutil.Process]:
        settings = self._settings
        if settings.process is not None:
            for process in psutil.process_iter():
                if _is_alive(process) and _is_called(process, settings.process) and self._has_args(process):
                    yield process
            return
        pid = settings.pid if settings.pid_file is None else _pid_in(Path(settings.pid_file))
        if pid is None:
            return
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return
        if _is_alive(process) and self._has_args(process):
            yield process

    def _has_args(self, process: psutil.Process) -> bool:
        if not self._settings.args:
            return True
        try:
            given = process.cmdline()[1:]
        except psutil.Error:
            return False
        return all(each in given for each in self._settings.args)


_SUMS: Mapping[str, Callable[[psutil.Process], int]] = {
    "memory": lambda process: int(process.memory_info().rss),
    "open_files": lambda process: int(process.num_fds()),
    "threads": lambda process: int(process.num_threads()),
}


def _pid_in(path: Path) -> int | None:
    try:
        words = path.read_text(encoding="utf-8", errors="replace").split(maxsplit=1)
    except FileNotFoundError:
        return None
    if not words:
        return None  # just being written
    if not (words[0].isascii() and words[0].isdigit() and len(words[0]) <= _PID_DIGITS and int(words[0]) > 0):
        raise ValueError("holds no process id")
    return int(words[0])


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _is_called(process: psutil.Process, name: str) -> bool:
    """As the kernel knows it (its first 15 bytes), or as it was called."""
    try:
        if process.name() == name:
            return True
        called = process.cmdline()
    except psutil.Error:
        return False
    return bool(called) and called[0].rpartition("/")[2] == name
