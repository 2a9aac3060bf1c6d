"""A connection to one cell: requests from any thread, answers as futures, pushes to listeners.

Frames are a big-endian u32 length and msgpack: ``[id, kind, payload]`` out, ``[id, true, result]``,
``[id, false, error]`` and pushes ``[0, topic, payload]`` in. One thread reads, reconnects and keeps time; a request
is written by the thread that makes it when the socket takes it, so nobody ever waits for a slow cell but the future.

A cell that is restarted is away for a moment. Requests that may be sent twice (reads, and samples, which carry a
batch id) ride that out: they wait ``patience_s`` for the new connection and are sent again once. The rest fail.
"""

import itertools
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from slakeeper.otp.frame import MAX_FRAME_BYTES, FrameError, FrameReader, pack_frame
from slakeeper.request import REPEATABLE, Overloaded, Unavailable, failure_of, is_at_once

# How long a request waits for a cell that is away. A killed cell is back within a second or so; a sender is better
# told to come back than held for longer.
RECONNECT_PATIENCE_S = 2.0

# How long an answer may take. Past it the cell is as good as lost: its supervisor kills a hung cell sooner.
REPLY_WITHIN_S = 15.0

# Between two tries to connect; a Unix socket says no within 50 us, and whoever waits for the cell waits for this, too.
RECONNECT_EVERY_S = 0.003

# Before the first of them: a dying process may close its connections before its door, and what is sent through that is
# lost a second time. No process is back sooner.
RECONNECT_AFTER_LOSS_S = 0.02

# How often answers that are overdue are looked for.
SWEEP_EVERY_S = 0.25

# Bytes kept for a cell that reads too slowly or is away; beyond this a request fails instead of filling memory.
MAX_UNSENT_BYTES = 64 * 1024 * 1024

# A request that was being answered when its cell died is sent to the next one once: a second time could be the
# request's own doing.
MAX_RESENDS = 1

_RECEIVE_BYTES = 256 * 1024

Listener = Callable[[str, Any], None]


@dataclass
class _Pending:
    waits: bool  # for a cell that is away
    may_be_resent: bool  # to the next one, when its cell is lost
    frame: bytes
    future: Future[Any]
    asked_at_s: float  # monotonic
    waits_since_s: float  # monotonic; when it began to wait for a connection
    resends: int = 0


