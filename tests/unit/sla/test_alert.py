"""Alerts: grouped, told once, silenced, held."""

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


def test_silenced_news_and_its_end_are_not_told() -> None:
    seen = opened()
    group = add(Group("sla_001"), Item(OPENED, seen), AT_ONCE, NOW_MS, silenced=True)
    assert deadline_ms(group) is None
    assert deadline_ms(add(group, Item(RESOLVED, resolve(seen, NOW_MS)), AT_ONCE, NOW_MS)) is None


def test_who_was_told_of_the_opening_is_told_of_the_end_in_spite_of_a_silence() -> None:
    seen = opened()
    group, _ = told(after(Item(OPENED, seen)), NOW_MS)
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS)), AT_ONCE, NOW_MS, silenced=True)
    assert len(told(group, NOW_MS)[1]) == 1


def test_a_rise_after_a_silence_is_the_first_that_is_told_and_its_end_follows() -> None:
    seen = opened()
    group = add(Group("sla_001"), Item(OPENED, seen), AT_ONCE, NOW_MS, silenced=True)
    group = add(group, Item(WORSENED, violation(50.0, severity=Severity.BREACH)), AT_ONCE, NOW_MS)
    group, messages = told(group, NOW_MS)
    assert messages == [(WORSENED, seen.id, [seen.id])]
    group = add(group, Item(RESOLVED, resolve(seen, NOW_MS)), AT_ONCE, NOW_MS)
    assert told(group, NOW_MS)[1] == [(RESOLVED, seen.id, [seen.id])]


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
        st.integers(0, 5), st.sampled_from([OPENED, WORSENED, RESOLVED]), st.integers(0, 6000), st.booleans()
    ),
    max_size=40,
)


@given(STEPS, st.sampled_from([0, 5000]))
@settings(deadline=None)
def test_in_any_order_every_opening_and_every_end_is_told_once_and_ends_only_to_who_heard(
    steps: list[tuple[int, NotificationKind, int, bool]], wait_ms: int
) -> None:
    settings = AlertSettings(group_wait=wait_ms)
    group, now_ms = Group("sla_001"), NOW_MS
    messages: list[Notification] = []
    begun: set[int] = set()
    ended: set[int] = set()
    for number, kind, after_ms, silenced in steps:
        now_ms += after_ms
        # What no violation does: end before it begins, or rise after its end.
        if (kind is OPENED) is (number in begun) or (kind is not RESOLVED and number in ended):
            continue
        begun.add(number)
        seen = violation(50.0, severity=Severity.CRITICAL, opened_at_ms=NOW_MS + number)
        if kind is RESOLVED:
            ended.add(number)
            seen = resolve(seen, now_ms + 1)
        for _ in range(2):
            group = add(group, Item(kind, seen), settings, now_ms, silenced=silenced)
        group, more = flush(group, SLA, now_ms)
        messages += more
    group, more = flush(group, SLA, now_ms + wait_ms)
    messages += more
    counted: dict[tuple[NotificationKind, str], int] = {}
    for message in messages:
        for each in message.violation_ids:
            counted[message.kind, each] = counted.get((message.kind, each), 0) + 1
    assert all(count == 1 for count in counted.values())
    heard = {identity for kind, identity in counted if kind is not RESOLVED}
    closed = {identity for kind, identity in counted if kind is RESOLVED}
    assert closed <= heard
    over = {violation(opened_at_ms=NOW_MS + number).id for number in ended}
    assert heard & over == closed
    assert len({message.id for message in messages}) == len(messages)


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
