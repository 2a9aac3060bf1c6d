"""Silences: what they match, when they are in force, and how copies of them agree."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.policy import Severity
from slakeeper.sla.silence import (
    KEPT_MS,
    MAX_LENGTH_MS,
    MAX_MATCHERS,
    Matcher,
    Relation,
    Silence,
    SilenceError,
    SilenceState,
    expire,
    is_kept,
    labels_of,
    make,
    merge,
    muting,
    read_matcher,
)
from tests.unit.sla.acting import MINUTE_MS, NOW_MS, contract, violation

API = Matcher("sla", Relation.EQUAL, "sla_001")


def silence(*matchers: Matcher, **changes: Any) -> Silence:
    how = {
        "starts_at_ms": NOW_MS,
        "ends_at_ms": NOW_MS + MINUTE_MS,
        "by": "ann",
        "reason": "upgrade",
        **changes,
    }
    return make(matchers or (API,), now_ms=NOW_MS, **how)


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("sla=api", ("sla", "=", "api")),
        ('severity=~"warning|info"', ("severity", "=~", "warning|info")),
        (' region != "eu west" ', ("region", "!=", "eu west")),
        ("metric!~.*_p95", ("metric", "!~", ".*_p95")),
        ("region=", ("region", "=", "")),
        ('name="a=b"', ("name", "=", "a=b")),
    ],
)
def test_a_matcher_is_read_as_alertmanager_writes_it(text: str, matcher: tuple[str, str, str]) -> None:
    read = read_matcher(text)
    assert (read.name, read.relation.value, read.value) == matcher


@pytest.mark.parametrize(
    "text", ["", "api", "=api", "sla=~(", "sla=" + "x" * 201, "x" * 201 + "=a", 'a"b=c', "y" * 10_000]
)
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(SilenceError) as refused:
        read_matcher(text)
    assert refused.value.reason == "invalid_matcher"


@pytest.mark.parametrize(
    ("relation", "value", "wanted"),
    [
        ("=", "eu", True), ("=", "e", False), ("!=", "eu", False), ("!=", "us", True),
        ("=~", "e.", True), ("=~", "e", False), ("!~", "e.", False), ("!~", "e", True),
    ],
)  # fmt: skip
def test_relations(relation: str, value: str, wanted: bool) -> None:
    assert Matcher("region", Relation(relation), value).matches({"region": "eu"}) is wanted


def test_a_label_that_is_not_there_is_empty() -> None:
    assert Matcher("region", Relation.EQUAL, "").matches({})
    assert Matcher("region", Relation.NOT_EQUAL, "eu").matches({})
    assert not Matcher("region", Relation.LIKE, ".+").matches({})


def test_a_violation_has_the_labels_of_its_metric_and_its_own_which_are_stronger() -> None:
    metrics = [{"name": "uptime", "value": 99, "labels": {"region": "eu", "sla": "forged"}}]
    sla = contract(metrics=metrics, compensation=[], owner_team="platform")
    seen = violation(98.0, sla=sla, severity=Severity.WARNING)
    assert labels_of(sla, seen) == {
        "region": "eu", "owner_team": "platform", "sla": "sla_001", "metric": "uptime", "severity": "warning"
    }  # fmt: skip
    assert labels_of(None, seen)["sla"] == "sla_001"


def test_all_matchers_have_to_match() -> None:
    both = silence(API, Matcher("severity", Relation.LIKE, "warning|info"))
    assert both.mutes({"sla": "sla_001", "severity": "info"}, NOW_MS)
    assert not both.mutes({"sla": "sla_001", "severity": "critical"}, NOW_MS)
    assert not both.mutes({"sla": "api", "severity": "info"}, NOW_MS)


def test_it_is_pending_then_active_then_expired() -> None:
    later = silence(starts_at_ms=NOW_MS + 1000)
    states = [later.state(NOW_MS + at_ms).value for at_ms in (0, 999, 1000, MINUTE_MS - 1, MINUTE_MS)]
    assert states == ["pending", "pending", "active", "active", "expired"]
    assert [later.mutes({"sla": "sla_001"}, NOW_MS + at_ms) for at_ms in (999, 1000, MINUTE_MS)] == [
        False,
        True,
        False,
    ]


def test_one_that_should_have_begun_earlier_begins_now() -> None:
    assert silence(starts_at_ms=NOW_MS - MINUTE_MS).starts_at_ms == NOW_MS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"by": " "}, "nobody"), ({"by": "x" * 201}, "nobody"), ({"reason": ""}, "no_reason"),
        ({"reason": "x" * 1001}, "no_reason"), ({"ends_at_ms": NOW_MS}, "invalid_time"),
        ({"starts_at_ms": NOW_MS + MINUTE_MS}, "invalid_time"),
        ({"ends_at_ms": NOW_MS + MAX_LENGTH_MS + 1}, "invalid_time"),
        ({"starts_at_ms": NOW_MS + MAX_LENGTH_MS + 1, "ends_at_ms": NOW_MS + MAX_LENGTH_MS + 2}, "invalid_time"),
    ],
)  # fmt: skip
def test_a_silence_without_sense_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(SilenceError) as refused:
        silence(**changes)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    "matchers",
    [
        (),
        (Matcher("sla", Relation.LIKE, ".*"),),
        (Matcher("x", Relation.EQUAL, ""),),
        (API,) * (MAX_MATCHERS + 1),
    ],
)
def test_one_that_matches_everything_or_nothing_in_particular_is_refused(
    matchers: tuple[Matcher, ...],
) -> None:
    with pytest.raises(SilenceError) as refused:
        make(matchers, NOW_MS, NOW_MS + 1, "ann", "why", NOW_MS)
    assert refused.value.reason == "invalid_matcher"


def test_the_same_one_made_again_in_the_same_moment_has_the_same_id() -> None:
    assert silence() == silence()
    assert silence().id != silence(reason="other").id


def test_it_ends_when_somebody_ends_it_and_only_once() -> None:
    ended = expire(silence(), "bob", NOW_MS + 5)
    assert (ended.state(NOW_MS + 5), ended.expired_by) == (SilenceState.EXPIRED, "bob")
    with pytest.raises(SilenceError, match="over already"):
        expire(ended, "bob", NOW_MS + 6)
    pending = expire(silence(starts_at_ms=NOW_MS + 1000), "bob", NOW_MS)
    assert pending.state(NOW_MS + 1000) is SilenceState.EXPIRED


ENDS = st.lists(st.tuples(st.integers(0, 50), st.sampled_from(["ann", "bob"])), min_size=1, max_size=5)


@given(ENDS, st.randoms())
def test_copies_agree_in_whatever_order_they_meet(ends: list[tuple[int, str]], random: Any) -> None:
    copies = [replace(silence(), ends_at_ms=NOW_MS + end, expired_by=by) for end, by in ends]
    merged = copies[0]
    for each in copies:
        merged = merge(merged, each)
    random.shuffle(copies)
    again = copies[0]
    for each in [*copies, *copies]:
        again = merge(each, again)
    assert again == merged
    assert merged.ends_at_ms == NOW_MS + min(end for end, _ in ends)


def test_it_is_kept_for_some_days_after_its_end() -> None:
    assert is_kept(silence(), NOW_MS + MINUTE_MS + KEPT_MS - 1)
    assert not is_kept(silence(), NOW_MS + MINUTE_MS + KEPT_MS)


def test_who_mutes_is_named() -> None:
    other = silence(Matcher("sla", Relation.EQUAL, "other"))
    ended = expire(silence(reason="x"), "bob", NOW_MS)
    assert muting([silence(), other, ended], {"sla": "sla_001"}, NOW_MS) == (silence(),)
