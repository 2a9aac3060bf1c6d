"""One generation as the heart sees it: two pipes, the pids of its pillars, and when each was last heard."""

import os
import select
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from slakeeper.otp import posix
from slakeeper.otp.generation import (
    LAUNCHER,
    PILLARS,
    ROOT,
    THESPIAN_ADMIN,
    THESPIAN_LOGGER,
    Generation,
    LineReader,
)
from slakeeper.otp.orphan import Orphans
from slakeeper.otp.posix import ProcessId

_BOOT_S = 20.0
_LOOK_MS = 250
_LATE_S = 1.0
_ORPHANS_S = 1.0
_STOP_SLACK_S = 3.0


@dataclass(frozen=True)
class Ended:
    """Why a generation is over."""

    reason: str
    stopped: bool = False
    start_failed: bool = False


@dataclass
class News:
    """What a look at the generation brought."""

    ready: Mapping[str, Any] | None = None
    processes: list[dict[str, Any]] | None = None
    stop_asked: bool = False
    orphans: list[int] = field(default_factory=list)
    ended: Ended | None = None


class Life:
    """Forks a generation and watches it; owned by the heart.

    Args:
        generation: without its descriptors.
        poll: the heart's; what may bring news is registered there.
        patience_s: how long a pillar may be silent [s].
    """

    def __init__(self, generation: Generation, poll: "select.poll", patience_s: float) -> None:
        self._generation = generation
        self._poll = poll
        self._patience_s = patience_s
        self._news = News()
        self._readers: list[LineReader] = []
        self._pillars: dict[str, ProcessId] = {}
        self._pidfds: dict[str, int] = {}
        now = time.monotonic()
        self._looked_at = now
        self._heard_at = {LAUNCHER: now, ROOT: now}
        self._beaten: set[str] = set()
        self._ages_ms: Mapping[str, int] = {}
        self._kill_at: float | None = None
        self._orphans = Orphans()
        self._orphans_at = now
        self._services: list[int] = []

    def fork(self, close: tuple[int, ...]) -> None:
        """Forks the launcher, which closes the descriptors in ``close``."""
        # Not before: the launcher's imports are Thespian's, and those take a while.
        from slakeeper.otp.launcher import launch

        report_read, report_write = os.pipe()
        root_read, root_write = os.pipe()
        posix.tie_children(True)
        try:
            pid = os.fork()
        finally:
            posix.tie_children(False)
        if pid == 0:
            for fd in (*close, report_read, root_read):
                os.close(fd)
            launch(replace(self._generation, report_fd=report_write, root_fd=root_write))
        for fd in (report_write, root_write):
            os.close(fd)
        for fd in (report_read, root_read):
            self._readers.append(LineReader(fd, self._hear))
            self._poll.register(fd, select.POLLIN)
        self._meet(LAUNCHER, pid)

    def wait_ms(self) -> int:
        """How long there will be nothing to look at unless a descriptor says so [ms]."""
        return _LOOK_MS

    def look(self) -> News:
        """Reads what came and judges what did not."""
        self._news = News()
        now = time.monotonic()
        # A heart that was stopped, or starved, has heard nobody: that is not their fault.
        late_s = now - self._looked_at - _LOOK_MS / 1000
        self._looked_at = now
        if late_s > _LATE_S:
            self._heard_at = {name: at + late_s for name, at in self._heard_at.items()}
        for reader in list(self._readers):
            if not reader.read():
                self._drop(reader)
        if now >= self._orphans_at:
            self._orphans_at = now + _ORPHANS_S
            self._news.orphans = self._orphans.look(self._services)
        if self._news.ended is None and (reason := self._loss(now)):
            self._news.ended = Ended(reason)
        return self._news

    @property
    def stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._kill_at is not None

    def stop(self) -> None:
        """Asks the root to stop everything in order; what there is without a root has nothing to put in order."""
        root = self._pillars.get(ROOT)
        now = time.monotonic()
        if root is None:
            self._kill_at = now
            return
        shutdowns_s = sum(one.stop_limit_s for one in self._generation.spec.processes)
        self._kill_at = now + shutdowns_s + _STOP_SLACK_S  # and longer, if the root says so
        posix.kill([root.pid], signal.SIGTERM)

    def close(self) -> None:
        """Lets go of all descriptors."""
        for reader in list(self._readers):
            self._drop(reader)
        for name in list(self._pidfds):
            self._close_pidfd(name)

    # -- what comes in -----------------------------------------------------------------------------------------

    def _hear(self, line: Mapping[str, Any]) -> None:
        if "role" in line and "pid" in line:
            self._meet(line["role"], line["pid"])
        else:
            name = line.get("role", ROOT)
            self._beaten.add(name)
            self._heard_at[name] = time.monotonic()
            self._ages_ms = line.get("ages", self._ages_ms)
        if "processes" in line:
            self._news.processes = [self._identified(one) for one in line["processes"]]
            self._services = [
                one["pid"] for one in line["processes"] if one["pid"] and one["name"] not in PILLARS
            ]
        if line.get("ready"):
            self._news.ready = line["facts"]
        if line.get("stop"):
            self._news.stop_asked = True
        if "stops_within_s" in line and self._kill_at is not None:
            limit_s = line["stops_within_s"] + _STOP_SLACK_S
            self._kill_at = max(self._kill_at, time.monotonic() + limit_s)
        if "terminated" in line:
            self._news.ended = Ended(line["terminated"], start_failed=bool(line.get("start_failed")))

    def _identified(self, line: dict[str, Any]) -> dict[str, Any]:
        process = posix.identify(line["pid"]) if line["pid"] else None
        return {**line, "started": process.started if process else 0}

    def _meet(self, role: str, pid: int) -> None:
        # None: it has ended by now, which the next look finds.
        process = posix.identify(pid) or ProcessId(pid, 0)
        self._pillars[role] = process
        pidfd = posix.open_pidfd(process)
        if pidfd is not None:
            self._pidfds[role] = pidfd
            self._poll.register(pidfd, select.POLLIN)

    def _loss(self, now: float) -> str:
        """Which pillar is lost and how, or ""."""
        if self._kill_at is not None and now >= self._kill_at:
            return "the time to stop is over"
        for name, process in self._pillars.items():
            if not process.alive():
                return f"{name} (process {process.pid}) has ended"
        for name, heard_at in self._heard_at.items():
            limit_s = self._patience_s if name in self._beaten else _BOOT_S
            if now - heard_at > limit_s:
                return f"{name} is silent for {now - heard_at:.1f} s"
        for name in (THESPIAN_ADMIN, THESPIAN_LOGGER):
            if self._ages_ms.get(name, 0) > self._patience_s * 1000:
                return f"{name} does not answer for {self._ages_ms[name]} ms"
        return ""

    def _drop(self, reader: LineReader) -> None:
        self._readers.remove(reader)
        self._poll.unregister(reader.fd)
        os.close(reader.fd)

    def _close_pidfd(self, name: str) -> None:
        pidfd = self._pidfds.pop(name)
        self._poll.unregister(pidfd)
        os.close(pidfd)
