"""A Prometheus server as a source."""

import json
import logging
import math
import re
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from slakeeper.integrations.prometheus import ALONE_AT_ONCE, JOINED, UNTRIED_S
from slakeeper.integrations.prometheus_result import is_whole
from slakeeper.integrations.source import Catching, Filling, Gap, Poller, Reading, open_source
from slakeeper.sla.monitoring import (
    PrometheusSource,
)
from tests.unit.integrations.asking import ask
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    Behaviour,
    Cut,
    CutBody,
    Drip,
    FakeServer,
    Flood,
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
        self.joined: list[str] = []
        self.joined_answer: Behaviour | None = None

    def __call__(self, request: Request) -> Behaviour:
        if request.headers.get("Authorization") != self.authorization:
            return Reply(401, b"Unauthorized hush-4711")
        if request.path == "/prefix/api/v1/query_range":
            return self._span(request)
        if request.path != "/prefix/api/v1/query":
            return Reply(404, b"404 page not found")
        if request.method == "POST":
            return self._joined(request.form()["query"])
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

    def _joined(self, expression: str) -> Behaviour:
        """As a server evaluates queries joined by ``or``: one that fails fails them all."""
        self.joined.append(expression)
        if self.joined_answer is not None:
            return self.joined_answer
        found: list[Any] = []
        for query, number in re.findall(
            r'label_replace\(\(\n(.*?)\n\), "slakeeper_query", "(\d+)", "", ""\)', expression
        ):
            result = self.results.get(query)
            if isinstance(result, Hang):
                return result
            if not isinstance(result, list):
                return json_reply({"status": "error", "errorType": "bad_data", "error": "not a vector"}, 400)
            found += [{**each, "metric": {**each["metric"], "slakeeper_query": number}} for each in result]
        return json_reply({"status": "success", "data": {"resultType": "vector", "result": found}})

    def _joined_span(self, request: Request) -> Behaviour:
        form = request.form()
        start, end, step = (float(form[name]) for name in ("start", "end", "step"))
        self.joined.append(form["query"])
        at = [start + k * step for k in range(int((end - start) / step + 1e-9) + 1)]
        found: list[Any] = []
        for query, number in re.findall(r'\(\(\n(.*?)\n\), "slakeeper_query", "(\d+)"', form["query"]):
            if self.results.get(query) is None:
                return json_reply({"status": "error", "errorType": "execution", "error": "boom"}, 422)
            metric = {"slakeeper_query": number}
            found.append({"metric": metric, "values": [[each, f"{number}{each:.0f}"] for each in at]})
        return json_reply({"status": "success", "data": {"resultType": "matrix", "result": found}})

    def _span(self, request: Request) -> Behaviour:
        if request.method == "POST":
            return self._joined_span(request)
        start, end, step = (float(request.query[name]) for name in ("start", "end", "step"))
        result = self.results.get(request.query["query"])
        if isinstance(result, Reply | Hang | Cut):
            return result
        if result is None:
            at = [start + k * step for k in range(int((end - start) / step + 1e-9) + 1)]
            result = [{"metric": {}, "values": [[each, str(each)] for each in at]}]
        return json_reply({"status": "success", "data": {"resultType": "matrix", "result": result}})


def series(value: str, ts: float = 1_700_000_000.123) -> dict[str, Any]:
    return {"metric": {"job": "api"}, "value": [ts, value]}


def prometheus(server: FakeServer, **settings: Any) -> Poller:
    given = {"url": f"{server.url}/prefix/", **settings}
    return open_source("prom", PrometheusSource(type="prometheus", **given))


