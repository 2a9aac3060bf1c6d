"""Remediation runs: tried, verified, tried again, given up."""

from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.policy import AutomaticAction, EnforcementPolicy, RemediationSettings
from slakeeper.sla.remediation import (
    TARGET_LOOK_MS,
    Breaker,
    Effect,
    Execute,
    Finished,
    Outcome,
    Phase,
    Recorded,
    Run,
    Verify,
    applicable_actions,
    backoff_ms,
    busy_targets,
    deadline_ms,
    on_busy,
    on_deadline,
    on_interrupted,
    on_recovered,
    on_result,
    on_verify,
    start,
)
from slakeeper.sla.violation import ActionStatus, ActionType
from tests.unit.sla.acting import NOW_MS, policy

SETTINGS = RemediationSettings(
    remediation_timeout=5000, verify_after=2000, backoff=1000, backoff_max=3000, max_remediation_attempts=3
)
ACTION = policy().automatic_actions[0]


def begun(**more: Any) -> tuple[Run, Execute]:
    run, effects = on_deadline(start("v1", ACTION, NOW_MS, **more), SETTINGS, NOW_MS)
    return run, executed(effects)


def executed(effects: list[Effect]) -> Execute:
    return next(effect for effect in effects if isinstance(effect, Execute))


def recorded(effects: list[Effect]) -> list[tuple[ActionStatus, str]]:
    return [(each.record.status, each.record.result) for each in effects if isinstance(each, Recorded)]


def finished(effects: list[Effect]) -> list[Outcome]:
    return [each.outcome for each in effects if isinstance(each, Finished)]


@pytest.mark.parametrize(
    ("actual", "names"), [(9999.5, ["scale_nodes"]), (10000, []), (Decimal("10000.1"), [])]
)
def test_an_action_applies_when_its_condition_meets_the_actual_value(actual: float, names: list[str]) -> None:
    assert [action.name for action in applicable_actions(policy(), "throughput", actual)] == names


def test_an_action_of_another_metric_does_not_apply() -> None:
    assert applicable_actions(policy(), "latency", 1) == []


def test_a_disabled_action_does_not_apply() -> None:
    off = {**ACTION.model_dump(), "enabled": False}
    assert applicable_actions(policy(automatic_actions=[off]), "throughput", 1) == []


def test_the_global_switch_turns_every_action_off() -> None:
    assert applicable_actions(policy(remediation={"auto_remediate": False}), "throughput", 1) == []


def test_an_attempt_is_executed_with_its_own_key_and_timeout() -> None:
    run, execute = begun()
    assert execute == Execute(
        "v1.scale_nodes.1", "scale_nodes", "scale_resources", "scale_resources", {"nodes": 2}, 1, 5000, False
    )
    assert (run.phase, deadline_ms(run)) == (Phase.RUNNING, NOW_MS + 5000)


def test_nothing_happens_before_its_time() -> None:
    run = start("v1", ACTION, NOW_MS + 10)
    assert on_deadline(run, SETTINGS, NOW_MS + 9) == (run, [])


def test_done_is_not_effective_before_the_metric_was_looked_at() -> None:
    run, execute = begun()
    run, effects = on_result(run, execute.key, True, "two more", SETTINGS, NOW_MS + 100)
    assert recorded(effects) == [(ActionStatus.COMPLETED, "two more")]
    assert (run.phase, run.outcome, deadline_ms(run)) == (Phase.VERIFYING, None, NOW_MS + 2100)
    run, effects = on_deadline(run, SETTINGS, NOW_MS + 2100)
    assert effects == [Verify("v1.scale_nodes.1")]
    run, effects = on_verify(run, True, SETTINGS, NOW_MS + 2100)
    assert finished(effects) == [Outcome.EFFECTIVE]
    assert not run.exhausted


def test_a_look_whose_answer_gets_lost_is_taken_again() -> None:
    run, execute = begun()
    run, _ = on_result(run, execute.key, True, "", SETTINGS, NOW_MS)
    run, _ = on_deadline(run, SETTINGS, NOW_MS + 2000)
    _, effects = on_deadline(run, SETTINGS, NOW_MS + 4000)
    assert effects == [Verify("v1.scale_nodes.1")]


