"""An address as a source."""

import time
from typing import Any

import pytest

from slakeeper.integrations.source import Reading, open_source
from slakeeper.sla.monitoring import (
    HttpSource,
)
from tests.unit.integrations.fake_http import (
    Behaviour,
    Cut,
    CutBody,
    Drip,
    FakeServer,
    Flood,
    Hang,
    Reply,
    free_port,
)

EVERYTHING = {"u": "up", "s": "status", "l": "latency", "e": "error"}


def probe(url: str, **settings: Any) -> dict[str, Reading]:
    poller = open_source("web", HttpSource(type="http", url=url, **settings))
    return {reading.metric: reading for reading in poller.poll(EVERYTHING)}


def test_an_address_that_answers_is_up(server: FakeServer) -> None:
    found = probe(f"{server.url}/health?full=1")
    assert found["u"] == Reading("u", 100.0)
    assert found["e"] == Reading("e", 0.0)
    assert found["s"] == Reading("s", 200.0)
    assert found["l"].value is not None
    assert 0 < found["l"].value < 5_000
    assert len(server.requests) == 1
    assert (server.requests[0].path, server.requests[0].query) == ("/health", {"full": "1"})


@pytest.mark.parametrize("status", [204, 301, 404, 500])
def test_an_address_that_answers_otherwise_is_not_up(status: int, server: FakeServer) -> None:
    server.then(Reply(status, b""), Reply(status, b""))
    found = probe(server.url)
    assert (found["u"].value, found["e"].value, found["s"].value) == (0.0, 100.0, float(status))
    assert found["l"].error is None
    assert probe(server.url, expect_status=(200, status))["u"].value == 100.0


@pytest.mark.parametrize("behaviour", [Hang(), Drip(), Cut()], ids=["hang", "drip", "cut"])
def test_an_address_that_does_not_answer_is_down_and_that_is_a_reading(
    behaviour: Behaviour, server: FakeServer
) -> None:
    server.then(behaviour)
    began_s = time.monotonic()
    found = probe(server.url, timeout=250)
    assert time.monotonic() - began_s < 2
    assert found["u"] == Reading("u", 0.0)
    assert found["e"] == Reading("e", 100.0)
    assert found["l"].value is None
    assert found["l"].error is not None
    assert found["s"].error == found["l"].error


def test_an_answer_cut_short_is_not_up_but_has_a_status(server: FakeServer) -> None:
    server.then(CutBody(200))
    found = probe(server.url)
    assert (found["u"].value, found["e"].value, found["s"].value) == (0.0, 100.0, 200.0)
    assert found["l"].error is not None


def test_an_answer_without_end_is_up(server: FakeServer) -> None:
    server.then(Flood())
    found = probe(server.url, timeout=20_000)
    assert found["u"].value == 100.0
    assert found["l"].error is None


@pytest.mark.parametrize("host_name", ["127.0.0.1", "nowhere.invalid"])
def test_an_address_where_nobody_listens_is_down(host_name: str) -> None:
    found = probe(f"http://{host_name}:{free_port()}/")
    assert (found["u"].value, found["e"].value) == (0.0, 100.0)
    assert found["l"].error is not None


def test_an_unknown_query_is_an_error_of_its_own(server: FakeServer) -> None:
    poller = open_source("web", HttpSource(type="http", url=server.url))
    wrong, right = poller.poll({"w": "down", "r": "up"})
    assert (wrong.value, wrong.error) == (
        None,
        "unknown query 'down': up, status, latency, error, certificate_days",
    )
    assert right == Reading("r", 100.0)
