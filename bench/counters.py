"""A system of otp alone: one process hosts many durable counters, another is asked: ``python -m bench.counters DATA``.

Prints a line when it is up; SIGTERM ends it.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slakeeper.otp.actor import Actor, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.heart import Heart
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition
from slakeeper.otp.service import CONTACT, ProcessSpec, RequestRefused, ServiceContext, SystemSpec

HOSTING = "counters"
COUNTERS = 1_000
HEARTBEAT_MS, HANG_AFTER_MS = 100, 1_000
SNAPSHOT_EVERY_MS = 10_000
STOP_MS = 10_000
# It is hurt many times, and none of it should end the root.
INTENSITY = 1_000_000


class Counter(Actor):
    """A number; a cast adds to it, a call reads it."""

    total = 0

    def handle_cast(self, ctx: Context, amount: Any) -> None:
        ctx.emit(amount)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return self.total

    def apply(self, event: Any) -> None:
        self.total += event

    def dump(self) -> Any:
        return self.total

    def load(self, state: Any) -> None:
        self.total = state


ADDRESSES = tuple(f"counter-{number}" for number in range(COUNTERS))


def socket_path(runtime_dir: str) -> Path:
    """Where the counters are asked."""
    return Path(runtime_dir) / f"{HOSTING}.sock"


# -- the process of the counters ---------------------------------------------------------------------------------


def _add(host: Host, amount: Any) -> None:
    """Every counter grows by so much; answered when it is durable."""
    for address in ADDRESSES:
        host.cast(address, amount)
    host.drain()


def _sum(host: Host, _: Any) -> int:
    """Asks every counter."""
    return sum(host.ask(address, None) for address in ADDRESSES)


def _stick(host: Host, _: Any) -> None:
    """The loop does not turn any more."""
    threading.Event().wait()


HANDLERS: Mapping[str, Callable[[Host, Any], Any]] = {"add": _add, "sum": _sum, "stick": _stick}


class Counters:
    """The counters as the service of a process."""

    def __init__(self, args: Mapping[str, Any], context: ServiceContext) -> None:
        run = context.shared["run"]
        clock, executor = SystemClock(), ThreadExecutor()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            codec = Codec()
            partition = Partition(Path(run["data"]) / HOSTING, codec)
            partition.open()
            actors = tuple(ActorSpec(address, "counter") for address in ADDRESSES)
            tree = SupervisorSpec(HOSTING, Flags(), actors)
            kinds: dict[str, type[Actor]] = {"counter": Counter}
            host = Host(
                tree,
                kinds,
                clock,
                codec,
                {HOSTING: partition},
                executor,
                None,
                publish,
                executor.commit,
                partition,
            )
            host.start()
            return host

        self._loop = Loop(
            HOSTING,
            build,
            HANDLERS,
            executor,
            clock,
            socket_path(run["runtime_dir"]),
            SNAPSHOT_EVERY_MS,
            context.crashed,
        )

    def start(self) -> Mapping[str, Any]:
        self._loop.start()
        return {}

    def stop(self, deadline_s: float) -> None:
        self._loop.stop(deadline_s)

    def beat(self) -> Mapping[str, Any]:
        return {"age_ms": self._loop.age_ms(), **self._loop.stats}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        raise RequestRefused("invalid", "asked over its socket")


# -- the process that is asked -----------------------------------------------------------------------------------


class Contact:
    """Answers ``echo``; ``calls`` times calls of its own to the root, over Thespian like every call of processes."""

    def __init__(self, args: Mapping[str, Any], context: ServiceContext) -> None:
        self._context = context

    def start(self) -> Mapping[str, Any]:
        return {}

    def stop(self, deadline_s: float) -> None:
        pass

    def beat(self) -> Mapping[str, Any]:
        return {}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        if name == "calls":
            return {"took_ms": [self._call_ms() for _ in range(payload["count"])]}
        return payload

    def _call_ms(self) -> float:
        began_s = time.perf_counter()
        self._context.root_request("count_processes", {})
        return (time.perf_counter() - began_s) * 1000


def system(_: Mapping[str, Any]) -> SystemSpec:
    times = {"heartbeat_ms": HEARTBEAT_MS, "hang_after_ms": HANG_AFTER_MS, "shutdown_ms": STOP_MS}
    entries = {HOSTING: "bench.counters:Counters", CONTACT: "bench.counters:Contact"}
    return SystemSpec(
        tuple(ProcessSpec(name, entry, **times) for name, entry in entries.items()),  # type: ignore[arg-type]
        Flags(intensity=INTENSITY, period_s=1),
    )


def _ready(_: Mapping[str, Any]) -> None:
    os.write(sys.stdout.fileno(), b"ready\n")


def main(arguments: list[str]) -> int:
    (data,) = arguments
    return Heart(Path(data), system, _ready, log_level=logging.CRITICAL).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