def test_an_ineffective_attempt_is_followed_by_the_next_after_the_backoff() -> None:
    run, execute = begun()
    run, _ = on_result(run, execute.key, True, "", SETTINGS, NOW_MS)
    run, effects = on_verify(run, False, SETTINGS, NOW_MS + 2000, detail="still 9000")
    assert recorded(effects) == [(ActionStatus.COMPLETED, "ineffective: still 9000")]
    assert (run.phase, deadline_ms(run)) == (Phase.WAITING, NOW_MS + 3000)
    run, effects = on_deadline(run, SETTINGS, NOW_MS + 3000)
    assert executed(effects).key == "v1.scale_nodes.2"


def test_a_run_gives_up_after_its_last_attempt() -> None:
    run, execute = begun()
    now_ms = NOW_MS
    for _ in range(2):
        run, _ = on_result(run, execute.key, False, "no", SETTINGS, now_ms)
        now_ms = deadline_ms(run) or 0
        run, effects = on_deadline(run, SETTINGS, now_ms)
        execute = executed(effects)
    run, effects = on_result(run, execute.key, False, "no", SETTINGS, now_ms)
    assert finished(effects) == [Outcome.FAILED]
    assert run.exhausted
    assert deadline_ms(run) is None


def test_an_attempt_without_an_answer_counts_as_failed() -> None:
    run, execute = begun()
    run, effects = on_deadline(run, SETTINGS, NOW_MS + 5000)
    assert recorded(effects) == [(ActionStatus.FAILED, "no answer within 5 s; its result is unknown")]
    assert on_result(run, execute.key, True, "late", SETTINGS, NOW_MS + 5001) == (run, [])


def test_an_answer_to_an_older_attempt_changes_nothing() -> None:
    run, _ = begun()
    assert on_result(run, "v1.scale_nodes.0", True, "", SETTINGS, NOW_MS) == (run, [])


def test_an_attempt_cut_off_by_a_restart_counts_as_carried_out_and_is_verified() -> None:
    later_ms = NOW_MS + 60_000
    run, effects = on_interrupted(begun()[0], SETTINGS, later_ms)
    assert recorded(effects) == [(ActionStatus.FAILED, "interrupted by a restart; its result is unknown")]
    assert (run.phase, run.attempt, run.due_ms) == (Phase.VERIFYING, 1, later_ms + 2000)
    helped, effects = on_recovered(run, later_ms + 1)
    assert (helped.outcome, recorded(effects)) == (Outcome.EFFECTIVE, [(ActionStatus.COMPLETED, "effective")])


def test_only_a_metric_that_has_not_recovered_brings_the_attempt_after_one_that_was_cut_off() -> None:
    run, _ = on_interrupted(begun()[0], SETTINGS, NOW_MS)
    run, effects = on_verify(run, False, SETTINGS, NOW_MS + 2000)
    [(status, detail)] = recorded(effects)
    assert (status, "its result is unknown, and the metric has not recovered" in detail) == (
        ActionStatus.FAILED,
        True,
    )
    run, effects = on_deadline(run, SETTINGS, NOW_MS + 3000)
    assert executed(effects).key == "v1.scale_nodes.2"
    _, effects = on_verify(on_result(run, run.key, True, "", SETTINGS, NOW_MS)[0], False, SETTINGS, NOW_MS)
    assert recorded(effects) == [(ActionStatus.COMPLETED, "ineffective")]


def test_a_remedy_whose_receiver_knows_a_repetition_is_repeated_once_under_the_same_key() -> None:
    first, execute = begun()
    run, effects = on_interrupted(first, SETTINGS, NOW_MS, on_uncertain="resend")
    [(status, detail)] = recorded(effects)
    assert (status, "repeated under the same key" in detail) == (ActionStatus.FAILED, True)
    assert on_deadline(run, SETTINGS, NOW_MS + 999) == (run, [])
    run, effects = on_deadline(run, SETTINGS, NOW_MS + 1000)
    assert executed(effects).key == execute.key
    run, _ = on_interrupted(run, SETTINGS, NOW_MS + 1000, on_uncertain="resend")
    assert (run.phase, run.attempt) == (Phase.VERIFYING, 1)


