"""Table ``engine``: light actors in this process without a disk; other actor systems in the same run beside them."""

import gc
import logging
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.light import IDLE_MS, SUPERVISOR, light_host
from bench.peer import PEERS, figures_of, is_installed
from bench.table import Limit, Row, Table, row
from slakeeper.otp.actor import ActorSpec
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition

RUNS, RUNS_QUICK = 15, 2
MESSAGES = 100_000
CALLS = 20_000
SPAWNS = 5_000
CRASHES = 200
NUMBERS = 100
MANY, MANY_QUICK = 100_000, 10_000
# The cost of one actor among so many fewer is what the cost among MANY is compared with.
FEWER = 10


def measure(quick: bool) -> Table:
    """The host alone, a bare loop as a yardstick, then the peers that are there."""
    runs = RUNS_QUICK if quick else RUNS
    # A crash is logged with its traceback; here that would be measured, and printed.
    logging.getLogger("slakeeper").setLevel(logging.CRITICAL)
    rows = [*light_rows(runs), *many_rows(MANY_QUICK if quick else MANY, min(runs, 5)), *bare_rows(runs)]
    absent = []
    for peer in PEERS:
        if is_installed(peer):
            rows += [
                row(f"{peer}: {figure}", unit, values) for figure, unit, values in figures_of(peer, runs)
            ]
        else:
            absent.append(peer)
    about = "light actors in this process, without a disk; a bare loop as a yardstick; peers in the same run"
    return Table("engine", about, tuple(rows), tuple(absent))


# -- the host alone -----------------------------------------------------------------------------------------------


def light_rows(runs: int) -> Iterator[Row]:
    one_way = [one_way_per_s() for _ in range(runs)]
    yield row("light: one-way messages", "1/s", one_way, Limit("p50", at_least=700_000))
    yield row("light: call", "us", call_us(), Limit("p50", 5))
    spawns = [spawn_us() for _ in range(runs)]
    yield row("light: spawn", "us", [wall_us for wall_us, _ in spawns], Limit("p50", 10))
    yield row("light: spawn, CPU time", "us", [cpu_us for _, cpu_us in spawns])
    memory = [memory_bytes() for _ in range(min(runs, 3))]
    yield row("light: memory of an actor", "B", memory, Limit("max", 2_048))
    live, away = put_away_bytes("idle")
    _, recorded = recorded_bytes()
    yield row(f"light: memory of an actor with {NUMBERS} numbers", "B", [live])
    yield row("light: memory of the same, put away", "B", [away])
    yield row("light: memory of the same, recorded, put away", "B", [recorded])
    yield row("light: crash -> serving", "us", crash_us(), Limit("p95", 1_000))


def one_way_per_s() -> float:
    """Two actors send each other messages until it is enough."""
    host = light_host()
    for address in ("a", "b"):
        host.start_child(SUPERVISOR, ActorSpec(address, "counting"))
    host.cast("a", ("b", MESSAGES))
    began_s = time.perf_counter()
    while host.has_work:
        host.drain()
    host.commit()
    return MESSAGES / (time.perf_counter() - began_s)


def call_us() -> list[float]:
    host = light_host()
    host.start_child(SUPERVISOR, ActorSpec("a", "counting"))
    return [_timed_us(lambda: host.ask("a", 1)) for _ in range(CALLS)]


def spawn_us() -> tuple[float, float]:
    """Mean of many starts under one supervisor, wall and CPU time; what earlier runs left is not collected meanwhile.

    The two differ by what others on the machine took.
    """
    host = light_host()
    gc.collect()
    began_s, cpu_s = time.perf_counter(), time.process_time()
    _start(host, SPAWNS)
    wall_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
    return wall_s / SPAWNS * 1e6, cpu_s / SPAWNS * 1e6


def _start(host: Host, count: int) -> None:
    for number in range(count):
        host.start_child(SUPERVISOR, ActorSpec(f"a{number}", "counting"))


def memory_bytes() -> float:
    """What an idle actor keeps, its supervisor's entry included, as Python's allocator counts it."""
    host = light_host()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        _start(host, SPAWNS)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return (after - before) / SPAWNS


