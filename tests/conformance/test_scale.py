"""memory/scale: what is not kept of temporary children, and many children at once."""

import gc
import time
import weakref
from collections.abc import Callable

import pytest

from slakeeper.otp import supervisor as otp
from slakeeper.otp.child_spec import (
    FORGOTTEN,
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    PERMANENT,
    REST_FOR_ONE,
    SIMPLE_ONE_FOR_ONE,
    TEMPORARY,
    TRANSIENT,
    ChildSpec,
    Flags,
    Restart,
    Strategy,
)
from tests.conformance.fake_children import worker
from tests.conformance.host_family import Kin
from tests.conformance.light import Light

NAMED = [ONE_FOR_ALL, ONE_FOR_ONE, REST_FOR_ONE]


class Large:
    """Something that takes memory, and can be seen to be gone."""


def kept(strategy: Strategy, restart: Restart) -> bool:
    """Whether a supervisor holds on to what a running child was started with."""
    argument = Large()
    seen = weakref.ref(argument)
    if strategy is SIMPLE_ONE_FOR_ONE:
        state = otp.initial_state(Flags(strategy), [ChildSpec("child", "start", restart)])
        request: otp.Event = otp.SpawnRequested("ref", (argument,))
    else:
        state = otp.initial_state(Flags(strategy), [])
        request = otp.StartRequested("ref", ChildSpec("child", argument, restart))
    state, _ = otp.step(state, otp.Begin(), 0)
    state, actions = otp.step(state, request, 0)
    start = actions[0]
    assert isinstance(start, otp.StartChild)
    state, _ = otp.step(state, otp.ChildStarted(start.spec.id, start.incarnation, "pid"), 0)
    del argument, request, actions, start
    gc.collect()
    assert otp.count_children(state).active == 1
    return seen() is not None


@pytest.mark.parametrize("strategy", [*NAMED, SIMPLE_ONE_FOR_ONE])
def test_do_not_save_start_parameters_for_temporary_children(kin: Kin, strategy: Strategy) -> None:
    assert [restart for restart in Restart if kept(strategy, restart)] == [PERMANENT, TRANSIENT]
    if strategy is not SIMPLE_ONE_FOR_ONE:
        sup = kin.start(Flags(strategy), worker("child", restart=TEMPORARY))
        spec = sup.get_childspec("child")
        assert spec is not None
        assert spec.start == FORGOTTEN


@pytest.mark.parametrize("strategy", NAMED)
@pytest.mark.parametrize("reason", ["killed", "normal", "abnormal", None])
def test_do_not_save_child_specs_for_temporary_children(
    light: Light, strategy: Strategy, reason: str | None
) -> None:
    """However it ended (None: by request), its id can be used again."""
    light.start(Flags(strategy, 2, 3_600))
    for _ in range(2):
        assert light.start_child(worker("child3", restart=TEMPORARY)) == "ok"
        if reason is None:
            light.terminate_child("child3")
        else:
            light.exit("child3", reason)
        assert light.pids() == {}


def times_longer(work: Callable[[int], None], count: int) -> float:
    """How much longer ten times as much takes: 10 if linear, 100 if quadratic. The best of three each, by CPU time."""

    def took_s(amount: int) -> float:
        began_s = time.process_time()
        work(amount)
        return time.process_time() - began_s

    return min(took_s(count * 10) for _ in range(3)) / min(took_s(count) for _ in range(3))


def test_simple_one_for_one_scale_many_temporary_children(kin: Kin) -> None:
    def start_and_terminate(amount: int) -> None:
        sup = kin.start(Flags(SIMPLE_ONE_FOR_ONE), worker("child", restart=TEMPORARY))
        for pid in [sup.spawn().pid for _ in range(amount)]:
            sup.terminate_child(pid)

    assert times_longer(start_and_terminate, 200) < 50


def test_scale_start_stop_many_children(kin: Kin) -> None:
    def by_name(amount: int) -> None:
        sup = kin.start(Flags(), *(worker(f"child{number}") for number in range(amount)))
        sup.stop()

    def simple(amount: int) -> None:
        sup = kin.start(Flags(SIMPLE_ONE_FOR_ONE), worker("child"))
        for _ in range(amount):
            sup.spawn()
        sup.stop()

    assert times_longer(by_name, 200) < 50
    assert times_longer(simple, 200) < 50
