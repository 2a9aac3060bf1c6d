"""Samples over HTTP: bodies become samples, each checked by itself: a bad one spoils nothing but itself."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import msgpack

from slakeeper.web.body import MAX_BODY_BYTES

JSON_TYPES = frozenset({"application/json", "text/json"})
NDJSON_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
MSGPACK_TYPES = frozenset({"application/msgpack", "application/x-msgpack", "application/vnd.msgpack"})

MAX_NAME_CHARS = 256
MAX_BATCH_ID_CHARS = 128
# What Kubernetes puts on a series can be forty.
MAX_LABELS = 64

# As many as a body can hold of the shortest samples in JSON, {"metric":"a","value":1}. In other forms, and packed, a
# sample may be two bytes of nothing: what a small body means is bounded before it fills the gateway and a cell's turn.
MAX_BATCH_SAMPLES = MAX_BODY_BYTES // 24

# So many bytes of a body, unpacked, cost as much to read as a sample: as many as one has that is rich in labels.
BYTES_A_SAMPLE = 1024

# The last instant that datetime can show, year 9999; also well within what a float counts exactly.
MAX_TS_MS = 253_402_300_799_999

# An integer with more digits than the largest float has is none of ours; reading it would take long, too.
_MAX_INT_DIGITS = 310

# [metric, value, ts_ms | None, sla | None, labels | None]
Sample = list[Any]


class BadBatch(Exception):
    """The body as a whole is not understood: HTTP status, the reason, and what reading it has cost [samples]."""

    def __init__(self, reason: str, status: int = 400, cost: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        self.cost = cost


@dataclass
class Batch:
    """What a body held.

    Attributes:
        samples: the good ones.
        places: the index in the body of each of ``samples``.
        rejected: (index, reason) of the others.
        batch_id: the sender's, None without one.
        hollow: what was read and holds no sample: series, metrics, resources, and each 64 attributes.
        content_bytes: of the body, unpacked; 0 if it was not packed.
    """

    samples: list[Sample] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    rejected: list[tuple[int, str]] = field(default_factory=list)
    batch_id: str | None = None
    hollow: int = 0
    content_bytes: int = field(default=0, compare=False)  # of how it was written down, not of what it says

    @property
    def cost(self) -> int:
        """What it has cost to read [samples]."""
        parts = len(self.samples) + len(self.rejected) + self.hollow
        return max(parts, self.content_bytes // BYTES_A_SAMPLE)

    def check_size(self) -> None:
        """Refuses a batch that grows too large, while it is read.

        Raises:
            BadBatch: 413.
        """
        check_count(len(self.samples) + len(self.rejected) + self.hollow)


def check_count(parts: int) -> None:
    """Refuses so many samples, or so many of what may hold some.

    Raises:
        BadBatch: 413.
    """
    if parts > MAX_BATCH_SAMPLES:
        text = f"there are more than {MAX_BATCH_SAMPLES} samples, or empty series, in one body"
        raise BadBatch(text, 413, MAX_BATCH_SAMPLES)


def parse_batch(body: bytes, content_type: str, batch_id: str | None = None) -> Batch:
    """Reads a body by its content type: JSON (also without a type), NDJSON, msgpack.

    Args:
        body: ``{"samples": [...], "batch_id"?}``, or for NDJSON a sample a line.
        content_type: the header, parameters and all.
        batch_id: of the query; one in the body goes before it.

    Raises:
        BadBatch: it cannot be read at all (400), is of another type (415), or has too many samples (413).
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in NDJSON_TYPES:
        batch = Batch(batch_id=_checked_batch_id(batch_id))
        lines = [line for line in body.split(b"\n") if line.strip()]
        check_count(len(lines))
        for index, line in enumerate(lines):
            try:
                item = _read_json(line)
            except (ValueError, RecursionError):
                batch.rejected.append((index, "not_json"))
            else:
                _add_all(batch, [(index, item)])
        return batch
    if kind in MSGPACK_TYPES:
        document = _document(_read_msgpack, body, "msgpack")
    elif kind in JSON_TYPES or not kind:
        document = _document(_read_json, body, "JSON")
    else:
        raise BadBatch(f"content type {kind} is none of JSON, NDJSON, msgpack", 415)
    given = document.get("batch_id")
    batch = Batch(batch_id=_checked_batch_id(batch_id if given is None else given))
    samples = document.get("samples")
    if not isinstance(samples, list):
        raise BadBatch('"samples" is missing or not a list')
    check_count(len(samples))
    _add_all(batch, enumerate(samples))
    return batch


