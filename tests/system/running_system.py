"""A system of echo services in processes of its own, for tests to use and to hurt."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from slakeeper.otp import attach, posix, run_file

ROOT = Path(__file__).parents[2]
PROCESSES: dict[str, dict[str, Any]] = {"cell-0": {}, "cell-1": {}, "gateway": {"listen": True}, "admin": {}}
PILLARS = ("root", "thespian-admin", "thespian-logger", "launcher")

T = TypeVar("T")


def until(condition: Callable[[], T | None], limit_s: float = 30.0) -> T:
    """The first true value of a condition, asked for again and again."""
    end = time.monotonic() + limit_s
    while True:
        with contextlib.suppress(attach.NotRunning, attach.TimedOut):
            if value := condition():
                return value
        assert time.monotonic() < end, f"waited {limit_s} s in vain"
        time.sleep(0.01)


def pause(length_s: float) -> None:
    """Lets real time pass; only for what shows itself by nothing but the passing of time."""
    end = time.monotonic() + length_s
    until(lambda: time.monotonic() >= end)


class System:
    """One heart on one data directory."""

    def __init__(self, data: Path, **settings: Any) -> None:
        self.data = data
        self.settings = {"data": str(data), "processes": PROCESSES, **settings}
        self.heart: subprocess.Popen[str] | None = None

    def launch(self) -> "subprocess.Popen[str]":
        """Starts the heart and does not wait."""
        arguments = [sys.executable, "-m", "tests.system.run_heart", json.dumps(self.settings)]
        self.heart = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self.heart

    def start(self) -> dict[str, Any]:
        """Starts the heart and returns what it says when it is ready."""
        heart = self.launch()
        assert heart.stdout is not None
        line = heart.stdout.readline()
        if not line:
            _, errors = heart.communicate(timeout=30)
            raise AssertionError(errors)
        facts: dict[str, Any] = json.loads(line)
        return facts

    def failure(self) -> str:
        """Starts a heart that cannot start, and returns what it says."""
        _, errors = self.launch().communicate(timeout=45)
        assert self.heart is not None
        assert self.heart.returncode == 1
        return errors

    def run(self) -> dict[str, Any]:
        return attach.running(self.data)

    def processes(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one for one in self.run()["processes"]}

    def pid(self, name: str) -> int:
        """Its pid, 0 while it has none."""
        return int(self.processes().get(name, {}).get("pid") or 0)

    def ask(
        self, name: str, payload: dict[str, Any] | None = None, timeout_s: float = 10.0
    ) -> dict[str, Any]:
        with attach.Client(self.data) as client:
            return client.request(name, payload or {}, timeout_s)

    def ask_root(self, name: str, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        return self.ask("root", {"name": name, "payload": payload or {}})

    def works(self) -> bool:
        """Whether every process runs, as far as is known, and requests are answered."""
        run = self.run()
        table = self.processes()
        if run["state"] != "running" or set(self.settings["processes"]) - set(table):
            return False
        wanted = [one for one in table.values() if one["status"] != "stopped"]
        if any(one["status"] != "running" or not alive(one) for one in wanted):
            return False
        return self.ask("echo", {"a": 1}, 1.0) == {"a": 1}

    def back_without(self, name: str, pid: int, limit_s: float = 30.0) -> None:
        """Waits until everything works and ``name`` is another process."""
        until(lambda: self.pid(name) not in (0, pid) and self.works(), limit_s)

    def stop(self) -> None:
        with contextlib.suppress(attach.NotRunning):
            attach.stop_system(self.data, 30.0)
        if self.heart is not None:
            self.heart.communicate(timeout=30)

    def kill(self) -> None:
        """Ends the heart, and with it everything, whatever state it is in."""
        if self.heart is not None and self.heart.poll() is None:
            self.heart.send_signal(signal.SIGCONT)
            self.heart.kill()
            self.heart.communicate(timeout=30)
            run_file.remove_runtime_dir((run_file.read(self.data) or {}).get("runtime_dir"))

    def log(self) -> list[dict[str, Any]]:
        lines = (self.data / "log" / "slakeeper.log").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def logged(self, text: str) -> bool:
        return any(text in line["message"] for line in self.log())


def alive(line: dict[str, Any]) -> bool:
    """Whether the process of a line of run.json is still that one."""
    return posix.ProcessId(line["pid"], line["started"]).alive()


def below() -> list[int]:
    """Every process below this one, which adopts orphans: what a system left."""
    posix.reap()
    return posix.descendants(os.getpid())


def listening(pids: list[int]) -> dict[int, str]:
    """The TCP sockets these processes listen on: local port -> local address, as /proc/net/tcp writes it."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(FileNotFoundError):
                    inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    found = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):
            for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                    address, port = fields[1].split(":")
                    found[int(port, 16)] = address
    return found


def left_running(limit_s: float = 10.0) -> list[int]:
    """What is still below this process after a while; it is killed then."""
    with contextlib.suppress(AssertionError):
        until(lambda: not below(), limit_s)
    left = below()
    posix.kill(left)
    return left


LOOPBACK_HEX = "0100007F"
