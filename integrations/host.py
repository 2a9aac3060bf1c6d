"""The machine itself as a source, by psutil."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache

import psutil

from slakeeper.integrations.source import Reading

# Clock ticks of the kernel come every 10 ms; a share over fewer than some ten of them says nothing.
_SHORTEST_S = 0.1

_LOADS = {"": 0, "1": 0, "5": 1, "15": 2}


class HostPoller:
    """Answers cpu_usage, memory_usage, disk_usage[:PATH] [%], process_up:NAME (1 or 0), load[:1|5|15].

    cpu_usage is the mean since the poll before, of all callers together; the first since the source was opened.
    psutil's own reckoning is not used for it, because that begins anew in each thread. Nothing here waits, with
    one exception that no time-out can end: the kernel's answer about a network file system that is dead. Whoever polls
    notices that it hangs.
    """

    type = "host"

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._before = _cpu_times()
        self._before_s = time.monotonic()
        self._cpu_pct: float | None = None

    def poll(self, queries: Mapping[str, str]) -> list[Reading]:
        """See :class:`slakeeper.integrations.source.Poller`."""
        # One look at each thing, however many ask for it.
        look = cache(self._look)
        processes = cache(_running)
        return [_reading(metric, query, look, processes) for metric, query in queries.items()]

    def _look(self, query: str) -> float:
        word, _, rest = query.partition(":")
        match word:
            case "cpu_usage" if not rest:
                return self._cpu()
            case "memory_usage" if not rest:
                return float(psutil.virtual_memory().percent)
            case "disk_usage":
                return float(psutil.disk_usage(rest or "/").percent)
            case "load" if rest in _LOADS:
                return float(psutil.getloadavg()[_LOADS[rest]])
            case _:
                raise ValueError(
                    f"unknown query {query!r}: cpu_usage, memory_usage, disk_usage[:PATH], process_up:NAME or load"
                )

    def _cpu(self) -> float:
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._before_s < _SHORTEST_S and self._cpu_pct is not None:
                return self._cpu_pct
            times = _cpu_times()
            busy, total = (after - before for after, before in zip(times, self._before, strict=True))
            if total <= 0:
                raise ValueError("asked again before the kernel's clock moved on")
            self._cpu_pct = min(max(100.0 * busy / total, 0.0), 100.0)
            self._before = times
            self._before_s = now_s
            return self._cpu_pct


def _reading(
    metric: str, query: str, look: Callable[[str], float], processes: Callable[[], frozenset[str]]
) -> Reading:
    try:
        if query.startswith("process_up:") and query != "process_up:":
            value = float(query.removeprefix("process_up:") in processes())
        else:
            value = look(query)
    except OSError as error:
        return Reading(metric, None, None, f"{query}: {error.strerror or error}")
    except (psutil.Error, ValueError) as error:
        return Reading(metric, None, None, str(error))
    if not math.isfinite(value):
        return Reading(metric, None, None, f"{query}: the value is not finite")
    return Reading(metric, value)


def _cpu_times() -> tuple[float, float]:
    """Busy and whole time of all processors since the machine started [s].

    A guest's time stands in its host's user time as well, and waiting for a disk is idling.
    """
    times = psutil.cpu_times()
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def _running() -> frozenset[str]:
    """Names of the processes that run: as the kernel knows them, and as they were called."""
    names: set[str] = set()
    for process in psutil.process_iter(["name", "cmdline", "status"]):
        facts = process.info
        if facts["status"] in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            continue
        names.add(facts["name"] or "")
        if facts["cmdline"]:
            names.add(facts["cmdline"][0].rpartition("/")[2])
    return frozenset(names - {""})
