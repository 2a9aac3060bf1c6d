"""A small service for the tests: echoes requests and misbehaves when it is told to."""

import ctypes
import os
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp.service import RequestRefused, ServiceContext


def echo(args: dict[str, Any], context: ServiceContext) -> "Echo":
    return Echo(args, context)


class Echo:
    """``args``: ``listen`` (open a TCP port), ``start`` (``fail``, ``hang``, or seconds), ``stop_file``."""

    def __init__(self, args: dict[str, Any], context: ServiceContext) -> None:
        self._args = args
        self._context = context
        self._stuck = threading.Event()
        self._trouble = ""
        self._listener: socket.socket | None = None

    def start(self) -> Mapping[str, Any]:
        how = self._args.get("start")
        if how == "fail":
            raise RuntimeError("told to fail")
        if how == "fail-if-file" and Path(self._args["file"]).exists():
            raise RuntimeError("there is a file")
        if how == "hang":
            threading.Event().wait()
        facts: dict[str, Any] = {"seen": sorted(self._context.shared)}
        if self._args.get("listen"):
            self._listener = socket.create_server(("127.0.0.1", 0))
            facts["http"] = f"127.0.0.1:{self._listener.getsockname()[1]}"
        return facts

    def stop(self, deadline_s: float) -> None:
        if self._args.get("ignore_stop"):
            threading.Event().wait()
        if "stop_file" in self._args:
            with Path(self._args["stop_file"]).open("a") as file:
                file.write(f"{self._context.name}\n")

    def beat(self) -> Mapping[str, Any]:
        if self._stuck.is_set():
            threading.Event().wait()
        if self._trouble == "raise":
            raise RuntimeError("told to raise in beat")
        return {"actors": 1, "mailbox": 0, "age_ms": 3_600_000 if self._trouble == "age" else 0}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        match name:
            case "echo":
                return dict(payload)
            case "facts":
                return {
                    "restarts": self._context.restarts,
                    "generation": self._context.generation,
                    "shared": dict(self._context.shared),
                    "pid": os.getpid(),
                }
            case "slow":
                time.sleep(payload["s"])
                return {}
            case "refuse":
                raise RequestRefused("conflict", "told to refuse", hint="none")
            case "raise":
                raise ValueError("told to raise")
            case "crash":
                self._context.crashed("told to crash")
            case "die in a thread":
                threading.Thread(target=_die, name="doomed").start()
            case "segfault":
                ctypes.string_at(0)
            case "beat":
                self._trouble = str(payload.get("trouble", ""))
                if self._trouble == "stuck":
                    self._stuck.set()
            case "spawn":
                child = subprocess.Popen(["sleep", "600"], start_new_session=True)
                return {"pid": child.pid}
            case "root":
                return self._context.root_request(payload["name"], payload.get("payload", {}))
        return {}


def _die() -> None:
    raise RuntimeError("told to die in a thread")
