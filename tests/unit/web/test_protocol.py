"""Connections on which nothing comes, or not all of it."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from slakeeper.web import gate, protocol, server
from tests.unit.web.conftest import Site
from tests.unit.web.fake_cell import FakeCell, until

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@contextlib.contextmanager
def opened(site: Site, count: int, begin: bytes = b"") -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        sockets = []
        for _ in range(count):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", site.port), timeout=5))
            raw.sendall(begin)
            sockets.append(raw)
        yield sockets


def is_ended(raw: socket.socket) -> bool:
    """Whether the other side has ended it; reads what is there before that."""
    try:
        while raw.recv(65536):
            pass
    except ConnectionResetError:  # something that it sent was not read
        pass
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("begin", [b"", GET + b"X-A: "], ids=["silent", "half a head"])
def test_a_flood_of_silent_connections_leaves_the_others_their_answers(
    start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 20)
    monkeypatch.setattr(protocol, "MAX_WAITING", 8)
    site = start_site()
    with opened(site, 60, begin) as sockets:
        for _ in range(20):
            assert site.get("/v1/slas").status == 200
        # Who has waited longest has gone.
        assert all(is_ended(each) for each in sockets[:50])


def test_a_connection_on_which_no_request_comes_is_ended(
    start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.2)
    site = start_site()
    with (
        opened(site, 3) as silent,
        opened(site, 3, GET) as half,
        opened(site, 1, GET + b"\r\n") as [answered],
    ):
        assert answered.recv(65536).startswith(b"HTTP/1.1 200")
        for raw in (*silent, *half, answered):
            assert is_ended(raw)


def test_a_head_that_comes_in_drips_is_not_waited_for(
    start_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.3)
    site = start_site()
    with opened(site, 1, GET) as [raw]:
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < began_s + 5:
                raw.sendall(b"X-A: b\r\n")
                raw.settimeout(0.02)
                with contextlib.suppress(TimeoutError):
                    if raw.recv(1) == b"":
                        break
        assert time.monotonic() - began_s < 2


def test_a_head_without_an_end_is_not_kept(quiet_site: Site) -> None:
    with opened(quiet_site, 1, GET) as [raw]:
        with contextlib.suppress(OSError):
            for _ in range(100):
                raw.sendall(b"X-A: " + b"x" * 10_000 + b"\r\n")
        assert is_ended(raw)


def test_a_connection_is_used_again_and_what_is_under_way_is_waited_for(
    start_site: Callable[..., Site], cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_WITHIN_S", 0.3)
    site = start_site()
    connection = site.connect()
    for _ in range(3):
        connection.request("GET", "/v1/slas", headers=site.headers)
        assert connection.getresponse().read() == b"[]"
    first = connection.sock
    stream = site.connect()
    stream.request("GET", "/v1/events", headers=site.headers)
    assert stream.getresponse().status == 200
    cells[0].answering.clear()
    connection.request("GET", "/v1/slas", headers=site.headers)
    threading.Timer(0.8, cells[0].answering.set).start()
    assert connection.getresponse().read() == b"[]"
    assert connection.sock is first
    assert site.get("/metrics").body.count(b"slakeeper_event_subscribers 1.0") == 1
    for each in (connection, stream):
        each.close()


def test_one_host_does_not_have_all_requests_under_way(
    start_site: Callable[..., Site], cells: list[FakeCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "MAX_UNDER_WAY", 3)
    site = start_site(behind_proxy=True)
    cells[0].answering.clear()
    connections = [site.connect() for _ in range(3)]
    for each in connections:
        each.request("GET", "/v1/slas", headers=site.headers)
    until(lambda: site.get("/healthz").status == 503)
    assert site.get("/healthz").headers["retry-after"] == "1"
    assert site.get("/healthz", X_Forwarded_For="192.0.2.7").status == 200
    cells[0].answering.set()
    for each in connections:
        assert each.getresponse().status == 200
        each.close()
    assert site.get("/healthz").status == 200


@pytest.mark.parametrize(("behind_proxy", "is_told_apart"), [(False, False), (True, True)])
def test_a_host_is_what_a_proxy_says_where_there_is_one(
    start_site: Callable[..., Site],
    cells: list[FakeCell],
    monkeypatch: pytest.MonkeyPatch,
    behind_proxy: bool,
    is_told_apart: bool,
) -> None:
    monkeypatch.setattr(gate, "MAX_UNDER_WAY", 1)
    site = start_site(behind_proxy=behind_proxy)
    cells[0].answering.clear()
    first = site.connect()
    first.request("GET", "/v1/slas", headers={**site.headers, "X-Forwarded-For": "192.0.2.1"})
    until(lambda: cells[0].asked("sla.list"))
    other = site.get("/healthz", X_Forwarded_For="192.0.2.2").status
    assert other == (200 if is_told_apart else 503)
    cells[0].answering.set()
    assert first.getresponse().status == 200
    first.close()
