"""What the service says of itself, read by a real Prometheus."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.prometheus import Prometheus
from tests.system.configuration import contract, metric, write_config
from tests.system.prometheus import needs_prometheus
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

PROMTOOL = "promtool"

# What promtool finds in names that stay as they are: milliseconds, as everywhere in slakeeper.
KNOWN_UNIT = "slakeeper_sla_period_remaining_ms metric names should not contain abbreviated units"


@pytest.fixture
def service(tmp_path: Path, make_service: MakeService) -> Service:
    """Two contracts, one of which is broken."""
    config = write_config(
        tmp_path / "config",
        [
            contract("shop", [metric("latency"), metric("load", weight=0.5)]),
            contract("a.b:c-d", [metric("size")]),
        ],
    )
    made = make_service(config)
    made.start()
    for value in (50, 60, 500):
        made.observe("latency", value)
    made.observe("size", 1)
    return made


@pytest.fixture
def prometheus(service: Service, tmp_path: Path) -> Iterator[Prometheus]:
    needs_prometheus()
    run = service.run()
    with Prometheus(tmp_path / "prometheus", run["http"], token=run["token"]) as server:
        yield server


def shows(prometheus: Prometheus, query: str, value: float) -> None:
    until(lambda: prometheus.value(query) == value, 30, f"{query} to be {value}")


def page(service: Service) -> str:
    return service.http("GET", "/metrics").body.decode()


def test_a_real_server_takes_every_series_with_its_value(service: Service, prometheus: Prometheus) -> None:
    until(lambda: prometheus.value("up") == 1, 30, "a scrape")
    wanted = {
        "slakeeper_slas": 2,
        "sum(slakeeper_cell_up)": 2,
        'slakeeper_sla_open_violations{sla="shop"}': 1,
        'slakeeper_sla_service_level_percent{sla="shop"}': 99.9,
        'slakeeper_sla_status{sla="shop",status="healthy"}': 0,
        'slakeeper_sla_open_violations{sla="a.b:c-d"}': 0,
        "sum(slakeeper_samples_accepted_total)": 4,
        'slakeeper_process_restarts_total{process="gateway"}': 0,
    }
    for query, value in wanted.items():
        shows(prometheus, query, value)
    lines = [line for line in page(service).splitlines() if line and not line.startswith("#")]
    assert prometheus.value("scrape_samples_scraped") == len(lines)
    assert prometheus.value("scrape_samples_post_metric_relabeling") == len(lines)
    [target] = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    described = {each["metric"]: each for each in prometheus.ask("targets/metadata")}
    for name in {re.split("[{ ]", line)[0] for line in lines}:
        kind = "counter" if name.endswith("_total") else "gauge"
        assert (described[name]["type"], bool(described[name]["help"])) == (kind, True)
    assert [
        line for line in prometheus.log.splitlines() if "level=warn" in line or "level=error" in line
    ] == []


def test_promtool_finds_nothing_but_our_milliseconds(service: Service) -> None:
    needs_prometheus(PROMTOOL)
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=page(service),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,  # it is 3 when there is anything to say
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == [KNOWN_UNIT]
