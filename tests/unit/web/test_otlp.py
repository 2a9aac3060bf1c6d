"""OTLP metrics become batches."""

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import SummaryDataPoint

from slakeeper.web import otlp
from slakeeper.web.ingest import MAX_BATCH_SAMPLES, MAX_LABELS, BadBatch, Batch
from slakeeper.web.intake import Taken

NOW = 1_700_000_000_000
AT = {"timeUnixNano": str(NOW * 1_000_000 + 999_999)}


def attributes(**values: Any) -> list[dict[str, Any]]:
    return [{"key": name.replace("_", "."), "value": value} for name, value in values.items()]


def request(*metrics: dict[str, Any], **resource: Any) -> dict[str, Any]:
    scope = {"scopeMetrics": [{"metrics": list(metrics)}]}
    return {"resourceMetrics": [{"resource": {"attributes": attributes(**resource)}, **scope}]}


def read(document: dict[str, Any]) -> Batch:
    """The batch, which is the same from both forms."""
    text = json.dumps(document)
    batch = otlp.read_metrics(text.encode(), as_json=True)
    message = json_format.Parse(text, ExportMetricsServiceRequest())
    assert otlp.read_metrics(message.SerializeToString(), as_json=False) == batch
    return batch


def test_gauges_and_sums_are_their_values_with_the_labels_of_point_and_resource() -> None:
    labelled = attributes(route={"stringValue": "/"}, code={"intValue": "200"})
    gauge = {"name": "latency", "gauge": {"dataPoints": [{**AT, "asDouble": 1.5, "attributes": labelled}]}}
    total = {
        "name": "hits",
        "sum": {"aggregationTemporality": 1, "isMonotonic": True, "dataPoints": [{**AT, "asInt": "7"}]},
    }
    batch = read(request(gauge, total, service_name={"stringValue": "shop"}, canary={"boolValue": True}))
    resource = {"service.name": "shop", "canary": "true"}
    assert batch.samples == [
        ["latency", 1.5, NOW, None, {**resource, "route": "/", "code": "200"}],
        ["hits", 7.0, NOW, None, resource],
    ]
    assert (batch.places, batch.rejected) == ([0, 1], [])


def test_a_histogram_is_its_count_and_sum_and_extremes_of_one_place() -> None:
    point = {**AT, "count": "4", "sum": 10.0, "max": 6.0, "bucketCounts": ["4"]}
    batch = read(
        request({"name": "latency", "histogram": {"aggregationTemporality": 1, "dataPoints": [point]}})
    )
    assert [sample[:2] for sample in batch.samples] == [
        ["latency.count", 4.0],
        ["latency.sum", 10.0],
        ["latency.max", 6.0],
    ]
    assert batch.places == [0, 0, 0]
    exponential = {"name": "e", "exponentialHistogram": {"dataPoints": [{**AT, "count": "2"}]}}
    assert [sample[:2] for sample in read(request(exponential)).samples] == [["e.count", 2.0]]


def test_a_summary_has_its_quantiles() -> None:
    point = {**AT, "count": "4", "sum": 10.0, "quantileValues": [{"quantile": 0.99, "value": 9.0}]}
    batch = read(request({"name": "latency", "summary": {"dataPoints": [point]}}))
    assert [sample[:2] for sample in batch.samples] == [
        ["latency.count", 4.0], ["latency.sum", 10.0], ["latency.p99", 9.0],
    ]  # fmt: skip


def test_each_bad_point_is_refused_alone() -> None:
    points = [{**AT, "asDouble": "NaN"}, {"asDouble": 1}, {**AT}, {**AT, "flags": 1}, {**AT, "asDouble": 2}]
    batch = read(
        request(
            {"name": "g", "gauge": {"dataPoints": points}},
            {"gauge": {"dataPoints": [{**AT, "asInt": 1}]}},
            {"name": "empty"},
        )
    )
    assert batch.rejected == [
        (0, "not_finite"), (1, "missing_time"), (2, "missing_value"), (3, "stale"), (5, "missing_metric"),
    ]  # fmt: skip
    assert [sample[1] for sample in batch.samples] == [2.0]


def test_the_labels_that_a_small_body_can_mean_are_bounded() -> None:
    points = [{**AT, "asInt": "1"}] * 1_000
    resource = {f"a{number}": {"stringValue": "x" * 250} for number in range(60)}
    with pytest.raises(BadBatch) as caught:
        otlp.read_metrics(
            json.dumps(request({"name": "g", "gauge": {"dataPoints": points}}, **resource)).encode(),
            as_json=True,
        )
    assert caught.value.status == 413


