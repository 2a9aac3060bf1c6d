"""The StatsD door: datagrams in, samples at the cells; what is lost is counted."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.web.datagram import bind_udp
from slakeeper.web.server import parse_address
from tests.unit.web.conftest import Site, start_gateway
from tests.unit.web.fake_cell import FakeCell, until


class Statsd:
    """A gateway with the door open, and a socket that sends to it."""

    def __init__(self, cells: list[FakeCell], **ingest: Any) -> None:
        settings = {"statsd": "127.0.0.1:0", "statsd_flush_ms": 20, **ingest}
        self.service = start_gateway(cells, ingest=settings, patience_s=0.05)
        facts = self.service.start()
        self.site = Site(self.service, facts["http"])
        self.address = parse_address(facts["statsd"])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.socket.sendto(datagram, self.address)

    def row(self) -> dict[str, Any]:
        rows = self.site.get("/v1/status").json["ingest"]
        return next(row for row in rows if row["door"] == "statsd")

    def close(self) -> None:
        self.service.stop(2.0)
        self.socket.close()


@pytest.fixture
def open_door(cells: list[FakeCell], request: pytest.FixtureRequest) -> Callable[..., Statsd]:
    def make(**ingest: Any) -> Statsd:
        made = Statsd(cells, **ingest)
        request.addfinalizer(made.close)
        return made

    return make


def taken(cell: FakeCell) -> list[tuple[str, float]]:
    return [(sample[0], sample[1]) for asked in cell.asked("samples") for sample in asked["samples"]]


def test_lines_become_samples_and_garbage_a_count(
    open_door: Callable[..., Statsd], cells: list[FakeCell]
) -> None:
    door = open_door()
    door.send(
        b"latency:12|ms\nlatency:13|ms|#region:eu\ngarbage",
        b"uptime:99.9|g\nnobody:1|c",
        b"",
        b"\xff" * 1_000,
    )
    until(lambda: len(taken(cells[0])) == 3)
    assert sorted(taken(cells[0])) == [("latency", 12.0), ("latency", 13.0), ("uptime", 99.9)]
    until(lambda: door.row()["rejected"] == {"bad_line": 2, "unknown_metric": 1})
    row = door.row()
    assert (row["accepted"], row["datagrams"], row["datagrams_lost"]) == (3, 4, 0)
    assert b'slakeeper_ingest_datagrams_total{door="statsd"} 4.0' in door.site.get("/metrics").body


def test_what_a_dead_cell_does_not_take_waits_and_goes_under_one_id(
    open_door: Callable[..., Statsd], cells: list[FakeCell]
) -> None:
    door = open_door()
    door.send(b"uptime:1|g")
    until(lambda: taken(cells[0]) == [("uptime", 1.0)])
    cells[0].die()
    door.send(b"uptime:2|g")
    until(lambda: door.row()["refused_batches"] > 0)
    assert door.row()["waiting"] == 1
    cells[0].start()
    until(lambda: taken(cells[0])[-1:] == [("uptime", 2.0)])
    until(lambda: door.row()["waiting"] == 0)
    assert len({asked["batch_id"] for asked in cells[0].asked("samples")}) == 2


def test_what_waits_for_a_dead_cell_is_bounded_by_its_bytes(
    open_door: Callable[..., Statsd], cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.web.datagram.MAX_WAITING_BYTES", 2_000)
    door = open_door()
    cells[0].die()
    tags = b"|#" + b",".join(b"tag%d:%s" % (number, b"x" * 50) for number in range(20))
    door.send(b"uptime:1|g" + tags)
    until(lambda: door.row()["rejected"].get("cells_too_slow") == 1)
    door.send(b"uptime:2|g")
    until(lambda: door.row().get("waiting") == 1)
    cells[0].start()
    until(lambda: taken(cells[0]) == [("uptime", 2.0)])
    until(lambda: door.row()["waiting"] == 0)
    door.send(b"uptime:3|g")
    until(lambda: taken(cells[0])[-1:] == [("uptime", 3.0)])


def test_a_stop_sends_what_was_read(cells: list[FakeCell]) -> None:
    door = Statsd(cells, statsd_flush_ms=60_000)
    door.send(b"uptime:5|g")
    door.close()
    assert taken(cells[0]) == [("uptime", 5.0)]


def test_datagrams_that_the_kernel_had_no_room_for_are_counted(
    open_door: Callable[..., Statsd], cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slakeeper.web.datagram.RECEIVE_BUFFER_BYTES", 2_048)
    monkeypatch.setattr("slakeeper.web.datagram.TURN_S", 0.0)  # reads nothing
    door = open_door()
    door.send(*[b"uptime:1|g|#t:" + b"x" * 200] * 200)
    monkeypatch.setattr("slakeeper.web.datagram.TURN_S", 0.002)
    until(lambda: taken(cells[0]))
    door.send(b"uptime:2|g")  # the kernel tells with the next one
    until(lambda: door.row()["datagrams_lost"] > 0)
    row = door.row()
    assert row["datagrams"] + row["datagrams_lost"] == 201


def test_an_address_in_use_is_told() -> None:
    with bind_udp("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"cannot listen on 127.0.0.1:{port} \(UDP, StatsD\): Address already in use"
        ):
            bind_udp("127.0.0.1", port)


def test_a_door_that_has_failed_is_a_failure_of_the_gateway(
    open_door: Callable[..., Statsd], cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    door = open_door()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("slakeeper.web.statsd.Aggregate.flush", fail)
    door.send(b"uptime:1|g")

    def has_failed() -> bool:
        try:
            door.service.beat()
        except RuntimeError as error:
            return "a defect" in str(error)
        return False

    until(has_failed)
    monkeypatch.undo()