class CellConnection:
    """One cell, by the path of its Unix socket. Safe to share between threads; nothing starts before the first use."""

    def __init__(
        self,
        name: str,
        socket_path: str | os.PathLike[str],
        *,
        patience_s: float = RECONNECT_PATIENCE_S,
        reply_within_s: float = REPLY_WITHIN_S,
    ) -> None:
        self.name = name
        self._path = os.fspath(socket_path)
        self._patience_s = patience_s
        self._reply_within_s = reply_within_s
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._sent: dict[int, _Pending] = {}
        self._waiting: dict[int, _Pending] = {}
        self._unsent = bytearray()
        self._waiting_bytes = 0
        self._listeners: list[Listener] = []
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._wake: tuple[socket.socket, socket.socket] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether the cell is there at this moment; a first look connects."""
        self._start()
        return self._socket is not None

    def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
        """Asks the cell; never blocks.

        Returns:
            A future of the result (plain msgpack values). It fails with `RequestFailed` when the cell says no, and
            with `Unavailable` when the cell is away, dies before it answers, or does not answer in time.
        """
        self._start()
        future: Future[Any] = Future()
        # A waiter that loses interest must not make the reader's set_result fail.
        future.set_running_or_notify_cancel()
        number = next(self._ids)
        now_s = time.monotonic()
        at_once = is_at_once(kind, payload) or self._patience_s <= 0
        frame = pack_frame([number, kind, payload])
        pending = _Pending(not at_once, kind in REPEATABLE and not at_once, frame, future, now_s, now_s)
        with self._lock:
            refusal = self._accept(number, pending)
        if refusal is not None:
            future.set_exception(refusal)
        return future

    def listen(self, listener: Listener) -> None:
        """Calls ``listener(topic, payload)`` for every push, and for ``cell.connected`` and ``cell.lost``.

        On the connection's own thread, so it must be quick. An exception of it is logged and changes nothing.
        """
        self._start()
        with self._lock:
            self._listeners.append(listener)
            if len(self._listeners) == 1 and self._socket is not None:
                self._write(self._subscription())

    def unlisten(self, listener: Listener) -> None:
        """Ends what `listen` began."""
        with self._lock:
            self._listeners.remove(listener)

    def close(self) -> None:
        """Ends the connection; what was not answered fails with `Unavailable`."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._kick()
        if thread is not None and thread is not threading.current_thread():
            thread.join(2 * RECONNECT_EVERY_S + 1)

    # --- the caller's side (with the lock held) -----------------------------------------------------

    def _start(self) -> None:
        """Connects and starts the thread on the first use: not before, since a process may fork until then."""
        with self._lock:
            if self._thread is not None or self._closed:
                return
            self._wake = socket.socketpair()
            for end in self._wake:
                end.setblocking(False)
            self._thread = threading.Thread(target=self._run, name=f"connection to {self.name}", daemon=True)
            self._connect()
            self._thread.start()

    def _accept(self, number: int, pending: _Pending) -> Unavailable | None:
        size = len(pending.frame)
        if self._closed:
            return Unavailable(f"the connection to {self.name} is closed")
        if size > MAX_FRAME_BYTES:
            return Unavailable(f"a request of {size} bytes is over the limit of {MAX_FRAME_BYTES}")
        if len(self._unsent) + self._waiting_bytes + size > MAX_UNSENT_BYTES:
            return Overloaded(f"{self.name} does not take what is sent to it")
        if self._socket is not None:
            self._sent[number] = pending
            self._write(pending.frame)
        elif not pending.waits:
            return Unavailable(f"{self.name} is away")
        else:
            self._waiting[number] = pending
            self._waiting_bytes += size
        return None

    def _write(self, frame: bytes) -> None:
        sent = 0
        if not self._unsent and self._socket is not None:
            try:
                sent = self._socket.send(frame)
            except BlockingIOError:
                sent = 0
            except OSError:
                # The reader meets the same broken socket and decides what becomes of the request.
                return
        if sent < len(frame):
            self._unsent += frame[sent:]
            self._kick()

    def _kick(self) -> None:
        if self._wake is not None:
            try:
                self._wake[1].send(b"!")
            except BlockingIOError:
                return  # it is full, so the reader will wake anyway

    def _subscription(self) -> bytes:
        return pack_frame([next(self._ids), "subscribe", {}])

    # --- the connection's thread --------------------------------------------------------------------

    def _run(self) -> None:
        assert self._wake is not None
        next_try_s = 0.0
        while not self._closed:
            if self._socket is not None:
                self._tell("cell.connected", {"cell": self.name})
                self._serve(self._socket, self._wake[0])
                self._lose()
                self._tell("cell.lost", {"cell": self.name})
                next_try_s = time.monotonic() + RECONNECT_AFTER_LOSS_S
            else:
                self._sweep()
                self._pause(self._wake[0], next_try_s)
                next_try_s = time.monotonic() + RECONNECT_EVERY_S
                with self._lock:
                    self._connect()
        self._end()

    def _pause(self, wake: socket.socket, until_s: float) -> None:
        """Waits, whoever sends meanwhile, but for the end of the connection."""
        with selectors.DefaultSelector() as selector:
            selector.register(wake, selectors.EVENT_READ)
            while not self._closed and (left_s := until_s - time.monotonic()) > 0:
                if selector.select(left_s):
                    wake.recv(_RECEIVE_BYTES)

    def _connect(self) -> None:
        """Connects if the cell is there, and sends what waited for it (with the lock held)."""
        if self._closed:
            return
        candidate = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            candidate.settimeout(1.0)
            candidate.connect(self._path)
            candidate.setblocking(False)
        except OSError:
            # Away: nobody listens yet, or the file is not there. The next try comes by itself.
            candidate.close()
            return
        self._socket = candidate
        self._unsent = bytearray()
        if self._listeners:
            self._write(self._subscription())
        for number, pending in self._waiting.items():
            self._sent[number] = pending
            self._write(pending.frame)
        self._waiting = {}
        self._waiting_bytes = 0

    def _serve(self, connection: socket.socket, wake: socket.socket) -> None:
        """Reads and writes until the connection is lost or closed."""
        reader = FrameReader()
        swept_at_s = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            selector.register(wake, selectors.EVENT_READ)
            watched = selectors.EVENT_READ
            while not self._closed:
                wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
                if wanted != watched:
                    selector.modify(connection, wanted)
                    watched = wanted
                try:
                    for key, events in selector.select(SWEEP_EVERY_S):
                        if key.fileobj is wake:
                            wake.recv(_RECEIVE_BYTES)
                            continue
                        if events & selectors.EVENT_WRITE:
                            self._flush(connection)
                        if events & selectors.EVENT_READ:
                            data = connection.recv(_RECEIVE_BYTES)
                            if not data:
                                return
                            self._read(reader, data)
                except BlockingIOError:
                    continue
                except (OSError, ValueError, TypeError, FrameError) as error:
                    logging.getLogger(__name__).info("the connection to %s broke: %s", self.name, error)
                    return
                if time.monotonic() - swept_at_s >= SWEEP_EVERY_S:
                    swept_at_s = time.monotonic()
                    self._sweep()

    def _flush(self, connection: socket.socket) -> None:
        with self._lock:
            sent = connection.send(self._unsent)
            del self._unsent[:sent]

    def _read(self, reader: FrameReader, data: bytes) -> None:
        """Settles what the frames that are now whole answer."""
        for number, second, third in reader.feed(data):
            if number == 0:
                self._tell(third.get("topic", second), third)
                continue
            with self._lock:
                pending = self._sent.pop(number, None)
            if pending is None:
                continue  # given up already, or the answer to a subscription
            if second:
                pending.future.set_result(third)
            else:
                pending.future.set_exception(failure_of(third))

    def _tell(self, topic: str, payload: Any) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(topic, payload)
            except Exception:
                logging.getLogger(__name__).exception("a listener of %s failed", self.name)

    def _lose(self) -> None:
        """The connection is gone: what may be sent again waits for the next one, the rest fails."""
        now_s = time.monotonic()
        with self._lock:
            if self._socket is not None:
                self._socket.close()
            self._socket = None
            self._unsent = bytearray()
            lost, self._sent = self._sent, {}
            failed = []
            for number, pending in lost.items():
                if pending.may_be_resent and pending.resends < MAX_RESENDS and not self._closed:
                    pending.resends += 1
                    pending.waits_since_s = now_s
                    self._waiting[number] = pending
                    self._waiting_bytes += len(pending.frame)
                else:
                    failed.append(pending)
        for pending in failed:
            pending.future.set_exception(Unavailable(f"{self.name} was lost before it answered"))

    def _sweep(self) -> None:
        """Fails what has waited too long, for a connection or for an answer."""
        now_s = time.monotonic()
        with self._lock:
            overdue = [n for n, p in self._waiting.items() if now_s - p.waits_since_s >= self._patience_s]
            away = [self._waiting.pop(number) for number in overdue]
            self._waiting_bytes -= sum(len(pending.frame) for pending in away)
            late = [n for n, p in self._sent.items() if now_s - p.asked_at_s >= self._reply_within_s]
            silent = [self._sent.pop(number) for number in late]
        for pending in away:
            pending.future.set_exception(Unavailable(f"{self.name} is away"))
        for pending in silent:
            text = f"{self.name} gave no answer within {self._reply_within_s:g} s"
            pending.future.set_exception(Unavailable(text))

    def _end(self) -> None:
        with self._lock:
            left = [*self._sent.values(), *self._waiting.values()]
            self._sent, self._waiting = {}, {}
            if self._socket is not None:
                self._socket.close()
                self._socket = None
            if self._wake is not None:
                for end in self._wake:
                    end.close()
                self._wake = None
        for pending in left:
            pending.future.set_exception(Unavailable(f"the connection to {self.name} was closed"))
