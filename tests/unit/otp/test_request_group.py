"""Requests of a kind that the loop serves together when they came in one turn."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import Actor, ActorSpec, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.effect import Executor
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition
from tests.unit.otp.host_world import NoExecutor

WAIT_S = 20.0


class World:
    """A loop without actors that notes what it serves."""

    def __init__(self) -> None:
        self.served: list[Any] = []
        self.recovered = threading.Event()
        executor, clock = ThreadExecutor(), SystemClock()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            return self._host(executor)

        self.loop = Loop(
            "host", build, {"alone": self._alone}, executor, clock, None, 60_000, self.served.append,
            groups={"add": self._together, "put": self._together}, recovered=self.recovered.set,
            is_light=lambda kind, payload: payload == ["light"],
        )  # fmt: skip
        self.loop.start(WAIT_S)

    def _host(self, executor: Executor) -> Host:
        host = Host(SupervisorSpec("host", Flags()), {}, SystemClock(), Codec(), {}, executor)
        host.start()
        return host

    def _alone(self, host: Host, payload: Any) -> Any:
        self.served.append(payload)
        return payload

    def _together(self, host: Host, payloads: Sequence[Any]) -> Sequence[Any]:
        self.served.append(list(payloads))
        if "bug" in payloads:
            raise ValueError("a bug")
        return [RequestError("invalid", "no") if each == "bad" else f"{each}!" for each in payloads]

    def hold(self) -> threading.Event:
        """Keeps the loop busy until the event is set."""
        busy, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            busy.set()
            go_on.wait(WAIT_S)

        self.loop.post(wait)
        busy.wait(WAIT_S)
        return go_on

    def in_one_turn(self, *requests: tuple[str, Any]) -> "list[Future[Any]]":
        """Has them all come while the loop is busy."""
        go_on = self.hold()
        answers = [self.loop.request(kind, payload) for kind, payload in requests]
        go_on.set()
        return answers


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.loop.stop(WAIT_S)


def test_they_are_served_together_and_each_is_answered(world: World) -> None:
    answers = world.in_one_turn(("add", "a"), ("add", "b"), ("add", "c"))
    assert [each.result(WAIT_S) for each in answers] == ["a!", "b!", "c!"]
    assert world.served == [["a", "b", "c"]]


def test_what_comes_between_is_served_in_its_order(world: World) -> None:
    answers = world.in_one_turn(
        ("add", "a"), ("alone", "b"), ("add", "c"), ("put", "d"), ("put", "e"), ("add", "f")
    )
    assert [each.result(WAIT_S) for each in answers] == ["a!", "b", "c!", "d!", "e!", "f!"]
    assert world.served == [["a"], "b", ["c"], ["d", "e"], ["f"]]


def test_one_that_is_refused_is_refused_alone(world: World) -> None:
    first, second, third = world.in_one_turn(("add", "a"), ("add", "bad"), ("add", "c"))
    assert (first.result(WAIT_S), third.result(WAIT_S)) == ("a!", "c!")
    with pytest.raises(RequestError, match="no"):
        second.result(WAIT_S)


def test_a_bug_is_an_answer_to_each(world: World) -> None:
    for each in world.in_one_turn(("add", "a"), ("add", "bug")):
        with pytest.raises(RequestError, match="a bug"):
            each.result(WAIT_S)
    assert world.loop.request("add", "b").result(WAIT_S) == "b!"


# -- while actors sleep ---------------------------------------------------------------------------------------

COUNT = 300
WOKEN_FOR_LINE = 3


class Sleeper(Actor):
    """Is made again after the start."""

    recovers_later: ClassVar[bool] = True


class CountingHost(Host):
    """Counts its turns."""

    turns = 0

    def begin_turn(self, wakes: bool = True) -> None:
        self.turns += 1
        super().begin_turn(wakes)


class SleepyWorld(World):
    """A loop whose actors sleep when it starts; ``add`` wakes those it names. Notes the turn with what it serves."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._host(NoExecutor()).partitions["p"].close()
        super().__init__()

    def _host(self, executor: Executor) -> Host:
        partition = Partition(self.directory, Codec())
        partition.open()
        tree = SupervisorSpec("host", Flags(), (SupervisorSpec("all", Flags()),))
        host = CountingHost(tree, {"sleeper": Sleeper}, SystemClock(), Codec(), {"p": partition}, executor)
        host.start()
        for number in range(COUNT - len(partition.records)):
            host.start_child("all", ActorSpec(f"a{number}", "sleeper"), partition)
        host.commit()
        return host

    def _alone(self, host: Host, payload: Any) -> Any:
        self.served.append((host.turns, payload))  # type: ignore[attr-defined]
        return payload

    def _together(self, host: Host, payloads: Sequence[Any]) -> Sequence[Any]:
        for names in payloads:
            assert names == ["light"] or all(host.takes(name) for name in names)
            self.served.append((host.turns, names))  # type: ignore[attr-defined]
        return payloads


