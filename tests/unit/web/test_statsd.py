"""StatsD's lines and what an interval of them comes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.web import statsd
from slakeeper.web.statsd import Aggregate, BadLine, parse_line

NOW = 1_700_000_000_000


def flushed(*datagrams: bytes, **limits: int) -> tuple[list[list[object]], dict[str, int]]:
    aggregate = Aggregate(**limits)
    for datagram in datagrams:
        aggregate.take(datagram, NOW)
    return aggregate.flush(NOW + 1_000), aggregate.refused


def values(*datagrams: bytes) -> dict[object, object]:
    samples, refused = flushed(*datagrams)
    assert refused == {}
    return {sample[0]: sample[1] for sample in samples}


def test_a_counter_is_the_sum_of_the_interval_by_its_rate() -> None:
    assert values(b"hits:1|c\nhits:2|c|@0.1\n", b"hits:1:1|c") == {"hits": 23.0}


def test_a_gauge_is_its_last_value_and_changes_by_a_sign() -> None:
    assert values(b"queue:10|g\nqueue:-3|g\nqueue:+1.5|g", b"heat:7|g\nheat:6|g") == {
        "queue": 8.5,
        "heat": 6.0,
    }


def test_a_gauge_is_told_once_and_remembered_for_changes() -> None:
    aggregate = Aggregate()
    aggregate.take(b"queue:10|g", NOW)
    assert [sample[1] for sample in aggregate.flush(NOW)] == [10.0]
    assert aggregate.flush(NOW) == []
    aggregate.take(b"queue:+1|g", NOW)
    assert [sample[1] for sample in aggregate.flush(NOW)] == [11.0]


@pytest.mark.parametrize("kind", [b"ms", b"h", b"d"])
def test_every_value_of_a_timer_is_a_sample_of_the_instant_it_came(kind: bytes) -> None:
    samples, _ = flushed(b"latency:12.5|" + kind + b"|@0.5", b"latency:7:8|" + kind)
    assert samples == [["latency", value, NOW, None, None] for value in (12.5, 7.0, 8.0)]


def test_a_set_is_how_many_different_values_there_were() -> None:
    assert values(b"users:ann|s\nusers:bob|s\nusers:ann|s") == {"users": 2.0}


def test_tags_become_labels_and_tell_series_apart() -> None:
    samples, _ = flushed(
        b"hits:1|c|#region:eu,canary", b"hits:1|c|#canary,region:eu", b"hits:1|c|#region:us|c:abc"
    )
    assert sorted((sample[1], sample[4]["region"]) for sample in samples) == [(1.0, "us"), (2.0, "eu")]  # type: ignore[index]
    assert samples[0][4] == {"canary": "", "region": "eu"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"hits", "bad_line"), (b"hits:1", "bad_line"), (b":1|c", "bad_line"), (b"hits:1|x", "bad_line"),
        (b"hits:one|c", "not_a_number"), (b"hits:1_0|c", "not_a_number"), (b"hits:nan|g", "not_a_number"),
        (b"hits:|c", "bad_line"),
        (b"hits:1|c|@2", "bad_rate"), (b"hits:1|c|@0", "bad_rate"), (b"hits:1|c|@x", "bad_rate"),
        (b"\xff:1|c", "not_utf8"), (b"h" * 300 + b":1|c", "invalid_metric"), (b"_e{5,4}:title|text", "not_a_metric"),
        (b"_sc|name|0", "not_a_metric"), (b"hits:1|c|#" + b"a" * 300, "invalid_labels"),
        (b"hits:1|c|#" + b",".join(b"t%d:%s" % (n, b"x" * 200) for n in range(11)), "too_many_tags"),
    ],
)  # fmt: skip
def test_garbage_is_counted_by_its_reason_and_spoils_nothing_else(line: bytes, reason: str) -> None:
    samples, refused = flushed(b"good:1|c\n" + line + b"\n\ngood:1|c")
    assert [sample[1] for sample in samples] == [2.0]
    assert refused == {reason: 1}


def test_a_gauge_that_has_left_the_numbers_is_refused_and_begins_again() -> None:
    samples, refused = flushed(b"g:1e308|g\ng:+1e308|g\ng:+1|g")
    assert (refused, [sample[1] for sample in samples]) == ({"not_finite": 1}, [1.0])


@pytest.mark.parametrize("kind", [b"c", b"g", b"s"])
def test_names_are_bounded(kind: bytes) -> None:
    lines = [b"name%d:1|%s" % (number, kind) for number in range(5)]
    samples, refused = flushed(*lines, max_series=3)
    assert (len(samples), refused) == (3, {"too_many_names": 2})


def test_values_are_bounded() -> None:
    samples, refused = flushed(
        *[b"t:%d|ms" % n for n in range(5)], *[b"s:%d|s" % n for n in range(5)], max_values=3
    )
    assert (len(samples), samples[-1][1], refused) == (4, 3.0, {"too_many_values": 4})


def line(kind: bytes, number: int, tag_chars: int = 100) -> bytes:
    return b"name%d:1|%s|#%s" % (number, kind, b"t" * tag_chars)


@pytest.mark.parametrize("kind", [b"c", b"g", b"s", b"ms"])
def test_memory_is_bounded(kind: bytes) -> None:
    aggregate = Aggregate(max_bytes=100_000)
    for _ in range(3):
        for number in range(1_000):
            aggregate.take(line(kind, number), NOW)
        assert 50_000 < aggregate.held_bytes <= 100_000
        assert 50 < len(aggregate.flush(NOW)) < 500
        assert aggregate.refused.pop("too_many_bytes") > 500
        assert aggregate.held_bytes <= (50_000 if kind == b"g" else 0)


def test_members_of_sets_are_bounded_by_their_bytes() -> None:
    lines = [b"users:%d%s|s" % (number, b"x" * 50_000) for number in range(10)]
    samples, refused = flushed(*lines, max_bytes=200_000)
    assert (samples[0][1], refused) == (3.0, {"too_many_bytes": 7})
    assert flushed(lines[0], max_bytes=10_000) == ([], {"too_many_bytes": 1})


def test_what_is_refused_takes_no_memory_and_makes_no_empty_set() -> None:
    aggregate = Aggregate(max_values=3, max_bytes=10_000)
    for _ in range(100):
        aggregate.take(b"users:1:2:3:4|s\nlatency:1:2:3:4|ms\nbig:" + b"x" * 10_000 + b"|s", NOW)
    assert aggregate.held_bytes == 0
    assert aggregate.flush(NOW) == []
    assert aggregate.refused == {"too_many_values": 200, "too_many_bytes": 100}


def test_a_gauge_that_is_only_kept_is_not_of_the_next_batch() -> None:
    aggregate = Aggregate()
    aggregate.take(line(b"g", 1) + b"\n" + line(b"c", 1), NOW)
    both = aggregate.batch_bytes
    assert both == aggregate.held_bytes
    aggregate.flush(NOW)
    assert (aggregate.batch_bytes, aggregate.held_bytes * 2) == (0, both)
    for _ in range(2):
        aggregate.take(line(b"g", 1), NOW)
    assert aggregate.batch_bytes * 2 == both


def test_gauges_that_are_kept_leave_half_of_the_memory() -> None:
    aggregate = Aggregate(max_bytes=100_000)
    for number in range(1_000):
        aggregate.take(line(b"g", number), NOW)
    held = len(aggregate.flush(NOW))
    for number in range(1_000, 2_000):
        aggregate.take(line(b"g", number), NOW)
    assert held / 3 < len(aggregate.flush(NOW)) < held
    # The sum of what is held does not drift, whatever is set again, and made room for.
    for _ in range(5):
        for number in range(500, 1_500):
            aggregate.take(line(b"g", number % 700, 10), NOW)
        aggregate.flush(NOW)
    assert aggregate.held_bytes == sum(map(statsd._bytes_of, aggregate._gauges))


def test_gauges_that_were_set_least_recently_make_room() -> None:
    aggregate = Aggregate(max_series=4)
    for number in range(4):
        aggregate.take(b"g%d:1|g" % number, NOW)
    aggregate.flush(NOW)
    aggregate.take(b"g4:1|g\ng0:+1|g\ng3:+1|g", NOW)
    assert {sample[0]: sample[1] for sample in aggregate.flush(NOW)} == {"g4": 1.0, "g0": 1.0, "g3": 2.0}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_a_reason(line: bytes) -> None:
    try:
        parsed = parse_line(line)
    except BadLine:
        return
    assert 0 < parsed.rate <= 1
    assert parsed.series[0]


@given(
    st.lists(
        st.sampled_from([b"a", b":", b"|", b"c", b"g", b"ms", b"1", b"-", b"@", b".5", b"#", b",", b"\n"])
    )
)
def test_nothing_that_looks_like_a_datagram_is_a_crash(parts: list[bytes]) -> None:
    aggregate = Aggregate()
    aggregate.take(b"".join(parts), NOW)
    aggregate.flush(NOW)
