"""Deadlines: fired in the order of their times, cancelled without a trace, and no more memory than is set."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.otp import timer
from slakeeper.otp.context import Context
from slakeeper.otp.timer import MIN_DEAD, Timer, Timers
from tests.unit.otp.host_world import HostWorld


class Bells:
    """Timers that note what fires."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.rung: list[str] = []

    def ring(self, name: str) -> Callable[[], None]:
        return lambda: self.rung.append(name)


@pytest.fixture
def bells() -> Bells:
    return Bells()


def test_deadlines_fire_in_the_order_of_their_times_and_not_before(bells: Bells) -> None:
    for name, at_ms in (("late", 30), ("early", 10), ("between", 20)):
        bells.timers.at(at_ms, bells.ring(name))
    bells.timers.run_due(9)
    assert bells.rung == []
    bells.timers.run_due(20)
    assert bells.rung == ["early", "between"]
    bells.timers.run_due(1_000)
    assert bells.rung == ["early", "between", "late"]
    bells.timers.run_due(2_000)
    assert len(bells.rung) == 3, "each once"


def test_equal_times_fire_in_the_order_they_were_set(bells: Bells) -> None:
    names = [f"{number:03}" for number in range(100)]
    for name in names:
        bells.timers.at(10, bells.ring(name))
    bells.timers.run_due(10)
    assert bells.rung == names


def test_what_is_set_meanwhile_fires_in_the_same_go_if_it_is_due(bells: Bells) -> None:
    def first() -> None:
        bells.rung.append("first")
        bells.timers.at(5, bells.ring("due"))
        bells.timers.at(11, bells.ring("not due"))

    bells.timers.at(10, first)
    bells.timers.at(10, bells.ring("second"))
    bells.timers.run_due(10)
    assert bells.rung == ["first", "due", "second"]
    assert bells.timers.next_ms() == 11


def test_a_cancelled_deadline_does_not_fire_even_when_its_time_has_come(bells: Bells) -> None:
    bells.timers.at(10, lambda: bells.timers.cancel(second))
    second = bells.timers.at(10, bells.ring("second"))
    bells.timers.at(10, bells.ring("third"))
    bells.timers.run_due(10)
    assert bells.rung == ["third"]


def test_a_deadline_that_has_fired_may_be_cancelled(bells: Bells) -> None:
    fired = bells.timers.at(10, bells.ring("it"))
    bells.timers.run_due(10)
    bells.timers.at(20, bells.ring("next"))
    for _ in range(3 * MIN_DEAD):
        bells.timers.cancel(fired)
    bells.timers.run_due(20)
    assert bells.rung == ["it", "next"]


def test_the_next_deadline_is_one_that_is_still_set(bells: Bells) -> None:
    assert bells.timers.next_ms() is None
    first = bells.timers.at(10, bells.ring("first"))
    second = bells.timers.at(20, bells.ring("second"))
    assert bells.timers.next_ms() == 10
    bells.timers.cancel(first)
    assert bells.timers.next_ms() == 20
    bells.timers.cancel(second)
    assert bells.timers.next_ms() is None
    assert len(bells.timers) == 0


def test_what_is_cancelled_makes_room(bells: Bells) -> None:
    stays = bells.timers.at(10_000, bells.ring("stays"))
    for number in range(100 * MIN_DEAD):
        bells.timers.cancel(bells.timers.at(number, bells.ring("cancelled")))
        assert len(bells.timers) <= 1 + 2 * MIN_DEAD
    assert bells.timers.next_ms() == stays.at_ms
    bells.timers.run_due(10_000)
    assert bells.rung == ["stays"]


def test_what_is_left_when_room_was_made_fires_in_its_order(bells: Bells) -> None:
    # Times that go up and down, so that a heap of them is not a sorted list.
    times = [7 * number % 1_000 for number in range(1_000)]
    timers = [bells.timers.at(at_ms, bells.ring(f"{at_ms:03}")) for at_ms in times]
    for number, each in enumerate(timers):
        if number % 5:
            bells.timers.cancel(each)
    assert len(bells.timers) < 500
    bells.timers.run_due(1_000)
    assert bells.rung == [f"{at_ms:03}" for at_ms in sorted(times[::5])]


@given(
    st.lists(
        st.tuples(st.just("set"), st.integers(0, 50))
        | st.tuples(st.just("cancel"), st.integers(0, 300))
        | st.tuples(st.just("pass"), st.integers(0, 10)),
        max_size=300,
    )
)
def test_a_heap_with_gaps_fires_what_a_plain_list_would(steps: list[tuple[str, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timer, "MIN_DEAD", 2)
        run_beside_a_list(steps)


def run_beside_a_list(steps: list[tuple[str, int]]) -> None:
    bells, now_ms = Bells(), 0
    handles: list[Timer] = []
    waiting: dict[int, int] = {}
    expected: list[str] = []
    for what, value in steps:
        if what == "set":
            waiting[len(handles)] = now_ms + value
            handles.append(bells.timers.at(now_ms + value, bells.ring(str(len(handles)))))
        elif what == "cancel" and handles:
            # Mostly those that were set first, so that many of what is in the heap are dead.
            number = value % min(len(handles), 100)
            bells.timers.cancel(handles[number])
            waiting.pop(number, None)
        else:
            now_ms += value
            due = sorted((at_ms, number) for number, at_ms in waiting.items() if at_ms <= now_ms)
            expected += [str(number) for _, number in due]
            for _, number in due:
                del waiting[number]
            bells.timers.run_due(now_ms)
        assert bells.rung == expected
        assert bells.timers.next_ms() == min(waiting.values(), default=None)


# -- those of actors --------------------------------------------------------------------------------------------


@pytest.fixture
def world() -> HostWorld:
    world = HostWorld()
    world.add("a", "b")
    return world


def test_a_timer_that_is_set_again_and_again_is_one(world: HostWorld) -> None:
    def postpone(ctx: Context) -> None:
        ctx.set_timer("idle", ctx.now_ms + 3_600_000, "idle")

    for _ in range(1_000):
        world.host.cast("a", postpone)
    world.turn()
    assert len(world.host.timers) <= 2 * MIN_DEAD + 1
    world.turn(3_600_000)
    assert world.heard("a") == ["idle"]


def test_calls_that_were_answered_leave_no_timers(world: HostWorld) -> None:
    ends: list[object] = []
    for _ in range(1_000):
        world.host.call("a", "x", lambda value, error: ends.append(value))
        world.host.cast("a", lambda ctx: ctx.call("b", 1, tag=1))
    world.turn()
    assert len(ends) == len(world.heard("a")) == 1_000
    assert len(world.host.timers) <= 2 * MIN_DEAD
    assert world.host.next_deadline_ms() is None


def test_a_timer_of_one_that_left_is_not_heard_by_the_next_at_its_address(world: HostWorld) -> None:
    def leave(ctx: Context) -> None:
        ctx.terminate_child("dynamic", "a")
        ctx.set_timer("late", ctx.now_ms + 10, "late")

    world.tell("a", lambda ctx: ctx.set_timer("early", ctx.now_ms + 10, "early"))
    world.tell("a", leave)
    world.add("a")
    world.turn(20)
    assert world.heard("a") == []
