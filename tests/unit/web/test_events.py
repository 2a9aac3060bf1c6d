"""Server-sent events: everybody hears, a slow one is cut off, one that leaves is forgotten."""

import asyncio
import http.client
import json
import time
from typing import Any

import pytest

from slakeeper.web import events
from slakeeper.web.events import EventHub
from tests.unit.web.conftest import Site
from tests.unit.web.fake_cell import FakeCell, until


def open_stream(site: Site) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    connection = site.connect()
    connection.request("GET", "/v1/events", headers=site.headers)
    response = connection.getresponse()
    assert response.status == 200
    assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
    return connection, response


def next_event(response: http.client.HTTPResponse) -> Any:
    while True:
        line = response.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            return json.loads(line[6:])


def subscribers(site: Site) -> float:
    text = site.get("/metrics").body.decode()
    return float(
        next(line for line in text.splitlines() if line.startswith("slakeeper_event_sub")).split()[1]
    )


def test_events_of_every_cell_reach_every_subscriber(site: Site, cells: list[FakeCell]) -> None:
    streams = [open_stream(site) for _ in range(2)]
    until(lambda: all(cell.subscribers for cell in cells))
    cells[0].push(topic="violation.opened", violation={"id": "v1"})
    for _, response in streams:
        assert next_event(response) == {"topic": "violation.opened", "violation": {"id": "v1"}}
    cells[1].push(topic="violation.resolved", violation={"id": "v2"})
    for connection, response in streams:
        assert next_event(response)["violation"] == {"id": "v2"}
        connection.close()


def test_a_restart_of_a_cell_is_an_event_and_events_go_on_after_it(site: Site, cells: list[FakeCell]) -> None:
    connection, response = open_stream(site)
    until(lambda: all(cell.subscribers for cell in cells))
    cells[0].die()
    assert next_event(response) == {"topic": "cell.lost", "cell": "cell-0"}
    cells[0].start()
    assert next_event(response) == {"topic": "cell.connected", "cell": "cell-0"}
    until(lambda: cells[0].subscribers == 1)
    cells[0].push(topic="alert.sent")
    assert next_event(response) == {"topic": "alert.sent"}
    connection.close()


def test_a_subscriber_that_leaves_is_forgotten(site: Site) -> None:
    connection, response = open_stream(site)
    until(lambda: subscribers(site) == 1)
    response.close()
    connection.close()
    until(lambda: subscribers(site) == 0)


def test_a_subscriber_that_does_not_read_is_cut_off_and_the_others_are_not(
    site: Site, cells: list[FakeCell]
) -> None:
    slow, _ = open_stream(site)
    quick, response = open_stream(site)
    until(lambda: all(cell.subscribers for cell in cells))
    until(lambda: subscribers(site) == 2)
    for number in range(2_000):
        cells[0].push(topic="metric.changed", number=number, text="x" * 10_000)
        assert next_event(response)["number"] == number
    until(lambda: subscribers(site) == 1)
    cells[0].push(topic="alert.sent")
    assert next_event(response) == {"topic": "alert.sent"}
    slow.close()
    quick.close()


def test_a_stop_ends_open_streams_within_a_second(site: Site) -> None:
    connection, response = open_stream(site)
    until(lambda: subscribers(site) == 1)
    began_s = time.monotonic()
    site.service.stop(5.0)
    assert time.monotonic() - began_s < 1.0
    assert response.read() == b"retry: 1000\n\n"
    connection.close()


def test_too_many_streams_are_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slakeeper.web.app.MAX_SUBSCRIBERS", 1)
    connection, _ = open_stream(site)
    until(lambda: subscribers(site) == 1)
    answer = site.get("/v1/events")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    connection.close()


def test_a_quiet_stream_carries_a_comment_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.01)
    sent: list[bytes] = []

    async def main() -> None:
        enough = asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(message.get("body", b""))
            if sent.count(b": still here\n\n") == 2:
                enough.set()

        async def receive() -> Any:
            await enough.wait()
            return {"type": "http.disconnect"}

        async with asyncio.timeout(5):
            await EventHub().stream({"type": "http"}, receive, send)

    asyncio.run(main())
    assert sent.count(b": still here\n\n") >= 2


def test_an_event_after_the_loop_has_ended_goes_nowhere() -> None:
    hub = EventHub()

    async def main() -> None:
        async def send(message: Any) -> None:
            hub.close()

        async def receive() -> Any:
            await asyncio.Event().wait()

        await hub.stream({"type": "http"}, receive, send)

    asyncio.run(main())
    hub.hear("alert.sent", {})
    assert hub.subscribers == 0
