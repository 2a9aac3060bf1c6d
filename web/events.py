"""Events to browsers: what the cells publish, fanned out as server-sent events.

Cells call in on their connections' threads; from there on everything happens on the event loop. Each subscriber has
a short queue of its own: one that does not read is cut off and comes back by itself (EventSource does), so that
nobody else waits and nothing grows.
"""

import asyncio
import json
import logging
from collections import deque
from typing import Any

from starlette.types import Receive, Scope, Send

# Events kept for one subscriber that does not keep up: some seconds of a busy system.
MAX_QUEUED_EVENTS = 256

# Browsers allow six connections to a host; this is enough for a wall of dashboards.
MAX_SUBSCRIBERS = 64

# A comment now and then keeps proxies from closing a silent connection and shows us a peer that is gone.
HEARTBEAT_S = 10.0

# How soon a browser comes back after it lost the connection.
_RETRY = b"retry: 1000\n\n"


class Subscriber:
    """One open stream: what is still to be written, and whether it has ended."""

    def __init__(self) -> None:
        self._queue: deque[bytes] = deque()
        self._something = asyncio.Event()
        self.ended = asyncio.Event()

    def put(self, data: bytes) -> None:
        """Queues an event; a full queue ends the stream."""
        if len(self._queue) >= MAX_QUEUED_EVENTS:
            self.ended.set()
            return
        self._queue.append(data)
        self._something.set()

    async def take(self) -> bytes:
        """Everything queued, or a heartbeat comment after a while without anything."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._something.wait()
        except TimeoutError:
            return b": still here\n\n"
        data = b"".join(self._queue)
        self._queue.clear()
        self._something.clear()
        return data


class EventHub:
    """All open streams of this gateway."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._subscribers: set[Subscriber] = set()
        self._closed = False

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return len(self._subscribers)

    def hear(self, topic: str, payload: Any) -> None:
        """An event of a cell, on any thread."""
        loop = self._loop
        if loop is None or not self._subscribers:
            return
        try:
            loop.call_soon_threadsafe(self._publish, topic, payload)
        except RuntimeError:
            self._loop = None  # the loop was closed while we looked: there is nobody left to tell

    def close(self) -> None:
        """Ends every stream; on the loop's thread."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.ended.set()

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one subscriber until it goes, lags or the hub is closed."""
        self._loop = asyncio.get_running_loop()
        subscriber = Subscriber()
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        self._subscribers.add(subscriber)
        if self._closed:
            subscriber.ended.set()
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
            tasks = {
                asyncio.create_task(_write(subscriber, send)),
                asyncio.create_task(_until_gone(receive)),
                asyncio.create_task(subscriber.ended.wait()),
            }
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            # A peer that lags takes no last word; for the others it ends the answer properly.
            try:
                async with asyncio.timeout(0.1):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            except TimeoutError:
                logging.getLogger(__name__).info("a subscriber that does not read was cut off")
        finally:
            self._subscribers.discard(subscriber)

    def _publish(self, topic: str, payload: Any) -> None:
        event = {"topic": topic, **payload}
        data = b"data: " + json.dumps(event, separators=(",", ":")).encode() + b"\n\n"
        for subscriber in tuple(self._subscribers):
            subscriber.put(data)


async def _write(subscriber: Subscriber, send: Send) -> None:
    while True:
        data = await subscriber.take()
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
