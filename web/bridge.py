"""From the cells' threads to the event loop: answers that come together wake the loop once."""

import asyncio
import logging
import threading
from collections import deque
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Bridge:
    """Awaits futures of other threads. `asyncio.wrap_future` would wake the loop by a write for each of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._settled: deque[asyncio.Future[None]] = deque()
        self._woken = False

    async def answer(self, future: Future[T]) -> T:
        """The future's result; raises what it failed with."""
        if not future.done():
            loop = asyncio.get_running_loop()
            mine: asyncio.Future[None] = loop.create_future()
            future.add_done_callback(lambda _: self._wake(loop, mine))
            await mine
        return future.result()

    def _wake(self, loop: asyncio.AbstractEventLoop, mine: asyncio.Future[None]) -> None:
        with self._lock:
            self._settled.append(mine)
            if self._woken:
                return
            self._woken = True
        try:
            loop.call_soon_threadsafe(self._drain)
        except RuntimeError as error:
            logging.getLogger(__name__).debug("an answer came after the end: %s", error)

    def _drain(self) -> None:
        with self._lock:
            settled, self._settled = self._settled, deque()
            self._woken = False
        for mine in settled:
            if not mine.done():
                mine.set_result(None)
