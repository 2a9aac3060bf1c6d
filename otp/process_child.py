"""One child process as the root supervisor knows it: what was promised, what was heard last, and how it ended."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slakeeper.otp.control import IGNORED_STATUS, Beat
from slakeeper.otp.service import ProcessSpec
from slakeeper.otp.supervisor import ChildExited, ChildIgnored, ChildStartFailed


@dataclass
class ProcessChild:
    """One incarnation of one child; owned by the root.

    Attributes:
        spec, incarnation: of what, which try.
        address: its ActorAddress, a local one until it has connected.
        process: Thespian's multiprocessing.Process; the only source of its end.
        start_due_ms: when its start is overdue [ms, monotonic].
        heard_at_ms: when it last beat, at first when it was forked.
        asked_at_ms: when it was last told to begin or to stop.
        phase: starting, running or stopping.
        kill_at_ms: when a stopping child is killed; None while it is not stopping or may take for ever.
        stop_reason: why it is stopping.
        last_words: the reason it gave for its end.
        sentence: why the root killed it.
    """

    spec: ProcessSpec
    incarnation: int
    address: Any
    process: Any
    start_due_ms: int
    heard_at_ms: int
    asked_at_ms: int
    phase: str = "starting"
    kill_at_ms: int | None = None
    stop_reason: str = ""
    last_words: str = ""
    sentence: str = ""
    beaten: bool = False
    port: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    stats: Mapping[str, Any] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def ended(self) -> bool:
        """Whether the process is gone and taken leave of."""
        return self.process.exitcode is not None

    def hear(self, beat: Beat, now_ms: int) -> bool:
        """Takes a beat; returns whether it brought the news that the service runs."""
        self.beaten = True
        self.heard_at_ms = now_ms
        self.port, self.stats = beat.port, beat.stats
        if beat.phase == "running" and self.phase == "starting":
            self.phase, self.facts = "running", beat.facts
            return True
        return False

    def verdict(self, now_ms: int) -> str:
        """Why the process has to be killed now, or ""."""
        silent_ms = now_ms - self.heard_at_ms
        if self.phase == "stopping":
            late = self.kill_at_ms is not None and now_ms >= self.kill_at_ms
            return "killed" if late else ""
        if self.phase == "starting" and now_ms >= self.start_due_ms:
            return f"not started within {self.spec.start_timeout_ms} ms"
        if silent_ms > self.spec.hang_after_ms:
            return f"hung: silent for {silent_ms} ms"
        return ""

    def exit_reason(self) -> str:
        """Why it ended: what the root killed it for, else what it said itself, else the signal or status."""
        if self.sentence:
            return self.sentence
        if self.last_words:
            return self.last_words
        code = int(self.process.exitcode)
        if code == 0:
            return "normal"
        if code == -signal.SIGKILL:
            return "killed"
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exited with status {code} and no reason"

    def end(self) -> ChildExited | ChildIgnored | ChildStartFailed:
        """What its end is to its supervisor."""
        name, incarnation = self.spec.name, self.incarnation
        if self.phase != "starting":
            return ChildExited(name, incarnation, self.exit_reason())
        if self.process.exitcode == IGNORED_STATUS and not self.sentence:
            return ChildIgnored(name, incarnation)
        return ChildStartFailed(name, incarnation, self.exit_reason())
