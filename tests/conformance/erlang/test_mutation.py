"""The comparison bites: with any one mistake put into our supervisor or its driver, it finds a difference."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from slakeeper.otp import supervisor as core
from slakeeper.otp import supervisor_request, supervisor_restart, supervisor_turn
from slakeeper.otp.child_spec import IN_ORDER, ONE_FOR_ALL, ChildSpec, Strategy
from slakeeper.otp.child_table import Child, ChildTable
from slakeeper.otp.child_table import Phase as ChildPhase
from slakeeper.otp.intensity import add_restart
from slakeeper.otp.supervisor_turn import Turn
from tests.conformance.erlang.author import random_script
from tests.conformance.erlang.naive import Naive
from tests.conformance.erlang.our_supervisor import OurSupervisor
from tests.conformance.erlang.ours import Ours
from tests.conformance.erlang.test_step_by_step import NamedSideBySide
from tests.conformance.erlang.trace import difference, trace_of

_ENOUGH = 300
"""Scripts for each strategy: as many as the fast comparison makes."""

_WITHOUT_SHRINKING = settings(
    max_examples=300,
    stateful_step_count=20,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
)

Mutate = Callable[[pytest.MonkeyPatch], None]


def one_restart_too_many_is_allowed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        supervisor_restart,
        "add_restart",
        lambda restarts_s, now_ms, intensity, period_s: add_restart(
            restarts_s, now_ms, intensity + 1, period_s
        ),
    )


def one_restart_too_few_is_allowed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        supervisor_restart,
        "add_restart",
        lambda restarts_s, now_ms, intensity, period_s: add_restart(
            restarts_s, now_ms, intensity - 1, period_s
        ),
    )


def a_retry_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "retry", lambda turn, child: turn.start(child, again=True))


def a_group_restarts_without_its_last_child(patch: pytest.MonkeyPatch) -> None:
    right = supervisor_turn.ids_of

    def ids_of(children: Any) -> tuple[str, ...]:
        ids = right(children)
        # What is stopped is given by a generator, what is started by a list.
        return ids[:-1] if isinstance(children, list) and len(ids) > 1 else ids

    patch.setattr(supervisor_restart, "ids_of", ids_of)


def rest_for_one_restarts_all(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supervisor_restart, "REST_FOR_ONE", None)


def one_for_all_restarts_one(patch: pytest.MonkeyPatch) -> None:
    others = tuple(one for one in IN_ORDER if one is not ONE_FOR_ALL)
    patch.setattr(supervisor_restart, "IN_ORDER", others)


def a_group_stops_in_the_order_of_its_starts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supervisor_restart, "reversed", iter, raising=False)


def the_end_stops_in_the_order_of_the_starts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supervisor_turn, "reversed", iter, raising=False)


def temporary_children_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(supervisor_turn, "TEMPORARY", None)


def a_transient_child_comes_back_after_shutdown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "is_normal", lambda reason: reason == "normal")


def a_transient_child_does_not_come_back_after_a_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "TRANSIENT", None)


def the_first_significant_child_always_ends_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "_was_the_last_that_counts", lambda turn: True)


def no_significant_child_ends_it(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "_was_the_last_that_counts", lambda turn: False)


def terminate_child_leaves_a_retry_alone(patch: pytest.MonkeyPatch) -> None:
    right = supervisor_request._terminate_child

    def terminate_child(turn: Turn, request: core.TerminateRequested, child: Child) -> None:
        if child.phase is ChildPhase.RESTARTING:
            turn.reply(request.ref, core.Ok())
        else:
            right(turn, request, child)

    patch.setattr(supervisor_request, "_terminate_child", terminate_child)


def a_killed_child_is_reported_though_it_was_to_be_killed(patch: pytest.MonkeyPatch) -> None:
    def stopped_well(spec: ChildSpec, reason: str) -> bool:
        return core.is_normal(reason)

    patch.setattr(supervisor_turn, "_stopped_well", stopped_well)


def a_requested_start_that_fails_leaves_its_spec(patch: pytest.MonkeyPatch) -> None:
    right = supervisor_restart.start_failed

    def start_failed(turn: Turn, child: Child, reason: str) -> None:
        if child.starter is not None and child.fallback is None:
            child.fallback = ChildPhase.STOPPED
        right(turn, child, reason)

    patch.setattr(core, "start_failed", start_failed)


def a_change_puts_new_children_last(patch: pytest.MonkeyPatch) -> None:
    right = supervisor_request._merge

    def merge(turn: Turn, specs: tuple[ChildSpec, ...]) -> None:
        before = [child.spec.id for child in turn.state.children.ordered()]
        right(turn, specs)
        for child in turn.state.children:
            if child.spec.id in before:
                child.order = before.index(child.spec.id) - len(before)

    patch.setattr(supervisor_request, "_merge", merge)


def children_are_listed_as_they_were_taken_in(patch: pytest.MonkeyPatch) -> None:
    def ordered(table: ChildTable) -> list[Child]:
        return list(table)

    patch.setattr(ChildTable, "ordered", ordered)


def whoever_is_stopped_is_counted_as_active(patch: pytest.MonkeyPatch) -> None:
    right = core.count_children

    def count_children(state: core.SupervisorState) -> core.ChildCount:
        count = right(state)
        return core.ChildCount(
            count.specs, count.supervisors + count.workers, count.supervisors, count.workers
        )

    patch.setattr(core, "count_children", count_children)


def the_driver_puts_a_retry_before_what_waits(patch: pytest.MonkeyPatch) -> None:
    right = OurSupervisor._perform

    def perform(driver: OurSupervisor, action: core.Action) -> None:
        right(driver, action)
        if isinstance(action, core.ScheduleRetry):
            driver._inbox.rotate(1)

    patch.setattr(OurSupervisor, "_perform", perform)


def the_driver_kills_whom_it_should_ask(patch: pytest.MonkeyPatch) -> None:
    right = OurSupervisor._put_down

    def put_down(
        driver: OurSupervisor, child_id: str, incarnation: int, reason: str, shutdown: Any
    ) -> core.Event:
        return right(driver, child_id, incarnation, "killed", shutdown)

    patch.setattr(OurSupervisor, "_put_down", put_down)


def the_driver_hides_crashes(patch: pytest.MonkeyPatch) -> None:
    right = OurSupervisor.end

    def end(driver: OurSupervisor, name: str, reason: str) -> core.ChildExited:
        return replace(right(driver, name, reason), reason="normal" if reason == "boom" else reason)

    patch.setattr(OurSupervisor, "end", end)


MUTATIONS: tuple[Mutate, ...] = (
    one_restart_too_many_is_allowed,
    one_restart_too_few_is_allowed,
    a_retry_is_not_counted,
    a_group_restarts_without_its_last_child,
    rest_for_one_restarts_all,
    one_for_all_restarts_one,
    a_group_stops_in_the_order_of_its_starts,
    the_end_stops_in_the_order_of_the_starts,
    temporary_children_are_kept,
    a_transient_child_comes_back_after_shutdown,
    a_transient_child_does_not_come_back_after_a_crash,
    the_first_significant_child_always_ends_it,
    no_significant_child_ends_it,
    terminate_child_leaves_a_retry_alone,
    a_killed_child_is_reported_though_it_was_to_be_killed,
    a_requested_start_that_fails_leaves_its_spec,
    a_change_puts_new_children_last,
    children_are_listed_as_they_were_taken_in,
    whoever_is_stopped_is_counted_as_active,
    the_driver_puts_a_retry_before_what_waits,
    the_driver_kills_whom_it_should_ask,
    the_driver_hides_crashes,
)


def _finds_a_difference() -> bool:
    for strategy in Strategy:
        random = Random(f"fast {strategy}")
        for _ in range(_ENOUGH):
            script = random_script(random, strategy)
            naive, ours = trace_of(Naive, script), trace_of(Ours, script)
            if difference(script, ("naive", naive), ("ours", ours)) is not None:
                return True
    return False


@pytest.mark.parametrize("mutate", MUTATIONS, ids=lambda mutate: mutate.__name__)
def test_the_comparison_finds(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    assert _finds_a_difference()


# The others take hypothesis seconds each, without the shrinking.
@pytest.mark.parametrize(
    "mutate",
    [
        one_restart_too_many_is_allowed,
        rest_for_one_restarts_all,
        the_end_stops_in_the_order_of_the_starts,
        temporary_children_are_kept,
        the_driver_hides_crashes,
    ],
    ids=lambda mutate: mutate.__name__,
)
def test_step_by_step_finds(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    with pytest.raises(AssertionError, match="naive: "):
        run_state_machine_as_test(NamedSideBySide, settings=_WITHOUT_SHRINKING)
