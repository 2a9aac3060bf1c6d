"""Real senders against the real service: Prometheus, OpenTelemetry's SDK, a StatsD client, our own client."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import statsd

from bench.prometheus import Prometheus, free_port
from slakeeper import Client
from tests.system.configuration import contract, metric, write_config
from tests.system.prometheus import needs_prometheus
from tests.system.remains import until
from tests.system.service import MakeService, Service, now_ms
from tests.unit.integrations.fake_http import FakeServer, Reply, Request

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

# A batch that waited for a restart is late for its window only after this time.
PATIENT = {"lateness": "10m"}


@pytest.fixture
def statsd_port() -> int:
    return free_port(socket.SOCK_DGRAM)


@pytest.fixture
def service(make_service: MakeService, tmp_path: Path, statsd_port: int) -> Iterator[Service]:
    metrics = [
        metric("shop_latency", 250, labels={"job": "shop"}, **PATIENT),
        metric("orders", 1_000, aggregation="sum", **PATIENT),
        metric("queue", 100, **PATIENT),
        metric("pay.latency.count", 1_000, **PATIENT),
        metric("checkout", 250, **PATIENT),
        metric("reported", 1e9, **PATIENT),
    ]
    config = write_config(
        tmp_path / "config",
        [contract("shop", metrics)],
        service={"ingest": {"prometheus": True, "otlp": True, "statsd": f"127.0.0.1:{statsd_port}",
                            "statsd_flush": "100ms"}},
    )  # fmt: skip
    made = make_service(config)
    made.start()
    yield made
    made.stop()


def door(service: Service, name: str) -> dict[str, Any]:
    """What came through a door since the gateway started."""
    return next(row for row in service.get("/v1/status")["ingest"] if row["door"] == name)


def kill(service: Service, name: str) -> None:
    os.kill(service.pid(name), signal.SIGKILL)
    until(service.is_whole, 60, f"{name} to come back")


class Page:
    """What Prometheus scrapes: one metric, and nothing any more once ``is_there`` is False."""

    def __init__(self) -> None:
        self.value = 12.0
        self.is_there = True

    def __call__(self, request: Request) -> Reply:
        text = f"shop_latency {self.value}\nunwanted_total 1\n" if self.is_there else ""
        return Reply(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4"})


def test_a_prometheus_server_writes_and_nothing_is_lost_or_doubled_whatever_is_killed(
    service: Service, tmp_path: Path
) -> None:
    needs_prometheus()
    page = Page()
    series = 'shop_latency{job="shop"}'
    with FakeServer(page) as target:
        write_to = f"http://{service.run()['http']}/v1/prometheus/write"
        written = {
            "url": write_to,
            "authorization": {"credentials_file": str(service.data / "token")},
            "queue_config": {"batch_send_deadline": "200ms", "max_backoff": "500ms"},
        }
        with Prometheus(
            tmp_path / "prometheus",
            target.url.removeprefix("http://"),
            250,
            job="shop",
            itself=True,
            more={"remote_write": [written]},
        ) as server:
            until(lambda: (server.value(f"count_over_time({series}[10m])") or 0) >= 3, 30, "three scrapes")
            for name in ("cell-0", "cell-1", "gateway"):
                kill(service, name)
            page.value = 500.0
            until(lambda: service.violation("shop_latency"), 60, "the violation")
            page.is_there = False
            until(lambda: server.value(series) is None, 30, "the end of the series")
            scraped = server.value(f"count_over_time({series}[10m])")
            until(
                lambda: service.metric("shop", "shop_latency")["samples_accepted"] == scraped,
                30,
                "the last sample",
            )
            assert server.value("sum(prometheus_remote_storage_samples_failed_total)") == 0.0, server.log
            assert server.value("sum(prometheus_remote_storage_samples_dropped_total)") == 0.0
            assert "HTTP status 401" not in server.log
    counted = door(service, "prometheus")["rejected"]
    assert counted["unknown_metric"] > 0
    assert counted["stale"] > 0


def test_the_opentelemetry_sdk_exports(service: Service) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    run = service.run()
    exporter = OTLPMetricExporter(
        endpoint=f"http://{run['http']}/v1/metrics", headers={"Authorization": f"Bearer {run['token']}"}
    )
    provider = MeterProvider([PeriodicExportingMetricReader(exporter, export_interval_millis=3_600_000)])
    meter = provider.get_meter("shop")
    meter.create_gauge("queue").set(150, {"region": "eu"})
    meter.create_counter("orders").add(7)
    latency = meter.create_histogram("pay.latency")
    for value in (1.0, 2.0, 3.0):
        latency.record(value)
    assert provider.force_flush(20_000)
    until(lambda: service.violation("queue"), what="the violation")
    assert service.metric("shop", "orders")["value"] == 7
    assert service.metric("shop", "pay.latency.count")["value"] == 3
    provider.shutdown()
    assert door(service, "otlp")["accepted"] >= 3


def test_a_statsd_client_reports(service: Service, statsd_port: int) -> None:
    client = statsd.StatsClient("127.0.0.1", statsd_port)
    client.incr("orders", 3)
    client.timing("checkout", 500)
    client.gauge("queue", 99)
    client.gauge("queue", 2, delta=True)
    until(lambda: service.violation("checkout"), what="the violation of the timer")
    until(lambda: service.violation("queue"), what="the violation of the gauge")
    until(lambda: service.metric("shop", "orders")["value"] == 3, what="the counter")
    with client.pipeline() as several:
        for _ in range(50):
            several.timing("checkout", 1)
    client._sock.sendto(b"rubbish", ("127.0.0.1", statsd_port))
    client.close()
    until(lambda: door(service, "statsd")["rejected"].get("bad_line") == 1, what="the garbage to be counted")
    until(lambda: service.metric("shop", "checkout")["samples_accepted"] == 51, what="the timers")
    shown = until(lambda: {row["door"]: row for row in service.show("status")["ingest"] if row["accepted"]})
    assert shown["statsd"]["datagrams"] >= 6
    assert "statsd" in service.cli("status").out


def test_the_client_loses_and_doubles_nothing_whatever_is_killed(service: Service) -> None:
    stopped = threading.Event()
    observed = 0
    # One sample a batch at most times: many batches, and so many chances for a lost answer.
    with Client.from_data(service.data, batch_samples=20, batch_wait_s=0.005) as client:

        def report() -> None:
            nonlocal observed
            while not stopped.wait(0.001):
                client.observe("reported", float(observed), ts=now_ms())
                observed += 1

        reporter = threading.Thread(target=report)
        reporter.start()
        try:
            for name in ("gateway", "cell-0", "cell-1", "gateway"):
                until(lambda: client.counts()["waiting"] < 50, 30, "the client to catch up")
                kill(service, name)
        finally:
            stopped.set()
            reporter.join()
        assert client.flush(60)
        counts = client.counts()
    assert (counts["accepted"], counts["dropped"], counts["rejected"]) == (observed, 0, {})
    assert counts["resent"] > 0
    assert service.metric("shop", "reported")["samples_accepted"] == observed
