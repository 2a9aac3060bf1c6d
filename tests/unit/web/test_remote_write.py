"""WriteRequests become batches."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper.web.ingest import BYTES_A_SAMPLE, MAX_BATCH_SAMPLES, MAX_LABELS, BadBatch
from slakeeper.web.remote_write import read_write_request
from tests.unit.web.remote_write import STALE, delimited, packed, series

NOW = 1_700_000_000_000


def test_the_name_is_the_metric_and_the_rest_are_labels() -> None:
    body = packed(
        series({"__name__": "up", "job": "api"}, [(1.0, NOW), (0.0, NOW + 5)]),
        series({"__name__": "load"}, [(2.5, -1)]),
    )
    batch = read_write_request(body)
    assert batch.samples == [
        ["up", 1.0, NOW, None, {"job": "api"}],
        ["up", 0.0, NOW + 5, None, {"job": "api"}],
        ["load", 2.5, -1, None, None],
    ]
    assert (batch.places, batch.rejected) == ([0, 1, 2], [])


def test_what_is_no_value_is_left_out_with_its_reason() -> None:
    values = [(STALE, NOW), (math.nan, NOW), (math.inf, NOW), (1.0, NOW)]
    histogram = delimited(4, b"\x01\x02")
    batch = read_write_request(
        packed(series({"__name__": "up"}, values, histogram), series({"job": "x"}, [(1.0, NOW)]))
    )
    assert batch.rejected == [
        (0, "stale"), (1, "not_finite"), (2, "not_finite"), (4, "native_histogram"), (5, "missing_metric"),
    ]  # fmt: skip
    assert [sample[1] for sample in batch.samples] == [1.0]


def test_long_labels_are_left_out_and_too_many_refused() -> None:
    labels = {"__name__": "up", "short": "x", "long": "y" * 1_000}
    many = {"__name__": "up", **{f"l{number}": "" for number in range(100)}}
    batch = read_write_request(packed(series(labels, [(1.0, NOW)]), series(many, [(1.0, NOW)])))
    assert batch.samples == [["up", 1.0, NOW, None, {"short": "x"}]]
    assert batch.rejected == [(1, "invalid_labels")]


@pytest.mark.parametrize(
    "content", [b"\xff", b"\x0a\x05ab", delimited(1, delimited(1, delimited(1, b"\xff\xfe")))]
)
def test_what_is_no_write_request_is_refused(content: bytes) -> None:
    import cramjam

    with pytest.raises(BadBatch, match="not a WriteRequest"):
        read_write_request(bytes(cramjam.snappy.compress_raw(content)))


def test_series_without_a_sample_cost_as_much_as_samples() -> None:
    batch = read_write_request(packed(*[series({}, [])] * 1_000, series({"__name__": "up"}, [(1.0, NOW)])))
    assert (len(batch.samples), batch.cost) == (1, 1_001)


def test_labels_that_are_too_many_cost_what_they_are() -> None:
    batch = read_write_request(packed(series({}, [(1.0, NOW)], delimited(1, b"") * 65_000)))
    assert batch.cost == 1 + 65_000 // (MAX_LABELS + 1)


def test_a_small_body_of_a_great_many_series_is_refused_and_paid_for() -> None:
    body = packed(*[series({}, [])] * (MAX_BATCH_SAMPLES + 1))
    assert len(body) < 64 * 1024
    with pytest.raises(BadBatch, match="empty series") as refused:
        read_write_request(body)
    assert (refused.value.status, refused.value.cost) == (413, MAX_BATCH_SAMPLES)


def test_bytes_that_mean_nothing_cost_by_their_number() -> None:
    batch = read_write_request(packed(delimited(9, bytes(1_000 * BYTES_A_SAMPLE))))
    assert (batch.samples, batch.cost) == ([], 1_000)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_batch_or_refused(content: bytes) -> None:
    import cramjam

    for body in (content, bytes(cramjam.snappy.compress_raw(content))):
        try:
            read_write_request(body)
        except BadBatch:
            continue


def test_a_small_body_that_means_many_samples_is_refused() -> None:
    import cramjam

    nothing = delimited(
        1, delimited(1, delimited(1, b"__name__") + delimited(2, b"up")) + b"\x12\x00" * 350_000
    )
    body = bytes(cramjam.snappy.compress_raw(nothing))
    assert len(body) < 50_000
    with pytest.raises(BadBatch) as caught:
        read_write_request(body)
    assert caught.value.status == 413
