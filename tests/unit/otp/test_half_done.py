"""What cannot be done as a whole ends its host: no part of it becomes durable, and no answer says otherwise."""

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

import slakeeper.otp.partition
from slakeeper.otp.actor import ActorSpec, RequestError
from slakeeper.otp.clock import ManualClock, SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import HalfDone, Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.otp.sim_filesystem import CrashFileSystem
from slakeeper.otp.snapshot_work import SnapshotWork
from tests.unit.otp.sim_world import SUPERVISOR, TREE, Counter

WAIT_S = 20.0


class World:
    """A loop with a counter in each of two partitions, which count orders, both or none of them."""

    def __init__(self) -> None:
        self.file_systems = {name: CrashFileSystem() for name in ("p0", "p1")}
        self.told: list[str] = []
        self.ended: Future[str] = Future()
        self.loop = self._begin(self.ended.set_result)

    def _begin(self, crashed: Callable[[str], None]) -> Loop:
        codec, clock, executor = Codec(), SystemClock(), ThreadExecutor()
        self.partitions = {
            name: Partition(Path("/data", name), codec, fs) for name, fs in self.file_systems.items()
        }

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            for partition in self.partitions.values():
                partition.open()
            host = Host(TREE, {"counter": Counter}, clock, codec, self.partitions, executor, self)
            host.start()
            for name, partition in self.partitions.items():
                if host.find(name) is None:
                    host.start_child(SUPERVISOR, ActorSpec(name, "counter"), partition)
            host.commit()
            return host

        handlers = {"both": self._both, "half": self._half, "total": self._total}
        loop = Loop(
            "cell", build, handlers, executor, clock, None, 3_600_000, crashed,
            groups={"all": lambda host, payloads: [self._both(host, each) for each in payloads]},
        )  # fmt: skip
        loop.start(WAIT_S)
        return loop

    def begin_again(self) -> None:
        self.loop.stop(WAIT_S)
        self.loop = self._begin(lambda reason: None)

    def _both(self, host: Host, order: Any) -> Any:
        return [host.ask(name, [order, 1]) for name in self.partitions]

    def _half(self, host: Host, order: Any) -> Any:
        host.ask("p0", [order, 1])
        raise HalfDone("p1 has not counted it")

    def _total(self, host: Host, payload: Any) -> Any:
        return [host.ask(name, "total") for name in self.partitions]

    def fail(self, name: str) -> None:
        """Has the background snapshot of a partition fail for good."""
        fs, partition = self.file_systems[name], self.partitions[name]
        begun = threading.Event()

        def snapshot() -> None:
            fs.fail_at[fs.steps] = errno.EIO
            with pytest.raises(Exception, match=name):
                partition.snapshot({})
            begun.set()

        self.loop.post(snapshot)
        begun.wait(WAIT_S)


@pytest.fixture
def world() -> Iterator[World]:
    one = World()
    yield one
    one.loop.stop(WAIT_S)


@pytest.mark.parametrize("kind", ["both", "all"])
def test_a_request_that_finds_one_of_its_partitions_failed_counts_in_none(world: World, kind: str) -> None:
    assert world.loop.request(kind, "o1").result(WAIT_S)
    before = world.loop.request("total", None).result(WAIT_S)
    world.fail("p1")
    with pytest.raises(RequestError) as refused:
        world.loop.request(kind, "o2").result(WAIT_S)
    assert refused.value.code == "unavailable"
    assert "JournalError" in world.ended.result(WAIT_S)
    world.begin_again()
    assert world.loop.request("total", None).result(WAIT_S) == before


def test_what_was_done_of_a_request_that_cannot_be_done_counts_nowhere(world: World) -> None:
    with pytest.raises(RequestError):
        world.loop.request("half", "o1").result(WAIT_S)
    assert "HalfDone" in world.ended.result(WAIT_S)
    world.begin_again()
    assert world.loop.request("total", None).result(WAIT_S) == [0, 0]


def test_a_snapshot_that_fails_for_good_beside_the_turns_ends_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codec, clock = Codec(), ManualClock(1_000)
    p0 = Partition(Path("/data/p0"), codec, CrashFileSystem())
    p0.open()
    host = Host(TREE, {"counter": Counter}, clock, codec, {"p0": p0}, ThreadExecutor())
    host.start()
    host.start_child(SUPERVISOR, ActorSpec("p0", "counter"), p0)
    host.commit()
    clock.advance(1)
    host.begin_turn()

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(slakeeper.otp.partition, "write_snapshot", fails)
    work = SnapshotWork("cell", host, 1, 1_000, None)
    work.go_on(may_begin=True)
    work.close()
    with pytest.raises(JournalError, match="writing a snapshot failed"):
        work.go_on(may_begin=False)
