"""Prometheus' remote write 1.0: a WriteRequest becomes a batch.

The message is described here, field by field, and read by protobuf's own C parser; see ADR 29. Nothing is imported
before the first request.
"""

import functools
import math
import struct
from typing import Any

from slakeeper.web.ingest import BYTES_A_SAMPLE, MAX_LABELS, MAX_NAME_CHARS, BadBatch, Batch, check_count
from slakeeper.web.unpack import unsnap

CONTENT_TYPE = "application/x-protobuf"

METRIC_LABEL = "__name__"

# Reasons that are the sender's mistake, of which a Prometheus server's log should speak; the others are choices.
MISTAKES = frozenset(
    {"missing_metric", "invalid_metric", "negative_time", "not_an_instant", "future", "too_old"}
)

# What Prometheus writes when a series has ended: a NaN with these bits.
_STALE = struct.pack("<Q", 0x7FF0000000000002)

_PACKAGE = "slakeeper.remote_write"

# (message, ((field, number, type, is repeated), …)); prometheus/prompb types.proto and remote.proto. Fields that are
# not named here, as metadata and exemplars, are passed over. A histogram is not looked into, only counted.
_MESSAGES = (
    ("Label", (("name", 1, "STRING", False), ("value", 2, "STRING", False))),
    ("Sample", (("value", 1, "DOUBLE", False), ("timestamp", 2, "INT64", False))),
    (
        "TimeSeries",
        (("labels", 1, "Label", True), ("samples", 2, "Sample", True), ("histograms", 4, "BYTES", True)),
    ),
    ("WriteRequest", (("timeseries", 1, "TimeSeries", True),)),
)


@functools.cache
def _write_request() -> Any:
    """The class of the outermost message."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field_type = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="slakeeper/remote_write.proto", package=_PACKAGE, syntax="proto3"
    )
    for message, fields in _MESSAGES:
        described = file.message_type.add(name=message)
        for name, number, kind, is_repeated in fields:
            field = described.field.add(
                name=name,
                number=number,
                label=field_type.LABEL_REPEATED if is_repeated else field_type.LABEL_OPTIONAL,
            )
            if kind.isupper():
                field.type = field_type.Type.Value(f"TYPE_{kind}")
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.WriteRequest"))


def read_write_request(body: bytes) -> Batch:
    """The samples of a body, a snappy block that holds a WriteRequest.

    Raises:
        BadBatch: it is none, or has too many samples or series (413).
        ModuleNotFoundError: the extra ``ingest`` is not installed.
    """
    from google.protobuf.message import DecodeError

    message = _write_request()
    content = unsnap(body)
    try:
        request = message.FromString(content)
    except DecodeError as error:
        cost = len(content) // BYTES_A_SAMPLE
        raise BadBatch(f"the body is not a WriteRequest: {error}", cost=cost) from error
    check_count(len(request.timeseries))
    batch = Batch(content_bytes=len(content))
    place = 0
    for series in request.timeseries:
        if not series.samples and not series.histograms:
            batch.hollow += 1
            continue
        batch.hollow += len(series.labels) // (MAX_LABELS + 1)
        labels = {label.name: label.value for label in series.labels}
        metric = labels.pop(METRIC_LABEL, "")
        refused = _refusal(metric, labels)
        carried = short_labels(labels)
        for sample in series.samples:
            value = sample.value
            why = refused or _value_refusal(value)
            if why is None:
                batch.samples.append([metric, value, sample.timestamp, None, carried])
                batch.places.append(place)
            else:
                batch.rejected.append((place, why))
            place += 1
            batch.check_size()
        for _ in series.histograms:
            batch.rejected.append((place, "native_histogram"))
            place += 1
            batch.check_size()
    return batch


def short_labels(labels: dict[str, str]) -> dict[str, str] | None:
    """Labels without those that are longer than a contract could ask for; None without any."""
    kept = {
        name: text
        for name, text in labels.items()
        if len(name) <= MAX_NAME_CHARS and len(text) <= MAX_NAME_CHARS
    }
    return kept or None


def _refusal(metric: str, labels: dict[str, str]) -> str | None:
    if not metric:
        return "missing_metric"
    if len(metric) > MAX_NAME_CHARS:
        return "invalid_metric"
    return "invalid_labels" if len(labels) > MAX_LABELS else None


def _value_refusal(value: float) -> str | None:
    if math.isfinite(value):
        return None
    return "stale" if struct.pack("<d", value) == _STALE else "not_finite"
