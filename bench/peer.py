"""Other actor libraries, measured in the same run when they are installed: each in a process of its own.

``python -m bench.peer NAME RUNS`` prints the figures of one as JSON.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.machine import ROOT
from bench.service import left_processes
from slakeeper.otp import posix

Figure = tuple[str, str, list[float]]

ERLANG = "Erlang"

PYKKA_MESSAGES = 20_000
THESPIAN_MESSAGES = 300
CALLS = 200
SPAWNS = 200
THESPIAN_SPAWNS = 10
WITHIN_S = 300


def is_installed(peer: str) -> bool:
    if peer == ERLANG:
        return shutil.which("escript") is not None
    return importlib.util.find_spec(_MODULES[peer]) is not None


def figures_of(peer: str, runs: int) -> list[Figure]:
    """One-way messages a second, call and spawn of a peer; nothing of it is left running.

    Raises:
        subprocess.SubprocessError: it failed, or took too long.
    """
    posix.adopt_orphans()
    command = [sys.executable, "-m", "bench.peer", peer, str(runs)]
    if peer == ERLANG:
        command = ["escript", str(ROOT / "bench" / "peer.escript"), str(runs)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=WITHIN_S
        )
    finally:
        left_processes()
    return [(figure, unit, values) for figure, unit, values in json.loads(done.stdout)]


# -- in its own process -------------------------------------------------------------------------------------------


def pykka(runs: int) -> Iterator[Figure]:
    """A thread for each actor."""
    library: Any = importlib.import_module("pykka")

    class Counting(library.ThreadingActor):  # type: ignore[misc]  # no types where it is not installed
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def on_receive(self, message: Any) -> Any:
            self.count += 1
            return self.count

    def one_way() -> float:
        actor = Counting.start()
        began_s = time.perf_counter()
        for _ in range(PYKKA_MESSAGES):
            actor.tell(1)
        actor.ask(1)
        took_s = time.perf_counter() - began_s
        actor.stop()
        return PYKKA_MESSAGES / took_s

    actor = Counting.start()
    yield "one-way messages", "1/s", [one_way() for _ in range(runs)]
    yield "call", "us", [_timed_us(lambda: actor.ask(1)) for _ in range(CALLS)]
    started: list[Any] = []
    yield "spawn", "us", [_timed_us(lambda: started.append(Counting.start())) for _ in range(SPAWNS)]
    library.ActorRegistry.stop_all()


def thespian(runs: int) -> Iterator[Figure]:
    """A process for each actor, messages over TCP, as it comes; slakeeper has its processes from it."""
    from bench.peer_actor import Counting
    from slakeeper.otp.transport import free_port

    library: Any = importlib.import_module("thespian.actors")
    system = library.ActorSystem("multiprocTCPBase", {"Admin Port": free_port()}, logDefs={"version": 1})
    try:
        actor = system.createActor(Counting)
        system.ask(actor, "count", 10)

        def one_way() -> float:
            began_s = time.perf_counter()
            for _ in range(THESPIAN_MESSAGES):
                system.tell(actor, "add")
            system.ask(actor, "count", 60)
            return THESPIAN_MESSAGES / (time.perf_counter() - began_s)

        yield "one-way messages", "1/s", [one_way() for _ in range(runs)]
        yield "call", "us", [_timed_us(lambda: system.ask(actor, "count", 10)) for _ in range(CALLS)]
        yield (
            "spawn",
            "us",
            [
                _timed_us(lambda: system.ask(system.createActor(Counting), "count", 10))
                for _ in range(THESPIAN_SPAWNS)
            ],
        )
    finally:
        system.shutdown()


_MEASURES: dict[str, Callable[[int], Iterator[Figure]]] = {"Pykka": pykka, "Thespian": thespian}
_MODULES = {"Pykka": "pykka", "Thespian": "thespian"}
PEERS = (ERLANG, *_MEASURES)


def _timed_us(run: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    run()
    return (time.perf_counter() - began_s) * 1e6


def main(arguments: list[str]) -> None:
    peer, runs = arguments
    # The peers' own output must not get between: the figures go out by the stream as it was.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    json.dump(list(_MEASURES[peer](int(runs))), output)
    output.close()


if __name__ == "__main__":
    main(sys.argv[1:])