def test_the_points_that_a_small_body_can_mean_are_bounded() -> None:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    sent = ExportMetricsServiceRequest()
    points = sent.resource_metrics.add().scope_metrics.add().metrics.add(name="g").gauge.data_points
    for _ in range(350_000):
        points.add()
    with pytest.raises(BadBatch) as caught:
        otlp.read_metrics(sent.SerializeToString(), as_json=False)
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"resourceMetrics": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"gauge": {"dataPoints": [{"asInt": "x"}]}}]}]}]}',
    ],
)
def test_what_is_no_request_in_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadBatch):
        otlp.read_metrics(body, as_json=True)


@pytest.mark.parametrize(
    "resources",
    [
        [{}] * 500,
        [{"scopeMetrics": [{}] * 500}],
        [{"scopeMetrics": [{"metrics": [{}] * 500}]}],
        [{"scopeMetrics": [{"metrics": [{"name": "m", "gauge": {}}] * 500}]}],
    ],
    ids=["resources", "scopes", "metrics", "gauges"],
)
def test_what_holds_no_point_costs_as_much_as_one(resources: list[Any]) -> None:
    batch = read({"resourceMetrics": resources})
    assert (batch.samples, batch.cost) == ([], 500)


def test_attributes_that_are_too_many_cost_what_they_are() -> None:
    point = {**AT, "asDouble": 1.0, "attributes": [{"key": "k"}] * 6_500}
    batch = read(request({"name": "m", "gauge": {"dataPoints": [point]}}))
    assert batch.cost == 1 + 6_500 // (MAX_LABELS + 1)


def test_a_summary_with_a_great_many_quantiles_is_refused() -> None:
    message = ExportMetricsServiceRequest()
    point = message.resource_metrics.add().scope_metrics.add().metrics.add(name="m").summary.data_points.add()
    point.time_unix_nano = NOW * 1_000_000
    point.quantile_values.extend([SummaryDataPoint.ValueAtQuantile()] * (MAX_BATCH_SAMPLES + 1))
    with pytest.raises(BadBatch) as refused:
        otlp.read_metrics(message.SerializeToString(), as_json=False)
    assert (refused.value.status, refused.value.cost) == (413, MAX_BATCH_SAMPLES)


def test_a_json_body_of_a_great_many_objects_is_not_even_read() -> None:
    body = b'{"resourceMetrics":[' + b"{}," * otlp.MAX_JSON_OBJECTS + b"{}]}"
    with pytest.raises(BadBatch, match="objects") as refused:
        otlp.read_metrics(body, as_json=True)
    assert refused.value.status == 413


def test_unknown_fields_are_passed_over() -> None:
    assert otlp.read_metrics(b'{"future": {"x": 1}, "resourceMetrics": []}', as_json=True) == Batch()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_batch_or_refused(body: bytes) -> None:
    try:
        otlp.read_metrics(body, as_json=False)
    except BadBatch:
        return


def test_what_was_not_taken_is_told_in_the_senders_form() -> None:
    taken = Taken(1, [(0, "unknown_metric"), (2, "unknown_metric"), (3, "stale")])
    message = ExportMetricsServiceResponse.FromString(otlp.answer(taken, as_json=False))
    assert message.partial_success.rejected_data_points == 3
    assert message.partial_success.error_message == "2 unknown_metric, 1 stale"
    assert json_format.Parse(otlp.answer(taken, as_json=True), ExportMetricsServiceResponse()) == message
    assert otlp.answer(Taken(1, []), as_json=False) == b""
    assert otlp.answer(Taken(1, []), as_json=True) == b"{}"


def test_a_failure_is_a_status_with_a_message() -> None:
    from google.rpc.status_pb2 import Status

    text = "x" * 200 + " – why"
    assert Status.FromString(otlp.failure(text, as_json=False)) == Status(message=text)
    assert json.loads(otlp.failure(text, as_json=True)) == {"message": text}


def test_infinite_sums_are_left_to_the_cell() -> None:
    point = {**AT, "count": "1", "sum": "Infinity"}
    batch = read(request({"name": "h", "histogram": {"dataPoints": [point]}}))
    assert math.isinf(batch.samples[1][1])
