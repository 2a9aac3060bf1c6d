"""A peer that can go wrong in every way, in a process of its own: ``python -m bench.fault``.

It prints its port, then behaves as each line of stdin says until the next one; ends when stdin does. In a process of
its own, so that what it floods with costs nobody else's interpreter anything.
"""

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from bench.machine import ROOT
from slakeeper.integrations.http_client import ANSWER_LIMIT

# Just below what is read of a document, so that it is read to its end.
HUGE_BYTES = ANSWER_LIMIT - 100
PIECE = b"x" * 2**16
DRIP_EVERY_S = 1.0

_HEAD = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: application/json\r\n"


def well(link: socket.socket) -> None:
    """One value, for a JSON pointer and for PromQL; a webhook's answer as well."""
    series = {"resultType": "vector", "result": [{"metric": {}, "value": [time.time(), "1"]}]}
    _answer(link, b"200 OK", json.dumps({"value": 1, "status": "success", "data": series}).encode())


def hanging(link: socket.socket) -> None:
    """Never answers."""
    link.recv(1)


def dripping(link: socket.socket) -> None:
    """A byte a second, and the head of the answer does not end."""
    link.sendall(b"HTTP/1.1 200 OK\r\nServer: ")
    while True:
        link.sendall(b"x")
        time.sleep(DRIP_EVERY_S)


def garbage(link: socket.socket) -> None:
    """No HTTP."""
    link.sendall(bytes(range(256)) * 4)


def wrong(link: socket.socket) -> None:
    """JSON of another shape than was asked for."""
    series = {"resultType": "vector", "result": "many"}
    _answer(link, b"200 OK", json.dumps({"value": [True], "status": "success", "data": series}).encode())


def huge(link: socket.socket) -> None:
    """As much JSON as is read, made of so many values that reading it takes long, and nothing in it."""
    _answer(link, b"200 OK", b"[" + b"[1,2],{}," * (HUGE_BYTES // 9) + b"0]")


def endless(link: socket.socket) -> None:
    """A body as fast as it is taken, without an end."""
    link.sendall(_HEAD % b"200 OK" + b"\r\n")
    while True:
        link.sendall(PIECE)


def busy(link: socket.socket) -> None:
    """Too many requests."""
    _answer(link, b"429 Too Many Requests", b"later")


def failing(link: socket.socket) -> None:
    """An error of its own."""
    _answer(link, b"500 Internal Server Error", b"broken")


WELL, REFUSING = "well", "refusing"
BEHAVIOURS: dict[str, Callable[[socket.socket], None]] = {
    each.__name__: each for each in (well, hanging, dripping, garbage, wrong, huge, endless, busy, failing)
}


def _answer(link: socket.socket, status: bytes, body: bytes) -> None:
    link.sendall(_HEAD % status + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def _read_request(link: socket.socket) -> None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = link.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    length = int((head.lower().partition(b"content-length:")[2].split(b"\r", 1)[0]).strip() or b"0")
    while len(body) < length:
        piece = link.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        body += piece


class _Peer:
    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        self._links: set[socket.socket] = set()
        self._behave: Callable[[socket.socket], None] = well
        self._accept()

    def behave(self, name: str) -> None:
        """From now on; what hangs in the former way is cut."""
        was_open = self._listener.fileno() >= 0
        if name == REFUSING:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        else:
            self._behave = BEHAVIOURS[name]
            if not was_open:
                self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
                self._accept()
        for link in list(self._links):
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        threading.Thread(target=self._take, args=(self._listener,), daemon=True).start()

    def _take(self, listener: socket.socket) -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return  # it refuses now
            self._links.add(link)
            threading.Thread(target=self._serve, args=(link, self._behave), daemon=True).start()

    def _serve(self, link: socket.socket, behave: Callable[[socket.socket], None]) -> None:
        with suppress(OSError, ValueError), link:
            _read_request(link)
            behave(link)
        self._links.discard(link)


class Fault:
    """The peer, seen from whoever started it."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{self._read()}"

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def behave(self, name: str) -> None:
        """Returns when it does."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()
        self._read()


@contextmanager
def fault() -> Iterator[Fault]:
    """A peer that behaves well at first, while the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.fault"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Fault(process)
    finally:
        process.kill()
        process.communicate()


def main() -> None:
    peer = _Peer()
    sys.stdout.write(f"{peer.port}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        peer.behave(line.strip())
        sys.stdout.write("so it does\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
