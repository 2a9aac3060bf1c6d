"""A tree in this process: asked from any thread, and found again by the next one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import (
    NO_REPLY,
    Actor,
    ActorLost,
    ActorSpec,
    ActorStopped,
    RequestError,
    SupervisorSpec,
)
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.context import Context
from slakeeper.otp.local import start_local
from slakeeper.otp.loop import Loop

WAIT_S = 20.0


class Till(Actor):
    """Adds up what it is told."""

    def __init__(self, address: str, arg: Any) -> None:
        super().__init__(address, arg)
        self.total = 0

    def handle_cast(self, ctx: Context, message: Any) -> None:
        ctx.emit(message)

    def handle_call(self, ctx: Context, request: Any) -> Any:
        match request:
            case int():
                ctx.emit(request)
                return self.total
            case "refuse":
                raise RequestError("conflict", "no")
            case "wait":
                return NO_REPLY
            case "end":
                raise SystemError("the journal is gone")
        raise ValueError("rubbish")

    def apply(self, event: int) -> None:
        self.total += event

    def dump(self) -> int:
        return self.total

    def load(self, state: int) -> None:
        self.total = state


class Fleeting(Till):
    durable: ClassVar[bool] = False


KINDS: dict[str, type[Actor]] = {"till": Till, "fleeting": Fleeting}
TREE = SupervisorSpec("shop", Flags(intensity=100), (ActorSpec("till", "till"), ActorSpec("f", "fleeting")))


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = start_local(TREE, KINDS)
    yield running
    assert running.stop(WAIT_S)


def test_many_threads_may_ask(loop: Loop) -> None:
    with ThreadPoolExecutor(8) as pool:
        futures = list(pool.map(lambda _: loop.call("till", 1), range(200)))
    assert sorted(future.result(WAIT_S) for future in futures) == list(range(1, 201))


def test_each_call_ends_in_its_own_way(loop: Loop) -> None:
    with pytest.raises(RequestError):
        loop.call("till", "refuse").result(WAIT_S)
    with pytest.raises(ActorStopped):
        loop.call("till", "rubbish").result(WAIT_S)
    with pytest.raises(ActorStopped):
        loop.call("nobody", 1).result(WAIT_S)
    with pytest.raises(ActorLost):
        loop.call("till", "wait", timeout_ms=20).result(WAIT_S)


def test_a_call_that_is_under_way_when_the_loop_ends_is_lost() -> None:
    loop = start_local(TREE, KINDS)
    waiting = loop.call("till", "wait", timeout_ms=3_600_000)
    loop.call("till", 1).result(WAIT_S)
    assert loop.stop(WAIT_S)
    with pytest.raises((ActorLost, ActorStopped)):
        waiting.result(WAIT_S)
    with pytest.raises(ActorLost):
        loop.call("till", 1).result(WAIT_S)


def test_a_call_ends_when_the_tree_gives_up() -> None:
    reasons: list[str] = []
    ended = threading.Event()

    def crashed(reason: str) -> None:
        reasons.append(reason)
        ended.set()

    tree = SupervisorSpec("shop", Flags(intensity=0), (ActorSpec("till", "fleeting"),))
    loop = start_local(tree, KINDS, crashed=crashed)
    waiting = loop.call("till", "wait", timeout_ms=3_600_000)
    with pytest.raises((ActorLost, ActorStopped)):
        loop.call("till", "rubbish").result(WAIT_S)
    with pytest.raises((ActorLost, ActorStopped)):
        waiting.result(WAIT_S)
    assert ended.wait(WAIT_S)
    assert reasons == ["ActorStopped: the tree ended: shutdown"]


def test_what_the_tree_names_is_found_again_by_the_next_process(tmp_path: Path) -> None:
    for total in (5, 10):
        loop = start_local(TREE, KINDS, tmp_path / "shop")
        loop.cast("till", 5)
        loop.cast("f", 5)
        assert loop.call("till", 0).result(WAIT_S) == total
        assert loop.call("f", 0).result(WAIT_S) == 5
        assert loop.stop(WAIT_S)


def test_a_cancelled_call_harms_nobody(loop: Loop) -> None:
    loop.call("till", 1).cancel()
    assert loop.call("till", 1).result(WAIT_S) == 2
