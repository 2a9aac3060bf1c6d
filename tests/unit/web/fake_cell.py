"""A cell that is none: a Unix socket that speaks the frames and says what a test wants."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack

LENGTH = struct.Struct(">I")
Handler = Callable[[Any], Any]


class Refusal(Exception):
    """What a handler raises to answer ``[id, false, error]``."""

    def __init__(self, code: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **details}


def until(condition: Callable[[], Any], within_s: float = 5.0) -> None:
    """Waits for a condition; fails when it does not come true."""
    pause = threading.Event()
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true"
        pause.wait(0.005)


class FakeCell:
    """Takes requests and remembers them.

    Args:
        name: the cell's name.
        path: its socket.
        metrics: the catalog, metric -> contracts. Samples of these are accepted.
    """

    def __init__(self, name: str, path: Path, metrics: dict[str, list[str]] | None = None) -> None:
        self.name = name
        self.path = path
        self.metrics = metrics if metrics is not None else {}
        self.received: list[tuple[str, Any]] = []
        self.handlers: dict[str, Handler] = {}
        self.answering = threading.Event()
        self.answering.set()
        self.subscribers = 0
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.start()

    def start(self) -> None:
        """Listens, as after a restart."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def die(self) -> None:
        """Closes everything without a word, as a killed process does."""
        if self._listener is not None:
            # Closing alone does not end an accept that waits.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.path.unlink(missing_ok=True)
        with self._lock:
            self._listener = None
            connections, self._connections = self._connections, []
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.subscribers = 0

    def asked(self, kind: str) -> list[Any]:
        """The payloads of all requests of a kind."""
        return [payload for received, payload in self.received if received == kind]

    def push(self, **payload: Any) -> None:
        """Publishes an event to whoever is subscribed."""
        self._send_all(_frame([0, "event", payload]))

    def _send_all(self, frame: bytes) -> None:
        with self._lock:
            for connection in self._connections:
                connection.sendall(frame)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                if self._listener is not listener:
                    connection.close()  # it died while this one came in
                    return
                self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as stream:
            while len(header := stream.read(LENGTH.size)) == LENGTH.size:
                (length,) = LENGTH.unpack(header)
                if len(body := stream.read(length)) < length:
                    return  # cut off in the middle
                number, kind, payload = msgpack.unpackb(body)
                self.received.append((kind, payload))
                if kind == "subscribe":
                    self.subscribers += 1
                if kind not in {"catalog", "subscribe", "ping"}:
                    self.answering.wait()
                reply = _frame(self._reply(number, kind, payload))
                with self._lock:
                    connection.sendall(reply)

    def _reply(self, number: int, kind: str, payload: Any) -> list[Any]:
        try:
            return [number, True, self._answer(kind, payload)]
        except Refusal as refusal:
            return [number, False, refusal.error]

    def _answer(self, kind: str, payload: Any) -> Any:
        if kind in self.handlers:
            return self.handlers[kind](payload)
        match kind:
            case "samples":
                return {"accepted": list(range(len(payload["samples"]))), "rejected": []}
            case "catalog":
                return {
                    "metrics": self.metrics,
                    "slas": sorted({i for ids in self.metrics.values() for i in ids}),
                }
            case "status":
                return {"slas": [], "actors": 7, "mailbox": 0}
            case "tree":
                return {"address": self.name, "kind": "cell", "type": "supervisor", "children": []}
            case "ping" | "subscribe":
                return {}
            case "sla.list":
                return {"slas": []}
            case "violations" | "compensation":
                return []
        raise Refusal("not_found", f"{self.name} has none")


def _frame(message: Any) -> bytes:
    body = msgpack.packb(message)
    return LENGTH.pack(len(body)) + bytes(body)
