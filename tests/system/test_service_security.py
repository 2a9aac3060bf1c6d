"""Whoever is not meant to get in does not: strangers on the ports, and clients without the token."""

import contextlib
import os
import pickle
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]

LOOPBACK = "0100007F"


@pytest.fixture(scope="module")
def service(module_services: MakeService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    config = write_config(tmp_path_factory.mktemp("config"), [contract("shop", [metric("latency")])])
    one = module_services(config)
    one.start()
    return one


class Bomb:
    """Makes whoever unpickles it create a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self._path),))


def frames(bomb: bytes) -> Iterator[bytes]:
    """The bomb as the protocols spoken here would carry it."""
    yield bomb
    yield struct.pack(">I", len(bomb)) + bomb
    yield f"{len(bomb)}\n".encode() + bomb
    yield b"%d " % len(bomb) + bomb
    yield b"SLK1" + struct.pack(">I", len(bomb)) + b"\0" * 64 + bomb
    for path in (b"/", b"/v1/samples", b"/v1/violations/x/ack", b"/login"):
        head = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/python-pickle\r\n" % path
        yield head + b"Content-Length: %d\r\n\r\n" % len(bomb) + bomb


def throw(family: socket.AddressFamily, address: Any, data: bytes) -> None:
    """Sends bytes to a socket and reads until the other side hangs up; how it does so does not matter."""
    with contextlib.suppress(OSError), socket.socket(family) as sock:
        sock.settimeout(2)
        sock.connect(address)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(4096):
            pass


def test_every_process_listens_on_loopback_alone(service: Service) -> None:
    sockets = service.sockets()
    # Thespian's admin and logger, the root, two cells, gateway and admin; and the gateway's HTTP.
    assert len(sockets) >= 8
    assert {one.address for one in sockets} == {LOOPBACK}
    runtime = Path(service.run()["runtime_dir"])
    assert stat.S_IMODE(runtime.stat().st_mode) == 0o700
    assert [stat.S_IMODE(path.stat().st_mode) for path in sorted(runtime.glob("*.sock"))] == [0o600, 0o600]


def test_pickle_bombs_to_every_socket_do_nothing(service: Service, tmp_path: Path) -> None:
    processes = service.processes()
    accepted = service.metric("shop", "latency")["samples_accepted"]
    target = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(tmp_path / "proof")))
    assert (tmp_path / "proof").exists()
    ports = sorted({one.port for one in service.sockets()})
    unix = sorted(Path(service.run()["runtime_dir"]).glob("*.sock"))
    assert unix
    for protocol in (0, 2, pickle.HIGHEST_PROTOCOL):
        for frame in frames(pickle.dumps(Bomb(target), protocol)):
            for port in ports:
                throw(socket.AF_INET, ("127.0.0.1", port), frame)
            for path in unix:
                throw(socket.AF_UNIX, str(path), frame)
    assert not target.exists()
    # It lives on, in the same processes, and serves.
    until(service.is_whole, what="the service")
    service.observe("latency", 1)
    until(lambda: service.metric("shop", "latency")["samples_accepted"] == accepted + 1)
    assert service.processes() == processes
    assert service.show("status")["state"] == "running"


@pytest.mark.parametrize("token", ["", "wrong", "é"], ids=["without", "wrong", "not ascii"])
def test_http_answers_401_without_the_token(service: Service, token: str) -> None:
    paths = ("/", "/metrics", "/v1/status", "/v1/tree", "/v1/slas", "/v1/slas/shop", "/v1/violations",
             "/v1/compensation", "/v1/reports/shop", "/v1/events", "/v1/nothing")  # fmt: skip
    refused = {path: service.http("GET", path, token=token).status for path in paths}
    assert refused == dict.fromkeys(paths, 401)
    sample = {"samples": [{"metric": "latency", "value": 1}]}
    for path, body in (("/v1/samples", sample), ("/v1/violations/x/ack", {"by": "eva"})):
        reply = service.http("POST", path, body, token=token)
        assert (reply.status, reply.document["error"]) == (401, "unauthorized")
        assert reply.headers["www-authenticate"].startswith("Bearer")
    for path in ("/healthz", "/readyz"):
        assert service.http("GET", path, token=token).status == 200


def test_the_token_of_run_json_opens_everything_and_shows_up_nowhere(service: Service) -> None:
    token = service.run()["token"]
    assert service.http("GET", "/v1/status").status == 200
    for words in (("status",), ("tree",), ("sla", "show", "shop")):
        answer = service.invoke(*words)
        assert (answer.code, token in answer.out) == (0, False)
    for path in (service.data / "log").iterdir():
        assert token not in path.read_text(errors="replace")


def test_a_host_name_of_somebody_else_is_not_served(service: Service) -> None:
    assert service.http("GET", "/v1/status", headers={"host": "evil.example"}).status == 403
