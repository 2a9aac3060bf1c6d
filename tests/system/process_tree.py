"""A root supervisor over obedient services: its children on disk, its log, and what a test tells them."""

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import attach
from tests.system.obedient_service import order
from tests.system.running_system import System, until

ENTRY = "tests.system.obedient_service:obedient"
CONTACT = "admin"
TIMES = {"shutdown_ms": 5_000, "heartbeat_ms": 100, "hang_after_ms": 5_000, "start_timeout_ms": 10_000}
"""The start of a child that is hanging is given up by nobody while a test lasts."""

NORMAL_ENDS = ("finish normal", "finish shutdown", "finish shutdown: all done", "term", "exit 0")
_SIGNALS = {"kill": signal.SIGKILL, "term": signal.SIGTERM}
ABNORMAL_ENDS = ("crash told to", "exit 3", "kill")


class ProcessTree:
    """One system whose contact is its first child.

    Args:
        folder: an empty one.
        flags: the root supervisor's.
        children: name -> fields of its spec, and of ``args`` for its service.
    """

    def __init__(self, folder: Path, flags: dict[str, Any], **children: dict[str, Any]) -> None:
        self._folder = folder
        self._log = folder / "order.log"
        processes = {}
        for name, fields in {CONTACT: {}, **children}.items():
            args = {"log_file": str(self._log), **fields.get("args", {})}
            spec = {key: value for key, value in fields.items() if key != "args"}
            processes[name] = {**args, "spec": spec}
        self.system = System(folder / "data", processes=processes, entry=ENTRY, flags=flags, times=TIMES)

    # -- what a test does --------------------------------------------------------------------------------------

    def plan(self, name: str, words: str) -> dict[str, str]:
        """How the next starts of a child go (up, fail, ignore, hang), the last for ever; returns its args."""
        return planned(self._folder, name, words)

    def start_process(self, name: str, args: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        args = {"log_file": str(self._log), **(args or {})}
        spec = {"name": name, "entry": ENTRY, "args": args, **TIMES, **fields}
        return self.ask("start_process", spec=spec)

    def ask(self, request: str, name: str = "", **payload: Any) -> dict[str, Any]:
        return self.system.ask_root(request, {**({"name": name} if name else {}), **payload})

    def refusal(self, request: str, name: str = "", **payload: Any) -> str:
        """The reason with which the root refuses it."""
        with pytest.raises(attach.RequestFailed) as caught:
            self.ask(request, name, **payload)
        return str(caught.value.details.get("reason", caught.value))

    def end(self, name: str, how: str) -> int:
        """A process ends by itself, or by a signal from outside; returns its pid once it is gone."""
        pid = self.pid(name)
        self._end(name, pid, how)
        until(lambda: self.pid(name) != pid)
        return pid

    def end_if_there(self, name: str, how: str) -> None:
        """As ``end``, of one that may be about to end anyway; does not wait."""
        with contextlib.suppress(OSError, attach.NotRunning):
            self._end(name, self.pid(name), how)

    def _end(self, name: str, pid: int, how: str) -> None:
        if how in _SIGNALS:
            assert pid
            os.kill(pid, _SIGNALS[how])
        else:
            order(self.system.run()["runtime_dir"], name, how)

    def take_away(self, *names: str) -> None:
        """Stops processes and has the root forget them."""
        for name in names:
            self.ask("stop_process", name)
            self.becomes(name, "stopped")
            self.ask("delete_process", name)
            self.becomes(name, "gone")

    # -- what there is to see ----------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        return self.system.pid(name)

    def status(self, name: str) -> str:
        """``running``, ``restarting``, ``stopped``; ``gone`` when the root does not know it."""
        return str(self.system.processes().get(name, {}).get("status", "gone"))

    def becomes(self, name: str, status: str) -> None:
        """Waits until that is its status."""
        until(lambda: self.status(name) == status)

    def running(self, *names: str) -> dict[str, int]:
        """Their pids, as soon as all of them run."""
        until(lambda: all(self.status(name) == "running" for name in names))
        return {name: self.pid(name) for name in names}

    def counts(self) -> tuple[int, int]:
        """specs, active."""
        found = self.ask("count_processes")
        assert found["workers"] == found["specs"]
        return found["specs"], found["active"]

    @property
    def generation(self) -> int:
        return int(self.system.run()["generation"])

    def log(self) -> list[str]:
        """``start x``, ``stop x`` and ``stopped x`` of each child but the contact, in order."""
        lines = self._log.read_text(encoding="utf-8").splitlines()
        return [line for line in lines if not line.endswith(f" {CONTACT}")]

    def since(self, mark: int, done: Callable[[list[str]], bool]) -> list[str]:
        """What is new in the log, as soon as it is what it should be."""
        until(lambda: done(self.log()[mark:]))
        return self.log()[mark:]


def planned(folder: Path, name: str, words: str) -> dict[str, str]:
    """The args of a child whose next starts go like that (up, fail, ignore, hang), the last for ever."""
    path = folder / f"{name}.plan"
    path.write_text(words, encoding="utf-8")
    return {"plan": str(path)}