def test_a_repetition_that_may_not_begin_does_not_say_that_nothing_was_tried() -> None:
    run, _ = on_interrupted(begun()[0], SETTINGS, NOW_MS, on_uncertain="resend")
    _, effects = on_deadline(run, SETTINGS, NOW_MS + 1000, refusal="switched off")
    [(_, detail)] = recorded(effects)
    assert detail == "not tried again (interrupted by a restart; its result is unknown): switched off"
    again, _ = on_deadline(run, SETTINGS, NOW_MS + 1000)
    _, effects = on_busy(again, again.key, SETTINGS, NOW_MS + 1000)
    assert [status for status, _ in recorded(effects)] == [ActionStatus.FAILED]


def test_a_restart_between_attempts_interrupts_nothing() -> None:
    run = start("v1", ACTION, NOW_MS)
    assert on_interrupted(run, SETTINGS, NOW_MS) == (run, [])


def test_one_at_a_time_for_a_target() -> None:
    running, _ = begun()
    waiting = start("v2", ACTION, NOW_MS)
    assert busy_targets([running, waiting]) == {"scale_resources"}
    later, effects = on_deadline(waiting, SETTINGS, NOW_MS, target_free=False)
    assert (effects, deadline_ms(later)) == ([], NOW_MS + TARGET_LOOK_MS)


def test_a_verified_target_is_still_busy() -> None:
    run, execute = begun()
    run, _ = on_result(run, execute.key, True, "", SETTINGS, NOW_MS)
    assert busy_targets([run]) == {"scale_resources"}


def test_an_open_breaker_stops_the_run_before_its_attempt() -> None:
    run, effects = on_deadline(start("v1", ACTION, NOW_MS), SETTINGS, NOW_MS, refusal="the breaker is open")
    assert finished(effects) == [Outcome.STOPPED]
    assert run.exhausted


def test_a_dry_run_is_shown_once_and_helps_nobody() -> None:
    run, execute = begun(dry_run=True)
    assert execute.dry_run
    run, effects = on_result(run, execute.key, True, "would scale by 2", SETTINGS, NOW_MS)
    assert recorded(effects) == [(ActionStatus.COMPLETED, "dry run: would scale by 2")]
    assert finished(effects) == [Outcome.DRY_RUN]
    assert run.exhausted


def test_a_recovery_while_waiting_cancels() -> None:
    run, effects = on_recovered(start("v1", ACTION, NOW_MS), NOW_MS)
    assert finished(effects) == [Outcome.CANCELLED]
    assert not run.exhausted


def test_a_recovery_while_running_lets_the_attempt_end() -> None:
    run, execute = begun()
    run, effects = on_recovered(run, NOW_MS)
    assert effects == []
    _, effects = on_result(run, execute.key, True, "", SETTINGS, NOW_MS)
    assert finished(effects) == [Outcome.EFFECTIVE]


def test_a_recovery_while_a_failing_attempt_runs_is_not_its_doing() -> None:
    run, execute = begun()
    run, _ = on_recovered(run, NOW_MS)
    _, effects = on_result(run, execute.key, False, "no", SETTINGS, NOW_MS)
    assert finished(effects) == [Outcome.CANCELLED]


def test_a_recovery_while_verifying_is_effective() -> None:
    run, execute = begun()
    run, _ = on_result(run, execute.key, True, "", SETTINGS, NOW_MS)
    run, effects = on_recovered(run, NOW_MS)
    assert finished(effects) == [Outcome.EFFECTIVE]
    assert on_recovered(run, NOW_MS) == (run, [])


def test_a_run_asked_for_by_hand_says_who() -> None:
    _, effects = on_deadline(start("v1", ACTION, NOW_MS, by="ada"), SETTINGS, NOW_MS)
    record = next(each.record for each in effects if isinstance(each, Recorded))
    assert (record.action_type, record.by, record.target) == (ActionType.MANUAL, "ada", "scale_resources")


