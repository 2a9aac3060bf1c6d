"""OTLP metrics: an ExportMetricsServiceRequest becomes a batch, and what became of it an answer in the same form.

A gauge or a sum is one sample. A histogram is ``NAME.count`` and ``NAME.sum``, and ``NAME.min`` and ``NAME.max`` where
the sender knows them; a summary also ``NAME.p99`` for each of its quantiles. Quantiles are not guessed from buckets:
nobody should owe money for a figure that was interpolated. Nothing is imported before the first request.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sized
from typing import Any

from slakeeper.web.body import MAX_BODY_BYTES
from slakeeper.web.ingest import BYTES_A_SAMPLE, JSON_TYPES, MAX_LABELS, MAX_NAME_CHARS, BadBatch, Batch
from slakeeper.web.intake import Taken
from slakeeper.web.unpack import MAX_UNPACKED_BYTES

PROTOBUF_TYPE = "application/x-protobuf"
JSON_TYPE = "application/json"

NS_PER_MS = 1_000_000

# Characters of labels in one batch. A resource's attributes belong to each of its points: a small body can mean many.
MAX_LABEL_CHARS = MAX_BODY_BYTES

# Each costs some 5 us to read, also an empty one of three bytes; of those that mean something few are as short as this.
MAX_JSON_OBJECTS = MAX_UNPACKED_BYTES // 24

# DataPointFlags.FLAG_NO_RECORDED_VALUE: the series has ended.
_NO_VALUE = 1

# Field 2, of type string, of google.rpc.Status.
_STATUS_MESSAGE_TAG = b"\x12"


def is_json(content_type: str) -> bool:
    """Which of the two forms a body has.

    Raises:
        BadBatch: 415, neither.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in JSON_TYPES:
        return True
    if kind != PROTOBUF_TYPE:
        raise BadBatch(f"content type {kind or 'none'} is neither {PROTOBUF_TYPE} nor {JSON_TYPE}", 415)
    return False


def read_metrics(body: bytes, *, as_json: bool) -> Batch:
    """The points of a body; the place of a sample in the batch is that of its point.

    Raises:
        BadBatch: it is no request of this kind, or has too many samples or labels (413).
        ModuleNotFoundError: the extra ``ingest`` is not installed.
    """
    batch = Batch(content_bytes=len(body))
    place = 0
    room = MAX_LABEL_CHARS
    for metric, resource in _metrics(_request(body, as_json=as_json), batch):
        kind = metric.WhichOneof("data")
        points = getattr(metric, kind).data_points if kind else ()
        _pass(batch, is_hollow=not points)
        for point in points:
            _pass(batch, point.attributes)
            labels = {**resource, **dict(_labels(point.attributes))}
            room -= sum(len(name) + len(text) for name, text in labels.items())
            if room < 0:
                text = f"the labels of all points have more than {MAX_LABEL_CHARS} characters"
                raise BadBatch(text, 413, batch.cost)
            refused = _refusal(metric.name, point, labels)
            if refused is None:
                at_ms = point.time_unix_nano // NS_PER_MS
                for name, value in _values(metric.name, kind, point):
                    batch.samples.append([name, value, at_ms, None, labels or None])
                    batch.places.append(place)
                    batch.check_size()
            else:
                batch.rejected.append((place, refused))
            place += 1
            batch.check_size()
    return batch


def answer(taken: Taken, *, as_json: bool) -> bytes:
    """The body of an ExportMetricsServiceResponse; says nothing when every point was taken."""
    text = ", ".join(
        f"{count} {reason}" for reason, count in Counter(reason for _, reason in taken.rejected).most_common()
    )
    if as_json:
        partial = {"rejectedDataPoints": str(len(taken.rejected)), "errorMessage": text}
        return json.dumps({"partialSuccess": partial} if taken.rejected else {}).encode()
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

    response = ExportMetricsServiceResponse()
    if taken.rejected:
        response.partial_success.rejected_data_points = len(taken.rejected)
        response.partial_success.error_message = text
    return response.SerializeToString()


