"""A Prometheus server as a source."""

import json
import logging
import math
import time
from typing import Any

import pytest
from pydantic import SecretStr

from slakeeper.integrations.prometheus import value_of
from slakeeper.integrations.source import Poller, Reading, open_source
from slakeeper.sla.monitoring import (
    PrometheusSource,
)
from tests.unit.integrations.asking import ask
from tests.unit.integrations.fake_http import (
    Behaviour,
    Cut,
    FakeServer,
    Hang,
    Reply,
    Request,
    free_port,
    json_reply,
)


class Prometheus:
    """A server with a table of results by query."""

    def __init__(self, authorization: str | None = None) -> None:
        self.authorization = authorization
        self.results: dict[str, Any] = {}
        self.warnings: list[str] = []

    def __call__(self, request: Request) -> Behaviour:
        if request.headers.get("Authorization") != self.authorization:
            return Reply(401, b"Unauthorized hush-4711")
        if request.path != "/prefix/api/v1/query":
            return Reply(404, b"404 page not found")
        assert request.query["timeout"].endswith("ms")
        result = self.results.get(request.query["query"])
        if result is None:
            error = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
            return json_reply(error, 400)
        if isinstance(result, Reply | Hang | Cut):
            return result
        kind = "vector" if isinstance(result, list) else "scalar"
        data = {"resultType": kind, "result": list(result)}
        document: dict[str, Any] = {"status": "success", "data": data}
        if self.warnings:
            document["warnings"] = self.warnings
        return json_reply(document)


def series(value: str, ts: float = 1_700_000_000.123) -> dict[str, Any]:
    return {"metric": {"job": "api"}, "value": [ts, value]}


def prometheus(server: FakeServer, **settings: Any) -> Poller:
    return open_source("prom", PrometheusSource(type="prometheus", url=f"{server.url}/prefix/", **settings))


def test_an_instant_query_comes_down_to_a_number_with_its_time() -> None:
    fake = Prometheus()
    fake.results = {
        'avg_over_time(up{job="api"}[5m]) * 100': [series("99.95")],
        "scalar(x)": (1_700_000_001, "42"),
    }
    with FakeServer(fake) as server:
        readings = prometheus(server).poll(
            {"one": 'avg_over_time(up{job="api"}[5m]) * 100', "two": "scalar(x)"}
        )
        assert server.connections == 1
    assert readings == [Reading("one", 99.95, 1_700_000_000_123), Reading("two", 42.0, 1_700_000_001_000)]


def test_one_query_for_several_metrics_is_asked_once() -> None:
    fake = Prometheus()
    fake.results = {"up": [series("1")]}
    with FakeServer(fake) as server:
        readings = prometheus(server).poll({"a": "up", "b": "up"})
        assert len(server.requests) == 1
    assert [(reading.metric, reading.value) for reading in readings] == [("a", 1.0), ("b", 1.0)]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "1e999"])
def test_a_value_that_is_not_finite_is_an_error(value: str) -> None:
    number, ts_ms, error = value_of("vector", [series(value)])
    assert (number, ts_ms) == (None, None)
    assert error == f"no data: the value is {value}"


@pytest.mark.parametrize(
    ("kind", "result", "error"),
    [
        ("vector", [], "no data: the result is empty"),
        ("vector", [series("1"), series("2")], "2 series where one number is wanted: aggregate them"),
        (
            "vector",
            [{"metric": {}, "histogram": [1, {}]}],
            "the result is a histogram: take a quantile of it",
        ),
        ("matrix", [], "the result is a matrix where one number is wanted"),
        ("string", [1, "x"], "the result is a string where one number is wanted"),
        ("vector", [{"metric": {}}], 'a result that makes no sense: [{"metric": {}}]'),
        ("vector", [{"value": [1, None]}], "not a number: None at 1"),
        ("scalar", ["x", "1"], "not a number: '1' at 'x'"),
        ("scalar", [math.inf, "1"], "not a number: '1' at inf"),
    ],
)
def test_a_result_that_is_no_number_says_why(kind: str, result: Any, error: str) -> None:
    assert value_of(kind, result) == (None, None, error)


def test_a_query_that_fails_does_not_disturb_the_others() -> None:
    fake = Prometheus()
    fake.results = {"good": [series("1")], "cut": Cut(), "page": Reply(502, b"<html>Bad gateway</html>")}
    with FakeServer(fake) as server:
        readings = prometheus(server).poll({q: q for q in ("rate(", "cut", "page", "good")})
        port = server.port
    assert [reading.error for reading in readings] == [
        "bad_data: parse error: unexpected end",
        f"127.0.0.1:{port} cut the connection",
        "answered 502 and no JSON: <html>Bad gateway</html>",
        None,
    ]
    assert readings[3].value == 1.0


@pytest.mark.parametrize(
    "document",
    [[], None, 7, {}, {"status": "success"}, {"status": "success", "data": {"resultType": "vector"}}],
    ids=json.dumps,
)
def test_an_answer_that_is_no_answer_is_an_error(document: Any) -> None:
    fake = Prometheus()
    fake.results = {"x": json_reply(document)}
    with FakeServer(fake) as server:
        assert str(ask(prometheus(server), "x").error).startswith("answered 200: ")


def test_the_timeout_is_that_of_the_whole_poll() -> None:
    fake = Prometheus()
    fake.results = {"slow": Hang(), "good": [series("1")]}
    with FakeServer(fake) as server:
        began_s = time.monotonic()
        slow, good = prometheus(server, timeout=300).poll({"s": "slow", "g": "good"})
        assert time.monotonic() - began_s < 2
    assert str(slow.error).endswith("within 300ms")
    assert good.error == "not asked: the queries before it took all the time"


def test_a_server_that_is_not_there_is_an_error_of_every_query() -> None:
    source = PrometheusSource(type="prometheus", url=f"http://127.0.0.1:{free_port()}")
    readings = open_source("prom", source).poll({"a": "x", "b": "y"})
    assert [str(reading.error).endswith("refused the connection") for reading in readings] == [True, True]


@pytest.mark.parametrize(
    ("settings", "authorization"),
    [
        ({"token": SecretStr("hush-4711")}, "Bearer hush-4711"),
        ({"username": "me", "password": SecretStr("hush-4711")}, "Basic bWU6aHVzaC00NzEx"),
    ],
    ids=["bearer", "basic"],
)
def test_who_asks_shows_who_it_is(settings: dict[str, Any], authorization: str) -> None:
    fake = Prometheus(authorization)
    fake.results = {"up": [series("1")]}
    with FakeServer(fake) as server:
        assert ask(prometheus(server, **settings), "up").value == 1.0
        fake.authorization = "another"
        refused = ask(prometheus(server, **settings), "up")
    assert refused.error == "answered 401 and no JSON: Unauthorized ***"


def test_a_warning_of_the_server_is_logged_until_it_changes(caplog: pytest.LogCaptureFixture) -> None:
    fake = Prometheus()
    fake.results = {"up": [series("1")]}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        for warnings in (["partial"], ["partial"], ["other"], [], ["other"]):
            fake.warnings = warnings
            assert ask(poller, "up").value == 1.0
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("slakeeper.source", logging.WARNING)
    ] * 3
    assert caplog.records[0].getMessage() == "source prom warns of up: partial"
