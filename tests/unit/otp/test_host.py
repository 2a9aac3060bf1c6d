from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import (
    Actor,
    ActorSpec,
    ActorStopped,
    Performed,
    RequestError,
    StartRefused,
    SupervisorSpec,
)
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags, Quarantine, Restart, Strategy
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Partition


@dataclass(frozen=True)
class Tally:
    count: int


class Counter(Actor):
    """Counts what it is told; crashes on request in the middle of its work."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.count = arg or 0
        self.seen: list[Any] = []

    def handle_cast(self, ctx: Context, message: Any) -> None:
        match message:
            case int():
                ctx.emit(message)
            case ("then crash", amount):
                ctx.emit(amount)
                ctx.cast("other", 1)
                ctx.perform("never", lambda: None, lane="x")
                raise RuntimeError("asked to")
            case ("start", address):
                ctx.start_child("dynamic", ActorSpec(address, "counter", 7, Restart.TRANSIENT))
                ctx.cast(address, 1)
            case ("start kind", kind):
                ctx.start_child("dynamic", ActorSpec("refused", kind))
            case "leave":
                ctx.stop()
            case "work":
                ctx.perform("job", lambda: 42, lane="x")
            case ("wake me", at_ms):
                ctx.set_timer("wake", at_ms, "awake")
            case "let me sleep":
                ctx.cancel_timer("wake")

    def handle_info(self, ctx: Context, message: Any) -> None:
        self.seen.append(message)
        if isinstance(message, Performed):
            ctx.emit(message.value)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case "count":
                return self.count
            case "seen":
                return list(self.seen)
            case "refuse":
                raise RequestError("conflict", "no")
        raise RuntimeError("crashed on a call")

    def apply(self, event: int) -> None:
        self.count += event

    def dump(self) -> Tally:
        return Tally(self.count)

    def load(self, state: Tally) -> None:
        self.count = state.count


class Refusing(Actor):
    def init(self, ctx: Context, fresh: bool) -> None:
        raise ValueError("not today")


class Fleeting(Counter):
    durable: ClassVar[bool] = False


class ManualExecutor:
    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]] = []

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        self.waiting.append((effect, done))

    def run(self) -> None:
        waiting, self.waiting = self.waiting, []
        for effect, done in waiting:
            done(effect(), None)


KINDS: dict[str, type[Actor]] = {"counter": Counter, "refusing": Refusing, "fleeting": Fleeting}
QUARANTINE = Flags(Strategy.ONE_FOR_ONE, quarantine=Quarantine(2, 60, Backoff(100, 1_000, 0.0)))
TREE = SupervisorSpec(
    "cell",
    Flags(Strategy.REST_FOR_ONE, 3, 60),
    (
        SupervisorSpec("dynamic", QUARANTINE),
        SupervisorSpec("static", Flags(intensity=5), (ActorSpec("fixed", "fleeting"),)),
    ),
)


class World:
    """A host on a clock of its own over a real partition; ``restart`` is a crash of the whole process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = ManualClock(1_000)
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.start()

    def start(self) -> None:
        codec = Codec([Tally])
        self.executor = ManualExecutor()
        self.partition = Partition(self.directory, codec)
        self.partition.open()
        self.host = Host(
            TREE, KINDS, self.clock, codec, {"p": self.partition}, self.executor,
            publish=lambda topic, payload: self.published.append((topic, payload)),
        )  # fmt: skip
        self.host.start()

    def restart(self) -> None:
        self.partition.close()
        self.start()

    def define(self, address: str, kind: str = "counter", restart: Restart = Restart.PERMANENT) -> None:
        self.host.start_child("dynamic", ActorSpec(address, kind, 0, restart), self.partition)
        self.host.commit()

    def cast(self, address: str, message: Any) -> None:
        self.host.begin_turn()
        self.host.cast(address, message)
        self.host.drain()
        self.host.commit()

    def pass_time(self, by_ms: int) -> None:
        self.clock.advance(by_ms)
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    def count(self, address: str) -> Any:
        return self.host.ask(address, "count")

    def status(self, address: str) -> Any:
        return self.host.inspector.describe(address)["status"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "p")


def test_events_survive_the_process(world: World) -> None:
    world.define("a")
    world.cast("a", 5)
    world.cast("a", 6)
    world.restart()
    assert world.count("a") == 11


def test_a_snapshot_stands_for_the_events_before_it(world: World) -> None:
    world.define("a")
    world.cast("a", 5)
    assert world.host.snapshot(world.partition) is not None
    assert world.host.snapshot(world.partition) is None
    world.cast("a", 6)
    world.restart()
    assert world.count("a") == 11


def test_what_was_not_committed_is_not_there_after_a_crash(world: World) -> None:
    world.define("a")
    world.cast("a", 5)
    world.host.cast("a", 6)
    world.host.drain()
    world.restart()
    assert world.count("a") == 5


def test_a_handler_that_crashes_leaves_no_trace_but_a_report(world: World) -> None:
    world.define("a")
    world.define("other")
    world.cast("a", 1)
    world.cast("a", ("then crash", 100))
    assert world.count("a") == 1
    assert world.count("other") == 0
    assert world.executor.waiting == []
    report = world.host.crash_reports[-1]
    assert (report.address, report.reason) == ("a", "RuntimeError: asked to")
    assert "then crash" in world.host.dead_letters[-1].message
    assert world.host.inspector.describe("a")["restarts"] == 1


def test_messages_behind_the_one_that_crashed_are_still_handled(world: World) -> None:
    world.define("a")
    world.host.cast("a", ("then crash", 100))
    world.host.cast("a", 1)
    world.host.drain()
    world.host.commit()
    assert world.count("a") == 1