@pytest.fixture
def sleepy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SleepyWorld]:
    monkeypatch.setattr("slakeeper.otp.line.MAX_WOKEN_FOR_LINE", WOKEN_FOR_LINE)
    # By itself none is woken, so that the test knows who sleeps.
    monkeypatch.setattr("slakeeper.otp.host.MAX_WOKEN", 0)
    world = SleepyWorld(tmp_path / "p")
    yield world
    world.loop.stop(WAIT_S)


def test_those_who_wait_are_served_in_shares_and_in_their_order(sleepy: SleepyWorld) -> None:
    first, second, third = ["a0", "a1", "a2", "a3"], ["a0"], ["a4", "a5", "a6"]
    answers = sleepy.in_one_turn(
        ("add", first), ("add", second), ("add", third), ("alone", "x"), ("add", second), ("add", ["a7"])
    )
    assert [each.result(WAIT_S) for each in answers] == [first, second, third, "x", second, ["a7"]]
    turns = [turn - sleepy.served[0][0] for turn, _ in sleepy.served]
    assert [what for _, what in sleepy.served] == [first, second, third, "x", second, ["a7"]]
    assert turns == [0, 1, 1, 2, 2, 2]


def test_the_light_come_first_with_a_turn_of_their_own_at_every_other_turn(sleepy: SleepyWorld) -> None:
    first, second, third, light = ["a0", "a1", "a2"], ["a3", "a4", "a5"], ["a6", "a7", "a8"], ["light"]
    answers = sleepy.in_one_turn(("add", first), ("add", second), ("add", third), ("add", light))
    assert [each.result(WAIT_S) for each in answers] == [first, second, third, light]
    assert [what for _, what in sleepy.served] == [light, first, second, third]
    turns = [turn - sleepy.served[0][0] for turn, _ in sleepy.served]
    assert turns == [0, 1, 2, 3]


def test_after_one_that_wakes_nobody_the_next_are_not_all_served_at_once(sleepy: SleepyWorld) -> None:
    batches = [
        [f"a{number + each}" for each in range(WOKEN_FOR_LINE)] for number in range(0, 30, WOKEN_FOR_LINE)
    ]
    answers = sleepy.in_one_turn(("alone", "x"), *(("add", each) for each in batches))
    assert [each.result(WAIT_S) for each in answers] == ["x", *batches]
    turns = [turn for turn, _ in sleepy.served]
    assert max(turns.count(turn) for turn in turns) == 3  # the first, and two that were taken together


def test_the_others_are_served_however_many_light_ones_come(sleepy: SleepyWorld) -> None:
    light = ["light"]

    def again(answer: Future[Any]) -> None:
        if sum(what == light for _, what in sleepy.served) < 10:
            sleepy.loop.request("add", light).add_done_callback(again)

    go_on = sleepy.hold()
    sleepy.loop.request("add", light).add_done_callback(again)
    heavy = [sleepy.loop.request("add", [f"a{at}", f"a{at + 1}", f"a{at + 2}"]) for at in (0, 3)]
    go_on.set()
    assert all(each.result(WAIT_S) for each in heavy)
    kinds = ["light" if what == light else "heavy" for _, what in sleepy.served]
    assert kinds[:5] == ["light", "light", "heavy", "light", "light"]


def test_what_is_asked_of_an_actor_comes_after_those_who_wait(sleepy: SleepyWorld) -> None:
    go_on = sleepy.hold()
    for number in range(0, 20, 4):
        sleepy.loop.request("add", [f"a{number + each}" for each in range(4)])
    done = sleepy.loop.call("a0", "anything")
    go_on.set()
    with pytest.raises(RequestError, match="does not answer"):
        done.result(WAIT_S)
    assert len(sleepy.served) == 5


def test_a_stop_leaves_nobody_waiting(sleepy: SleepyWorld) -> None:
    go_on = sleepy.hold()
    answers = [
        sleepy.loop.request("add", [f"a{number}" for number in range(at, at + 5)]) for at in range(0, 50, 5)
    ]
    sleepy.loop.post(lambda: setattr(sleepy.loop, "_stopping", True))
    go_on.set()
    assert all(each.result(WAIT_S) for each in answers)


def test_the_recovery_ends_once_all_have_been_made(
    sleepy: SleepyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not sleepy.recovered.is_set()
    monkeypatch.setattr("slakeeper.otp.host.MAX_WOKEN", COUNT)
    sleepy.loop.request("alone", "x").result(WAIT_S)
    assert sleepy.recovered.wait(WAIT_S)


def test_where_nobody_sleeps_it_ends_with_the_first_turn(world: World) -> None:
    assert world.recovered.wait(WAIT_S)
