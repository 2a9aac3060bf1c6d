"""The escalation walk: every level once, in order, in time, until somebody answers."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.escalation import (
    EscalationFailed,
    Notify,
    Told,
    Walk,
    WalkStatus,
    acknowledge,
    advance,
    begin,
    deadline_ms,
    escalate_now,
    hold,
    needs_escalation,
    raise_severity,
    resolve,
    undelivered,
    unreached,
)
from slakeeper.sla.policy import EnforcementPolicy, Severity
from slakeeper.sla.violation import ViolationError
from tests.unit.sla.acting import MINUTE_MS, NOW_MS, policy

SEED = policy()
CRITICAL_ONLY = policy(
    escalation_policies=[{"severity": "critical", "levels": [{"type": "email"}], "timeout": "1m"}]
)
Sent = tuple[int, str]


def run(walk: Walk, of: EnforcementPolicy, until_ms: int) -> tuple[Walk, list[Sent]]:
    """The walk looked at exactly when it asks to be, up to ``until_ms``; what was sent, by time."""
    sent: list[Sent] = []
    while (due_ms := deadline_ms(walk)) is not None and due_ms <= until_ms:
        walk, effects = advance(walk, of, due_ms)
        sent.extend((due_ms - NOW_MS, effect.key) for effect in effects)
    return walk, sent


def test_critical_levels_of_the_seed_go_out_in_order_and_in_time() -> None:
    _, sent = run(begin(SEED, Severity.CRITICAL, NOW_MS), SEED, NOW_MS + 2 * MINUTE_MS)
    assert sent == [
        (0, "0.critical.0.0"),
        (0, "0.critical.0.1"),
        (0, "0.critical.0.2"),
        (60000, "0.critical.0.3"),
    ]


def test_a_walk_that_reached_nobody_begins_again_after_an_hour_then_two_and_once_a_day_at_last() -> None:
    walk = begin(CRITICAL_ONLY, Severity.CRITICAL, NOW_MS)
    at_ms, waits = NOW_MS, []
    for number in range(8):
        walk, _ = run(walk, CRITICAL_ONLY, at_ms + 10 * MINUTE_MS)
        assert walk.status is WalkStatus.FAILED
        at_ms += 90 * MINUTE_MS
        walk = unreached(walk, CRITICAL_ONLY, at_ms)
        due_ms = deadline_ms(walk)
        assert due_ms is not None
        assert (walk.status, walk.number, walk.level_index) == (WalkStatus.WALKING, number + 1, 0)
        waits.append((due_ms - at_ms) // (60 * MINUTE_MS))
        at_ms = due_ms
    assert waits == [1, 2, 4, 8, 16, 24, 24, 24]


def test_a_walk_that_goes_on_or_has_an_answer_or_had_nobody_to_tell_is_not_begun_again() -> None:
    walk, _ = run(begin(CRITICAL_ONLY, Severity.CRITICAL, NOW_MS), CRITICAL_ONLY, NOW_MS)
    nobody = policy(escalation_policies=[])
    told_nobody, _ = run(begin(nobody, Severity.CRITICAL, NOW_MS), nobody, NOW_MS)
    assert told_nobody.status is WalkStatus.FAILED
    for each in (walk, acknowledge(walk, CRITICAL_ONLY, NOW_MS), resolve(walk)[0], told_nobody):
        assert unreached(each, CRITICAL_ONLY, NOW_MS) == each


def test_a_level_waits_its_delay_after_the_one_before() -> None:
    _, sent = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS + 2 * MINUTE_MS)
    assert sent == [(0, "0.warning.0.0"), (30000, "0.warning.0.1"), (60000, "0.warning.0.2")]


def test_without_an_answer_the_next_severity_follows_and_at_the_end_one_failure() -> None:
    walk, sent = run(begin(SEED, Severity.INFO, NOW_MS), SEED, NOW_MS + 10**12)
    assert [key for _, key in sent] == [
        *(f"0.info.0.{n}" for n in range(2)),
        *(f"0.warning.0.{n}" for n in range(3)),
        *(f"0.critical.0.{n}" for n in range(4)),
        *(f"0.critical.1.{n}" for n in range(4)),
        "0.critical.1.failed",
    ]
    assert walk.status is WalkStatus.FAILED
    info_ms, warning_ms, critical_ms = 90_000 + 300_000, 60_000 + 1_800_000, 60_000 + 900_000
    assert sent[2][0] == info_ms
    assert sent[5][0] == info_ms + warning_ms
    assert sent[-1][0] == info_ms + warning_ms + 2 * critical_ms


def test_a_failed_walk_is_recorded_once() -> None:
    walk, _ = run(begin(SEED, Severity.CRITICAL, NOW_MS), SEED, NOW_MS + 10**12)
    assert deadline_ms(walk) is None
    assert advance(walk, SEED, NOW_MS + 10**13) == (walk, [])


def test_a_breach_walks_the_critical_policy() -> None:
    _, sent = run(begin(SEED, Severity.BREACH, NOW_MS), SEED, NOW_MS)
    assert sent[0][1] == "0.critical.0.0"


def test_the_same_moment_sends_nothing_twice() -> None:
    walk, effects = advance(begin(SEED, Severity.CRITICAL, NOW_MS), SEED, NOW_MS)
    assert len(effects) == 3
    assert advance(walk, SEED, NOW_MS) == (walk, [])


def test_a_walk_that_was_asleep_does_not_catch_up_in_one_burst() -> None:
    late_ms = NOW_MS + 10**9
    walk, effects = advance(begin(SEED, Severity.INFO, NOW_MS), SEED, late_ms)
    assert [effect.key for effect in effects] == ["0.info.0.0"]
    assert deadline_ms(walk) == late_ms + 60_000


def test_an_acknowledgement_stops_the_walk() -> None:
    walk, _ = run(begin(SEED, Severity.INFO, NOW_MS), SEED, NOW_MS + 45_000)
    walk = acknowledge(walk, SEED, NOW_MS + 45_000)
    assert deadline_ms(walk) is None
    assert advance(walk, SEED, NOW_MS + 10**12) == (walk, [])


def with_ack_timeout() -> EnforcementPolicy:
    levels = [{"type": "email", "delay": 0}, {"type": "slack", "channel": "#a", "delay": 1000}]
    return policy(
        escalation_policies=[
            {"severity": "critical", "levels": levels, "timeout": 5000, "ack_timeout": 60000}
        ]
    )


def test_with_ack_timeout_the_walk_starts_again_from_its_first_level() -> None:
    of = with_ack_timeout()
    walk, sent = run(begin(of, Severity.CRITICAL, NOW_MS), of, NOW_MS)
    walk = acknowledge(walk, of, NOW_MS + 500)
    assert deadline_ms(walk) == NOW_MS + 60500
    walk, again = run(walk, of, NOW_MS + 61500)
    assert sent == [(0, "0.critical.0.0")]
    assert again == [(60500, "1.critical.0.0"), (61500, "1.critical.0.1")]


def test_a_rise_jumps_to_the_first_level_of_the_worse_policy() -> None:
    walk, _ = run(begin(SEED, Severity.INFO, NOW_MS), SEED, NOW_MS + 40_000)
    walk = raise_severity(walk, SEED, Severity.CRITICAL, NOW_MS + 40_000)
    _, sent = run(walk, SEED, NOW_MS + 40_000)
    assert [key for _, key in sent] == ["0.critical.0.0", "0.critical.0.1", "0.critical.0.2"]


def test_a_rise_tells_nobody_twice_when_the_walk_is_there_already() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS + 1_860_000)
    assert walk.severity is Severity.CRITICAL
    raised = raise_severity(walk, SEED, Severity.BREACH, NOW_MS + 1_860_000)
    assert (raised.level_index, raised.due_ms) == (walk.level_index, walk.due_ms)


def test_a_rise_after_an_acknowledgement_leaves_the_walk_stopped() -> None:
    walk = acknowledge(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS)
    walk = raise_severity(walk, SEED, Severity.CRITICAL, NOW_MS)
    assert (walk.status, deadline_ms(walk)) == (WalkStatus.ACKNOWLEDGED, None)


def test_severity_never_falls() -> None:
    walk = begin(SEED, Severity.CRITICAL, NOW_MS)
    assert raise_severity(walk, SEED, Severity.INFO, NOW_MS) == walk


def test_a_resolve_tells_everyone_who_was_told_once_each() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS + 1_860_000)
    walk, told = resolve(walk)
    assert told == (
        Told("email", ("team@example.com",)),
        Told("sms", ("+1234567890",)),
        Told("slack", (), "#alerts"),
        Told("email", ("team@example.com", "manager@example.com")),
        Told("sms", ("+1234567890", "+1234567891")),
    )
    assert advance(walk, SEED, NOW_MS + 10**12) == (walk, [])
    assert resolve(walk) == (walk, ())


def test_nobody_told_means_nobody_to_tell_of_the_end() -> None:
    assert resolve(begin(SEED, Severity.INFO, NOW_MS))[1] == ()


def test_a_severity_without_a_policy_waits_and_goes_on_with_the_next() -> None:
    walk = begin(CRITICAL_ONLY, Severity.WARNING, NOW_MS)
    _, sent = run(walk, CRITICAL_ONLY, NOW_MS + 5 * MINUTE_MS)
    assert sent == [(5 * MINUTE_MS, "0.critical.0.0")]


def test_a_critical_violation_without_its_policy_walks_the_best_there_is() -> None:
    of = policy(
        escalation_policies=[{"severity": "info", "levels": [{"type": "email"}], "timeout": 10, "repeat": 0}]
    )
    _, sent = run(begin(of, Severity.CRITICAL, NOW_MS), of, NOW_MS + 10)
    assert sent == [(0, "0.info.0.0"), (10, "0.info.0.failed")]


def test_without_any_policy_nobody_has_failed_to_answer() -> None:
    of = policy(escalation_policies=[])
    walk, sent = run(begin(of, Severity.CRITICAL, NOW_MS), of, NOW_MS)
    assert (sent, walk.status, walk.due_ms) == ([], WalkStatus.FAILED, None)


def test_an_operator_does_not_wait_for_the_next_level() -> None:
    walk, effects = escalate_now(begin(SEED, Severity.INFO, NOW_MS), SEED, NOW_MS + 1)
    assert [effect.key for effect in effects] == ["0.info.0.0"]
    walk, effects = escalate_now(walk, SEED, NOW_MS + 2)
    assert [effect.key for effect in effects] == ["0.info.0.1"]
    walk, effects = escalate_now(walk, SEED, NOW_MS + 3)
    assert [effect.key for effect in effects] == ["0.warning.0.0"]


def test_nobody_is_waited_for_who_could_not_be_told() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS)
    assert deadline_ms(walk) == NOW_MS + 30_000
    later_ms = NOW_MS + 5
    # Of what another level, walk, or round was told nothing follows.
    for key in ("0.warning.0.1", "1.warning.0.0", "0.info.0.0", "0.warning.1.0", "resolved"):
        assert undelivered(walk, SEED, key, later_ms) == walk
    walk, effects = advance(undelivered(walk, SEED, "0.warning.0.0", later_ms), SEED, later_ms)
    assert [effect.key for effect in effects] == ["0.warning.0.1"]
    # After the last level those of the earlier ones have their time.
    walk, effects = advance(walk, SEED, later_ms + MINUTE_MS)
    assert [effect.key for effect in effects] == ["0.warning.0.2"]
    assert undelivered(walk, SEED, "0.warning.0.2", later_ms + MINUTE_MS) == walk


def test_after_the_last_level_the_timeout_is_over_when_nobody_of_the_policy_was_reached() -> None:
    twice = policy(
        escalation_policies=[
            {"severity": "warning", "levels": [{"type": "email"}, {"type": "sms"}], "timeout": "10m"},
            {"severity": "critical", "levels": [{"type": "email"}], "timeout": "10m", "repeat": 1},
        ]
    )
    walk, _ = run(begin(twice, Severity.WARNING, NOW_MS), twice, NOW_MS + MINUTE_MS)
    last, both = "0.warning.0.1", {"0.warning.0.0", "0.warning.0.1"}
    later_ms = NOW_MS + 2 * MINUTE_MS
    assert undelivered(walk, twice, last, later_ms, {last}) == walk  # the first may still answer
    for failed_last in both:  # in whichever order they are given up
        walk_on, effects = advance(undelivered(walk, twice, failed_last, later_ms, both), twice, later_ms)
        assert [effect.key for effect in effects] == ["0.critical.0.0"]
    # Once more as the policy says, and then it has failed: at once, too.
    failed = {*both, "0.critical.0.0"}
    walk_on, effects = advance(
        undelivered(walk_on, twice, "0.critical.0.0", later_ms, failed), twice, later_ms
    )
    assert [effect.key for effect in effects] == ["0.critical.1.0"]
    failed.add("0.critical.1.0")
    walk_on, effects = advance(
        undelivered(walk_on, twice, "0.critical.1.0", later_ms, failed), twice, later_ms
    )
    assert ([effect.key for effect in effects], deadline_ms(walk_on)) == (["0.critical.1.failed"], None)


def test_who_is_notified_beside_the_levels_may_still_answer() -> None:
    beside = policy(
        channels={"chat": {"type": "log"}},
        escalation_policies=[
            {"severity": "critical", "levels": [{"type": "email"}], "notify_channels": ["chat"], "timeout": "10m"},
        ],
    )  # fmt: skip
    walk, _ = run(begin(beside, Severity.CRITICAL, NOW_MS), beside, NOW_MS + MINUTE_MS)
    key = "0.critical.0.0"
    assert undelivered(walk, beside, key, NOW_MS + MINUTE_MS, {key}) == walk


def test_a_walk_that_waits_for_nobody_is_not_moved_by_what_failed() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS)
    for still in (acknowledge(walk, SEED, NOW_MS), resolve(walk)[0]):
        assert undelivered(still, SEED, "0.warning.0.0", NOW_MS + 5) == still
    # It is never made to wait longer either.
    assert undelivered(walk, SEED, "0.warning.0.0", NOW_MS + 10**9) == walk


def test_an_operator_starts_an_acknowledged_walk_again() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS)
    _, effects = escalate_now(acknowledge(walk, SEED, NOW_MS), SEED, NOW_MS + 5)
    assert [effect.key for effect in effects] == ["1.warning.0.0"]


def test_a_resolved_violation_is_not_escalated() -> None:
    walk, _ = resolve(begin(SEED, Severity.WARNING, NOW_MS))
    with pytest.raises(ViolationError) as refused:
        escalate_now(walk, SEED, NOW_MS)
    assert refused.value.reason == "already_resolved"


def test_maintenance_holds_a_walk_back() -> None:
    walk = hold(begin(SEED, Severity.CRITICAL, NOW_MS), NOW_MS + MINUTE_MS)
    assert advance(walk, SEED, NOW_MS + MINUTE_MS - 1) == (walk, [])
    assert len(advance(walk, SEED, NOW_MS + MINUTE_MS)[1]) == 3


def test_a_policy_shortened_meanwhile_does_not_lose_the_walk() -> None:
    walk, _ = run(begin(SEED, Severity.WARNING, NOW_MS), SEED, NOW_MS + 30_000)
    shorter = policy(
        escalation_policies=[
            {"severity": "warning", "levels": [{"type": "email"}], "timeout": 1000},
            {"severity": "critical", "levels": [{"type": "sms"}], "timeout": 1000},
        ]
    )
    _, sent = run(walk, shorter, NOW_MS + 70_000)
    assert sent[0] == (60_000, "0.critical.0.0")


@pytest.mark.parametrize(
    ("severity", "applicable", "exhausted", "escalated"),
    [
        (Severity.INFO, 0, False, False),
        (Severity.INFO, 1, True, False),
        (Severity.WARNING, 0, False, True),
        (Severity.WARNING, 2, False, False),
        (Severity.WARNING, 2, True, True),
        (Severity.CRITICAL, 2, False, True),
        (Severity.BREACH, 2, False, True),
    ],
)
def test_what_is_escalated_by_itself(
    severity: Severity, applicable: int, exhausted: bool, escalated: bool
) -> None:
    assert needs_escalation(severity, applicable, exhausted=exhausted) is escalated


DELAYS = st.integers(0, 50)


@st.composite
def policies(draw: st.DrawFn) -> EnforcementPolicy:
    documents: list[dict[str, Any]] = []
    for severity in ("info", "warning", "critical"):
        delays = draw(st.lists(DELAYS, min_size=1, max_size=4))
        documents.append(
            {
                "severity": severity,
                "levels": [
                    {"type": "email", "recipients": [f"{n}@example.com"], "delay": d}
                    for n, d in enumerate(delays)
                ],
                "timeout": draw(st.integers(1, 50)),
                "repeat": draw(st.integers(0, 3)),
            }
        )
    return policy(escalation_policies=documents)


def deadlines(of: EnforcementPolicy, severity: Severity) -> list[tuple[int, str | None]]:
    """The whole walk written down at once: (wait since the one before [ms], key, or None when a timeout ends)."""
    steps: list[tuple[int, str | None]] = []
    for each in (Severity.INFO, Severity.WARNING, Severity.CRITICAL)[severity.rank :]:
        walked = of.policy(each)
        assert walked
        last = each is Severity.CRITICAL
        for number in range(1 + walked.repeat if last else 1):
            for index, level in enumerate(walked.levels):
                steps.append((level.delay, f"0.{each.value}.{number}.{index}"))
            steps.append((walked.timeout, None))
        if last:
            steps.append((0, f"0.{each.value}.{walked.repeat}.failed"))
    return steps


def schedule(of: EnforcementPolicy, severity: Severity) -> list[tuple[int, str]]:
    """What is sent of it: (wait since the one before [ms], key)."""
    steps: list[tuple[int, str]] = []
    waited_ms = 0
    for wait_ms, key in deadlines(of, severity):
        waited_ms += wait_ms
        if key is not None:
            steps.append((waited_ms, key))
            waited_ms = 0
    return steps


SEVERITIES = st.sampled_from([Severity.INFO, Severity.WARNING, Severity.CRITICAL])


@given(policies(), SEVERITIES)
@settings(deadline=None)
def test_a_walk_looked_at_in_time_is_the_written_schedule(of: EnforcementPolicy, severity: Severity) -> None:
    _, sent = run(begin(of, severity, NOW_MS), of, NOW_MS + 10**9)
    at_ms, expected = 0, []
    for wait_ms, key in schedule(of, severity):
        at_ms += wait_ms
        expected.append((at_ms, key))
    assert sent == expected


@given(policies(), SEVERITIES, st.lists(st.integers(0, 300), max_size=80))
@settings(deadline=None)
def test_however_late_a_walk_is_looked_at_no_level_is_early_twice_or_skipped(
    of: EnforcementPolicy, severity: Severity, steps: list[int]
) -> None:
    walk, now_ms = begin(of, severity, NOW_MS), NOW_MS
    sent: list[tuple[int, str]] = []
    for step_ms in steps:
        now_ms += step_ms
        walk, effects = advance(walk, of, now_ms)
        sent.extend((now_ms, effect.key) for effect in effects)
    expected = schedule(of, severity)
    assert [key for _, key in sent] == [key for _, key in expected[: len(sent)]]
    before_ms = NOW_MS
    for (at_ms, _), (wait_ms, _) in zip(sent, expected, strict=False):
        assert at_ms - before_ms >= wait_ms
        before_ms = at_ms
    due_ms = deadline_ms(walk)
    assert due_ms is None or due_ms > now_ms or not steps


@given(policies(), SEVERITIES, st.integers(0, 400), st.integers(1, 300))
@settings(deadline=None)
def test_an_acknowledgement_that_runs_out_begins_the_written_schedule_again(
    of: EnforcementPolicy, severity: Severity, taken_ms: int, hold_ms: int
) -> None:
    walked = [each.model_copy(update={"ack_timeout": hold_ms}) for each in of.escalation_policies]
    of = of.model_copy(update={"escalation_policies": tuple(walked)})
    walk, sent = run(begin(of, severity, NOW_MS), of, NOW_MS + taken_ms)
    walk, more = run(acknowledge(walk, of, NOW_MS + taken_ms), of, NOW_MS + 10**9)
    at_ms, expected = 0, []
    for wait_ms, key in schedule(of, severity):
        at_ms += wait_ms
        if at_ms <= taken_ms:
            expected.append((at_ms, key))
    at_ms = taken_ms + hold_ms
    for wait_ms, key in schedule(of, severity):
        at_ms += wait_ms
        expected.append((at_ms, f"1{key[1:]}"))
    assert [*sent, *more] == expected


@given(policies(), SEVERITIES, st.integers(0, 400), st.integers(0, 300))
@settings(deadline=None)
def test_what_falls_due_while_a_walk_is_held_is_due_at_its_end(
    of: EnforcementPolicy, severity: Severity, from_ms: int, for_ms: int
) -> None:
    walk, sent = run(begin(of, severity, NOW_MS), of, NOW_MS + from_ms)
    _, more = run(hold(walk, NOW_MS + from_ms + for_ms), of, NOW_MS + 10**9)
    at_ms, expected = 0, []
    for wait_ms, key in deadlines(of, severity):
        at_ms += wait_ms
        if from_ms < at_ms < from_ms + for_ms:
            at_ms = from_ms + for_ms
        expected += [(at_ms, key)] if key is not None else []
    assert [*sent, *more] == expected


class Chain:
    """A walk under random acts, and the keys it has sent."""

    def __init__(self, of: EnforcementPolicy, severity: Severity) -> None:
        self.of, self.walk, self.now_ms = of, begin(of, severity, NOW_MS), NOW_MS
        self.sent: list[Notify | EscalationFailed] = []

    def act(self, name: str, value: int) -> None:
        self.now_ms += value
        match name:
            case "acknowledge":
                self.walk = acknowledge(self.walk, self.of, self.now_ms)
            case "raise":
                self.walk = raise_severity(self.walk, self.of, list(Severity)[value % 4], self.now_ms)
            case "escalate":
                self.walk, effects = escalate_now(self.walk, self.of, self.now_ms)
                self.sent.extend(effects)
            case "hold":
                self.walk = hold(self.walk, self.now_ms + value)
            case _:
                self.walk, effects = advance(self.walk, self.of, self.now_ms)
                self.sent.extend(effects)


ACTS = st.tuples(
    st.sampled_from(["advance", "advance", "acknowledge", "raise", "escalate", "hold"]), st.integers(0, 200)
)


@given(policies(), SEVERITIES, st.lists(ACTS, max_size=40))
@settings(deadline=None)
def test_no_key_is_ever_sent_twice_and_only_a_walking_walk_sends(
    of: EnforcementPolicy, severity: Severity, acts: list[tuple[str, int]]
) -> None:
    chain = Chain(of, severity)
    for name, value in acts:
        walking = chain.walk.status is WalkStatus.WALKING
        count = len(chain.sent)
        chain.act(name, value)
        if not walking and name != "escalate":
            assert len(chain.sent) == count
    keys = [effect.key for effect in chain.sent]
    assert len(keys) == len(set(keys))
    chain.walk, told = resolve(chain.walk)
    addresses = {
        Told(e.level.channel, e.level.recipients, e.level.room, e.level.service)
        for e in chain.sent
        if isinstance(e, Notify)
    }
    assert set(told) == addresses
    assert len(told) == len(addresses)
