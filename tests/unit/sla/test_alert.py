"""Alerts: grouped, told once, muted, held."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slakeeper.sla.alert import MAX_PENDING, Group, Item, add, deadline_ms, flush
from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import AlertSettings, Severity
from slakeeper.sla.violation import Violation, resolve
from tests.unit.sla.acting import NOW_MS, contract, violation

AT_ONCE = AlertSettings()
GROUPED = AlertSettings(group_wait=10_000)
SLA = contract()
OPENED, WORSENED, RESOLVED = NotificationKind.OPENED, NotificationKind.WORSENED, NotificationKind.RESOLVED


def opened(metric: str = "uptime", at_ms: int = NOW_MS) -> Violation:
    return violation(50.0, metric=metric, severity=Severity.WARNING, opened_at_ms=at_ms)


def told(
    group: Group, now_ms: int, **more: Any
) -> tuple[Group, list[tuple[NotificationKind, str, list[str]]]]:
    group, messages = flush(group, SLA, now_ms, **more)
    return group, [(each.kind, each.dedup_key, list(each.violation_ids)) for each in messages]


def after(*items: Item, settings: AlertSettings = AT_ONCE) -> Group:
    group = Group("sla_001")
    for item in items:
        group = add(group, item, settings, NOW_MS)
    return group


def test_without_a_wait_news_is_due_at_once() -> None:
    seen = opened()
    group = after(Item(OPENED, seen))
    assert deadline_ms(group) == NOW_MS
    group, messages = told(group, NOW_MS)
    assert messages == [(OPENED, seen.id, [seen.id])]
    assert deadline_ms(group) is None


def test_the_first_news_starts_the_wait_and_the_rest_joins_it() -> None:
    one, two = opened(), opened("error_rate", NOW_MS + 4000)
    group = add(Group("sla_001"), Item(OPENED, one), GROUPED, NOW_MS)
    group = add(group, Item(OPENED, two), GROUPED, NOW_MS + 4000)
    assert deadline_ms(group) == NOW_MS + 10_000
    assert told(group, NOW_MS + 9999)[1] == []
    _, messages = told(group, NOW_MS + 10_000)
    assert [(kind, ids) for kind, _, ids in messages] == [(OPENED, [one.id, two.id])]


def test_an_opening_is_told_once_however_often_it_is_handed_in() -> None:
    seen = opened()
    group, messages = told(after(Item(OPENED, seen), Item(OPENED, seen)), NOW_MS)
    assert len(messages) == 1
    assert deadline_ms(add(group, Item(OPENED, seen), AT_ONCE, NOW_MS)) is None


def test_each_rise_is_told_once() -> None:
    seen = opened()
    group, _ = told(after(Item(OPENED, seen)), NOW_MS)
    critical = violation(50.0, severity=Severity.CRITICAL)
    for _ in range(2):
        group = add(group, Item(WORSENED, critical), AT_ONCE, NOW_MS)
    group, messages = told(group, NOW_MS)
    assert messages == [(WORSENED, seen.id, [seen.id])]
    breach = violation(50.0, severity=Severity.BREACH)
    assert len(told(add(group, Item(WORSENED, breach), AT_ONCE, NOW_MS), NOW_MS)[1]) == 1


def test_a_rise_within_the_wait_is_told_with_its_opening() -> None:
    group = after(
        Item(OPENED, opened()), Item(WORSENED, violation(50.0, severity=Severity.CRITICAL)), settings=GROUPED
    )
    _, messages = flush(group, SLA, NOW_MS + 10_000)
    assert [(each.kind, each.severity) for each in messages] == [(OPENED, Severity.CRITICAL)]


def test_an_end_carries_the_key_of_its_opening() -> None:
    seen = opened()
    group, _ = told(after(Item(OPENED, seen)), NOW_MS)
    _, messages = told(add(group, Item(RESOLVED, resolve(seen, NOW_MS + 1)), AT_ONCE, NOW_MS + 1), NOW_MS + 1)
    assert messages == [(RESOLVED, seen.id, [seen.id])]


def test_opening_and_end_within_one_wait_are_both_told() -> None:
    seen = opened()
    group = after(Item(OPENED, seen), Item(RESOLVED, resolve(seen, NOW_MS + 1)), settings=GROUPED)
    _, messages = flush(group, SLA, NOW_MS + 10_000)
    assert [each.kind for each in messages] == [OPENED, RESOLVED]
    assert "does not keep its promise" in messages[0].body
    assert "has recovered" in messages[1].body


def test_a_group_in_which_something_is_still_broken_is_not_closed() -> None:
    one, two = opened(), opened("error_rate")
    group, messages = told(after(Item(OPENED, one), Item(OPENED, two), settings=GROUPED), NOW_MS + 10_000)
    key = messages[0][1]
    group, messages = told(add(group, Item(RESOLVED, resolve(one, NOW_MS)), AT_ONCE, NOW_MS), NOW_MS)
    assert messages == [(RESOLVED, f"{one.id}.part", [one.id])]
    group, messages = told(add(group, Item(RESOLVED, resolve(two, NOW_MS)), AT_ONCE, NOW_MS), NOW_MS)
    assert messages == [(RESOLVED, key, [two.id])]
    assert group.incidents == ()


def test_ends_of_separate_openings_are_separate_messages() -> None:
    one, two = opened(), opened("error_rate")
    group, _ = told(after(Item(OPENED, one)), NOW_MS)
    group, _ = told(add(group, Item(OPENED, two), AT_ONCE, NOW_MS), NOW_MS)
    for each in (one, two):
        group = add(group, Item(RESOLVED, resolve(each, NOW_MS)), AT_ONCE, NOW_MS)
    assert told(group, NOW_MS)[1] == [(RESOLVED, one.id, [one.id]), (RESOLVED, two.id, [two.id])]


def muted_from_the_start(seen: Violation) -> Group:
    group, messages = told(after(Item(OPENED, seen)), NOW_MS, muted=[seen.id])
    assert messages == []
    return group


def test_muted_news_is_told_when_it_is_muted_no_longer_and_still_open() -> None:
    seen = opened()
    group = muted_from_the_start(seen)
    assert deadline_ms(group) is None
    assert told(group, NOW_MS + 60_000, muted=[seen.id]) == (group, [])
    group, messages = told(group, NOW_MS + 90_000)
    assert messages == [(OPENED, seen.id, [seen.id])]
    assert told(group, NOW_MS + 90_000)[1] == []
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS + 99_000)), AT_ONCE, NOW_MS + 99_000)
    assert told(group, NOW_MS + 99_000)[1] == [(RESOLVED, seen.id, [seen.id])]


@pytest.mark.parametrize("settings", [AT_ONCE, GROUPED])
def test_what_was_muted_from_its_beginning_to_its_end_is_never_told(settings: AlertSettings) -> None:
    seen = opened()
    group = add(muted_from_the_start(seen), Item(RESOLVED, resolve(seen, NOW_MS + 1)), settings, NOW_MS + 1)
    assert (group.muted, group.pending, deadline_ms(group)) == ((), (), None)
    group = add(Group("sla_001"), Item(OPENED, seen), GROUPED, NOW_MS)
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS + 1)), GROUPED, NOW_MS + 1)
    group, messages = told(group, NOW_MS + 10_000, muted=[seen.id])
    assert (messages, group.muted) == ([], ())


def test_who_was_told_of_the_opening_is_told_of_the_end_although_it_is_muted() -> None:
    seen = opened()
    group, _ = told(after(Item(OPENED, seen)), NOW_MS)
    worse = violation(50.0, severity=Severity.CRITICAL)
    group, messages = told(add(group, Item(WORSENED, worse), AT_ONCE, NOW_MS), NOW_MS, muted=[seen.id])
    assert messages == []
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS)), AT_ONCE, NOW_MS)
    group, messages = told(group, NOW_MS, muted=[seen.id])
    assert messages == [(RESOLVED, seen.id, [seen.id])]
    assert group.muted == ()


def test_a_rise_that_is_muted_no_longer_is_told_as_the_opening_and_its_end_follows() -> None:
    seen = opened()
    group = add(
        muted_from_the_start(seen),
        Item(WORSENED, violation(50.0, severity=Severity.BREACH)),
        AT_ONCE,
        NOW_MS,
    )
    group, messages = flush(group, SLA, NOW_MS)
    assert [(each.kind, each.severity) for each in messages] == [(OPENED, Severity.BREACH)]
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS)), AT_ONCE, NOW_MS)
    assert told(group, NOW_MS)[1] == [(RESOLVED, seen.id, [seen.id])]


def test_what_is_not_muted_does_not_wait_for_what_is() -> None:
    one, two = opened(), opened("error_rate")
    group, messages = told(after(Item(OPENED, one), Item(OPENED, two)), NOW_MS, muted=[one.id])
    assert messages == [(OPENED, two.id, [two.id])]
    group, messages = told(group, NOW_MS + 1)
    assert messages == [(OPENED, one.id, [one.id])]


def test_muted_news_waits_for_the_end_of_maintenance_as_well() -> None:
    seen = opened()
    group, messages = told(muted_from_the_start(seen), NOW_MS + 1, held_until_ms=NOW_MS + 60_000)
    assert messages == []
    assert len(told(group, NOW_MS + 60_000)[1]) == 1


# -- flapping -----------------------------------------------------------------------------------------------------

INTERVAL_MS = 60_000
WATCHED = {"uptime": INTERVAL_MS}
STARTED, ENDED = NotificationKind.FLAPPING_STARTED, NotificationKind.FLAPPING_ENDED


def flapping_for(
    changes: int, group: Group | None = None
) -> tuple[Group, list[NotificationKind], Violation, int]:
    """A metric that changes in each interval: opens, ends, opens; what was told, and the last violation."""
    group, kinds, now_ms, seen = group or Group("sla_001"), [], NOW_MS, opened()
    for number in range(changes):
        now_ms = NOW_MS + number * INTERVAL_MS
        seen = opened(at_ms=now_ms) if number % 2 == 0 else resolve(seen, now_ms)
        item = Item(OPENED if number % 2 == 0 else RESOLVED, seen)
        group, messages = flush(add(group, item, AT_ONCE, now_ms, WATCHED), SLA, now_ms, intervals=WATCHED)
        kinds += [each.kind for each in messages]
    return group, kinds, seen, now_ms


def test_of_a_metric_that_flaps_it_is_said_once_and_then_nothing_of_single_violations() -> None:
    _, kinds, _, _ = flapping_for(14)
    assert kinds == [OPENED, RESOLVED, OPENED, RESOLVED, OPENED, STARTED]


@pytest.mark.parametrize(("changes", "still_open"), [(13, True), (14, False)])
def test_when_it_has_calmed_down_it_is_said_once_with_what_is_still_open(
    changes: int, still_open: bool
) -> None:
    group, _, seen, now_ms = flapping_for(changes)
    due_ms = deadline_ms(group, WATCHED)
    assert due_ms is not None
    assert now_ms < due_ms <= now_ms + 20 * INTERVAL_MS
    assert flush(group, SLA, due_ms - 1, intervals=WATCHED)[1] == []
    group, messages = flush(group, SLA, due_ms, intervals=WATCHED)
    # The incident that was open when it began to flap is over.
    assert [each.kind for each in messages] == [*([OPENED] if still_open else []), RESOLVED, ENDED]
    if still_open:
        assert messages[0].violation_ids == (seen.id,)
    assert group.muted == ()
    assert deadline_ms(group, WATCHED) is None
    assert messages[-1].id != messages[0].id


def test_a_metric_is_not_watched_for_flapping_any_more_and_what_was_kept_is_told() -> None:
    group, _, seen, now_ms = flapping_for(13)
    assert deadline_ms(group) == 0
    group, messages = flush(group, SLA, now_ms)
    assert [each.kind for each in messages] == [OPENED, RESOLVED, ENDED]
    assert seen.id in messages[0].violation_ids


def test_a_muted_metric_flaps_in_silence() -> None:
    group, now_ms, seen = Group("sla_001"), NOW_MS, opened()
    muted: set[str] = set()
    for number in range(40):
        now_ms = NOW_MS + number * INTERVAL_MS
        if number < 13:
            kind = RESOLVED if number % 2 else OPENED
            seen = resolve(seen, now_ms) if number % 2 else opened(at_ms=now_ms)
            muted.add(seen.id)
            group = add(group, Item(kind, seen), AT_ONCE, now_ms, WATCHED)
        group, messages = flush(group, SLA, now_ms, muted=muted, intervals=WATCHED)
        assert messages == []
    _, messages = flush(group, SLA, now_ms, intervals=WATCHED)
    assert [each.kind for each in messages] == [OPENED]


def test_maintenance_holds_news_back_until_it_is_over() -> None:
    group, messages = told(after(Item(OPENED, opened())), NOW_MS, held_until_ms=NOW_MS + 60_000)
    assert (messages, deadline_ms(group)) == ([], NOW_MS + 60_000)
    assert len(told(group, NOW_MS + 60_000)[1]) == 1


def test_news_of_another_contract_is_refused() -> None:
    with pytest.raises(ValueError, match="is not of"):
        add(Group("api"), Item(OPENED, opened()), AT_ONCE, NOW_MS)


def test_the_memory_of_what_was_told_is_bounded() -> None:
    group = Group("sla_001")
    for n in range(700):
        seen = opened(at_ms=NOW_MS + n)
        for item in (Item(OPENED, seen), Item(RESOLVED, resolve(seen, NOW_MS + n))):
            group, _ = flush(add(group, item, AT_ONCE, NOW_MS + n), SLA, NOW_MS + n)
    assert len(group.known) <= 1002
    assert group.incidents == ()


STEPS = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.sampled_from([OPENED, WORSENED, RESOLVED]),
        st.integers(0, 6000),
        st.sets(st.integers(0, 5), max_size=4),
    ),
    max_size=40,
)
METRICS = ("uptime", "error_rate")


@given(STEPS, st.sampled_from([0, 5000]), st.sampled_from([{}, dict.fromkeys(METRICS, 1000)]))
@settings(deadline=None, max_examples=300)
def test_in_any_order_everything_is_told_once_nothing_muted_is_told_and_nothing_open_stays_untold(
    steps: list[tuple[int, NotificationKind, int, set[int]]], wait_ms: int, intervals: dict[str, int]
) -> None:
    settings = AlertSettings(group_wait=wait_ms)
    group, now_ms = Group("sla_001"), NOW_MS
    messages: list[Notification] = []
    begun: set[int] = set()
    ended: set[int] = set()
    ids = [violation(opened_at_ms=NOW_MS + number).id for number in range(6)]
    for number, kind, after_ms, muted_numbers in steps:
        now_ms += after_ms
        # What no violation does: end before it begins, or rise after its end.
        if (kind is OPENED) is (number in begun) or (kind is not RESOLVED and number in ended):
            continue
        begun.add(number)
        seen = violation(
            50.0, severity=Severity.CRITICAL, metric=METRICS[number % 2], opened_at_ms=NOW_MS + number
        )
        seen = replace(seen, id=ids[number])
        if kind is RESOLVED:
            ended.add(number)
            seen = resolve(seen, now_ms + 1)
        for _ in range(2):
            group = add(group, Item(kind, seen), settings, now_ms, intervals)
        muted = {ids[each] for each in muted_numbers}
        group, more = flush(group, SLA, now_ms, muted=muted, intervals=intervals)
        assert not any(
            each in muted
            for message in more
            if message.kind is not RESOLVED
            for each in message.violation_ids
        )
        messages += more
    group, more = flush(group, SLA, now_ms + 100_000, intervals=intervals)
    messages += more
    assert (group.muted, group.pending) == ((), ())
    counted: dict[tuple[NotificationKind, str], int] = {}
    for message in messages:
        for each in message.violation_ids:
            counted[message.kind, each] = counted.get((message.kind, each), 0) + 1
    assert all(count == 1 for count in counted.values())
    heard = {identity for kind, identity in counted if kind is not RESOLVED}
    closed = {identity for kind, identity in counted if kind is RESOLVED}
    over = {ids[number] for number in ended}
    assert closed == heard & over
    assert {ids[number] for number in begun - ended} <= heard
    assert len({message.id for message in messages}) == len(messages)
    flaps = [message.kind for message in messages if not message.violation_ids]
    assert flaps.count(STARTED) == flaps.count(ENDED)


def test_news_that_waits_is_bounded_and_what_is_still_open_is_never_dropped() -> None:
    lasting = opened("error_rate")
    group = add(Group("sla_001"), Item(OPENED, lasting), AT_ONCE, NOW_MS)
    last = lasting
    for number in range(MAX_PENDING):
        last = opened(at_ms=NOW_MS + 1 + number)
        for item in (Item(OPENED, last), Item(RESOLVED, resolve(last, NOW_MS + 5 + number))):
            group = add(group, item, AT_ONCE, NOW_MS)
            assert len(group.pending) <= MAX_PENDING + 1
    _, messages = told(group, NOW_MS)
    ids = {each for kind, _, part in messages for each in part if kind is OPENED}
    assert lasting.id in ids
    assert last.id in ids
    assert opened(at_ms=NOW_MS + 1).id not in ids
    # Of what nobody hears, nobody hears the end.
    assert ids >= {each for kind, _, part in messages for each in part if kind is RESOLVED}