def test_a_second_run_goes_on_counting_and_has_all_its_attempts() -> None:
    run, execute = begun(attempts_before=3)
    assert execute.key == "v1.scale_nodes.4"
    run, effects = on_result(run, execute.key, False, "", SETTINGS, NOW_MS)
    assert (run.phase, finished(effects)) == (Phase.WAITING, [])


@pytest.mark.parametrize(("failed", "wait_ms"), [(1, 1000), (2, 2000), (3, 3000), (4, 3000), (10_000, 3000)])
def test_the_backoff_doubles_up_to_its_limit(failed: int, wait_ms: int) -> None:
    assert backoff_ms(SETTINGS, failed) == wait_ms


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["ok+good", "ok+bad", "fail", "busy", "silent", "interrupted", "cut off", "stale"]),
        st.integers(0, 3000),
    ),
    max_size=30,
)


@given(ANSWERS, st.integers(1, 5))
@settings(deadline=None)
def test_a_run_ends_after_at_most_its_attempts_whatever_the_remedy_does(
    answers: list[tuple[str, int]], most: int
) -> None:
    settings = SETTINGS.model_copy(update={"max_remediation_attempts": most})
    run, now_ms = start("v1", ACTION, NOW_MS), NOW_MS
    keys: list[str] = []
    deeds: Counter[str] = Counter()
    outcomes: list[Outcome] = []
    for answer, late_ms in [*answers, *[("fail", 0)] * 10]:
        if run.due_ms is None:
            break
        now_ms = max(now_ms, run.due_ms) + late_ms
        run, effects = on_deadline(run, settings, now_ms)
        tried = [effect.key for effect in effects if isinstance(effect, Execute)]
        keys.extend(key for key in tried if key not in keys)
        deeds.update(tried)
        match answer:
            case "ok+good" | "ok+bad":
                run, more = on_result(run, run.key, True, "", settings, now_ms)
                run, last = on_verify(run, answer == "ok+good", settings, now_ms)
                more += last
            case "busy":
                run, more = on_busy(run, run.key, settings, now_ms)
                del keys[run.attempt :]  # it did not take place
                deeds.subtract(tried)
            case "fail":
                run, more = on_result(run, run.key, False, "", settings, now_ms)
            case "interrupted":
                run, more = on_interrupted(run, settings, now_ms)
            case "cut off":
                run, more = on_interrupted(run, settings, now_ms, on_uncertain="resend")
            case "stale":
                run, more = on_result(run, "v1.scale_nodes.99", True, "", settings, now_ms)
            case _:
                more = []
        outcomes.extend(finished(effects) + finished(more))
    assert keys == [f"v1.scale_nodes.{n}" for n in range(1, len(keys) + 1)]
    assert len(keys) <= most
    assert max(deeds.values(), default=0) <= 2  # once, and once more when it was cut off
    assert len(outcomes) <= 1
    assert (run.phase is Phase.DONE) is bool(outcomes)


