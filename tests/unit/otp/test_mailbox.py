"""Bounded mailboxes, what is kept for a restart, and actors that are put away while they are idle."""

from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import IGNORE, Actor, ActorLost, ActorSpec, ActorStopped, Down, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import MAX_STASH, Host
from slakeeper.otp.partition import Partition
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


def addresses_heard(world: HostWorld, address: str) -> list[Any]:
    return [heard for heard in world.heard(address) if isinstance(heard, int)]


def fill(world: HostWorld, address: str, count: int) -> None:
    for number in range(count):
        world.host.cast(address, number)


def test_a_full_mailbox_turns_the_newest_away() -> None:
    world = HostWorld()
    world.add("n", kind="narrow")
    fill(world, "n", 4)
    world.turn()
    assert addresses_heard(world, "n") == [0, 1]
    assert [letter.message for letter in world.host.dead_letters] == ["2", "3"]


def test_a_full_mailbox_may_let_the_oldest_go() -> None:
    world = HostWorld()
    world.add("n", kind="rolling")
    fill(world, "n", 4)
    world.turn()
    assert addresses_heard(world, "n") == [2, 3]
    assert [letter.message for letter in world.host.dead_letters] == ["0", "1"]


def test_a_call_that_finds_a_full_mailbox_ends_at_once() -> None:
    world = HostWorld()
    world.add("n", kind="narrow")
    fill(world, "n", 2)
    ends: list[Any] = []
    world.host.call("n", 1, lambda value, error: ends.append(error))
    assert isinstance(ends[0], ActorStopped)


@pytest.mark.parametrize(("kind", "kept"), [("narrow", [0, 1]), ("rolling", [2, 3])])
def test_news_never_gives_way_nor_takes_the_place_of_a_message(kind: str, kept: list[int]) -> None:
    world = HostWorld()
    world.add("n", kind=kind)
    world.add("b", "c")
    world.tell("n", lambda ctx: (ctx.monitor("b"), ctx.monitor("c"), ctx.set_timer("t", 1_010, "tick")))
    world.host.inspector.suspend("n")
    world.host.terminate_child("b")
    fill(world, "n", 4)
    world.host.terminate_child("c")
    world.turn(10)
    world.host.inspector.resume("n")
    world.turn()
    assert [each for each in world.heard("n") if not isinstance(each, int)] == [
        Down("b", "shutdown"), Down("c", "shutdown"), "tick",
    ]  # fmt: skip
    assert addresses_heard(world, "n") == kept


def test_a_suspended_actor_keeps_only_so_many() -> None:
    world = HostWorld()
    world.add("a")
    world.host.inspector.suspend("a")
    fill(world, "a", MAX_STASH + 5)
    world.host.inspector.resume("a")
    world.turn()
    assert len(world.heard("a")) == MAX_STASH
    assert world.host.counts["dead_letters"] == 5


# -- idleness ---------------------------------------------------------------------------------------------------


class SleepyWorld:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(1_000)
        self.start()

    def start(self) -> None:
        self.partition = Partition(self.directory, Codec())
        self.partition.open()
        tree = SupervisorSpec("host", Flags(), (SupervisorSpec("all", Flags(intensity=100)),))
        kinds: dict[str, type[Actor]] = {"sleepy": Sleepy, "light": Light}
        self.host = Host(tree, kinds, self.clock, Codec(), {"p": self.partition}, NoExecutor())
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
