"""The StatsD door: a UDP socket on the gateway's loop, read in small portions, flushed to the cells.

What is read is kept until the cells have it; what this process has in memory is lost with it, as is a datagram that the
kernel had no room for: UDP tells its sender nothing. The kernel counts those, and so do we.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import struct
import time
from collections import deque

from slakeeper.client import RequestFailed, Unavailable
from slakeeper.web.ingest import Batch, Sample
from slakeeper.web.intake import Door, Intake
from slakeeper.web.statsd import Aggregate

# A datagram over UDP has at most this many bytes.
_MAX_DATAGRAM_BYTES = 65_535

# Reading goes on for this long before the loop looks at its other sockets: HTTP keeps its pace in a flood.
TURN_S = 0.002

# At the end what is there is read, but whoever goes on sending does not keep the gateway.
MAX_LAST_TURNS = 50

# Asked of the kernel; it gives what net.core.rmem_max allows.
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024

# Samples that wait at the door while the cells do not take them: some 20 s of 5000 timers a second.
MAX_WAITING_SAMPLES = 100_000

# What they take of the memory, roughly: 100 000 samples without tags, fewer with many.
MAX_WAITING_BYTES = 64 * 1024 * 1024

# Timers are not kept until the flush when there are this many.
FULL_SAMPLES = 5_000

# Linux: count what was thrown away, and say so with each datagram. Not in Python's socket module.
_SO_RXQ_OVFL = 40
_COUNT = struct.Struct("=I")


def bind_udp(host: str, port: int) -> socket.socket:
    """A UDP socket that does not block.

    Raises:
        OSError: with the address in its text.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            with contextlib.suppress(OSError):  # it goes without: the count stays away then
                bound.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise OSError(
            error.errno or 0, f"cannot listen on {host}:{port} (UDP, StatsD): {error.strerror or error}"
        ) from error
    return bound


class StatsdDoor:
    """Reads, flushes, sends; on one event loop."""

    def __init__(self, listener: socket.socket, intake: Intake, flush_s: float) -> None:
        self._socket = listener
        self._intake = intake
        self._door: Door = intake.door("statsd")
        self._flush_s = flush_s
        self._aggregate = Aggregate()
        # Each with what it takes of the memory.
        self._batches: deque[tuple[list[Sample], int]] = deque()
        self._work = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = 0
        self._waiting_bytes = 0
        self._lost = 0

    def open(self) -> None:
        """Begins; on the running loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._read)
        self._tasks = [loop.create_task(self._flush_regularly()), loop.create_task(self._send())]

    @property
    def failure(self) -> str:
        """Why this door no longer works; empty while it does. Whoever looks after the gateway starts it again."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                return f"StatsD: {task.exception()!r}"
        return ""

    async def close(self, within_s: float) -> None:
        """Reads what is there, flushes it, and gives the cells a moment to take it."""
        for _ in range(MAX_LAST_TURNS):
            if not self._read():
                break
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self._flush()
        flushing, sending = self._tasks
        flushing.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._waiting and not sending.done():
                    await asyncio.sleep(0.01)
        sending.cancel()
        if self._waiting:
            logging.getLogger(__name__).error("%d samples of StatsD are lost with the end", self._waiting)

    def _read(self) -> int:
        """Reads for a turn at most; returns how many datagrams there were."""
        until_s = time.monotonic() + TURN_S
        now_ms = time.time_ns() // 1_000_000
        datagrams = 0
        while time.monotonic() < until_s:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    _MAX_DATAGRAM_BYTES, socket.CMSG_SPACE(_COUNT.size)
                )
            except BlockingIOError:
                break
            except OSError as error:
                logging.getLogger(__name__).error("StatsD: %s", error)
                break
            datagrams += 1
            if ancillary:
                (self._lost,) = _COUNT.unpack(ancillary[-1][2])
            self._aggregate.take(data, now_ms)
        facts = self._door.facts
        facts["datagrams"] = facts.get("datagrams", 0) + datagrams
        facts["datagrams_lost"] = self._lost
        if self._aggregate.values >= FULL_SAMPLES:
            self._flush()
        return datagrams

    def _flush(self) -> None:
        size = self._aggregate.batch_bytes
        samples = self._aggregate.flush(time.time_ns() // 1_000_000)
        refused, self._aggregate.refused = self._aggregate.refused, {}
        for reason, lines in refused.items():
            self._door.reject(reason, lines)
        if not samples:
            return
        if (
            self._waiting + len(samples) > MAX_WAITING_SAMPLES
            or self._waiting_bytes + size > MAX_WAITING_BYTES
        ):
            self._door.reject("cells_too_slow", len(samples))
            return
        self._wait(len(samples), size)
        self._batches.append((samples, size))
        self._work.set()

    def _wait(self, more: int, more_bytes: int) -> None:
        self._waiting += more
        self._waiting_bytes += more_bytes
        self._door.facts["waiting"] = self._waiting

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            self._flush()

    async def _send(self) -> None:
        while True:
            await self._work.wait()
            while self._batches:
                samples, size = self._batches.popleft()
                await self._deliver(samples)
                self._wait(-len(samples), -size)
            self._work.clear()

    async def _deliver(self, samples: list[Sample]) -> None:
        batch, batch_id = Batch(samples, list(range(len(samples)))), f"statsd-{secrets.token_hex(16)}"
        while True:
            try:
                await self._intake.take(self._door, batch, batch_id, asks_again=True)
            except Unavailable as error:
                await asyncio.sleep(error.retry_after_s)
            except RequestFailed as error:
                logging.getLogger(__name__).error("StatsD: %d samples are lost: %s", len(samples), error)
                self._door.reject("failed", len(samples))
                return
            else:
                return
