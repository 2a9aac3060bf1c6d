"""The sockets of a loop: frames in, frames out, and the word from another thread that there is something to do."""

import contextlib
import logging
import selectors
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slakeeper.otp.actor import RequestError
from slakeeper.otp.frame import FrameError, FrameReader, pack_frame

# What one read takes from a connection: large enough for a batch, small enough to keep turns short.
READ_BYTES = 256 * 1024

# Unsent bytes a peer may leave with us before it counts as gone: a subscriber that does not read must not
# fill the cell's memory.
MAX_UNSENT_BYTES = 64 * 1024 * 1024

Reply = Callable[[bool, Any], None]
"""Given whether a request was served, and its result or the refusal."""

Ready = Sequence[tuple[selectors.SelectorKey, int]]


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = FrameReader()
        self.unsent = bytearray()
        self.subscribed = False
        self.closed = False


class Connections:
    """Who is connected to a loop. All belongs to the loop's thread, but for :meth:`wake`.

    Args:
        name: of the loop, in logs.
        serve: given each request's kind and payload, and where its answer goes.
    """

    def __init__(self, name: str, serve: Callable[[str, Any, Reply], None]) -> None:
        self._name = name
        self._serve = serve
        self._connections: set[_Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def wake(self) -> None:
        """Ends the :meth:`wait` of now, or the next; from any thread."""
        with contextlib.suppress(OSError):  # full means it will wake anyway; closed means it is ending
            self._wake_write.send(b"w")

    def listen(self, path: Path) -> None:
        """Opens a Unix socket for this user alone; one that is left there from before gives way.

        Raises:
            OSError: it cannot be there.
        """
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, "listener")

    def wait(self, timeout_s: float) -> Ready:
        """Returns what there is to :meth:`take`, as soon as there is anything; nothing after ``timeout_s``."""
        return self._selector.select(timeout_s)

    def take(self, ready: Ready) -> None:
        """Reads what has come, serves it, and sends what is waiting to be sent."""
        for key, mask in ready:
            self._ready(key, mask)

    def publish(self, topic: str, payload: dict[str, Any]) -> None:
        """Sends an event to those who have subscribed."""
        subscribers = [connection for connection in self._connections if connection.subscribed]
        if subscribers:
            frame = pack_frame([0, "event", {"topic": topic, **payload}])
            for connection in subscribers:
                self._send(connection, frame)

    def drop_all(self) -> None:
        """Ends every connection, as the end of the process would; others may come."""
        for connection in list(self._connections):
            self._drop(connection)

    def close(self) -> None:
        """Sends what can be sent at once, and ends everything."""
        for connection in list(self._connections):
            self._flush(connection)
            self._drop(connection)
        for key in list(self._selector.get_map().values()):
            if key.data == "listener":
                key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake_read.close()
        self._wake_write.close()

    # -- inside -----------------------------------------------------------------------------------------------

    def _ready(self, key: selectors.SelectorKey, mask: int) -> None:
        if key.data is None:
            with contextlib.suppress(BlockingIOError):
                while len(self._wake_read.recv(READ_BYTES)) == READ_BYTES:
                    pass
        elif key.data == "listener":
            with contextlib.suppress(OSError):
                accepted, _ = key.fileobj.accept()  # type: ignore[union-attr]
                accepted.setblocking(False)
                connection = _Connection(accepted)
                self._connections.add(connection)
                self._selector.register(accepted, selectors.EVENT_READ, connection)
        else:
            if mask & selectors.EVENT_WRITE:
                self._flush(key.data)
            if mask & selectors.EVENT_READ:
                self._read(key.data)

    def _read(self, connection: _Connection) -> None:
        if connection.closed:
            return
        try:
            data = connection.socket.recv(READ_BYTES)
            if not data:
                self._drop(connection)
                return
            for message in connection.reader.feed(data):
                self._take(connection, message)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            logging.getLogger("slakeeper.otp").warning("%s: connection dropped: %s", self._name, error)
            self._drop(connection)

    def _take(self, connection: _Connection, message: Any) -> None:
        if not (
            isinstance(message, list) and len(message) == 3 and isinstance(message[0], int) and message[0] > 0
        ):
            raise FrameError("a request must be [id, kind, payload]")
        request_id, kind, payload = message

        def reply(ok: bool, result: Any) -> None:
            try:
                frame = pack_frame([request_id, ok, result])
            except (TypeError, ValueError, OverflowError, FrameError) as error:
                # No answer at all would leave the peer waiting.
                refusal = RequestError("internal", f"the answer to {kind!r} cannot be sent: {error}")
                frame = pack_frame([request_id, False, refusal.to_wire()])
            self._send(connection, frame)

        if kind == "subscribe":
            connection.subscribed = True
            reply(True, {})
        else:
            self._serve(kind, payload, reply)

    def _send(self, connection: _Connection, frame: bytes) -> None:
        if connection.closed:
            return
        was_empty = not connection.unsent
        connection.unsent += frame
        if len(connection.unsent) > MAX_UNSENT_BYTES:
            logging.getLogger("slakeeper.otp").warning(
                "%s: a peer does not read; connection dropped", self._name
            )
            self._drop(connection)
        elif was_empty:
            self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.closed:
            return
        try:
            while connection.unsent:
                sent = connection.socket.send(connection.unsent)
                del connection.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, events, connection)

    def _drop(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._connections.discard(connection)