def test_a_key_in_the_address_is_not_shown_and_not_in_part(
    server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.then(Reply(404, b"no /T0PSECRETKEY/api/v1/query"))
    poller = prometheus(server, url=f"{server.url}/T0PSECRETKEY")
    assert ask(poller, "up").error == "answered 404 and no JSON: no /***/api/v1/query"
    warned = {"status": "success", "data": {"resultType": "vector", "result": []}}
    server.then(json_reply({**warned, "warnings": ["x" * 190 + " T0PSECRETKEY"]}))
    ask(poller, "up")
    assert "xxx ***" in caplog.text


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
        assert server.connections <= 2
    assert readings == [Reading("one", 99.95, 1_700_000_000_123), Reading("two", 42.0, 1_700_000_001_000)]


def test_one_query_for_several_metrics_is_asked_once() -> None:
    fake = Prometheus()
    fake.results = {"up": [series("1")]}
    with FakeServer(fake) as server:
        readings = prometheus(server).poll({"a": "up", "b": "up"})
        assert len(server.requests) == 1
    assert [(reading.metric, reading.value) for reading in readings] == [("a", 1.0), ("b", 1.0)]


def asked(kind: str, result: Any) -> Reading:
    data = {"resultType": kind, "result": result}
    with FakeServer(lambda _: json_reply({"status": "success", "data": data})) as server:
        return ask(prometheus(server), "x")


@pytest.mark.parametrize("value", ["+Inf", "-Inf", "1e999"])
def test_a_value_that_is_not_finite_is_an_error(value: str) -> None:
    reading = asked("vector", [series(value)])
    assert (reading.value, reading.error, reading.is_silence) == (None, f"the value is {value}", False)


@pytest.mark.parametrize(
    ("result", "words"),
    [([], "no data: the result is empty"), ([series("NaN")], "no data: the value is NaN")],
)
def test_no_value_is_silence_and_no_error_of_the_source(result: Any, words: str) -> None:
    reading = asked("vector", result)
    assert (reading.value, reading.error, reading.is_silence) == (None, words, True)


@pytest.mark.parametrize(
    ("kind", "result", "error"),
    [
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
    reading = asked(kind, result)
    assert (reading.value, reading.error, reading.is_silence) == (None, error, False)


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
        slow, good = prometheus(server, timeout=300, concurrency=1).poll({"s": "slow", "g": "good"})
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


def test_queries_go_over_as_many_connections_as_the_concurrency_says() -> None:
    fake = Prometheus()
    queries = {f"m{number}": f"q{number}" for number in range(200)}
    fake.results = {query: [series("1")] for query in queries.values()}
    with FakeServer(fake) as server:
        readings = prometheus(server, concurrency=3).poll(queries)
        assert server.connections <= 3
        assert len(server.requests) == 200
    assert [reading.metric for reading in readings] == list(queries)
    assert {reading.value for reading in readings} == {1.0}


def test_a_slow_query_holds_up_only_its_own_connection() -> None:
    fake = Prometheus()
    fake.results = {"slow": Hang(), **{f"q{n}": [series("1")] for n in range(20)}}
    with FakeServer(fake) as server:
        slow, *others = prometheus(server, concurrency=2, timeout=1000).poll({q: q for q in fake.results})
    assert slow.value is None
    assert [reading.value for reading in others] == [1.0] * 20


def test_a_server_that_cuts_every_connection_is_not_asked_for_each_query() -> None:
    with FakeServer(lambda _: Cut()) as server:
        readings = prometheus(server, concurrency=2).poll({str(n): str(n) for n in range(500)})
        assert len(server.requests) < 20
    assert all(str(reading.error).endswith("cut the connection") for reading in readings)


@pytest.mark.parametrize(
    "behaviour", [Flood(), Drip(), CutBody(), Reply(200, b"<html>Sign in</html>"), Hang()]
)
def test_whatever_a_server_does_its_queries_are_errors_in_time(behaviour: Behaviour) -> None:
    with FakeServer(lambda _: behaviour) as server:
        began_s = time.monotonic()
        readings = prometheus(server, timeout=400).poll({str(n): str(n) for n in range(8)})
        assert time.monotonic() - began_s < 5
    assert all(reading.error and not reading.is_silence for reading in readings)


def fetch(server: FakeServer, **queries: str) -> list[Filling]:
    poller = prometheus(server)
    assert isinstance(poller, Catching)
    gaps = {name: Gap(query, 1_700_000_000_500, 1_700_000_030_500) for name, query in queries.items()}
    return poller.fetch(gaps, 10_000)


def test_a_gap_is_fetched_by_a_range_query_a_step_apart() -> None:
    with FakeServer(Prometheus()) as server:
        [filling] = fetch(server, a="x")
    at_ms = [1_700_000_000_500, 1_700_000_010_500, 1_700_000_020_500, 1_700_000_030_500]
    assert filling == Filling("a", tuple((each, each / 1000) for each in at_ms))


def test_what_is_no_number_in_a_range_is_left_out() -> None:
    fake = Prometheus()
    at_s = [1_700_000_000.5 + k for k in range(5)]
    said = ["NaN", "7", "+Inf", None, True]
    fake.results = {
        "x": [{"metric": {}, "values": [list(pair) for pair in zip(at_s, said, strict=True)]}],
        "none": [],
    }
    with FakeServer(fake) as server:
        some, none = fetch(server, some="x", none="none")
    assert (some.samples, some.error) == (((1_700_000_001_500, 7.0),), None)
    assert (none.samples, none.error) == ((), None)


def test_a_range_is_put_in_order_and_nothing_outside_of_it_is_taken() -> None:
    fake = Prometheus()
    at_s = [1_700_000_020, 1_700_000_010, 1_700_000_010, 1_600_000_000, 1_700_000_031, 1e300, -1]
    fake.results = {"x": [{"metric": {}, "values": [[each, str(n)] for n, each in enumerate(at_s)]}]}
    with FakeServer(fake) as server:
        [filling] = fetch(server, x="x")
    assert filling.samples == ((1_700_000_010_000, 2.0), (1_700_000_020_000, 0.0))


@pytest.mark.parametrize(
    ("result", "error"),
    [
        ([{"values": []}, {"values": []}], "2 series where one number is wanted: aggregate them"),
        ([{"histograms": []}], "the result is a histogram: take a quantile of it"),
        ([{"values": [7]}], 'a result that makes no sense: [{"values": [7]}]'),
        (Reply(502, b"<html>"), "answered 502 and no JSON: <html>"),
    ],
)
def test_a_range_that_makes_no_sense_says_why(result: Any, error: str) -> None:
    fake = Prometheus()
    fake.results = {"x": result}
    with FakeServer(fake) as server:
        [filling] = fetch(server, x="x")
    assert (filling.samples, filling.error) == ((), error)


def test_over_tls_the_server_is_trusted_by_its_own_authority_alone(tmp_path: Path) -> None:
    fake = Prometheus()
    fake.results = {"up": [series("1")]}
    with FakeServer(fake, tls=True) as server:
        assert "is not trusted" in str(ask(prometheus(server), "up").error)
        assert ask(prometheus(server, ca_file=str(CERTIFICATE)), "up").value == 1.0
        missing = ask(prometheus(server, ca_file=str(tmp_path / "none.pem")), "up")
    assert missing.error == f"cannot use {tmp_path / 'none.pem'}: No such file or directory"


def test_a_server_that_wants_to_know_who_asks_is_shown_a_certificate(tmp_path: Path) -> None:
    fake = Prometheus()
    fake.results = {"up": [series("1")]}
    with FakeServer(fake, tls=True, wants_certificate=True) as server:
        assert ask(prometheus(server, ca_file=str(CERTIFICATE)), "up").value is None
        shown = prometheus(server, ca_file=str(CERTIFICATE), cert_file=str(CERTIFICATE))
        assert ask(shown, "up").value == 1.0


def values(readings: list[Reading]) -> list[float | None]:
    return [reading.value for reading in readings]


def test_queries_that_have_answered_quickly_are_asked_together() -> None:
    fake = Prometheus()
    queries = {f"m{n}": f'x{{n="{n}"}} # {n}' for n in range(60)}
    fake.results = {query: [series(str(n))] for n, query in enumerate(queries.values())}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        first, second = poller.poll(queries), poller.poll(queries)
        assert len(server.requests) == 60 + 3
    assert first == second
    assert values(second) == [float(n) for n in range(60)]


def test_together_as_alone_each_query_has_its_own_silence_and_its_own_error() -> None:
    fake = Prometheus()
    fake.results = {name: [series("1")] for name in ("good", "empty", "nan", "two")}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        poller.poll({each: each for each in fake.results})
        fake.results |= {"empty": [], "nan": [series("NaN")], "two": [series("1"), series("2")]}
        readings = poller.poll({each: each for each in fake.results})
    assert [(reading.value, reading.is_silence, reading.error) for reading in readings] == [
        (1.0, False, None),
        (None, True, "no data: the result is empty"),
        (None, True, "no data: the value is NaN"),
        (None, False, "2 series where one number is wanted: aggregate them"),
    ]
    assert len(fake.joined) == 1


def test_when_one_fails_all_of_them_they_are_asked_one_by_one_and_it_stays_apart() -> None:
    fake = Prometheus()
    fake.results = {name: [series("1")] for name in ("a", "b", "c")}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        poller.poll({each: each for each in fake.results})
        del fake.results["b"]
        queries = {each: each for each in ("a", "b", "c")}
        for _ in range(2):
            assert values(poller.poll(queries)) == [1.0, None, 1.0]
    assert len(fake.joined) == 2
    assert "b" not in re.findall(r"\n(\w)\n", fake.joined[1])


def test_a_scalar_is_never_joined() -> None:
    fake = Prometheus()
    fake.results = {"a": [series("1")], "b": [series("2")], "s": (1_700_000_000, "3")}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        for _ in range(3):
            assert values(poller.poll({each: each for each in fake.results})) == [1.0, 2.0, 3.0]
    assert len(fake.joined) == 2
    assert all("\ns\n" not in expression for expression in fake.joined)


@pytest.mark.parametrize(
    "answer",
    [Reply(405, b"Method Not Allowed"), Cut(), json_reply({"status": "success", "data": {"resultType": "vector",
     "result": [series("1")]}})],
    ids=["405", "cut", "nonsense"],
)  # fmt: skip
def test_a_server_that_does_not_take_them_together_is_asked_for_each_from_then_on(answer: Behaviour) -> None:
    fake = Prometheus()
    fake.results = {"a": [series("1")], "b": [series("2")]}
    fake.joined_answer = answer
    with FakeServer(fake) as server:
        poller = prometheus(server)
        for _ in range(4):
            assert values(poller.poll({"a": "a", "b": "b"})) == [1.0, 2.0]
    assert len(fake.joined) == 1


def test_a_query_that_has_become_slow_leaves_the_others_half_of_the_time() -> None:
    fake = Prometheus()
    fake.results = {"a": [series("1")], "b": [series("2")]}
    with FakeServer(fake) as server:
        poller = prometheus(server, timeout=1_000)
        poller.poll({"a": "a", "b": "b"})
        fake.results["a"] = Hang()
        began_s = time.monotonic()
        assert values(poller.poll({"a": "a", "b": "b"})) == [None, 2.0]
        assert time.monotonic() - began_s < 3


def many(count: int) -> dict[str, str]:
    return {f"m{n}": f'x{{n="{n}"}}' for n in range(count)}


def test_very_many_queries_are_asked_together_from_the_first_time_on() -> None:
    fake = Prometheus()
    queries = many(ALONE_AT_ONCE + JOINED)
    fake.results = {query: [series(str(n))] for n, query in enumerate(queries.values())}
    with FakeServer(fake) as server:
        poller = prometheus(server)
        assert values(poller.poll(queries)) == [float(n) for n in range(len(queries))]
        assert len(server.requests) == len(queries) // JOINED
        limit = f"timeout={UNTRIED_S * 1000:.0f}ms".encode()
        assert all(limit in request.body for request in server.requests)
        assert values(poller.poll(queries)) == [float(n) for n in range(len(queries))]
        assert len(server.requests) == 2 * len(queries) // JOINED
    assert fake.joined[0].count(" or ") == JOINED - 1


def test_one_that_fails_among_very_many_has_only_its_neighbours_asked_one_by_one_and_once() -> None:
    fake = Prometheus()
    queries = many(ALONE_AT_ONCE + 100)
    fake.results = {query: [series("1")] for query in queries.values()}
    fake.results['x{n="7"}'] = (1_700_000_000, "2")
    with FakeServer(fake) as server:
        poller = prometheus(server)
        for _ in range(3):
            assert values(poller.poll(queries)) == [2.0 if name == "m7" else 1.0 for name in queries]
        batches = len(queries) // JOINED
        assert len(server.requests) == (batches + JOINED) + 2 * (batches + 1)


def test_after_an_outage_very_many_queries_are_asked_together_at_once() -> None:
    fake = Prometheus()
    queries = many(ALONE_AT_ONCE + 100)
    fake.results = {query: [series("1")] for query in queries.values()}
    behaviours: list[Behaviour] = [Cut()]
    with FakeServer(lambda request: behaviours[0] if behaviours else fake(request)) as server:
        poller = prometheus(server)
        assert set(values(poller.poll(queries))) == {None}
        behaviours.clear()
        before = len(server.requests)
        assert set(values(poller.poll(queries))) == {1.0}
        assert len(server.requests) - before == len(queries) // JOINED


@pytest.mark.parametrize(
    ("query", "whole"),
    [
        ("up", True),
        ("""sum by (a) (rate(x{b="}",c='(',d=`"`}[5m])) # it's""", True),
        ('x{a="\\""}', True),
        ("a) or (b", False),
        ("sum(x", False),
        ("x{a=`", False),
        ('x{a="', False),
        ("x[5m)", False),
        ('x{a="(\n"}', False),
    ],
)
def test_a_query_that_would_run_into_its_neighbours_is_known(query: str, whole: bool) -> None:
    assert is_whole(query) is whole


def test_a_query_that_is_none_by_itself_is_never_joined() -> None:
    fake = Prometheus()
    queries = {**many(ALONE_AT_ONCE + 1), "bad": "a) or (b"}
    fake.results = {query: [series("1")] for query in queries.values() if query != "a) or (b"}
    with FakeServer(fake) as server:
        readings = prometheus(server).poll(queries)
    assert values(readings)[-1] is None
    assert not any("a) or (b" in expression for expression in fake.joined)


def test_gaps_alike_are_fetched_in_one_range_and_each_gets_what_lies_within_it() -> None:
    fake = Prometheus()
    queries = {name: name for name in "abcd"}
    fake.results = {name: [series("1")] for name in "abc"}
    begin_ms = 1_700_000_000_000
    gaps = {
        "a": Gap("a", begin_ms, begin_ms + 30_000),
        "b": Gap("b", begin_ms + 5, begin_ms + 19_000),
        "far": Gap("c", begin_ms - 60_000, begin_ms),
        "unknown": Gap("d", begin_ms, begin_ms),
    }
    with FakeServer(fake) as server:
        poller = prometheus(server)
        assert isinstance(poller, Catching)
        poller.poll(queries)
        asked = len(server.requests)
        del fake.results["c"]
        a, b, far, unknown = poller.fetch(gaps, 10_000)
        assert len(server.requests) - asked == 3
    assert len(fake.joined) == 1
    assert [ts_ms - begin_ms for ts_ms, _ in a.samples] == [0, 10_000, 20_000, 30_000]
    assert [ts_ms - begin_ms for ts_ms, _ in b.samples] == [10_000]
    assert b.samples[0][1] == float(f"1{(begin_ms + 10_000) // 1000}")
    assert len(far.samples) == 7
    assert len(unknown.samples) == 1


def test_gaps_that_fail_together_are_fetched_one_by_one() -> None:
    fake = Prometheus()
    fake.results = {name: [series("1")] for name in "ab"}
    begin_ms = 1_700_000_000_000
    with FakeServer(fake) as server:
        poller = prometheus(server)
        assert isinstance(poller, Catching)
        poller.poll({"a": "a", "b": "b"})
        fake.results = {}
        fillings = poller.fetch({name: Gap(name, begin_ms, begin_ms + 10_000) for name in "ab"}, 10_000)
    assert [len(filling.samples) for filling in fillings] == [2, 2]
