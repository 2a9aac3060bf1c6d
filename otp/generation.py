"""What all processes of one generation know, handed down by fork: nothing of it is ever sent.

A generation is one life of the whole system below the heart. When any of its pillars is lost (launcher, Thespian's
admin, its logger, the root supervisor) all of it is killed and the next one is started from disk.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from setproctitle import setproctitle

from slakeeper.otp.service import ProcessSpec, SystemSpec

HEART: Final = "heart"
LAUNCHER: Final = "launcher"
THESPIAN_ADMIN: Final = "thespian-admin"
THESPIAN_LOGGER: Final = "thespian-logger"
ROOT: Final = "root"
PILLARS: Final = (HEART, LAUNCHER, THESPIAN_ADMIN, THESPIAN_LOGGER, ROOT)
"""The processes without which a generation is over; all others belong to the root."""


@dataclass(frozen=True)
class Generation:
    """One life of the system.

    Args:
        number: from 1, counted by the heart.
        data: the data directory.
        key: seals every frame of this generation, 32 bytes.
        admin_port: where Thespian's admin listens, on loopback.
        heart_pid: the process that adopts orphans.
        restarts: how often each process below the root was started again by earlier generations and for this one.
        launcher_pid: its child, 0 before that is forked.
        report_fd: a pipe to the heart for the launcher, Thespian's admin and its logger.
        root_fd: another one, for the root alone: its lines may be longer than a pipe takes at once.
        log_level: the least that is logged.
        spec: the processes below the root.
        facts: of the run, for every service: data, runtime_dir, token, nonce, generation and the spec's own.
    """

    number: int
    data: Path
    key: bytes
    admin_port: int
    heart_pid: int
    report_fd: int
    root_fd: int
    log_level: int | str
    spec: SystemSpec
    facts: Mapping[str, Any]
    restarts: Mapping[str, int] = field(default_factory=dict)
    launcher_pid: int = 0


_current: Generation | None = None


def enter(generation: Generation) -> None:
    """Makes this process, and all it forks, part of a generation."""
    global _current
    _current = generation


def current() -> Generation:
    """The generation this process is part of.

    Raises:
        RuntimeError: it is part of none.
    """
    if _current is None:
        raise RuntimeError("this process is not part of a generation")
    return _current


_handed_down: ProcessSpec | None = None


def hand_down(spec: ProcessSpec) -> None:
    """The next process that this one forks is to host that."""
    global _handed_down
    _handed_down = spec


def handed_down() -> ProcessSpec:
    """What this process is to host.

    Raises:
        RuntimeError: nobody said.
    """
    if _handed_down is None:
        raise RuntimeError("nobody said what this process is to host")
    return _handed_down


def name_process(name: str, data: Path) -> None:
    """Sets what ``ps`` shows."""
    setproctitle(f"slakeeper: {name} [{data}]")


class LineWriter:
    """Sends plain values to the heart, a line of JSON each; never blocks.

    What does not fit into the pipe waits here; beyond ``limit`` lines the oldest are forgotten.
    """

    def __init__(self, fd: int, limit: int = 64) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._limit = limit
        self._waiting: list[bytes] = []
        self._begun = b""

    def send(self, **line: Any) -> None:
        """Sends one line.

        Raises:
            BrokenPipeError: the heart is gone.
        """
        self._waiting.append(json.dumps(line).encode() + b"\n")
        del self._waiting[: -self._limit]
        self.flush()

    def flush(self) -> None:
        """Writes as much as the pipe takes now."""
        while self._begun or self._waiting:
            self._begun = self._begun or self._waiting.pop(0)
            try:
                self._begun = self._begun[os.write(self._fd, self._begun) :]
            except BlockingIOError:
                return


class LineReader:
    """The other end: splits what arrives into lines."""

    def __init__(self, fd: int, take: Callable[[dict[str, Any]], None]) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._take = take
        self._rest = b""

    def read(self) -> bool:
        """Hands on every whole line that is there; returns False when the last writer is gone."""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(json.loads(line))
