"""Peers that lie: whatever comes, a poll ends in time, takes little memory and says what was wrong."""

import gzip
import json
import math
import time
import tracemalloc
from typing import Any

import pytest

from slakeeper.integrations.http_client import ANSWER_LIMIT
from slakeeper.integrations.source import Poller, Reading, open_source
from slakeeper.sla.monitoring import CustomSource, HttpSource, PrometheusSource
from tests.unit.integrations.asking import ask
from tests.unit.integrations.fake_http import Behaviour, Drip, FakeServer, Flood, Reply, Request

MIB = 2**20
TIMEOUT_MS = 500
# Of a machine that does other things as well: a peer that is not bounded holds a poll for minutes.
WITHIN_S = 20.0

QUERY = {"prometheus": "up", "custom": "/value", "http": "up"}
KINDS = tuple(QUERY)


def open_kind(kind: str, url: str) -> Poller:
    if kind == "prometheus":
        return open_source("peer", PrometheusSource(type="prometheus", url=url, timeout=TIMEOUT_MS))
    if kind == "custom":
        return open_source("peer", CustomSource(type="custom", url=url, timeout=TIMEOUT_MS))
    return open_source("peer", HttpSource(type="http", url=url, timeout=TIMEOUT_MS))


def polled(kind: str, behaviour: Behaviour) -> tuple[Reading, float, int]:
    """What a source made of it, how long that took [s], and the most memory that it took [bytes]."""
    with FakeServer(lambda _: behaviour) as server:
        poller = open_kind(kind, server.url)
        ask(poller, QUERY[kind])  # what is loaded with the first poll is no memory of an answer
        tracemalloc.start()
        try:
            began_s = time.monotonic()
            reading = ask(poller, QUERY[kind])
            return reading, time.monotonic() - began_s, tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


def is_bad(kind: str, reading: Reading) -> bool:
    return reading.value == 0.0 if kind == "http" else reading.value is None and bool(reading.error)


def bomb(mebibytes: int) -> bytes:
    """Zeros that are a thousandth of their size while they are packed."""
    return gzip.compress(b"0" * (mebibytes * MIB))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("behaviour", [Flood(), Drip()], ids=["flood", "drip"])
def test_an_answer_without_end_is_left(kind: str, behaviour: Behaviour) -> None:
    reading, took_s, _ = polled(kind, behaviour)
    assert is_bad(kind, reading) or (kind == "http" and isinstance(behaviour, Flood))
    assert took_s < WITHIN_S


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_bomb_does_not_go_off(kind: str, coding: str) -> None:
    body = bomb(256)
    if coding == "gzip, gzip":
        body = gzip.compress(body)
    _, took_s, most = polled(kind, Reply(200, body, {"Content-Encoding": coding}))
    assert most < 64 * MIB
    assert took_s < WITHIN_S


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_is_not_followed(kind: str) -> None:
    def application(request: Request) -> Behaviour:
        return Reply(302, b"", {"Location": request.path})

    with FakeServer(application) as server:
        reading = ask(open_kind(kind, server.url), QUERY[kind])
        assert len(server.requests) == 1
    assert is_bad(kind, reading)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        b"[" * ANSWER_LIMIT,
        b'{"a":' * 100_000,
        b'"' + b"x" * 1000,
        b"\xff\xfe\x00",
        b"",
        b"1" * 5000,
        b"[]" * 50,
    ],
    ids=["deep", "deep map", "half", "no text", "empty", "long number", "two"],
)
def test_a_body_that_is_no_document_is_an_error(kind: str, body: bytes) -> None:
    reading, took_s, most = polled(kind, Reply(200, body, {"Content-Type": "application/json"}))
    assert kind == "http" or is_bad(kind, reading)
    assert took_s < WITHIN_S
    assert most < 64 * MIB
    assert len(reading.error or "") < 1000


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, True, None, "7", [7], {"value": 7}, 10**400],
    ids=str,
)
def test_a_value_of_another_type_is_no_number_of_a_document(value: Any) -> None:
    reading, _, _ = polled("custom", Reply(200, json.dumps({"value": value}).encode()))
    assert is_bad("custom", reading)


@pytest.mark.parametrize(
    "value", [True, None, [7], {"value": 7}, "x", "", "7" * 5000, "+Inf", "1_0"], ids=str
)
def test_a_value_of_another_type_is_no_number_of_prometheus(value: Any) -> None:
    result = [{"metric": {}, "value": [1_700_000_000, value]}]
    document = {"status": "success", "data": {"resultType": "vector", "result": result}}
    reading, _, _ = polled("prometheus", Reply(200, json.dumps(document).encode()))
    assert is_bad("prometheus", reading)
    assert not reading.is_silence


def test_the_same_labels_twice_are_two_series() -> None:
    one = {"metric": {"job": "api"}, "value": [1_700_000_000, "7"]}
    document = {"status": "success", "data": {"resultType": "vector", "result": [one, one]}}
    reading, _, _ = polled("prometheus", Reply(200, json.dumps(document).encode()))
    assert reading.error == "2 series where one number is wanted: aggregate them"


def test_long_words_of_a_server_are_kept_short(caplog: pytest.LogCaptureFixture) -> None:
    data = {"resultType": "vector", "result": [{"metric": {}, "value": [1_700_000_000, "7"]}]}
    document = {"status": "success", "data": data, "warnings": ["w" * 90_000]}
    reading, _, _ = polled("prometheus", Reply(200, json.dumps(document).encode()))
    assert reading.value == 7.0
    assert max(len(record.getMessage()) for record in caplog.records) < 1000, "a line of the log is too long"
    error = {"status": "error", "errorType": "e" * 30_000, "error": ["x" * 30_000]}
    reading, _, _ = polled("prometheus", Reply(400, json.dumps(error).encode()))
    assert len(str(reading.error)) <= 400


@pytest.mark.parametrize("kind", KINDS)
def test_many_long_headers_are_bounded(kind: str) -> None:
    headers = {f"X-Header-{number}": "h" * 60_000 for number in range(150)}
    reading, took_s, most = polled(kind, Reply(200, b"{}", headers))
    assert is_bad(kind, reading)
    assert took_s < WITHIN_S
    assert most < 64 * MIB
