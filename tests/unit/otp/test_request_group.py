"""Requests of a kind that the loop serves together when they came in one turn."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError, SupervisorSpec
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop, ThreadExecutor

WAIT_S = 20.0


class World:
    """A loop without actors that notes what it serves."""

    def __init__(self) -> None:
        self.served: list[Any] = []
        executor, clock = ThreadExecutor(), SystemClock()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            host = Host(SupervisorSpec("host", Flags()), {}, clock, Codec(), {}, executor)
            host.start()
            return host

        self.loop = Loop(
            "host", build, {"alone": self._alone}, executor, clock, None, 60_000, self.served.append,
            groups={"add": self._together, "put": self._together},
        )  # fmt: skip
        self.loop.start(WAIT_S)

    def _alone(self, host: Host, payload: Any) -> Any:
        self.served.append(payload)
        return payload

    def _together(self, host: Host, payloads: Sequence[Any]) -> Sequence[Any]:
        self.served.append(list(payloads))
        if "bug" in payloads:
            raise ValueError("a bug")
        return [RequestError("invalid", "no") if each == "bad" else f"{each}!" for each in payloads]

    def in_one_turn(self, *requests: tuple[str, Any]) -> "list[Future[Any]]":
        """Has them all come while the loop is busy."""
        busy, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            busy.set()
            go_on.wait(WAIT_S)

        self.loop.post(hold)
        busy.wait(WAIT_S)
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