def failure(reason: str, *, as_json: bool) -> bytes:
    """The body of an answer 4xx or 5xx: a google.rpc.Status with a message."""
    if as_json:
        return json.dumps({"message": reason}).encode()
    text = reason.encode()
    return _STATUS_MESSAGE_TAG + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number > 0x7F:
        digits.append(number & 0x7F | 0x80)
        number >>= 7
    digits.append(number)
    return bytes(digits)


def _request(body: bytes, *, as_json: bool) -> Any:
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    if not as_json:
        try:
            return ExportMetricsServiceRequest.FromString(body)
        except DecodeError as error:
            text = f"the body is not an ExportMetricsServiceRequest: {error}"
            raise BadBatch(text, cost=len(body) // BYTES_A_SAMPLE) from error
    if body.count(b"{") > MAX_JSON_OBJECTS:
        raise BadBatch(f"there are more than {MAX_JSON_OBJECTS} objects in one body", 413)
    try:
        return json_format.Parse(body, ExportMetricsServiceRequest(), ignore_unknown_fields=True)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        text = f"the body is not an ExportMetricsServiceRequest in JSON: {error}"
        raise BadBatch(text, cost=max(body.count(b"{"), len(body) // BYTES_A_SAMPLE)) from error


def _metrics(request: Any, batch: Batch) -> Iterator[tuple[Any, Mapping[str, str]]]:
    """Each metric with the labels of what it was measured at."""
    for resource in request.resource_metrics:
        _pass(batch, resource.resource.attributes, is_hollow=not resource.scope_metrics)
        labels = dict(_labels(resource.resource.attributes))
        for scope in resource.scope_metrics:
            _pass(batch, is_hollow=not scope.metrics)
            for metric in scope.metrics:
                yield metric, labels


def _pass(batch: Batch, attributes: Sized = (), *, is_hollow: bool = False) -> None:
    """Counts what holds nothing, and attributes when there are more of them than a sample may have."""
    batch.hollow += is_hollow + len(attributes) // (MAX_LABELS + 1)
    batch.check_size()


def _labels(attributes: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Attributes with a plain value, as text; without those that are longer than a contract could ask for."""
    for attribute in attributes:
        kind = attribute.value.WhichOneof("value")
        if kind not in {"string_value", "bool_value", "int_value", "double_value"}:
            continue
        value = getattr(attribute.value, kind)
        text = str(value).lower() if kind == "bool_value" else str(value)
        if len(attribute.key) <= MAX_NAME_CHARS and len(text) <= MAX_NAME_CHARS:
            yield attribute.key, text


def _refusal(name: str, point: Any, labels: Mapping[str, str]) -> str | None:
    if not name:
        return "missing_metric"
    if len(name) > MAX_NAME_CHARS:
        return "invalid_metric"
    if point.flags & _NO_VALUE:
        return "stale"
    if not point.time_unix_nano:
        return "missing_time"
    if len(labels) > MAX_LABELS:
        return "invalid_labels"
    kind = point.WhichOneof("value") if "value" in point.DESCRIPTOR.oneofs_by_name else "count"
    if kind is None:
        return "missing_value"
    return None if math.isfinite(getattr(point, kind)) else "not_finite"


def _values(name: str, kind: str, point: Any) -> Iterator[tuple[str, float]]:
    if kind in {"gauge", "sum"}:
        yield name, float(getattr(point, point.WhichOneof("value")))
        return
    yield f"{name}.count", float(point.count)
    if kind == "summary":
        yield f"{name}.sum", point.sum
        for each in point.quantile_values:
            yield f"{name}.p{each.quantile * 100:g}", each.value
        return
    for part in ("sum", "min", "max"):
        if point.HasField(part):
            yield f"{name}.{part}", getattr(point, part)
