"""A partition driven by a script on a file system that fails, beside a model of what it has to hold."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from slakeeper.otp.codec import Codec
from slakeeper.otp.partition import Event, Op, Partition, Started, Stopped
from slakeeper.otp.sim_filesystem import CrashFileSystem

DIRECTORY = Path("/data/partition-0")
CODEC = Codec()

State = tuple[tuple[str, bytes, tuple[bytes, ...]], ...]
"""For each actor in order: address, arg, and every event since it started."""

Command = tuple[Literal["commit", "rollback", "snapshot", "finish_snapshot"], Any]


def partition_on(fs: CrashFileSystem) -> Partition:
    """A partition of the one directory, not open yet."""
    return Partition(DIRECTORY, CODEC, fs)


def opened(fs: CrashFileSystem) -> Partition:
    """An open partition of the one directory."""
    partition = partition_on(fs)
    partition.open()
    return partition


def state_of(partition: Partition) -> State:
    """What the actors would be; an actor of these tests is the sequence of its events."""
    return tuple(
        (
            record.address,
            record.arg,
            (*(CODEC.decode(record.base.read()) if record.base else ()), *record.tail),
        )
        for record in partition.records.values()
    )


def dumps_of(partition: Partition, addresses: Sequence[str] | None = None) -> dict[str, bytes]:
    """Snapshots of some actors, or all."""
    states = {address: CODEC.encode(events) for address, _, events in state_of(partition)}
    return (
        states
        if addresses is None
        else {address: states[address] for address in addresses if address in states}
    )


def start(address: str) -> Started:
    return Started(address, "supervisor", "kind", b"arg of " + address.encode(), "permanent")


class DeferredExecutor(Executor):
    """Runs what was submitted when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.waiting.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future, call in waiting:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(call())
            except Exception as error:  # noqa: BLE001  an executor hands on whatever was raised
                future.set_exception(error)


class Run:
    """Runs a script; knows at every point which states the disk may hold.

    ``acknowledged`` is the state of the last commit that returned; ``attempted`` the one being committed;
    ``history`` the state after each sequence number.
    """

    def __init__(self, fs: CrashFileSystem) -> None:
        self.fs = fs
        self.acknowledged: State = ()
        self.attempted: State = ()
        self.history: list[State] = [()]
        self.partition = partition_on(fs)
        self.background = DeferredExecutor()

    @property
    def allowed(self) -> set[State]:
        return {self.acknowledged, self.attempted}

    def execute(self, script: Sequence[Command]) -> None:
        self.partition.open()
        for command, argument in script:
            self._execute(command, argument)
        self.background.run()

    def _execute(self, command: str, argument: Any) -> None:
        partition = self.partition
        match command:
            case "commit":
                self.commit(ops_from(partition, argument))
            case "rollback":
                partition.append(ops_from(partition, argument))
                partition.rollback()
                assert state_of(partition) == self.acknowledged
            case "snapshot":
                later, addresses = argument
                if not partition.snapshotting:
                    dumps = dumps_of(
                        partition, [address for address in addresses if address in partition.records]
                    )
                    partition.snapshot(dumps, self.background if later else None)
                assert state_of(partition) == self.acknowledged
            case "finish_snapshot":
                self.background.run()

    def commit(self, ops: Sequence[Op]) -> None:
        self.partition.append(ops)
        self.attempted = state_of(self.partition)
        self.partition.commit()
        self.acknowledged = self.attempted
        if ops:
            self.history.append(self.acknowledged)


def ops_from(partition: Partition, wishes: Sequence[tuple[int, str, bytes]]) -> list[Op]:
    """Valid ops from any wishes: (what, address, data)."""
    living = set(partition.records)
    ops: list[Op] = []
    for what, address, data in wishes:
        if address not in living:
            ops.append(start(address))
            living.add(address)
        elif what == 0:
            ops.append(Stopped(address))
            living.remove(address)
        else:
            ops.append(Event(address, data))
    return ops


_ADDRESSES = st.sampled_from(["a", "b", "c", "d"])
_WISHES = st.lists(st.tuples(st.integers(0, 4), _ADDRESSES, st.binary(max_size=20)), max_size=5)
_LARGE = st.integers(1, 3000).map(lambda size: [(1, "a", b"\x01" * size)])

SCRIPTS: st.SearchStrategy[list[Command]] = st.lists(
    st.one_of(
        st.tuples(st.just("commit"), _WISHES | _LARGE),
        st.tuples(st.just("commit"), _WISHES | _LARGE),
        st.tuples(st.just("rollback"), _WISHES),
        st.tuples(st.just("snapshot"), st.tuples(st.booleans(), st.lists(_ADDRESSES, unique=True))),
        st.tuples(st.just("finish_snapshot"), st.none()),
    ),
    max_size=14,
)