@given(
    st.lists(
        st.tuples(st.sampled_from(["good", "bad", "fail", "silent"]), st.integers(0, 4999)),
        min_size=6,
        max_size=6,
    ),
    st.integers(1, 6),
)
@settings(deadline=None)
def test_attempts_begin_when_a_naive_reckoning_says_and_the_run_ends_as_it_says(
    answers: list[tuple[str, int]], most: int
) -> None:
    settings = SETTINGS.model_copy(update={"max_remediation_attempts": most})
    expected, at_ms, ended = [], NOW_MS, Outcome.FAILED
    for number, (answer, after_ms) in enumerate(answers[:most]):
        expected.append(at_ms)
        match answer:
            case "silent":
                over_ms, ended = at_ms + 5000, Outcome.FAILED
            case "fail":
                over_ms, ended = at_ms + after_ms, Outcome.FAILED
            case "bad":
                over_ms, ended = at_ms + after_ms + 2000, Outcome.INEFFECTIVE
            case _:
                over_ms, ended = at_ms + after_ms + 2000, Outcome.EFFECTIVE
        if ended is Outcome.EFFECTIVE:
            break
        at_ms = over_ms + min(1000 * 2**number, 3000)

    run, begins = start("v1", ACTION, NOW_MS), []
    while run.due_ms is not None:
        now_ms = run.due_ms
        run, effects = on_deadline(run, settings, now_ms)
        for effect in effects:
            match effect:
                case Execute(attempt=attempt):
                    begins.append(now_ms)
                    answer, after_ms = answers[attempt - 1]
                    if answer != "silent":
                        run, _ = on_result(run, run.key, answer != "fail", "", settings, now_ms + after_ms)
                case Verify():
                    run, _ = on_verify(run, answers[run.attempt - 1][0] == "good", settings, now_ms)
    assert (begins, run.outcome) == (expected, ended)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["latency", "throughput"]),
            st.sampled_from(["lt", "lte", "gt", "gte", "eq", "ne"]),
            st.integers(-3, 3),
            st.booleans(),
        ),
        max_size=6,
    ),
    st.sampled_from(["latency", "throughput"]),
    st.integers(-3, 3),
    st.booleans(),
)
def test_the_actions_that_apply_are_those_a_naive_look_finds(
    actions: list[tuple[str, str, int, bool]], metric: str, actual: int, is_on: bool
) -> None:
    known = EnforcementPolicy.model_validate(
        {
            "automatic_actions": [
                {
                    "name": f"a{number}", "trigger_metric": trigger, "condition": {"op": op, "value": value},
                    "action": "reboot", "enabled": enabled,
                }
                for number, (trigger, op, value, enabled) in enumerate(actions)
            ],
            "remediation": {"auto_remediate": is_on},
        }
    )  # fmt: skip
    naive = {"lt": "__lt__", "lte": "__le__", "gt": "__gt__", "gte": "__ge__", "eq": "__eq__", "ne": "__ne__"}
    expected = [
        f"a{number}"
        for number, (trigger, op, value, enabled) in enumerate(actions)
        if is_on and enabled and trigger == metric and getattr(actual, naive[op])(value)
    ]
    assert [each.name for each in applicable_actions(known, metric, float(actual))] == expected


BREAKER = RemediationSettings(breaker_failures=3, breaker_reset=10_000)


def broken(at_ms: int = NOW_MS) -> Breaker:
    breaker = Breaker("scale_nodes")
    for _ in range(3):
        breaker = breaker.failed(BREAKER, at_ms)
    return breaker


def test_a_breaker_opens_after_failures_in_a_row() -> None:
    twice = Breaker("scale_nodes").failed(BREAKER, NOW_MS).failed(BREAKER, NOW_MS)
    assert twice.allow(BREAKER, NOW_MS)
    assert not broken().allow(BREAKER, NOW_MS + 9_999)


def test_a_success_forgets_earlier_failures() -> None:
    breaker = Breaker("scale_nodes").failed(BREAKER, NOW_MS).failed(BREAKER, NOW_MS).succeeded()
    assert breaker.failed(BREAKER, NOW_MS).allow(BREAKER, NOW_MS)


def test_after_the_reset_one_attempt_may_try() -> None:
    later_ms = NOW_MS + 10_000
    breaker = broken()
    assert breaker.allow(BREAKER, later_ms)
    breaker = breaker.trying(later_ms)
    assert not breaker.allow(BREAKER, later_ms + 1)
    assert breaker.succeeded().allow(BREAKER, later_ms + 1)
    assert not breaker.failed(BREAKER, later_ms + 1).allow(BREAKER, later_ms + 2)


def test_a_try_that_never_ends_does_not_hold_the_breaker_open_for_ever() -> None:
    breaker = broken().trying(NOW_MS + 10_000)
    assert breaker.allow(BREAKER, NOW_MS + 20_000)


def test_a_closed_breaker_lets_any_number_through() -> None:
    breaker = Breaker("scale_nodes").trying(NOW_MS)
    assert breaker.allow(BREAKER, NOW_MS)


def test_an_action_without_a_target_of_its_own_acts_on_what_its_remedy_names() -> None:
    other = AutomaticAction.model_validate({**ACTION.model_dump(), "target": "pool-a"})
    assert start("v1", other, NOW_MS).target == "pool-a"
    assert start("v1", ACTION, NOW_MS).target == "scale_resources"
