"""A service that ends as it is told, starts as its plan says, and writes down that it started and stopped."""

import os
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp.service import NotNeeded, ServiceContext
from tests.system.echo_service import Echo

_LONGEST_ORDER_BYTES = 1_000


def obedient(args: dict[str, Any], context: ServiceContext) -> "Obedient":
    return Obedient(args, context)


def nothing(args: dict[str, Any], context: ServiceContext) -> None:
    """An entry point that makes no service."""


def order_socket(runtime_dir: str, name: str) -> str:
    """Where a process waits for orders."""
    return os.path.join(runtime_dir, f"{name}.orders")


def order(runtime_dir: str, name: str, words: str) -> None:
    """Tells a process ``finish <reason>``, ``crash <reason>`` or ``exit <status>``."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(words.encode(), order_socket(runtime_dir, name))


class Obedient(Echo):
    """As Echo, and besides: ``log_file``, ``plan`` (a file; see ``_planned``), ``port`` to listen on, ``stop_s``."""

    def start(self) -> Mapping[str, Any]:
        name = self._context.name
        self._write("start")
        match self._args.get("start") or self._planned():
            case "fail":
                raise RuntimeError("planned to fail")
            case "ignore":
                raise NotNeeded("by plan")
            case "hang":
                threading.Event().wait()
        facts = super().start()
        if "port" in self._args:
            self._listener = socket.create_server(("127.0.0.1", self._args["port"]))
        path = order_socket(self._context.shared["run"]["runtime_dir"], name)
        Path(path).unlink(missing_ok=True)
        orders = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        orders.bind(path)
        threading.Thread(target=self._obey, args=(orders,), name="orders", daemon=True).start()
        return facts

    def stop(self, deadline_s: float) -> None:
        self._write("stop")
        time.sleep(self._args.get("stop_s", 0))
        super().stop(deadline_s)
        self._write("stopped")

    def _obey(self, orders: socket.socket) -> None:
        while True:
            verb, _, rest = orders.recv(_LONGEST_ORDER_BYTES).decode().partition(" ")
            match verb:
                case "finish":
                    self._context.finished(rest)
                case "crash":
                    self._context.crashed(rest)
                case "exit":
                    os._exit(int(rest))

    def _write(self, verb: str) -> None:
        if "log_file" in self._args:
            with Path(self._args["log_file"]).open("a", encoding="utf-8") as file:
                file.write(f"{verb} {self._context.name}\n")

    def _planned(self) -> str:
        """The plan's first word, which is taken off it unless it is the last: up, fail, ignore or hang."""
        plan = Path(self._args.get("plan", "/nonexistent"))
        if not plan.exists():
            return "up"
        first, *rest = plan.read_text(encoding="utf-8").split()
        if rest:
            plan.write_text(" ".join(rest), encoding="utf-8")
        return first
