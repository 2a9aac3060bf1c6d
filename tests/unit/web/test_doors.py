"""The doors over HTTP: what each takes, how each answers, and that none is in the others' way."""

import builtins
import gzip
import json
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import cramjam
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from slakeeper.web import doors
from tests.unit.web.conftest import Answer, Site
from tests.unit.web.fake_cell import FakeCell, until
from tests.unit.web.remote_write import HEADERS, STALE, packed, series

NOW = time.time_ns() // 1_000_000
LATENCY = series({"__name__": "latency", "job": "api"}, [(312.0, NOW)])


def write(site: Site, body: bytes, **headers: str) -> Answer:
    return site.ask("POST", "/v1/prometheus/write", body, **{**HEADERS, **headers})


def point(name: str, value: float, ts_ms: int = NOW) -> dict[str, Any]:
    data = {"timeUnixNano": str(ts_ms * 1_000_000), "asDouble": value}
    return {"name": name, "gauge": {"dataPoints": [data]}}


def export(site: Site, *metrics: dict[str, Any], **headers: str) -> Answer:
    body = {"resourceMetrics": [{"scopeMetrics": [{"metrics": list(metrics)}]}]}
    return site.post("/v1/metrics", body, **headers)


def counts(site: Site, door: str) -> dict[str, Any]:
    rows = site.get("/v1/status").json["ingest"]
    return next(row for row in rows if row["door"] == door)


def in_flight(site: Site) -> dict[str, int]:
    """What each door has under way; no cell is asked for it."""
    return {row["door"]: row["in_flight"] for row in site.service.beat()["ingest"]}


# --- remote write ------------------------------------------------------------------------------------


def test_remote_write_goes_to_every_cell_that_wants_it_and_the_rest_is_counted(
    site: Site, cells: list[FakeCell]
) -> None:
    others = [series({"__name__": f"go_{number}"}, [(1.0, NOW)]) for number in range(3)]
    stale = series({"__name__": "uptime"}, [(STALE, NOW)])
    answer = write(site, packed(LATENCY, stale, *others))
    assert (answer.status, answer.json) == (200, {"accepted": 1, "dropped": 4})
    for cell in cells:
        (asked,) = cell.asked("samples")
        assert asked["samples"] == [["latency", 312.0, NOW, None, {"job": "api"}]]
    row = counts(site, "prometheus")
    assert (row["accepted"], row["rejected"]) == (1, {"unknown_metric": 3, "stale": 1})
    text = site.get("/metrics").body.decode()
    assert 'slakeeper_samples_accepted_total{door="prometheus"} 1.0' in text
    assert 'slakeeper_samples_rejected_total{door="prometheus",reason="unknown_metric"} 3.0' in text


def test_the_same_body_again_has_the_same_id(site: Site, cells: list[FakeCell]) -> None:
    for body in (packed(LATENCY), packed(LATENCY), packed(LATENCY, LATENCY)):
        assert write(site, body).status == 200
    first, second, other = (asked["batch_id"] for asked in cells[0].asked("samples"))
    assert first == second != other


