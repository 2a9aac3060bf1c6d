"""A snapshot that is made in parts, with turns between them, says what is at its one position."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp import snapshot_work
from slakeeper.otp.actor import Actor, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Flags, Strategy
from slakeeper.otp.clock import ManualClock, SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition

WITHIN_S = 20.0

TREE = SupervisorSpec("cell", Flags(), (SupervisorSpec("dynamic", Flags(Strategy.ONE_FOR_ONE, 100, 1)),))
NAMES = tuple("abcdef")


class Keeper(Actor):
    """Keeps what it is told; a text ends it badly."""

    dumped: ClassVar[list[str]] = []

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.heard: tuple[int, ...] = ()

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if isinstance(message, str):
            raise ValueError(message)
        ctx.emit(message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        return self.heard

    def apply(self, event: int) -> None:
        self.heard = (*self.heard, event)

    def dump(self) -> tuple[int, ...]:
        self.dumped.append(self.address)
        return self.heard

    def load(self, state: tuple[int, ...]) -> None:
        self.heard = state


class World:
    """A host over a real partition; ``restart`` is a crash of the whole process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._start()
        for address in NAMES:
            self.define(address)
        self.tell_all(1)

    def _start(self) -> None:
        codec, executor = Codec(), ThreadExecutor()
        self.partition = Partition(self.directory, codec)
        self.partition.open()
        self.host = Host(TREE, {"keeper": Keeper}, ManualClock(1_000), codec, {"p": self.partition}, executor)
        self.host.start()

    def restart(self) -> None:
        self.partition.close()
        self._start()

    def define(self, address: str) -> None:
        self.host.start_child("dynamic", ActorSpec(address, "keeper"), self.partition)
        self.host.commit()

    def tell(self, address: str, message: Any) -> None:
        self.host.begin_turn()
        self.host.cast(address, message)
        self.host.drain()
        self.host.commit()

    def tell_all(self, message: int) -> None:
        for address in self.host.addresses("keeper"):
            self.tell(address, message)

    def heard(self) -> dict[str, Any]:
        return {address: self.host.ask(address, "heard") for address in self.host.addresses("keeper")}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path / "p")
    yield one
    one.partition.close()


def _nothing(world: World) -> None:
    pass


def _starts(world: World) -> None:
    world.define("new")
    world.tell("new", 7)


def _ends(world: World) -> None:
    for address in ("a", "e"):
        world.host.terminate_child(address)
    world.host.commit()


def _comes_again(world: World) -> None:
    _ends(world)
    for address in ("a", "e"):
        world.define(address)
        world.tell(address, 8)


def _crashes(world: World) -> None:
    for address in ("a", "e"):
        world.tell(address, "a bad message")


@pytest.mark.parametrize("meanwhile", [_nothing, _starts, _ends, _comes_again, _crashes])
@pytest.mark.parametrize("parts", range(len(NAMES) + 1))
def test_turns_between_its_parts_are_in_it_or_after_it(
    world: World, meanwhile: Callable[[World], None], parts: int
) -> None:
    dumps = world.host.dump(world.partition)
    for _ in range(parts):
        next(dumps, None)
        world.tell_all(2)
    meanwhile(world)
    for _ in dumps:
        world.tell_all(3)
    world.partition.snapshot({})
    snapshot_seq = world.partition.snapshot_seq
    assert snapshot_seq == world.partition.seq
    world.tell_all(4)
    before = world.heard()
    world.restart()
    assert world.partition.snapshot_seq == snapshot_seq
    assert world.heard() == before


@pytest.mark.parametrize("parts", range(len(NAMES) + 1))
def test_a_process_that_ends_between_its_parts_has_lost_nothing(world: World, parts: int) -> None:
    dumps = world.host.dump(world.partition)
    for _ in range(parts):
        next(dumps)
        world.tell_all(2)
    before = world.heard()
    world.restart()
    assert world.partition.snapshot_seq == 0
    assert world.heard() == before


def test_one_that_cannot_be_dumped_keeps_its_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def dump(keeper: Keeper) -> Any:
        return {"a set"} if keeper.address == "c" else keeper.heard

    monkeypatch.setattr(Keeper, "dump", dump)
    before = world.heard()
    world.host.snapshot(world.partition)
    assert world.host.counts["crashes"] == 1
    world.restart()
    assert world.heard() == before


def test_the_loop_serves_between_the_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_work, "SNAPSHOT_SLICE_S", 0.0)  # an actor each
    monkeypatch.setattr(Keeper, "dumped", [])
    world = World(tmp_path / "p")
    world.partition.close()
    executor, codec = ThreadExecutor(), Codec()

    def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
        partition = Partition(tmp_path / "p", codec)
        partition.open()
        host = Host(TREE, {"keeper": Keeper}, SystemClock(), codec, {"p": partition}, executor)
        host.start()
        return host

    # A snapshot is due from the beginning.
    loop = Loop("cell", build, {}, executor, SystemClock(), None, 0, lambda reason: None)
    dumped: list[int] = []
    written = threading.Event()

    def look() -> None:
        """In every turn: how many there are by now; and something happens to each of them."""
        host = loop.host
        assert host is not None
        dumped.append(len(Keeper.dumped))
        if host.counts["snapshots"]:
            written.set()
            return
        for address in NAMES:
            host.cast(address, 5)
        loop.post(look)

    loop.post(look)
    loop.start(WITHIN_S)
    assert written.wait(WITHIN_S)
    # It is due a millisecond after the start, whatever turns fit into that. Then an actor in each turn; and then
    # nothing is left but the journal's new segment, and the file.
    begun = dumped[dumped.count(0) :]
    assert begun == [min(turn, len(NAMES)) for turn in range(1, len(begun) + 1)]
    heard = loop.call("a", "heard").result(WITHIN_S)
    assert heard == (1, *[5] * (len(dumped) - 1))
    assert loop.stop(WITHIN_S)
    world.restart()
    assert world.heard() == dict.fromkeys(NAMES, heard)
    world.partition.close()
