"""Bodies become samples; a bad sample spoils nothing but itself."""

import json
import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.web.ingest import BadBatch, parse_batch


def of_json(*samples: Any) -> bytes:
    return json.dumps({"samples": samples}).encode()


def reason(**fields: Any) -> str | None:
    """Why a good sample with these fields changed is rejected; None when it is not."""
    item = {"metric": "latency", "value": 1.5, **fields}
    item = {name: value for name, value in item.items() if value is not ...}
    rejected = parse_batch(of_json(item), "application/json").rejected
    return rejected[0][1] if rejected else None


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (312.0, None), (5, None), (-1.5, None), (0, None),
        (math.nan, "not_finite"), (math.inf, "not_finite"), (-math.inf, "not_finite"),
        ("312", "not_a_number"), (True, "not_a_number"), (False, "not_a_number"), (None, "not_a_number"),
        ([1], "not_a_number"), ({}, "not_a_number"), (10**308, None), (10**309, "not_finite"),
        (-(10**400), "not_finite"),
    ],
)  # fmt: skip
def test_a_value_is_a_finite_number(value: Any, why: str | None) -> None:
    assert reason(value=value) == why


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("metric", ..., "missing_metric"), ("metric", "", "missing_metric"), ("metric", None, "missing_metric"),
        ("metric", 7, "invalid_metric"), ("metric", "x" * 300, "invalid_metric"),
        ("metric", "\ud800", "invalid_metric"),
        ("value", ..., "missing_value"),
        ("ts", 0, None), ("ts", None, None), ("ts", 1.7e12, None), ("ts", -1, "negative_time"),
        ("ts", -0.5, "not_an_instant"), ("ts", "now", "not_an_instant"), ("ts", True, "not_an_instant"),
        ("ts", math.nan, "not_an_instant"), ("ts", 10**400, "not_an_instant"), ("ts", 10**17, "future"),
        ("sla", "api", None), ("sla", None, None), ("sla", "", "invalid_sla"), ("sla", 3, "invalid_sla"),
        ("labels", {"region": "eu"}, None), ("labels", {"n": 1}, "invalid_labels"), ("labels", [], "invalid_labels"),
        ("labels", {str(n): "" for n in range(100)}, "invalid_labels"), ("labels", {"a": "\udfff"}, "invalid_labels"),
    ],
)  # fmt: skip
def test_a_field_of_a_sample_is_checked(field: str, value: Any, why: str | None) -> None:
    assert reason(**{field: value}) == why


def test_the_good_ones_of_a_batch_are_kept_with_their_places() -> None:
    body = b"""{"batch_id": "b1", "samples": [
        {"metric": "a", "value": 1}, {"metric": "a", "value": NaN}, {"metric": "a", "value": Infinity}, 7,
        {"metric": "b", "value": 2, "ts": 1700000000000, "sla": "api", "labels": {"x": "y"}, "unit": "ms"}]}"""
    batch = parse_batch(body, "application/json; charset=utf-8")
    assert batch.samples == [["a", 1.0, None, None, None], ["b", 2.0, 1700000000000, "api", {"x": "y"}]]
    assert batch.places == [0, 4]
    assert batch.rejected == [(1, "not_finite"), (2, "not_finite"), (3, "not_a_sample")]
    assert batch.batch_id == "b1"


def test_an_integer_of_a_million_digits_is_refused_quickly_and_alone() -> None:
    body = b'{"samples": [{"metric": "a", "value": %s}, {"metric": "a", "value": 1}]}' % (b"9" * 1_000_000)
    batch = parse_batch(body, "application/json")
    assert batch.rejected == [(0, "not_finite")]
    assert len(batch.samples) == 1


def test_a_body_without_a_content_type_is_json() -> None:
    assert len(parse_batch(of_json({"metric": "a", "value": 1}), "").samples) == 1


def test_ndjson_is_a_sample_a_line_and_a_broken_line_is_one_sample() -> None:
    body = b'{"metric": "a", "value": 1}\n\nnot json\r\n{"metric": "a", "value": 2}'
    batch = parse_batch(body, "application/x-ndjson", "b7")
    assert [row[1] for row in batch.samples] == [1.0, 2.0]
    assert (batch.places, batch.rejected, batch.batch_id) == ([0, 2], [(1, "not_json")], "b7")


def test_msgpack_has_the_shape_of_json() -> None:
    samples = [
        {"metric": "a", "value": 1},
        {"metric": b"a", "value": 1},
        {"metric": "a", "value": math.nan},
        {"metric": "a", "value": msgpack.Timestamp(1)},
    ]
    batch = parse_batch(msgpack.packb({"samples": samples, "batch_id": "b"}), "application/msgpack")
    assert batch.samples == [["a", 1.0, None, None, None]]
    assert batch.rejected == [(1, "invalid_metric"), (2, "not_finite"), (3, "not_a_number")]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400), (b"{", "application/json", 400), (b"[]", "application/json", 400),
        (b"{}", "application/json", 400), (b'{"samples": {}}', "application/json", 400),
        (b'"\xff"', "application/json", 400), (b"[" * 100_000, "application/json", 400),
        (b'{"samples": [], "batch_id": 7}', "application/json", 400),
        (b'{"samples": [], "batch_id": ""}', "application/json", 400),
        (b"\xc1", "application/msgpack", 400), (b"\x93\x01", "application/msgpack", 400),
        (b"\x91" * 5000, "application/msgpack", 400), (b"\x81\x90\x01", "application/msgpack", 400),
        (msgpack.packb({"samples": []}) + b"x", "application/msgpack", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_read_is_refused_as_a_whole(
    body: bytes, content_type: str, status: int
) -> None:
    with pytest.raises(BadBatch) as caught:
        parse_batch(body, content_type)
    assert caught.value.status == status
    assert caught.value.reason


@given(
    st.binary(max_size=200),
    st.sampled_from(["application/json", "application/x-ndjson", "application/msgpack"]),
)
def test_no_body_does_more_than_be_refused(body: bytes, content_type: str) -> None:
    try:
        batch = parse_batch(body, content_type)
    except BadBatch:
        return
    assert len(batch.samples) == len(batch.places)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from(["metric", "value", "ts", "sla", "labels"]), _JSON) | _JSON))
def test_whatever_is_taken_can_be_sent_on(samples: list[Any]) -> None:
    batch = parse_batch(of_json(*samples), "application/json")
    msgpack.packb(batch.samples)
    assert sorted([*batch.places, *(index for index, _ in batch.rejected)]) == list(range(len(samples)))
    assert all(math.isfinite(row[1]) for row in batch.samples)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (msgpack.packb({"samples": [None] * 350_000}), "application/msgpack"),
        (b"1\n" * 350_000, "application/x-ndjson"),
    ],
)
def test_a_body_of_more_samples_than_can_be_meant_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(BadBatch) as caught:
        parse_batch(body, content_type)
    assert caught.value.status == 413