def test_a_mistake_of_the_sender_is_400_and_the_good_samples_are_kept(
    site: Site, cells: list[FakeCell]
) -> None:
    cells[0].handlers["samples"] = cells[1].handlers["samples"] = lambda payload: {
        "accepted": [0], "rejected": [[1, "future"]]}  # fmt: skip
    answer = write(site, packed(LATENCY, LATENCY))
    assert (answer.status, answer.json["accepted"]) == (400, 1)
    assert "1: future" in answer.json["reason"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"not snappy", {}, 400), (bytes(cramjam.snappy.compress_raw(b"\xff\xff")), {}, 400),
        (b"\xff\xff\xff\xff\x0f", {}, 413), (packed(LATENCY), {"Content_Encoding": "gzip"}, 415),
        (packed(LATENCY), {"Content_Type": "application/json"}, 415),
        (packed(LATENCY), {"Content_Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}, 415),
        (packed(LATENCY), {"Authorization": "Bearer wrong-token-of-many-chars"}, 401),
    ],
    ids=range(7),
)  # fmt: skip
def test_what_cannot_be_taken_is_4xx(
    quiet_site: Site, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = write(quiet_site, body, **headers)
    assert (answer.status, bool(answer.json["reason"])) == (status, True)


def test_the_content_type_may_name_its_message(quiet_site: Site) -> None:
    kind = "application/x-protobuf;proto=prometheus.WriteRequest"
    assert write(quiet_site, packed(LATENCY), Content_Type=kind).status == 200


@pytest.mark.parametrize(
    "send", [lambda site: write(site, packed(LATENCY)), lambda site: export(site, point("latency", 1))]
)
def test_a_cell_that_is_away_is_503_and_when_to_come_again(
    start_site: Callable[..., Site], cells: list[FakeCell], send: Callable[[Site], Answer]
) -> None:
    site = start_site(patience_s=0.05)
    assert send(site).status == 200
    cells[1].die()
    answer = send(site)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


@pytest.mark.parametrize(
    ("age_ms", "status"), [(0, 503), (8_000, 503), (11_000, 200)]
)  # fmt: skip
def test_a_monitor_that_is_down_is_waited_for_but_not_for_ever(
    site: Site, cells: list[FakeCell], age_ms: int, status: int
) -> None:
    cells[0].handlers["samples"] = lambda payload: {"accepted": [], "rejected": [[0, "monitor_down"]]}
    now_ms = time.time_ns() // 1_000_000
    assert write(site, packed(series({"__name__": "uptime"}, [(1.0, now_ms - age_ms)]))).status == status
    assert export(site, point("uptime", 1.0, now_ms - age_ms)).status == status


# --- OTLP --------------------------------------------------------------------------------------------


def test_otlp_in_json_is_answered_in_json(site: Site, cells: list[FakeCell]) -> None:
    assert (export(site, point("latency", 1.5)).status, export(site, point("latency", 2.5)).json) == (200, {})
    assert cells[0].asked("samples")[0]["samples"] == [["latency", 1.5, NOW, None, None]]
    answer = export(site, point("latency", 1.5), point("nobody", 1), point("nobody", 2))
    assert answer.json == {"partialSuccess": {"rejectedDataPoints": "2", "errorMessage": "2 unknown_metric"}}
    assert answer.headers["content-type"] == "application/json"
    row = counts(site, "otlp")
    assert (row["accepted"], row["rejected"]) == (3, {"unknown_metric": 2})


def test_otlp_in_protobuf_is_answered_in_protobuf_packed_or_not(site: Site) -> None:
    request = ExportMetricsServiceRequest()
    metrics = request.resource_metrics.add().scope_metrics.add().metrics
    for name in ("latency", "nobody"):
        data = metrics.add(name=name).sum.data_points.add()
        data.as_int, data.time_unix_nano = 3, NOW * 1_000_000
    body = request.SerializeToString()
    for content, encoding in ((body, "identity"), (gzip.compress(body), "gzip")):
        answer = site.ask(
            "POST", "/v1/metrics", content, Content_Type="application/x-protobuf", Content_Encoding=encoding
        )
        assert (answer.status, answer.headers["content-type"]) == (200, "application/x-protobuf")
        partial = ExportMetricsServiceResponse.FromString(answer.body).partial_success
        assert (partial.rejected_data_points, partial.error_message) == (1, "1 unknown_metric")


def test_a_point_is_taken_when_one_of_its_samples_is(site: Site, cells: list[FakeCell]) -> None:
    cells[0].metrics["h.count"] = ["api"]
    data = {"timeUnixNano": str(NOW * 1_000_000), "count": "3", "sum": 1.0}
    answer = export(site, {"name": "h", "histogram": {"dataPoints": [data]}})
    assert (answer.status, answer.json) == (200, {})


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400), (b"\x0a\x05", {"Content_Type": "application/x-protobuf"}, 400),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Encoding": "gzip"}, 400),
        (gzip.compress(bytes(30_000_000)), {"Content_Encoding": "gzip"}, 413),
        (b"{}", {"Content_Encoding": "br"}, 415),
    ],
    ids=range(6),
)  # fmt: skip
def test_an_otlp_body_that_cannot_be_taken_is_4xx(
    quiet_site: Site, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = quiet_site.ask("POST", "/v1/metrics", body, **{"Content_Type": "application/json", **headers})
    assert answer.status == status
    assert b"bod" in answer.body or b"content type" in answer.body


# --- who may send ------------------------------------------------------------------------------------


def test_a_senders_token_lets_it_send_and_nothing_else(
    start_site: Callable[..., Site], tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("# prometheus\nfirst-token-of-a-sender\nshort\n\n")
    site = start_site(ingest={"token_file": str(tokens)})

    def status(method: str, path: str, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        return site.ask(method, path, b'{"samples": []}', **headers).status

    assert status("POST", "/v1/samples", "first-token-of-a-sender") == 202
    assert status("POST", "/v1/metrics", "first-token-of-a-sender") == 200
    for method, path in (
        ("GET", "/v1/status"),
        ("POST", "/v1/violations/1/ack"),
        ("GET", "/v1/samples"),
        ("GET", "/metrics"),
    ):
        assert status(method, path, "first-token-of-a-sender") == 401
    assert status("POST", "/v1/samples", "short") == 401
    tokens.write_text("second-token-of-a-sender\n")
    assert status("POST", "/v1/samples", "first-token-of-a-sender") == 401
    assert status("POST", "/v1/samples", "second-token-of-a-sender") == 202
    tokens.unlink()
    assert status("POST", "/v1/samples", "second-token-of-a-sender") == 401


def test_a_door_that_is_closed_is_not_there(start_site: Callable[..., Site]) -> None:
    site = start_site(ingest={"prometheus": False, "otlp": False})
    assert (write(site, packed(LATENCY)).status, export(site).status) == (404, 404)


def test_without_the_extra_the_doors_say_what_to_install(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name.startswith(("google", "opentelemetry", "cramjam")):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    for answer in (write(site, packed(LATENCY)), export(site, point("latency", 1))):
        assert answer.status == 501
        assert "pip install 'slakeeper[ingest]'" in answer.json["reason"]


# --- a flood -----------------------------------------------------------------------------------------


def test_a_door_that_is_full_leaves_room_for_the_others(
    start_site: Callable[..., Site], cells: list[FakeCell]
) -> None:
    site = start_site(max_in_flight=10)
    flood = [packed(series({"__name__": "latency"}, [(float(number), NOW)] * 3)) for number in range(3)]
    cells[0].answering.clear()
    threads = [threading.Thread(target=write, args=(site, body)) for body in flood[:1]]
    for thread in threads:
        thread.start()
    until(lambda: in_flight(site)["prometheus"] == 3)
    answer = write(site, flood[1])
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    replies: list[Answer] = []
    other = threading.Thread(
        target=lambda: replies.append(site.post_samples({"metric": "latency", "value": 1}))
    )
    other.start()
    until(lambda: {"samples": 1, "prometheus": 3}.items() <= in_flight(site).items())
    cells[0].answering.set()
    for thread in (*threads, other):
        thread.join()
    assert replies[0].status == 202
    assert write(site, flood[1]).status == 200
    assert counts(site, "prometheus")["refused_batches"] == 1
    assert counts(site, "samples")["refused_batches"] == 0


def test_what_a_client_has_sent_before_is_not_in_another_ones_way(
    start_site: Callable[..., Site], cells: list[FakeCell], tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("token-of-a-greedy-sender\n")
    site = start_site(ingest={"token_file": str(tokens)})
    greedy = {"Authorization": "Bearer token-of-a-greedy-sender"}
    assert site.post_samples({"metric": "latency", "value": 1}).status == 202
    for cell in cells:
        cell.answering.clear()
    replies: list[int] = []

    def send(number: int) -> None:
        document = {"samples": [{"metric": "latency", "value": number}]}
        replies.append(site.post("/v1/samples", document, **greedy).status)

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: in_flight(site)["samples"])
    other = threading.Thread(target=lambda: replies.append(write(site, packed(LATENCY)).status))
    other.start()
    # It came last, and does not wait for what the other has sent before.
    until(lambda: in_flight(site)["prometheus"] == 1)
    for cell in cells:
        cell.answering.set()
    for thread in (*threads, other):
        thread.join()
    assert sorted(replies) == [200, 202, 202, 202, 202]


def test_a_client_that_sends_more_than_its_rate_is_slowed_down_and_counted(
    start_site: Callable[..., Site], cells: list[FakeCell]
) -> None:
    site = start_site(ingest={"rate_limit": 10})
    samples = [{"metric": "latency", "value": number} for number in range(20)]
    assert site.post("/v1/samples", {"samples": samples}).status == 202
    assert counts(site, "samples")["slowed_batches"] == 0
    # It had a second's worth at once; for the rest it waits another.
    assert site.post("/v1/samples", {"samples": samples[:1]}).status == 202
    assert counts(site, "samples")["slowed_batches"] == 1
    assert b'slakeeper_batches_slowed_total{door="samples"} 1.0' in site.get("/metrics").body


@pytest.mark.parametrize("form", ["json", "remote write", "otlp", "refused"])
def test_a_body_without_a_sample_is_paid_for_too(start_site: Callable[..., Site], form: str) -> None:
    site = start_site(ingest={"rate_limit": 90})
    empty = [series({}, [])] * 110

    def send() -> None:
        if form == "json":
            assert site.post("/v1/samples", {"samples": []}).status == 202
        elif form == "remote write":
            assert write(site, packed(*empty)).status == 200
        elif form == "otlp":
            assert site.post("/v1/metrics", {"resourceMetrics": [{}] * 110}).status == 200
        else:
            assert write(site, b"not snappy").status == 400

    send()
    send()
    assert sum(row["slowed_batches"] for row in site.get("/v1/status").json["ingest"]) == 1


def test_bodies_that_are_being_read_are_bounded_for_a_client_and_for_all(
    start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doors, "MAX_HELD_BYTES", 400_000)
    senders = [f"token-of-sender-{number}" for number in range(6)]
    (tmp_path / "tokens").write_text("\n".join(senders))
    site = start_site(ingest={"token_file": str(tmp_path / "tokens")})
    body = json.dumps({"samples": [{"metric": "latency", "value": 1}]}).encode().ljust(90_000)

    def begin(token: str) -> HTTPConnection:
        """All of a body but its last bytes."""
        connection = site.connect()
        connection.putrequest("POST", "/v1/samples")
        connection.putheader("Authorization", f"Bearer {token}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:-10])
        return connection

    def status(token: str) -> int:
        return site.ask("POST", "/v1/samples", body, Authorization=f"Bearer {token}").status

    begun = [begin(senders[0])]
    until(lambda: status(senders[0]) == 503)  # a quarter is one client's
    assert status(senders[1]) == 202
    begun += [begin(sender) for sender in senders[1:4]]
    until(lambda: status(senders[5]) == 503)
    assert site.post_samples({"metric": "latency", "value": 1}).status == 202
    for connection in begun:
        connection.send(body[-10:])
        assert connection.getresponse().status == 202
        connection.close()
    assert [status(sender) for sender in senders] == [202] * 6
    assert counts(site, "samples")["refused_batches"] >= 2


def test_the_gateway_imports_nothing_heavy_before_it_is_asked() -> None:
    import subprocess
    import sys

    heavy = "google.protobuf", "cramjam", "opentelemetry", "urllib3"
    program = f"import slakeeper.web.server, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []
