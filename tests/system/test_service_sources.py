"""Sources against a real Prometheus: what it says, what is fetched after an outage, and who else is disturbed."""

import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.prometheus import Exposition, Prometheus
from slakeeper.integrations.source import Catching, Gap, Poller, Reading, open_source
from slakeeper.sla.monitoring import PrometheusSource
from tests.system.configuration import contract, metric, write_config
from tests.system.prometheus import needs_prometheus
from tests.system.remains import until
from tests.system.service import MakeService, Service, now_ms

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]

GAP_MS = 8_000
WINDOW_MS = 2_000


class Target:
    """What the server scrapes: gauges by name; one that is None is not there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}

    def show(self, **values: float | None) -> None:
        with self._lock:
            for name, value in values.items():
                if value is None:
                    self._values.pop(name, None)
                else:
                    self._values[name] = value

    def text(self) -> str:
        with self._lock:
            return "".join(f"{name} {value}\n" for name, value in self._values.items())


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def prometheus(target: Target, tmp_path: Path, make_service: MakeService) -> Iterator[Prometheus]:
    """Ends before ``make_service`` looks whether anything is left."""
    needs_prometheus()
    with (
        Exposition(target.text) as exposition,
        Prometheus(tmp_path / "prometheus", exposition.target) as server,
    ):
        yield server


def shown(prometheus: Prometheus, name: str, value: float | None) -> None:
    until(lambda: prometheus.value(name) == value, 30, f"{name} to be {value}")


def poller(prometheus: Prometheus, **settings: Any) -> Poller:
    return open_source("prom", PrometheusSource(type="prometheus", url=prometheus.url, **settings))


def test_a_real_server_says_the_same_together_as_one_by_one(prometheus: Prometheus, target: Target) -> None:
    target.show(one=1, two=2, gone=3, nan=math.nan)
    for name, value in (("one", 1.0), ("two", 2.0), ("gone", 3.0)):
        shown(prometheus, name, value)
    target.show(gone=None)
    shown(prometheus, "gone", None)  # stale from the next scrape on
    asked = {
        "a": "one",
        "b": "two # with a comment",
        "stale": "gone",
        "nan": "nan",
        "scalar": "scalar(two)",
        "many": '{__name__=~"one|two"}',
        "broken": "rate(",
        "matrix": "one[5m]",
        "either": "one or two",
        "number": "7",
    }
    source = poller(prometheus)
    for _ in range(3):
        found = {each.metric: each for each in source.poll(asked)}
        assert {name for name, each in found.items() if each.is_silence} == {"stale", "nan"}
        values = {name: each.value for name, each in found.items() if each.value is not None}
        assert values == {"a": 1.0, "b": 2.0, "scalar": 2.0, "number": 7.0, "either": 1.0}
        assert str(found["many"].error).startswith("2 series")
        assert str(found["broken"].error).startswith("bad_data: ")
        assert found["matrix"].error == "the result is a matrix where one number is wanted"


def test_a_real_server_gives_what_was(prometheus: Prometheus, target: Target) -> None:
    target.show(steady=5)
    shown(prometheus, "steady", 5.0)
    until(lambda: (prometheus.value("count_over_time(steady[1m])") or 0) >= 4, 30, "four scrapes")
    source = poller(prometheus)
    assert isinstance(source, Catching)
    to_ms = now_ms()
    gaps = {"s": Gap("steady", to_ms - 60_000, to_ms), "n": Gap("nothing", to_ms - 60_000, to_ms)}
    steady, nothing = source.fetch(gaps, 1_000)
    assert len(steady.samples) >= 3
    assert {value for _, value in steady.samples} == {5.0}
    assert all(b[0] - a[0] == 1_000 for a, b in zip(steady.samples, steady.samples[1:], strict=False))
    assert (nothing.samples, nothing.error) == ((), None)


@pytest.fixture
def service(prometheus: Prometheus, tmp_path: Path, make_service: MakeService) -> Service:
    watched = metric("latency", 250, interval="2s", source="prom", query="latency_ms")
    beside = metric("load", 1_000_000, interval="2s", source="host", weight=0.5)
    config = write_config(
        tmp_path / "config",
        [contract("shop", [watched, beside])],
        monitoring={
            "sources": {
                "prom": {"type": "prometheus", "url": prometheus.url, "interval": "1s", "timeout": "2s"},
                "host": {"type": "host", "interval": "1s"},
            }
        },
    )
    return make_service(config, cells=1)


def account(service: Service) -> dict[str, int]:
    found: dict[str, int] = service.metric("shop", "latency")["account"]
    return found


def accepted(service: Service) -> int:
    count: int = service.metric("shop", "latency")["samples_accepted"]
    return count


def source(service: Service, name: str) -> dict[str, Any]:
    return next(row for row in service.show("source", "list") if row["name"] == name)


def test_what_was_missed_while_slakeeper_was_down_is_fetched_and_judged(
    prometheus: Prometheus, target: Target, service: Service
) -> None:
    target.show(latency_ms=100)
    shown(prometheus, "latency_ms", 100.0)
    service.start()
    until(lambda: accepted(service) >= 3, 30, "samples")
    service.stop()
    stopped_ms = now_ms()
    target.show(latency_ms=900)
    until(lambda: now_ms() >= stopped_ms + GAP_MS, 30)
    shown(prometheus, "latency_ms", 900.0)
    target.show(latency_ms=100)
    shown(prometheus, "latency_ms", 100.0)
    service.start()
    started_ms = now_ms()
    until(lambda: source(service, "prom")["catching_up"] == 0, 30, "the past")
    (violation,) = until(lambda: service.violations(resolved=True), 30, "the violation of the gap")
    assert stopped_ms <= violation["start_time"] < started_ms
    until(lambda: account(service)["known_ms"] >= started_ms - stopped_ms, 30, "windows to be settled")
    assert account(service)["bad_ms"] >= GAP_MS - 2 * WINDOW_MS
    # A window at the beginning, before the first sample, is nobody's.
    assert account(service)["unknown_ms"] <= 2 * WINDOW_MS
    assert service.metric("shop", "latency")["samples_late"] == 0


def test_a_server_that_is_restarted_is_shown_and_disturbs_no_other_source(
    prometheus: Prometheus, target: Target, service: Service
) -> None:
    target.show(latency_ms=100)
    shown(prometheus, "latency_ms", 100.0)
    service.start()
    until(lambda: accepted(service) >= 3, 30, "samples")
    prometheus.stop()
    stopped_ms = now_ms()
    try:
        row = until(lambda: (found := source(service, "prom"))["failing"] and found, 30, "the failure")
        assert row["failing"].endswith("refused the connection")
        assert row["failing_since_ms"] >= stopped_ms - 2_000
        assert f"1 source fails: prom: {row['failing']} (1 of 1 metrics, since " in service.cli("status").out
        assert service.metric("shop", "latency")["state"] == "source_error"
        before = source(service, "host")
        until(lambda: source(service, "host")["polls"] >= before["polls"] + 3, 30, "the other source")
        assert source(service, "host")["failing"] == ""
    finally:
        prometheus.start()
    until(lambda: source(service, "prom")["failing"] == "", 30, "an answer")
    until(lambda: service.metric("shop", "latency")["state"] == "ok", 30, "a value")
    until(lambda: source(service, "prom")["catching_up"] == 0, 30, "the past")


def test_a_source_can_be_tried_without_a_system(
    prometheus: Prometheus, target: Target, service: Service
) -> None:
    target.show(latency_ms=123)
    shown(prometheus, "latency_ms", 123.0)
    assert service.config is not None
    answer = service.cli("--json", "source", "test", "prom", "--config", str(service.config))
    assert answer.code == 0
    [row] = answer.document["readings"]
    assert (row["sla_id"], row["metric"], row["query"], row["value"]) == (
        "shop",
        "latency",
        "latency_ms",
        123.0,
    )


def test_a_reading_has_the_servers_time(prometheus: Prometheus) -> None:
    [reading] = poller(prometheus).poll({"n": "vector(1)"})
    assert isinstance(reading, Reading)
    assert reading.ts_ms is not None
    assert abs(reading.ts_ms - now_ms()) < 10_000
