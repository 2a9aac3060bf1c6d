"""Actors that are put away while they are idle, and how many of them there may be."""

import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import IGNORE, Actor, ActorLost, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.otp.shelf import Shelf
from slakeeper.otp.snapshot import snapshot_path
from tests.unit.otp.host_world import HostWorld, NoExecutor, Puppet

IDLE_MS = 1_000


class Sleepy(Actor):
    """Counts; is put away after a second."""

    passivate_after_ms: ClassVar[int] = IDLE_MS

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.count = 0

    def init(self, ctx: Context, fresh: bool) -> None:
        if not fresh and self.count >= 100:
            raise RuntimeError("does not want to get up")

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if isinstance(message, tuple):
            ctx.set_timer("add", *message)
        else:
            ctx.emit(message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        ctx.emit(message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return self.count

    def apply(self, event: int) -> None:
        self.count += event

    def dump(self) -> Any:
        return self.count

    def load(self, state: Any) -> None:
        self.count = state


class Dozing(Puppet):
    """Is put away after a second; does not like to get up."""

    passivate_after_ms: ClassVar[int] = IDLE_MS

    def init(self, ctx: Context, fresh: bool) -> str | None:
        return IGNORE if self.arg == "stays in bed" and not fresh else None

    def dump(self) -> Any:
        return []

    def load(self, state: Any) -> None:
        if self.arg == "sleeps badly":
            raise ValueError("a bad night")


class Light(Sleepy):
    durable: ClassVar[bool] = False


class SleepyWorld:
    KINDS: ClassVar[dict[str, type[Actor]]] = {"sleepy": Sleepy, "light": Light}

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(1_000)
        self.start()

    def start(self) -> None:
        self.partition = Partition(self.directory, Codec())
        self.partition.open()
        tree = SupervisorSpec("host", Flags(), (SupervisorSpec("all", Flags(intensity=100)),))
        self.host = Host(tree, self.KINDS, self.clock, Codec(), {"p": self.partition}, NoExecutor())
        self.host.start()

    def add(self, address: str, kind: str) -> None:
        self.host.start_child("all", ActorSpec(address, kind), self.partition)
        self.host.commit()

    def turn(self, after_ms: int = 0) -> None:
        self.clock.advance(after_ms)
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    def tell(self, address: str, message: Any) -> None:
        self.host.cast(address, message)
        self.turn()

    def is_away(self, address: str) -> Any:
        return self.host.inspector.describe(address)["passive"]


@pytest.fixture
def sleepy(tmp_path: Path) -> SleepyWorld:
    world = SleepyWorld(tmp_path / "p")
    world.add("d", "sleepy")
    world.add("l", "light")
    for address in ("d", "l"):
        world.tell(address, 5)
    return world


@pytest.mark.parametrize("address", ["d", "l"])
def test_an_idle_actor_is_put_away_and_woken_by_the_next_message(sleepy: SleepyWorld, address: str) -> None:
    sleepy.turn(IDLE_MS)
    sleepy.turn(IDLE_MS)
    assert sleepy.is_away(address)
    assert sleepy.host.is_running(address)
    assert sleepy.host.inspector.describe(address)["state"] == 5
    assert sleepy.host.inspector.describe(address)["status"] == "running"
    sleepy.tell(address, 2)
    assert not sleepy.is_away(address)
    assert sleepy.host.ask(address, "count") == 7
    assert sleepy.host.inspector.describe(address)["restarts"] == 0


def test_one_that_is_asked_wakes_too(sleepy: SleepyWorld) -> None:
    sleepy.turn(IDLE_MS)
    sleepy.turn(IDLE_MS)
    assert sleepy.host.ask("l", "count") == 5


def test_a_busy_actor_stays(sleepy: SleepyWorld) -> None:
    for _ in range(5):
        sleepy.turn(IDLE_MS // 2)
        sleepy.tell("d", 1)
    assert not sleepy.is_away("d")


@pytest.mark.parametrize("address", ["d", "l"])
def test_a_timer_wakes_an_actor_that_was_put_away(sleepy: SleepyWorld, address: str) -> None:
    sleepy.tell(address, (sleepy.clock.now_ms() + 10 * IDLE_MS, 3))
    sleepy.turn(2 * IDLE_MS)
    sleepy.turn(2 * IDLE_MS)
    assert sleepy.is_away(address)
    sleepy.turn(10 * IDLE_MS)
    assert sleepy.host.ask(address, "count") == 8


def test_one_that_was_put_away_is_in_snapshots_and_survives_the_process(sleepy: SleepyWorld) -> None:
    sleepy.turn(IDLE_MS)
    sleepy.turn(IDLE_MS)
    sleepy.host.snapshot(sleepy.partition)
    sleepy.partition.close()
    sleepy.start()
    assert sleepy.host.ask("d", "count") == 5


def test_one_that_cannot_be_woken_is_its_supervisors_affair(sleepy: SleepyWorld) -> None:
    sleepy.tell("l", 95)
    sleepy.turn(IDLE_MS)
    sleepy.turn(IDLE_MS)
    sleepy.tell("l", 1)
    assert "get up" in sleepy.host.crash_reports[-1].reason
    assert sleepy.host.ask("l", "count") == 1  # not durable: it has begun anew


def test_a_killed_actor_that_was_put_away_comes_back_from_its_record(sleepy: SleepyWorld) -> None:
    sleepy.turn(IDLE_MS)
    sleepy.turn(IDLE_MS)
    sleepy.host.inspector.kill("d")
    assert sleepy.host.ask("d", "count") == 5


@pytest.fixture
def dozing() -> HostWorld:
    return HostWorld({"dozing": Dozing})


def test_a_call_that_timed_out_keeps_nobody_awake(dozing: HostWorld) -> None:
    dozing.add("i", kind="dozing")
    ends = dozing.call("i", "later", timeout_ms=10)
    dozing.turn(IDLE_MS - 1)
    assert isinstance(ends[0][1], ActorLost)
    for _ in range(3):
        dozing.turn(IDLE_MS)
    assert dozing.host.inspector.describe("i")["passive"]


def test_a_call_it_has_not_answered_keeps_an_actor_awake(dozing: HostWorld) -> None:
    dozing.add("i", kind="dozing")
    ends = dozing.call("i", "later", timeout_ms=100 * IDLE_MS)
    for _ in range(3):
        dozing.turn(IDLE_MS)
    assert not dozing.host.inspector.describe("i")["passive"]
    dozing.host.ask("i", "answer")
    assert ends == [("at last", None)]


def test_what_waits_for_one_that_cannot_be_loaded_is_for_its_next_incarnation(dozing: HostWorld) -> None:
    dozing.add("i", kind="dozing", arg="sleeps badly")
    dozing.tell("i", lambda ctx: ctx.set_timer("alarm", 10 * IDLE_MS, "alarm"))
    for _ in range(2):
        dozing.turn(IDLE_MS)
    assert dozing.host.inspector.describe("i")["passive"]
    dozing.tell("i", "get up")
    (report,) = dozing.host.crash_reports
    assert (report.address, report.reason) == ("i", "ValueError: a bad night")
    assert dozing.heard("i") == ["get up"]
    assert not dozing.host.dead_letters
    dozing.turn(10 * IDLE_MS)
    assert dozing.heard("i") == ["get up"], "the alarm was the former one's"


def test_one_that_chooses_not_to_wake_is_stopped_and_can_be_started_again(dozing: HostWorld) -> None:
    dozing.add("i", kind="dozing", arg="stays in bed")
    dozing.tell("i", lambda ctx: ctx.register("the-sleeper"))
    for _ in range(2):
        dozing.turn(IDLE_MS)
    assert dozing.host.inspector.describe("i")["passive"]
    dozing.tell("i", "get up")
    assert not dozing.host.is_running("i")
    assert dozing.host.inspector.describe("i")["status"] == "stopped"
    assert dozing.host.whereis("the-sleeper") is None
    assert not dozing.host.crash_reports
    dozing.host.supervisors.restart_child("dynamic", "i")
    assert dozing.host.is_running("i")


# -- more than fit into memory ------------------------------------------------------------------------------------

ACTORS = 400
STATE_BYTES = 100_000
BATCH = 20


class Heavy(Actor):
    """Its state is large and all its own."""

    passivate_after_ms: ClassVar[int] = IDLE_MS

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.content = b""
        self.times = 0

    def init(self, ctx: Context, fresh: bool) -> None:
        ctx.set_timer("yearly", ctx.now_ms + 365 * 86_400_000, "anything new?")

    def handle_cast(self, ctx: Context, message: Any) -> None:
        ctx.emit(message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return (len(self.content), self.content[:8], self.times)

    def apply(self, event: bytes) -> None:
        self.content = (event * (STATE_BYTES // len(event) + 1))[:STATE_BYTES]
        self.times += 1

    def dump(self) -> Any:
        return (self.content, self.times)

    def load(self, state: Any) -> None:
        self.content, self.times = state


class HeavyLight(Heavy):
    durable: ClassVar[bool] = False


class HeavyWorld(SleepyWorld):
    KINDS: ClassVar[dict[str, type[Actor]]] = {"heavy": Heavy, "light": HeavyLight}

    def fill(self, kind: str) -> None:
        """So many actors that their states are 40 MB, a few at a time."""
        for first in range(0, ACTORS, BATCH):
            for number in range(first, first + BATCH):
                self.add(f"{kind}-{number}", kind)
                self.host.cast(f"{kind}-{number}", b"%08d" % number)
            self.turn()
            self.turn(IDLE_MS)
            self.turn(IDLE_MS)
            self.host.snapshot(self.partition)

    def assert_all_there(self, kind: str) -> None:
        for number in range(ACTORS):
            assert self.host.ask(f"{kind}-{number}", "what") == (STATE_BYTES, b"%08d" % number, 1)
            if number % BATCH == 0:
                self.turn(IDLE_MS)
                self.turn(IDLE_MS)


@contextmanager
def memory_below(limit_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < limit_bytes


# What a batch of them takes while they live, and once more while they are written.
ROOM_BYTES = ACTORS * STATE_BYTES // 4


@pytest.mark.parametrize("kind", ["heavy", "light"])
def test_the_states_of_idle_actors_take_no_memory(tmp_path: Path, kind: str) -> None:
    world = HeavyWorld(tmp_path / "p")
    with memory_below(ROOM_BYTES):
        world.fill(kind)
        world.assert_all_there(kind)


def test_actors_that_do_not_fit_into_memory_are_started_again(tmp_path: Path) -> None:
    world = HeavyWorld(tmp_path / "p")
    world.fill("heavy")
    world.partition.close()
    with memory_below(ROOM_BYTES):
        world.start()
        assert world.host.counts["put_away"] == ACTORS
        world.assert_all_there("heavy")
        for _ in range(2):  # a snapshot copies the states of those that slept from the one before
            world.tell("heavy-7", b"new")
            world.host.snapshot(world.partition)
    assert world.host.ask("heavy-7", "what") == (STATE_BYTES, b"newnewne", 3)
    assert world.host.ask("heavy-8", "what") == (STATE_BYTES, b"00000008", 1)


def test_a_state_that_was_damaged_on_the_disk_ends_the_host_and_the_next_one_has_it_from_before(
    tmp_path: Path,
) -> None:
    world = HeavyWorld(tmp_path / "p")
    world.add("h", "heavy")
    world.tell("h", b"first")
    world.host.snapshot(world.partition)
    world.tell("h", b"second")
    for _ in range(2):
        world.turn(IDLE_MS)
    world.host.snapshot(world.partition)
    path = snapshot_path(world.directory, world.partition.snapshot_seq)
    with path.open("r+b") as file:
        file.seek(STATE_BYTES // 2)
        file.write(b"?")
    world.host.cast("h", b"third")
    with pytest.raises(JournalError, match="damaged since it was written"):
        world.turn()
    world.partition.close()
    world.start()
    assert world.host.ask("h", "what") == (STATE_BYTES, b"secondse", 2)
    assert path.with_name(path.name + ".broken").exists()


def test_one_that_finds_no_room_on_the_disk_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(shelf: Shelf, address: str, state: bytes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    world = HeavyWorld(tmp_path / "p")
    world.add("l", "light")
    world.tell("l", b"x")
    with monkeypatch.context() as patch:
        patch.setattr(Shelf, "put", refuse)
        for _ in range(3):
            world.turn(IDLE_MS)
        assert not world.is_away("l")
        assert "l stays in memory: database or disk is full" in caplog.text
    world.turn(IDLE_MS)
    assert world.is_away("l")
    assert world.host.ask("l", "what") == (STATE_BYTES, b"xxxxxxxx", 1)


def test_a_shelf_gives_back_what_was_put_there_last() -> None:
    shelf = Shelf()
    assert shelf.get("a") is None
    shelf.discard("a")
    shelf.put("a", b"1")
    shelf.put("a", b"2")
    shelf.put("b", b"3")
    shelf.discard("b")
    assert (shelf.get("a"), shelf.get("b")) == (b"2", None)
    shelf.close()
    assert shelf.get("a") is None
    shelf.put("a", b"4")
    assert shelf.get("a") == b"4"
