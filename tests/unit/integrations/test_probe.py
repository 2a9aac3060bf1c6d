"""An address as a source."""

import time
from typing import Any

import pytest
from pydantic import SecretStr

from slakeeper.integrations.source import Reading, open_source
from slakeeper.sla.monitoring import (
    HttpSource,
)
from tests.unit.integrations.fake_http import (
    CERTIFICATE,
    EXPIRED,
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


def certificate_days(url: str, **settings: Any) -> Reading:
    poller = open_source("web", HttpSource(type="http", url=url, **settings))
    [reading] = poller.poll({"c": "certificate_days"})
    return reading


def test_it_says_how_long_the_certificate_is_valid() -> None:
    with FakeServer(tls=True) as server:
        reading = certificate_days(server.url, ca_file=str(CERTIFICATE))
    assert reading.value is not None
    assert reading.value > 0


def test_a_certificate_that_has_expired_has_no_days_and_is_down() -> None:
    with FakeServer(tls=True, certificate=EXPIRED) as server:
        assert certificate_days(server.url, ca_file=str(EXPIRED)) == Reading("c", 0.0)
        assert probe(server.url, ca_file=str(EXPIRED))["u"].value == 0.0


def test_a_certificate_that_is_not_trusted_is_down_and_its_days_are_silence() -> None:
    with FakeServer(tls=True) as server:
        reading = certificate_days(server.url)
        assert probe(server.url)["u"].value == 0.0
    assert (reading.value, reading.is_silence) == (None, True)
    assert "is not trusted" in str(reading.error)


def test_without_tls_there_is_no_certificate(server: FakeServer) -> None:
    assert certificate_days(server.url).error == "no certificate: the address is not https"


def test_it_asks_as_it_is_told_to(server: FakeServer) -> None:
    settings = {"method": "POST", "body": SecretStr("who=me"), "headers": {"X-Key": SecretStr("hush-4711")}}
    assert probe(server.url, **settings)["u"].value == 100.0
    [request] = server.requests
    assert (request.method, request.body, request.headers["X-Key"]) == ("POST", b"who=me", "hush-4711")


def test_an_answer_without_the_expected_text_is_not_up(server: FakeServer) -> None:
    server.then(Reply(200, b"all is well"), Reply(200, b"all is lost"))
    assert probe(server.url, expect_text="is well")["u"].value == 100.0
    found = probe(server.url, expect_text="is well")
    assert (found["u"].value, found["e"].value, found["s"].value) == (0.0, 100.0, 200.0)


def test_what_a_down_address_cannot_tell_is_silence() -> None:
    found = probe(f"http://127.0.0.1:{free_port()}/")
    assert found["l"].is_silence
    assert not found["u"].is_silence
