"""A tree in this process: asked from any thread, and found again by the next one."""

import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest

from slakeeper.otp.actor import (
    NO_REPLY,
    Actor,
    ActorLost,
    ActorSpec,
    ActorStopped,
    Performed,
    RequestError,
    SupervisorSpec,
)
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.frame import FrameReader, pack_frame
from slakeeper.otp.host import Host
from slakeeper.otp.local import start_local
from slakeeper.otp.loop import Loop
from slakeeper.otp.partition import Partition

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
    """Does what it is told; hands what it hears to its environment."""

    durable: ClassVar[bool] = False

    def handle_cast(self, ctx: Context, message: Any) -> None:
        if callable(message):
            message(ctx)
        else:
            super().handle_cast(ctx, message)

    def handle_info(self, ctx: Context, message: Any) -> None:
        ctx.environment.put(message)


class Unwilling(Till):
    def init(self, ctx: Context, fresh: bool) -> None:
        raise ValueError("no")


def exits(*_: Any) -> None:
    raise SystemExit(1)


def breaks() -> None:
    raise ZeroDivisionError


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


def test_the_next_process_need_not_repeat_what_happened_before_an_orderly_stop(tmp_path: Path) -> None:
    loop = start_local(TREE, KINDS, tmp_path / "shop")
    for _ in range(5):
        loop.call("till", 1).result(WAIT_S)
    assert loop.stop(WAIT_S)
    partition = Partition(tmp_path / "shop", Codec())
    partition.open()
    record = partition.records["till"]
    assert record.base is not None
    assert (Codec().decode(record.base.read()), record.tail) == (5, [])
    partition.close()


def test_a_cancelled_call_harms_nobody(loop: Loop) -> None:
    loop.call("till", 1).cancel()
    assert loop.call("till", 1).result(WAIT_S) == 2


def test_a_call_that_makes_no_sense_is_its_callers_affair(loop: Loop) -> None:
    never: Any = None
    with pytest.raises(TypeError):
        loop.call("f", 1, timeout_ms=never).result(WAIT_S)
    assert loop.call("f", 1).result(WAIT_S) == 1


# -- what must not end it ---------------------------------------------------------------------------------------


def test_an_actor_that_exits_ends_itself_alone() -> None:
    told: list[str] = []
    loop = start_local(TREE, KINDS, crashed=told.append)
    loop.cast("f", 5)
    loop.cast("f", exits)
    assert loop.call("f", 0).result(WAIT_S) == 0, "it has begun anew"
    assert loop.call("till", 1).result(WAIT_S) == 1
    assert loop.stop(WAIT_S)
    assert told == []


def test_an_effect_that_exits_comes_back_as_its_error() -> None:
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    loop = start_local(TREE, KINDS, environment=heard)
    loop.cast("f", lambda ctx: ctx.perform("key", exits, lane="l"))
    performed = heard.get(timeout=WAIT_S)
    assert isinstance(performed, Performed)
    assert (performed.key, type(performed.error)) == ("key", SystemExit)
    assert loop.stop(WAIT_S)


def test_one_that_posts_without_end_keeps_nobody_from_being_served(loop: Loop) -> None:
    enough = threading.Event()

    def again() -> None:
        if not enough.is_set():
            loop.post(again)

    loop.post(again)
    try:
        assert loop.call("f", 1).result(WAIT_S) == 1
    finally:
        enough.set()


def test_a_listener_that_raises_costs_nobody_an_answer(loop: Loop) -> None:
    events: list[str] = []

    def listener(kind: str, event: dict[str, Any]) -> None:
        events.append(event["topic"])
        raise ValueError("not for me")

    loop.listen(listener)
    with pytest.raises(ActorStopped):
        loop.call("f", "rubbish").result(WAIT_S)
    assert loop.call("f", 1).result(WAIT_S) == 1
    assert events == ["actor.crashed"]


def test_what_cannot_be_sent_to_subscribers_keeps_no_later_news_from_them(tmp_path: Path) -> None:
    executor, clock, told = ThreadExecutor(), SystemClock(), list[str]()

    def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
        host = Host(TREE, KINDS, clock, Codec(), {}, executor, publish=publish)
        host.start()
        return host

    loop = Loop("shop", build, {}, executor, clock, tmp_path / "s", 3_600_000, told.append)
    loop.start()
    with socket.socket(socket.AF_UNIX) as subscriber:
        subscriber.settimeout(WAIT_S)
        subscriber.connect(str(tmp_path / "s"))
        reader, received = FrameReader(), list[Any]()

        def receive() -> Any:
            while not received:
                received.extend(reader.feed(subscriber.recv(4096)))
            return received.pop(0)

        subscriber.sendall(pack_frame([1, "subscribe", None]))
        assert receive() == [1, True, {}]
        for value in (object(), 7):
            loop.cast("f", lambda ctx, value=value: ctx.publish("news", {"value": value}))
        assert receive() == [0, "event", {"topic": "news", "value": 7}]
    assert loop.stop(WAIT_S)
    assert told == []


# -- its end ----------------------------------------------------------------------------------------------------


def test_a_directory_is_given_back_by_a_start_that_failed(tmp_path: Path) -> None:
    # The error is kept, and all that its traceback refers to with it.
    with pytest.raises(ActorStopped, match="no") as failed:
        start_local(TREE, {**KINDS, "till": Unwilling}, tmp_path)
    loop = start_local(TREE, KINDS, tmp_path)
    assert loop.call("till", 1).result(WAIT_S) == 1
    assert loop.stop(WAIT_S)
    del failed


def test_a_directory_is_given_back_by_a_loop_that_broke(tmp_path: Path) -> None:
    told: list[str] = []
    loop = start_local(TREE, KINDS, tmp_path, crashed=told.append)
    assert loop.call("till", 5).result(WAIT_S) == 5
    loop.post(breaks)
    assert loop.stop(WAIT_S)
    assert told == ["ZeroDivisionError: "]
    again = start_local(TREE, KINDS, tmp_path)
    assert again.call("till", 0).result(WAIT_S) == 5
    assert again.stop(WAIT_S)


@pytest.mark.parametrize("broken", [False, True], ids=["stopped", "broken"])
def test_a_call_that_is_made_while_the_loop_ends_is_lost(broken: bool) -> None:
    loop = start_local(TREE, KINDS, crashed=lambda reason: None)
    late: list[Future[Any]] = []
    waiting = loop.call("f", "wait", timeout_ms=3_600_000)
    loop.call("f", 1).result(WAIT_S)
    waiting.add_done_callback(lambda _: late.append(loop.call("f", 1)))
    if broken:
        loop.post(breaks)
    assert loop.stop(WAIT_S)
    (future,) = late
    with pytest.raises(ActorLost):
        future.result(WAIT_S)


def test_a_request_that_comes_too_late_is_refused() -> None:
    loop = start_local(TREE, KINDS, crashed=lambda reason: None)
    late: list[Future[Any]] = []

    def last_turn() -> None:
        late.append(loop.request("status", None))
        breaks()

    loop.post(last_turn)
    assert loop.stop(WAIT_S)
    for future in (*late, loop.request("status", None)):
        with pytest.raises(RequestError) as refused:
            future.result(WAIT_S)
        assert refused.value.code == "unavailable"
    assert late
