"""The gateway as a service of a process: sockets, start, stop, beat."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slakeeper.web import server
from slakeeper.web.server import RunFile, bind, gateway, parse_address
from tests.unit.web.conftest import Site
from tests.unit.web.fake_cell import FakeCell, until


def test_a_port_in_use_is_told_by_its_address(site: Site, start_site: Callable[..., Site]) -> None:
    with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{site.port}: the port is in use"):
        start_site(http=f"127.0.0.1:{site.port}")


def test_an_address_that_is_not_ours_is_told(start_site: Callable[..., Site]) -> None:
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.1:8080"):
        start_site(http="203.0.113.1:8080")


@pytest.mark.parametrize("text", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
def test_an_address_needs_host_and_port(text: str) -> None:
    with pytest.raises(OSError, match="is not HOST:PORT"):
        parse_address(text)


def test_addresses_are_read() -> None:
    assert parse_address("127.0.0.1:0") == ("127.0.0.1", 0)
    assert parse_address("[::1]:8765") == ("::1", 8765)
    assert parse_address(":8765") == ("127.0.0.1", 8765)


def test_a_socket_is_bound_to_loopback_alone() -> None:
    listener = bind("127.0.0.1", 0)
    assert listener.getsockname()[0] == "127.0.0.1"
    # Without this every answer would wait for the peer's delayed acknowledgement: asyncio asks the protocol.
    assert listener.proto == socket.IPPROTO_TCP
    listener.close()


def test_the_port_answers_as_soon_as_start_returns(quiet_site: Site) -> None:
    assert quiet_site.get("/healthz").status == 200


def test_stop_closes_the_port_and_leaves_no_thread(start_site: Callable[..., Site]) -> None:
    before = set(threading.enumerate())
    site = start_site()
    site.get("/v1/status")
    site.service.stop(1.0)
    with pytest.raises(ConnectionRefusedError):
        site.get("/healthz")
    until(lambda: {thread for thread in threading.enumerate() if "asyncio_" not in thread.name} <= before)


def test_stop_twice_and_stop_without_start_do_nothing(start_site: Callable[..., Site]) -> None:
    site = start_site()
    site.service.stop(1.0)
    site.service.stop(1.0)
    gateway({"cells": [], "partitions": 8, "token": "t"}, None).stop(1.0)


def test_stop_does_not_wait_for_an_idle_connection_or_a_slow_body(site: Site) -> None:
    idle = site.connect()
    idle.request("GET", "/healthz")
    idle.getresponse().read()
    slow = site.connect()
    slow.putrequest("POST", "/v1/samples")
    for name, value in {**site.headers, "Content-Length": "100"}.items():
        slow.putheader(name, value)
    slow.endheaders(b"{")
    began_s = time.monotonic()
    site.service.stop(5.0)
    assert time.monotonic() - began_s < 1.2
    for connection in (idle, slow):
        connection.close()


def test_a_request_that_is_being_answered_gets_its_answer_at_a_stop(
    site: Site, cells: list[FakeCell]
) -> None:
    cells[0].answering.clear()
    connection = site.connect()
    connection.request("GET", "/v1/slas", headers=site.headers)
    until(lambda: cells[0].asked("sla.list"))
    stopping = threading.Thread(target=site.service.stop, args=(1.0,))
    stopping.start()
    cells[0].answering.set()
    assert connection.getresponse().status == 200
    stopping.join(5)
    connection.close()


def test_a_living_loop_beats_and_an_ended_one_is_told(site: Site) -> None:
    assert 0 <= site.service.beat()["age_ms"] < 1000
    site.service.stop(1.0)
    with pytest.raises(RuntimeError, match="has ended"):
        site.service.beat()


def test_a_restarted_gateway_comes_back_on_its_port(start_site: Callable[..., Site], tmp_path: Path) -> None:
    run_file = tmp_path / "run.json"
    first = start_site(run_file=str(run_file))
    run_file.write_text(json.dumps({"http": first.address}))
    first.service.stop(1.0)
    second = start_site(run_file=str(run_file))
    assert second.address == first.address
    third = start_site(run_file=str(run_file))
    assert third.address != first.address


def test_a_restarted_gateway_waits_for_its_port(start_site: Callable[..., Site], tmp_path: Path) -> None:
    # As when a client that tries to reach it while it is down has been given that port for its own end.
    taker = socket.socket()
    taker.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{taker.getsockname()[1]}"
    run_file = tmp_path / "run.json"
    run_file.write_text(json.dumps({"http": address, "state": "running"}))
    leaving = threading.Timer(0.3, taker.close)
    leaving.start()
    try:
        assert start_site(run_file=str(run_file)).address == address
    finally:
        leaving.join()


@pytest.mark.parametrize("state", ["running", "starting"])
def test_a_port_that_stays_taken_is_given_up_only_where_another_one_is_told(
    start_site: Callable[..., Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(server, "SAME_PORT_WITHIN_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taker:
        address = f"127.0.0.1:{taker.getsockname()[1]}"
        run_file = tmp_path / "run.json"
        run_file.write_text(json.dumps({"http": address, "state": state}))
        if state == "starting":
            assert start_site(run_file=str(run_file)).address != address
        else:
            with pytest.raises(OSError, match="the port is in use"):
                start_site(run_file=str(run_file))


def test_a_run_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    run_file = RunFile(path)
    assert run_file.processes() == []
    assert run_file.facts()["state"] == "running"
    path.write_text(json.dumps({"state": "stopping", "processes": [{"name": "root"}], "pid": os.getpid()}))
    assert run_file.facts()["state"] == "stopping"
    assert run_file.facts()["uptime_s"] > 0
    assert run_file.processes() == [{"name": "root"}]
    path.write_text("{")
    assert run_file.processes() == [{"name": "root"}]
    path.write_text(json.dumps({"processes": []}))
    assert run_file.processes() == []


def test_pipelined_requests_are_answered_in_order(quiet_site: Site) -> None:
    with socket.create_connection(("127.0.0.1", quiet_site.port), timeout=5) as raw:
        one = f"GET /healthz HTTP/1.1\r\nHost: localhost:{quiet_site.port}\r\n\r\n".encode()
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        raw.sendall(one * 9 + last)
        received = b""
        while piece := raw.recv(65536):
            received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 10


def test_what_is_no_http_harms_nobody(quiet_site: Site) -> None:
    with socket.create_connection(("127.0.0.1", quiet_site.port), timeout=5) as raw:
        raw.sendall(b"\x00\xff\x16\x03\x01 hello\r\n\r\n")
        while raw.recv(65536):
            pass
    assert quiet_site.get("/healthz").status == 200


def test_an_oversized_header_is_refused(quiet_site: Site) -> None:
    try:
        assert quiet_site.get("/healthz", X_Long="x" * 1_000_000).status in {400, 431, 200}
    except (ConnectionError, http.client.HTTPException):
        pass
    assert quiet_site.get("/healthz").status == 200


def test_the_gateway_knows_nothing_of_contracts() -> None:
    """Their models are an import of 12 MiB and a sixth of a second, which each restart of it would pay."""
    heavy = ("pydantic", "jinja2", "thespian")
    probe = f"import sys, slakeeper.web.server; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"