def put_away_bytes(kind: str, partition: Partition | None = None) -> tuple[float, float]:
    """What an actor with some state keeps while it runs, and once it was put away for idleness."""
    clock = ManualClock(IDLE_MS)
    host = light_host(clock, partition)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(SPAWNS):
            host.start_child(SUPERVISOR, ActorSpec(f"a{number}", kind, NUMBERS), partition)
        host.commit()
        live, _ = tracemalloc.get_traced_memory()
        clock.advance(IDLE_MS)
        host.begin_turn()
        if partition is not None:
            host.snapshot(partition)
        away, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if host.counts["put_away"] != SPAWNS:
        raise RuntimeError(f"{host.counts['put_away']} of {SPAWNS} actors were put away")
    return (live - before) / SPAWNS, (away - before) / SPAWNS


def recorded_bytes() -> tuple[float, float]:
    """The same of a recorded one, whose state a snapshot has taken over."""
    with TemporaryDirectory(prefix="bench-") as directory:
        partition = Partition(Path(directory) / "partition", Codec())
        partition.open()
        try:
            return put_away_bytes("idle, recorded", partition)
        finally:
            partition.close()


def crash_us() -> list[float]:
    """From the message that an actor dies on to the answer of its next incarnation."""
    host = light_host()
    host.start_child(SUPERVISOR, ActorSpec("a", "crashing"))

    def crash() -> None:
        host.cast("a", "die")
        host.drain()
        host.commit()
        host.ask("a", 1)

    return [_timed_us(crash) for _ in range(CRASHES)]


def many_rows(count: int, runs: int) -> Iterator[Row]:
    """Very many actors alive at once: each is sent a message and answers for it."""
    few = [_life_us(count // FEWER) for _ in range(runs)]
    many = [_life_us(count) for _ in range(runs)]
    yield row(f"light: start, each of {count}", "us", [start for start, _, _ in many])
    yield row(f"light: message, each of {count}", "us", [message for _, message, _ in many])
    yield row(f"light: stop, each of {count}", "us", [stop for _, _, stop in many])
    growth = [sum(whole) / sum(part) for whole, part in zip(many, few, strict=True)]
    yield row(
        f"light: cost of one among {count} against {count // FEWER}", "ratio", growth, Limit("p50", 1.5)
    )


def _life_us(count: int) -> tuple[float, float, float]:
    host = light_host()
    gc.collect()
    began_s = time.perf_counter()
    _start(host, count)
    started_s = time.perf_counter()
    for number in range(count):
        host.cast(f"a{number}", ("nobody", 0))
    host.drain()
    told_s = time.perf_counter()
    alive = host.stats()["actors"]
    host.stop()
    stopped_s = time.perf_counter()
    if alive != count or host.counts["dead_letters"]:
        raise RuntimeError(f"{alive} of {count} actors were alive")
    spans = (started_s - began_s, told_s - started_s, stopped_s - told_s)
    start, message, stop = (span / count * 1e6 for span in spans)
    return start, message, stop


# -- a yardstick ------------------------------------------------------------------------------------------------------


class _Bare:
    """An actor without an engine: an object with a mailbox, known by a name."""

    def __init__(self, actors: dict[str, "_Bare"], runnable: deque["_Bare"]) -> None:
        self.actors = actors
        self.runnable = runnable
        self.mailbox: deque[tuple[str, int]] = deque()

    def handle(self, message: tuple[str, int]) -> None:
        peer, left = message
        if left:
            other = self.actors[peer]
            other.mailbox.append((peer, left - 1))
            self.runnable.append(other)


def bare_rows(runs: int) -> Iterator[Row]:
    """A dict of objects and a deque: what Python can do at most, without supervisors, crashes or durability."""
    yield row("bare loop: one-way messages", "1/s", [_bare_per_s() for _ in range(runs)])
    yield row("bare loop: spawn", "us", [_bare_spawn_us() for _ in range(runs)])


def _bare_per_s() -> float:
    runnable: deque[_Bare] = deque()
    actors: dict[str, _Bare] = {}
    for name in ("a", "b"):
        actors[name] = _Bare(actors, runnable)
    actors["a"].mailbox.append(("b", MESSAGES))
    runnable.append(actors["a"])
    began_s = time.perf_counter()
    while runnable:
        actor = runnable.popleft()
        actor.handle(actor.mailbox.popleft())
    return MESSAGES / (time.perf_counter() - began_s)


def _bare_spawn_us() -> float:
    runnable: deque[_Bare] = deque()
    actors: dict[str, _Bare] = {}
    gc.collect()
    began_s = time.perf_counter()
    for number in range(SPAWNS):
        actors[f"a{number}"] = _Bare(actors, runnable)
    return (time.perf_counter() - began_s) / SPAWNS * 1e6


def _timed_us(run: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    run()
    return (time.perf_counter() - began_s) * 1e6
