"""What holds automatic remediation back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla import restraint
from slakeeper.sla.duration import HOUR_MS, MINUTE_MS
from slakeeper.sla.policy import RemediationSettings
from slakeeper.sla.restraint import Helped, RestraintError, Switch

SETTINGS = RemediationSettings(max_runs=3, per=HOUR_MS)
NOW_MS = 1_800_000_000_000

switches = st.builds(
    Switch,
    is_on=st.booleans(),
    by=st.sampled_from(["ann", "bob"]),
    reason=st.sampled_from(["a", "b"]),
    at_ms=st.integers(0, 3),
)


def helped(*minutes_ago: int, action: str = "restart", sla_id: str = "api") -> list[Helped]:
    return [
        Helped(sla_id, "latency", action, f"v{minutes}", NOW_MS - minutes * MINUTE_MS)
        for minutes in minutes_ago
    ]


def test_an_action_that_helped_too_often_is_left_alone_until_the_first_of_them_is_long_ago() -> None:
    found = restraint.recurrence(helped(50, 30, 10), "api", "latency", "restart", SETTINGS, NOW_MS)
    assert found is not None
    assert (found.count, found.until_ms) == (3, NOW_MS + 10 * MINUTE_MS)
    assert str(found).startswith(
        "restart has helped 3 times within 1h and does not last; it is left alone until 20"
    )
    assert (
        restraint.recurrence(helped(50, 30, 10), "api", "latency", "restart", SETTINGS, found.until_ms)
        is None
    )


@pytest.mark.parametrize(
    "seen",
    [
        helped(50, 10),
        helped(60, 30, 10),
        helped(50, 30) + helped(10, action="other"),
        helped(50, 30) + helped(10, sla_id="b"),
    ],
    ids=["too few", "too long ago", "another action", "another contract"],
)
def test_what_helped_less_often_may_be_tried(seen: list[Helped]) -> None:
    assert restraint.recurrence(seen, "api", "latency", "restart", SETTINGS, NOW_MS) is None


@given(
    times=st.lists(st.integers(0, 40), max_size=12),
    now=st.integers(0, 60),
    max_runs=st.integers(1, 4),
    per=st.integers(1, 15),
)
def test_an_action_is_left_alone_exactly_while_max_runs_of_its_helps_lie_within_per(
    times: list[int], now: int, max_runs: int, per: int
) -> None:
    settings = RemediationSettings(max_runs=max_runs, per=per)
    seen = [Helped("api", "latency", "restart", f"v{number}", at) for number, at in enumerate(times)]

    def is_left_alone(at: int) -> bool:
        return sum(at - per < each <= at for each in times) >= max_runs

    found = restraint.recurrence(seen, "api", "latency", "restart", settings, now)
    assert (found is not None) == is_left_alone(now)
    assert (found is not None) == bool(restraint.recurrences(seen, settings, now))
    if found is not None:
        # Of what had happened by now; what helps later keeps it away for longer.
        past = [each for each in times if each <= now]
        until = next(
            at for at in range(now, now + per + 1) if sum(at - per < each for each in past) < max_runs
        )
        assert found.until_ms == until
    kept = restraint.remembered(seen, settings, now)
    assert restraint.recurrence(kept, "api", "latency", "restart", settings, now) == found


@given(st.lists(switches, max_size=4), st.randoms(use_true_random=False))
def test_in_whatever_order_cells_hear_of_switches_the_same_is_in_force(
    heard: list[Switch], order: object
) -> None:
    def after(said: list[Switch]) -> Switch | None:
        known: Switch | None = None
        for each in said:
            known = restraint.merge(known, each)
        return known

    shuffled = list(heard)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    assert after(heard) == after(shuffled)
    if heard:
        latest = max(each.at_ms for each in heard)
        is_on = all(each.is_on for each in heard if each.at_ms == latest)
        assert after(heard) is not None
        assert after(heard).is_on is is_on  # type: ignore[union-attr]


def test_a_later_turn_is_in_force_also_when_the_clock_has_gone_back() -> None:
    first = restraint.turn(None, False, "ann", "upgrade", NOW_MS)
    second = restraint.turn(first, True, "bob", "done", NOW_MS - HOUR_MS)
    assert restraint.merge(second, first) == second
    assert restraint.off(second) == ""
    assert restraint.off(first) == "remediation is switched off by ann: upgrade"


def test_a_turn_to_where_it_stands_changes_nothing() -> None:
    first = restraint.turn(None, False, "ann", "upgrade", NOW_MS)
    assert restraint.turn(first, False, "bob", "again", NOW_MS + 1) == first


@pytest.mark.parametrize(("by", "reason", "word"), [(" ", "x", "nobody"), ("ann", "", "no_reason")])
def test_who_and_why_have_to_be_said(by: str, reason: str, word: str) -> None:
    with pytest.raises(RestraintError) as caught:
        restraint.turn(None, False, by, reason, NOW_MS)
    assert caught.value.reason == word
