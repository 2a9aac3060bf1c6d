"""A peer that is down, slow, lying or flooding: the status says so, and the others go on."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.fault import REFUSING, WELL, Fault, fault
from tests.system.configuration import contract, metric, write_config
from tests.system.receivers import Hooks
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
pytest_plugins = ["tests.system.service_fixtures"]

FAULTS = (REFUSING, "hanging", "dripping", "garbage", "wrong", "huge", "endless", "busy", "failing")


@pytest.fixture
def peer(make_service: MakeService) -> Iterator[Fault]:
    """Ends before ``make_service`` looks whether anything is left."""
    with fault() as one:
        yield one


@pytest.fixture
def service(make_service: MakeService, tmp_path: Path, peer: Fault, hooks: Hooks) -> Service:
    every: dict[str, Any] = {"interval": "500ms", "timeout": "1s"}
    config = write_config(
        tmp_path / "config",
        [
            contract("asked", [metric("json", source="json", query="/value", weight=0.3),
                               metric("promql", source="promql", query="up", weight=0.3),
                               metric("cpu_usage", 1000, source="host", weight=0.3)]),
            contract("pushed", [metric("latency")]),
        ],
        {"channels": {"good": {"type": "webhook", "url": hooks.url},
                      "peer": {"type": "webhook", "url": peer.url, "timeout": "1s"}}},
        {"alert_channels": ["peer", "good"],
         "sources": {"host": {"type": "host", **every},
                     "json": {"type": "custom", "url": peer.url, **every},
                     "promql": {"type": "prometheus", "url": peer.url, **every}}},
    )  # fmt: skip
    made = make_service(config, cells=1)
    made.start()
    wait_until_well(made)
    return made


def sources(service: Service) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in service.show("source", "list")}


def wait_until_well(service: Service) -> None:
    until(
        lambda: all(row["polled_at_ms"] and not row["failing"] for row in sources(service).values()),
        30,
        "values",
    )


def goes_on(service: Service, source: str) -> None:
    polls = sources(service)[source]["polls"]
    until(lambda: sources(service)[source]["polls"] >= polls + 3, 30, f"{source} to be asked")


def test_a_source_that_fails_in_whatever_way_is_shown_and_holds_up_no_other(
    service: Service, peer: Fault
) -> None:
    for name in FAULTS:
        peer.behave(name)
        until(
            lambda: all(sources(service)[each]["failing"] for each in ("json", "promql")),
            30,
            f"{name} to show",
        )
        shown = service.cli("status").out
        assert "2 sources fail: " in shown, name
        goes_on(service, "host")
        assert sources(service)["host"]["failing"] == ""
        peer.behave(WELL)
        wait_until_well(service)
    assert "sources fail" not in service.cli("status").out


@pytest.mark.parametrize("name", [REFUSING, "hanging", "garbage", "busy"])
def test_a_channel_that_fails_in_whatever_way_is_shown_and_holds_up_no_other(
    service: Service, peer: Fault, hooks: Hooks, name: str
) -> None:
    peer.behave(name)
    service.observe("latency", 500)
    found = until(lambda: service.violation("latency"), what="the violation")
    until(lambda: hooks.of("opened", found["id"]), 30, "the healthy channel")
    until(lambda: "1 channel fails: peer: " in service.cli("status").out, 30, f"{name} to show")
    rows = {row["name"]: row for row in service.show("channel", "list")}
    assert (rows["good"]["sent"], rows["good"]["waiting"], rows["peer"]["sent"]) == (1, 0, 0)
    assert rows["peer"]["waiting"] <= 1