def check_value(value: Any) -> str | float:
    """A sample's value as a float, or the reason why it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not_a_number"
    try:
        number = float(value)
    except OverflowError:
        return "not_finite"
    return number if math.isfinite(number) else "not_finite"


def is_text(value: Any, limit: int) -> TypeGuard[str]:
    """Whether it is a text of at most ``limit`` characters that UTF-8 can carry (JSON can spell half a character)."""
    if not isinstance(value, str) or len(value) > limit:
        return False
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _add_all(batch: Batch, items: Iterable[tuple[int, Any]]) -> None:
    """Takes samples, each with its place in the body, or notes why not."""
    samples, places = batch.samples, batch.places
    for index, item in items:
        checked = _check_sample(item)
        if type(checked) is list:
            samples.append(checked)
            places.append(index)
        else:
            batch.rejected.append((index, str(checked)))


def _check_sample(item: Any) -> str | Sample:
    if not isinstance(item, dict):
        return "not_a_sample"
    metric = item.get("metric")
    # What nearly every name and value is comes first: this runs for every sample there is.
    if not (type(metric) is str and 0 < len(metric) <= MAX_NAME_CHARS and metric.isascii()):
        if metric is None or metric == "":
            return "missing_metric"
        if not is_text(metric, MAX_NAME_CHARS):
            return "invalid_metric"
    value = item.get("value")
    if not (type(value) is float and math.isfinite(value)):
        if "value" not in item:
            return "missing_value"
        value = check_value(value)
        if isinstance(value, str):
            return value
    ts_ms = item.get("ts")
    if ts_ms is not None:
        number = check_value(ts_ms)
        if isinstance(number, str) or (isinstance(ts_ms, float) and not ts_ms.is_integer()):
            return "not_an_instant"
        if ts_ms < 0:
            return "negative_time"
        if ts_ms > MAX_TS_MS:
            return "future"
        ts_ms = int(ts_ms)
    sla = item.get("sla")
    if sla is not None and not (sla and is_text(sla, MAX_NAME_CHARS)):
        return "invalid_sla"
    labels = item.get("labels")
    if labels is not None and not _are_labels(labels):
        return "invalid_labels"
    return [metric, value, ts_ms, sla, labels]


def _are_labels(labels: Any) -> bool:
    return (
        isinstance(labels, dict)
        and len(labels) <= MAX_LABELS
        and all(is_text(part, MAX_NAME_CHARS) for pair in labels.items() for part in pair)
    )


def _checked_batch_id(batch_id: Any) -> str | None:
    if batch_id is None:
        return None
    if not batch_id or not is_text(batch_id, MAX_BATCH_ID_CHARS):
        raise BadBatch(f'"batch_id" is not a text of 1 to {MAX_BATCH_ID_CHARS} characters')
    return batch_id


def _document(read: Any, body: bytes, name: str) -> Mapping[str, Any]:
    try:
        document = read(body)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise BadBatch(f"the body is not {name}: {error}") from error
    if not isinstance(document, dict):
        raise BadBatch(f'the body is not a {name} object with "samples"')
    return document


def _read_json(text: bytes) -> Any:
    # NaN and Infinity, which Python reads and JSON does not have, become floats and are rejected one by one.
    return json.loads(text, parse_int=_int)


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _MAX_INT_DIGITS else math.inf


def _read_msgpack(data: bytes) -> Any:
    return msgpack.unpackb(data, raw=False)
