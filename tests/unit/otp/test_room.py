"""A disk without room: what is refused, what goes on, and what waits."""

import errno
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import journal
from slakeeper.otp.actor import ActorSpec, RequestError
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import JournalError, NoRoom, Partition
from slakeeper.otp.room import ASK_EVERY_S, Room
from slakeeper.otp.sim_filesystem import CrashFileSystem
from tests.unit.otp.partition_world import DIRECTORY, dumps_of, opened, start
from tests.unit.otp.sim_world import SUPERVISOR, TREE, Counter

WAIT_S = 20.0
RESERVE = 1_000
SNAPSHOT_MS = 20


def test_what_is_free_and_what_is_to_stay_free_are_said_in_one_unit() -> None:
    fs = CrashFileSystem()
    fs.free = 1_000_000
    said = str(Room(DIRECTORY, 64_000_000, fs))
    assert said == f"1.0 MiB free for {DIRECTORY}, 61.0 MiB are to stay free"


@pytest.mark.parametrize(
    ("free", "is_low", "suffices"),
    [(RESERVE, False, True), (RESERVE - 1, True, True), (RESERVE // 2, True, True), (499, True, False)],
)
def test_below_the_reserve_room_is_low_and_half_of_it_is_enough_to_begin(
    free: int, is_low: bool, suffices: bool
) -> None:
    fs = CrashFileSystem()
    fs.free = free
    room = Room(DIRECTORY, RESERVE, fs)
    assert (room.is_low, room.suffices) == (is_low, suffices)


def test_without_a_reserve_nothing_is_looked_at() -> None:
    fs = CrashFileSystem()
    fs.free = 0
    room = Room(DIRECTORY, 0, fs)
    assert (room.is_low, room.suffices, room.holds(10**12)) == (False, True, True)


def test_a_file_may_leave_half_of_the_reserve() -> None:
    fs = CrashFileSystem()
    fs.free = 700
    room = Room(DIRECTORY, RESERVE, fs)
    assert room.holds(200)
    assert not room.holds(201)


def test_the_disk_is_asked_once_a_second() -> None:
    fs, now_s = CrashFileSystem(), [0.0]
    room = Room(DIRECTORY, RESERVE, fs, lambda: now_s[0])
    assert not room.is_low
    fs.free = 0
    now_s[0] = ASK_EVERY_S - 0.001
    assert not room.is_low
    now_s[0] = ASK_EVERY_S
    assert room.is_low


def test_a_disk_that_does_not_answer_holds_nobody_up_and_its_last_answer_counts() -> None:
    fs, now_s = CrashFileSystem(), [0.0]
    fs.free = RESERVE
    asked: list[Callable[[], int]] = []
    tell: list[Callable[[Any, BaseException | None], None]] = []

    def background(ask: Callable[[], int], told: Callable[[Any, BaseException | None], None]) -> None:
        asked.append(ask)
        tell.append(told)

    room = Room(DIRECTORY, RESERVE, fs, lambda: now_s[0], background)
    assert (room.free_bytes, asked) == (RESERVE, [])  # the first is waited for
    fs.free = 0
    for _ in range(3):
        now_s[0] += 10 * ASK_EVERY_S
        assert (room.is_low, len(asked)) == (False, 1)  # and asked once, as long as it does not answer
    tell[0](asked[0](), None)
    assert room.is_low
    now_s[0] += ASK_EVERY_S
    assert (room.is_low, len(asked)) == (True, 2)
    tell[1](None, OSError(errno.ESTALE, "gone"))
    assert room.is_low
    now_s[0] += ASK_EVERY_S
    fs.free = RESERVE
    assert (room.is_low, len(asked)) == (True, 3)
    tell[2](asked[2](), None)
    assert not room.is_low


def test_a_loop_asks_the_disk_on_another_thread() -> None:
    threads: list[str] = []

    class Disk(CrashFileSystem):
        def free_bytes(self, path: Path) -> int:
            threads.append(threading.current_thread().name)
            return super().free_bytes(path)

    fs, executor, answered = Disk(), ThreadExecutor(), threading.Event()

    def post(run: Callable[[], None]) -> None:
        run()
        answered.set()

    executor.post = post
    now_s = [0.0]
    room = Room(DIRECTORY, RESERVE, fs, lambda: now_s[0], partial(executor.submit, "room"))
    assert room.free_bytes == fs.free
    now_s[0] = ASK_EVERY_S
    assert room.free_bytes == fs.free
    assert answered.wait(WAIT_S)
    executor.close()
    assert [name.startswith("io-room") for name in threads] == [False, True]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_from_a_broken_one(number: int) -> None:
    fs = CrashFileSystem()
    partition = opened(fs)
    partition.append([start("a")])
    fs.fail_at = {fs.steps: number}
    with pytest.raises(NoRoom):
        partition.commit()
    partition.close()
    fs.fail_at = {fs.steps: number}
    with pytest.raises(NoRoom):
        opened(fs)
    fs.fail_at = {fs.steps: errno.EIO}
    with pytest.raises(JournalError) as caught:
        opened(fs)
    assert not isinstance(caught.value, NoRoom)
    partition = opened(fs)
    partition.append([start("b")])
    partition.commit()
    fs.fail_at = {fs.steps + 2: number}
    with pytest.raises(NoRoom):
        partition.snapshot(dumps_of(partition))
    with pytest.raises(NoRoom):  # whoever asks next is told the same
        partition.ready()


# -- the loop -----------------------------------------------------------------------------------------------------


class World:
    """A loop on a disk whose room the test decides; the room is asked anew each time."""

    def __init__(self, free: int, *, begins_again: bool = False) -> None:
        self.fs = CrashFileSystem()
        self.fs.make_directory(DIRECTORY)
        self.fs.free = free
        self.crashes: list[str] = []
        self.has_crashed = threading.Event()
        self.built = threading.Event()
        self.told: list[str] = []
        self.clock = ManualClock(1_000)
        ticks = iter(range(10**9))
        executor = ThreadExecutor()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            codec = Codec()
            self.partition = Partition(DIRECTORY, codec, self.fs)
            self.partition.open()
            partitions = {"p": self.partition}
            host = Host(TREE, {"counter": Counter}, self.clock, codec, partitions, executor, self)
            host.start()
            if not host.exists("c"):
                host.start_child(SUPERVISOR, ActorSpec("c", "counter"), self.partition)
            host.commit()
            self.built.set()
            return host

        handlers = {"samples": self.ask, "acknowledge": self.ask}
        room = Room(DIRECTORY, RESERVE, self.fs, lambda: next(ticks) * ASK_EVERY_S)
        self.loop = Loop(
            "shop", build, handlers, executor, self.clock, None, SNAPSHOT_MS, self.crash,
            room, frozenset({"samples"}), begins_again=begins_again,
        )  # fmt: skip

    def crash(self, reason: str) -> None:
        self.crashes.append(reason)
        self.has_crashed.set()

    @staticmethod
    def ask(host: Host, payload: Any) -> Any:
        return host.ask("c", payload)

    def outcome(self, kind: str, number: int) -> Any:
        """The reply to a request, or the code and text of its refusal."""
        future: Future[Any] = self.loop.request(kind, [f"{kind}-{number}", 1])
        error = future.exception(WAIT_S)
        if isinstance(error, RequestError):
            return error.code, str(error)
        return future.result()


@pytest.fixture
def made() -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(free: int, **how: bool) -> World:
        worlds.append(World(free, **how))
        return worlds[-1]

    yield make
    for world in worlds:
        world.loop.stop(WAIT_S)


def test_what_can_come_back_is_refused_while_room_is_low_and_the_rest_goes_on(
    made: Callable[[int], World], caplog: pytest.LogCaptureFixture
) -> None:
    world = made(10 * RESERVE)
    world.loop.start()
    assert not isinstance(world.outcome("samples", 1), tuple)
    world.fs.free = RESERVE - 1
    world.loop.request("acknowledge", ["now", 1]).result(
        WAIT_S
    )  # the turn that begins after this looks at the disk
    code, why = world.outcome("samples", 2)
    assert (code, "nearly full" in why, str(DIRECTORY) in why) == ("unavailable", True, True)
    assert not isinstance(world.outcome("acknowledge", 3), tuple)
    assert caplog.text.count("refused until there is room: samples") == 1
    world.fs.free = RESERVE
    world.loop.request("acknowledge", ["later", 1]).result(WAIT_S)
    assert not isinstance(world.outcome("samples", 2), tuple)
    assert "there is room on the disk again" in caplog.text


def test_a_loop_without_room_waits_for_it_and_says_so(made: Callable[[int], World]) -> None:
    world = made(RESERVE // 2 - 1)
    world.loop.start()
    code, why = world.outcome("acknowledge", 1)
    assert (code, "waits for room" in why) == ("unavailable", True)
    assert not world.built.is_set()
    world.fs.free = RESERVE
    assert world.built.wait(WAIT_S)
    assert not isinstance(world.outcome("acknowledge", 2), tuple)


def test_a_loop_that_finds_the_disk_full_in_the_middle_of_its_start_begins_again(
    made: Callable[[int], World],
) -> None:
    world = made(RESERVE)
    world.fs.fail_at = {3: errno.ENOSPC}
    world.loop.start()
    assert world.built.wait(WAIT_S)
    assert not isinstance(world.outcome("acknowledge", 1), tuple)
    assert world.crashes == []


def test_a_loop_that_waits_can_be_stopped(made: Callable[[int], World]) -> None:
    world = made(0)
    world.loop.start()
    assert world.loop.stop(WAIT_S)
    assert not world.built.is_set()
    assert world.crashes == []


def test_a_journal_that_finds_no_room_ends_the_loop(made: Callable[[int], World]) -> None:
    world = made(RESERVE)
    world.loop.start()
    world.fs.fail_at = {world.fs.steps: errno.ENOSPC}
    code, _ = world.outcome("acknowledge", 1)
    assert code == "unavailable"
    (why,) = world.crashes
    assert why.startswith("NoRoom")


def test_a_loop_that_begins_again_goes_on_from_the_disk_when_there_is_room(
    made: Callable[..., World], caplog: pytest.LogCaptureFixture
) -> None:
    world = made(RESERVE, begins_again=True)
    world.loop.start()
    before = world.outcome("acknowledge", 1)
    for _ in range(2):
        world.built.clear()
        world.fs.free = RESERVE // 2 - 1
        world.fs.fail_at = {world.fs.steps: errno.ENOSPC}
        code, _ = world.outcome("acknowledge", 2)
        assert code == "unavailable"
        code, why = world.outcome("acknowledge", 3)
        assert (code, "waits for room" in why) == ("unavailable", True)
        assert not world.built.is_set()
        world.fs.free = 10 * RESERVE
        assert world.built.wait(WAIT_S)
    # What was refused has not happened; what is asked again counts once.
    assert world.outcome("acknowledge", 2) == before + 1
    assert world.crashes == []
    assert "begins again from the disk" in caplog.text


def test_a_loop_that_waits_to_begin_again_can_be_stopped(made: Callable[..., World]) -> None:
    world = made(RESERVE, begins_again=True)
    world.loop.start()
    world.fs.free = 0
    world.fs.fail_at = {world.fs.steps: errno.ENOSPC}
    assert world.outcome("acknowledge", 1)[0] == "unavailable"
    assert world.loop.stop(WAIT_S)
    assert world.crashes == []


@pytest.fixture
def next_segment_fails(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Has the disk refuse the next segment of a journal, with an error number, and none after it."""
    create = journal.create_segment
    numbers: list[int] = []

    def create_or_fail(*args: Any) -> Any:
        if numbers:
            raise OSError(numbers.pop(), "refused")
        return create(*args)

    monkeypatch.setattr(journal, "create_segment", create_or_fail)
    return numbers.append


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_segment_that_cannot_be_begun_ends_the_loop_also_when_nobody_writes(
    made: Callable[[int], World], next_segment_fails: Callable[[int], None], number: int
) -> None:
    world = made(100 * RESERVE)
    world.loop.start()
    world.outcome("acknowledge", 1)
    next_segment_fails(number)
    world.clock.advance(SNAPSHOT_MS)
    assert world.has_crashed.wait(WAIT_S)
    assert "beginning a segment failed" in world.crashes[0]


@pytest.mark.parametrize("writes", [False, True])
def test_a_loop_begins_again_when_its_snapshot_found_no_room_for_a_segment(
    made: Callable[..., World], next_segment_fails: Callable[[int], None], writes: bool
) -> None:
    world = made(100 * RESERVE, begins_again=True)
    world.loop.start()
    before = world.outcome("acknowledge", 1)
    world.built.clear()
    next_segment_fails(errno.ENOSPC)
    world.clock.advance(SNAPSHOT_MS)
    if writes:
        world.outcome("acknowledge", 2)
    assert world.built.wait(WAIT_S)
    assert world.outcome("acknowledge", 2) == before + 1
    assert world.crashes == []


@pytest.mark.parametrize("free", [RESERVE // 2, 100 * RESERVE])
def test_no_snapshot_is_begun_for_which_there_is_no_room(made: Callable[[int], World], free: int) -> None:
    world = made(free)
    world.loop.start()
    world.outcome("acknowledge", 1)
    world.clock.advance(SNAPSHOT_MS)
    for number in (2, 3):  # the turn after the one that may begin a snapshot
        world.outcome("acknowledge", number)
    assert world.loop.stop(WAIT_S)
    snapshots = [name for name in world.fs.files(DIRECTORY) if name.startswith("snapshot-")]
    assert len(snapshots) == (2 if free > RESERVE else 1), "the last is that of the stop"
