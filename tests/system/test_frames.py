"""Whoever reaches a port of ours without the key reaches nothing."""

import contextlib
import os
import pickle
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from slakeeper.otp import attach, seal
from tests.system.running_system import LOOPBACK_HEX, System, listening, pause, until

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


class Bomb:
    """Makes whoever unpickles it create a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self._path),))


def ports(system: System) -> dict[int, str]:
    pids = [one["pid"] for one in system.processes().values()]
    return listening(pids)


def throw(port: int, data: bytes) -> bytes:
    """Sends bytes to a port; returns what comes back before the other side hangs up or half a second is over."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(0.3)
        sock.sendall(data)
        while chunk := sock.recv(4096):
            answer += chunk
    return answer


def header(body: bytes, key: bytes) -> bytes:
    return seal.seal(body, key)[: seal.HEADER_SIZE]


def test_nothing_listens_beyond_this_host(system: System) -> None:
    found = ports(system)
    # Thespian's admin, its logger, the root, four services, and the gateway's own.
    assert len(found) >= 8
    assert set(found.values()) == {LOOPBACK_HEX}


def test_a_client_listens_on_loopback_alone_and_only_while_it_asks(system: System) -> None:
    before = listening([os.getpid()])
    seen: dict[int, str] = {}
    with attach.Client(system.data) as client:
        thread = threading.Thread(target=lambda: client.request("slow", {"s": 0.5}, 10.0))
        thread.start()
        seen = until(
            lambda: {port: at for port, at in listening([os.getpid()]).items() if port not in before}
        )
        thread.join()
    assert set(seen.values()) == {LOOPBACK_HEX}
    assert listening([os.getpid()]) == before


def test_what_is_not_sealed_is_never_unpickled(system: System, tmp_path: Path) -> None:
    until(system.works)
    before = {name: one["pid"] for name, one in system.processes().items()}
    target = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(target))
    wrong = b"\0" * 32
    key = bytes.fromhex(system.run()["thespian_key"])
    frames = [
        # As Thespian would have it, with a true length, a short one, a long one, and ones that are no numbers.
        b"%d>" % len(bomb) + bomb,
        b"5>" + bomb,
        b"99999999999>" + bomb,
        b"-5>" + bomb,
        b">" + bomb,
        # As we would have it, but for the key.
        seal.seal(bomb, wrong),
        header(bomb, wrong) + bomb,
        struct.pack(">4sI", b"SLK1", len(bomb)) + bomb,
        b"SLK1" + b"\xff" * 68 + bomb,
        # The seal of another body, as a listener could have recorded it.
        header(b"x" * len(bomb), key) + bomb,
        bomb,
        os.urandom(4096),
        b"\0" * 4096,
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
    ]
    for port in ports(system):
        for frame in frames:
            assert throw(port, frame) == b"", f"{frame[:40]!r} was answered"
    assert system.works()
    assert not target.exists()
    assert {name: one["pid"] for name, one in system.processes().items()} == before
    # The bomb does work on whoever unpickles it.
    pickle.loads(bomb)
    assert target.is_dir()


def test_slow_strangers_do_not_keep_others_out(system: System) -> None:
    until(system.works)
    before = {name: one["pid"] for name, one in system.processes().items()}
    frame = seal.seal(b"x", b"\0" * 32)
    strangers: list[socket.socket] = []
    try:
        for port in ports(system):
            for _ in range(120):
                with contextlib.suppress(OSError):
                    sock = socket.create_connection(("127.0.0.1", port), 1)
                    strangers.append(sock)
                    sock.setblocking(False)
                    sock.send(frame[:1])
        end = time.monotonic() + 3
        at = 1
        while time.monotonic() < end:
            for sock in strangers:
                with contextlib.suppress(OSError):
                    sock.send(frame[at : at + 1])
            at += 1
            assert system.ask("echo", {"a": at}, 5.0) == {"a": at}
        assert {name: one["pid"] for name, one in system.processes().items()} == before
        pid = system.pid("admin")
        assert len(os.listdir(f"/proc/{pid}/fd")) < 120
    finally:
        for sock in strangers:
            sock.close()


def test_strangers_cost_no_time_when_they_are_silent(system: System) -> None:
    until(system.works)
    pid = system.pid("admin")
    port = int(system.run()["admin_address"].rpartition(":")[2])
    strangers = [socket.create_connection(("127.0.0.1", port), 1) for _ in range(40)]
    try:
        # Beyond the time a stranger is given, when their connections are being closed.
        before_s = _cpu_s(pid)
        pause(14)
        assert _cpu_s(pid) - before_s < 1.5
        assert system.works()
    finally:
        for sock in strangers:
            sock.close()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_key_of_another_generation_is_refused(system: System) -> None:
    until(system.works)
    old = system.run()
    pid = system.pid("root")
    os.kill(pid, 9)
    system.back_without("root", pid)
    port = int(system.run()["admin_address"].rpartition(":")[2])
    body = pickle.dumps(("nobody", "nothing"))
    assert throw(port, seal.seal(body, bytes.fromhex(old["thespian_key"]))) == b""
    assert system.works()
