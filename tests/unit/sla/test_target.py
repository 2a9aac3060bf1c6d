"""Who may act on a remediation target, and which actions rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.breaker import Breaker
from slakeeper.sla.duration import MINUTE_MS, SECOND_MS
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.target import BreakerOpen, Claim, Target, TargetBusy, claim, merged, settle, wanted

NOW_MS = 1_800_000_000_000
SETTINGS = RemediationSettings.model_validate(
    {"breaker_failures": 2, "breaker_reset": "10m", "remediation_timeout": "1m", "verify_after": "30s"}
)


def taken(target: Target, key: str, now_ms: int = NOW_MS, *, by: str = "run-1", action: str = "a") -> Target:
    return claim(target, wanted(by, action, key, SETTINGS, now_ms), SETTINGS, now_ms)


def test_a_claim_holds_for_attempt_verification_and_a_grace() -> None:
    assert taken(Target(), "k1").claim == Claim("run-1", "a", "k1", NOW_MS + 150 * SECOND_MS)


def test_a_target_takes_one_run_at_a_time_until_that_is_settled() -> None:
    held = taken(Target(), "k1")
    with pytest.raises(TargetBusy, match="run-1"):
        taken(held, "k2", by="run-2", action="b")
    free = settle(held, "k1", True, SETTINGS, NOW_MS)
    assert taken(free, "k2", by="run-2", action="b").claim is not None


def test_an_attempt_whose_end_nobody_told_lapses_and_counts_as_failed() -> None:
    held = taken(Target(), "k1")
    later_ms = NOW_MS + 150 * SECOND_MS
    with pytest.raises(TargetBusy):
        taken(held, "k2", later_ms - 1, by="run-2", action="b")
    after = taken(held, "k2", later_ms, by="run-2", action="b")
    assert after.breaker("a").failures == 1
    # What comes too late changes nothing any more.
    assert settle(after, "k1", True, SETTINGS, later_ms) == after


def test_a_run_that_goes_on_to_its_next_attempt_was_not_helped_by_the_one_before() -> None:
    after = taken(taken(Target(), "k1"), "k2")
    assert after.claim is not None
    assert (after.claim.key, after.breaker("a").failures) == ("k2", 1)
    with pytest.raises(BreakerOpen, match="the breaker of action a is open until") as caught:
        taken(after, "k3")
    assert caught.value.breaker.failures == 2


def test_a_breaker_that_is_open_lets_one_try_when_its_time_is_up() -> None:
    target = Target(None, {"a": Breaker("a", 2, NOW_MS)})
    with pytest.raises(BreakerOpen):
        taken(target, "k1", NOW_MS + 10 * MINUTE_MS - 1)
    trying = taken(target, "k1", NOW_MS + 10 * MINUTE_MS)
    with pytest.raises(BreakerOpen):  # and no second one
        taken(trying, "k2", NOW_MS + 10 * MINUTE_MS, by="run-2")
    assert settle(trying, "k1", True, SETTINGS, NOW_MS).breaker("a") == Breaker("a")
    assert settle(trying, "k1", False, SETTINGS, NOW_MS).breaker("a").failures == 3


def test_another_action_on_the_target_has_a_breaker_of_its_own() -> None:
    target = Target(None, {"a": Breaker("a", 2, NOW_MS)})
    assert taken(target, "k1", action="b").breakers == {"a": Breaker("a", 2, NOW_MS), "b": Breaker("b")}


def test_of_an_action_that_had_two_targets_the_one_that_rests_is_known() -> None:
    resting = Breaker("a", 2, NOW_MS)
    one, other = Target(None, {"a": resting}), Target(None, {"a": Breaker("a", 1)})
    assert merged({"x": one, "y": other}) == merged({"y": other, "x": one}) == {"a": resting}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "helped", "failed", "lost"]),
            st.integers(0, 3),
            st.integers(0, 4 * MINUTE_MS),
        ),
        max_size=60,
    )
)
def test_no_two_runs_act_at_once_and_an_action_that_failed_too_often_does_not_begin(
    steps: list[tuple[str, int, int]],
) -> None:
    """Against a naive reckoning: whoever began has the target until it ends or its time is up."""
    target, now_ms = Target(), NOW_MS
    begun: dict[int, str] = {}  # run -> its attempt
    failures, opened_ms = 0, 0
    for number, (step, run, wait_ms) in enumerate(steps):
        now_ms += wait_ms
        if step != "begin":
            key = begun.pop(run, "")
            if step != "lost" and key:
                held = target.claim is not None and target.claim.key == key
                target = settle(target, key, step == "helped", SETTINGS, now_ms)
                if held:
                    failures = 0 if step == "helped" else failures + 1
                    opened_ms = now_ms if failures >= 2 else 0
            continue
        try:
            after = taken(target, f"k{number}", now_ms, by=f"run-{run}")
        except BreakerOpen:
            assert failures + (target.claim is not None) >= 2
            continue
        except TargetBusy:
            assert target.claim is not None
            assert target.claim.until_ms > now_ms
            continue
        if target.claim is not None:  # it lapsed, or the run itself went on
            assert target.claim.until_ms <= now_ms or target.claim.holder == f"run-{run}"
            failures += 1
            opened_ms = min(target.claim.until_ms, now_ms) if failures >= 2 else 0
        assert not opened_ms or now_ms >= opened_ms + SETTINGS.breaker_reset
        target = after
        begun[run] = f"k{number}"