def test_a_child_that_keeps_crashing_is_quarantined_and_its_siblings_go_on(world: World) -> None:
    world.define("a")
    world.define("b")
    for _ in range(3):
        world.cast("a", ("then crash", 1))
        world.pass_time(1_000)
    assert world.status("a") == "quarantined"
    assert "actor.quarantined" in [topic for topic, _ in world.published]
    with pytest.raises(ActorStopped):
        world.count("a")
    world.cast("b", 1)
    assert world.count("b") == 1
    world.host.inspector.resume("a")
    world.cast("a", 2)
    assert world.count("a") == 2


def test_a_quarantined_actor_keeps_its_state_through_a_restart(world: World) -> None:
    world.define("a")
    world.cast("a", 4)
    for _ in range(3):
        world.cast("a", ("then crash", 1))
        world.pass_time(1_000)
    world.restart()
    assert world.count("a") == 4


def test_a_transient_child_that_leaves_is_forgotten(world: World) -> None:
    world.define("a", restart=Restart.TRANSIENT)
    world.cast("a", "leave")
    assert not world.host.is_running("a")
    assert "a" not in world.partition.records
    world.define("a", restart=Restart.TRANSIENT)
    assert world.count("a") == 0


def test_a_temporary_child_that_crashes_is_forgotten(world: World) -> None:
    world.define("a", restart=Restart.TEMPORARY)
    world.cast("a", ("then crash", 1))
    assert "a" not in world.host.addresses()
    assert "a" not in world.partition.records


def test_a_temporary_child_is_still_recorded_after_a_stop_of_the_whole_tree(world: World) -> None:
    world.define("a", restart=Restart.TEMPORARY)
    world.cast("a", 5)
    world.host.stop()
    world.restart()
    assert world.count("a") == 5


def test_an_actor_starts_children_in_its_own_partition(world: World) -> None:
    world.define("a")
    world.cast("a", ("start", "child"))
    assert world.count("child") == 8
    world.restart()
    assert world.count("child") == 8


def test_a_child_that_refuses_to_start_is_told_to_the_one_who_asked(world: World) -> None:
    world.define("a")
    world.cast("a", ("start kind", "refusing"))
    assert world.host.ask("a", "seen") == [StartRefused("refused", "ValueError: not today")]
    assert "refused" not in world.partition.records
    assert "refused" not in world.host.addresses()


def test_an_effect_runs_only_once_its_turn_is_durable_and_its_end_comes_back(world: World) -> None:
    world.define("a")
    world.host.cast("a", "work")
    world.host.drain()
    assert world.executor.waiting == []
    world.host.commit()
    world.executor.run()
    world.pass_time(0)
    assert world.count("a") == 42


def test_the_same_effect_is_not_run_twice_at_the_same_time(world: World) -> None:
    world.define("a")
    world.cast("a", "work")
    world.cast("a", "work")
    assert len(world.executor.waiting) == 1


def test_a_timer_comes_once_at_its_time(world: World) -> None:
    world.define("a")
    world.cast("a", ("wake me", 2_000))
    assert world.host.next_deadline_ms() == 2_000
    world.pass_time(999)
    assert world.host.ask("a", "seen") == []
    world.pass_time(1)
    world.pass_time(5_000)
    assert world.host.ask("a", "seen") == ["awake"]


def test_a_cancelled_timer_does_not_come_nor_does_one_of_an_earlier_incarnation(world: World) -> None:
    world.define("a")
    world.define("b")
    world.cast("a", ("wake me", 2_000))
    world.cast("a", "let me sleep")
    world.cast("b", ("wake me", 2_000))
    world.cast("b", ("then crash", 1))
    world.pass_time(5_000)
    assert world.host.ask("a", "seen") == []
    assert world.host.ask("b", "seen") == []


def test_a_call_that_crashes_says_so_and_the_actor_comes_back(world: World) -> None:
    world.define("a")
    with pytest.raises(ActorStopped, match="crashed on a call"):
        world.host.ask("a", "rubbish")
    assert world.count("a") == 0


def test_a_refused_call_is_no_crash(world: World) -> None:
    world.define("a")
    with pytest.raises(RequestError):
        world.host.ask("a", "refuse")
    assert world.host.inspector.describe("a")["restarts"] == 0


def test_a_message_to_nobody_is_a_dead_letter(world: World) -> None:
    world.cast("nobody", 1)
    assert world.host.dead_letters[-1].why == "nobody there"


def test_a_suspended_actor_handles_its_messages_when_it_is_resumed(world: World) -> None:
    world.define("a")
    world.host.inspector.suspend("a")
    world.cast("a", 3)
    assert world.status("a") == "suspended"
    world.host.inspector.resume("a")
    world.pass_time(0)
    assert world.count("a") == 3


def test_stop_keeps_durable_actors_on_record(world: World) -> None:
    world.define("a")
    world.cast("a", 3)
    world.host.stop()
    assert world.host.ended == "shutdown"
    world.restart()
    assert world.count("a") == 3


def test_the_tree_shows_every_child_with_its_status(world: World) -> None:
    world.define("a")
    tree = world.host.tree.describe()
    assert tree["address"] == "cell"
    assert [child["address"] for child in tree["children"]] == ["cell/dynamic", "cell/static"]
    assert tree["children"][0]["children"][0]["address"] == "a"
    assert tree["children"][0]["children"][0]["status"] == "running"


def test_a_killed_actor_is_restarted_from_its_record(world: World) -> None:
    world.define("a")
    world.cast("a", 3)
    world.host.inspector.kill("a")
    assert world.count("a") == 3
