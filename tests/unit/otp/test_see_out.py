"""A loop that stops takes the ends of what is under way in the lanes that matter, and waits for no others."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from slakeeper.otp import loop as loop_module
from slakeeper.otp.actor import Performed
from slakeeper.otp.clock import SystemClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.loop import Loop
from tests.unit.otp.test_local import KINDS, TREE, WAIT_S


class Watched(ThreadExecutor):
    """Says when somebody asks whether it is busy: the loop is stopping."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def is_busy(self, concerns: Callable[[str], bool]) -> bool:
        self.asked.set()
        return super().is_busy(concerns)


class World:
    """A loop with one effect under way, in the lane given, until ``release`` is set."""

    def __init__(self, lane: str) -> None:
        self.executor = Watched()
        self.heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.release = threading.Event()
        begun = threading.Event()
        clock = SystemClock()

        def build(publish: Callable[[str, dict[str, Any]], None]) -> Host:
            host = Host(TREE, KINDS, clock, Codec(), {}, self.executor, self.heard, publish)
            host.start()
            return host

        self.loop = Loop(
            "shop", build, {}, self.executor, clock, None, 3_600_000, self.heard.put,
            sees_out=lambda each: each == "post",
        )  # fmt: skip
        self.loop.start()

        def effect() -> bool:
            begun.set()
            return self.release.wait(WAIT_S)

        self.loop.cast("f", lambda ctx: ctx.perform("letter", effect, lane=lane))
        assert begun.wait(WAIT_S)


def test_the_end_of_what_is_under_way_is_heard_before_the_stop() -> None:
    world = World("post")
    with ThreadPoolExecutor(1) as pool:
        stopped = pool.submit(world.loop.stop, WAIT_S)
        assert world.executor.asked.wait(WAIT_S)
        world.release.set()
        assert stopped.result(WAIT_S)
    assert world.heard.get_nowait() == Performed("letter", True, None)


def test_what_hangs_is_not_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "SEE_OUT_S", 0.05)
    world = World("post")
    assert world.loop.stop(WAIT_S)
    world.release.set()
    assert world.heard.empty()


def test_other_lanes_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "SEE_OUT_S", WAIT_S)
    world = World("question")
    began_s = time.monotonic()
    assert world.loop.stop(WAIT_S)
    assert time.monotonic() - began_s < WAIT_S / 4
    world.release.set()
    assert world.heard.empty()
