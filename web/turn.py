"""Whose turn it is: while several clients send samples, the requests of each are taken one at a time.

Whoever sends as fast as it is answered, over many connections, fills every queue between a socket and the disk, and a
client with a sample now and then would wait behind all of it. So while others are about, a client has one request
under way; its next ones wait here, in their order, and cost nobody anything but their bodies' memory. A client that is
alone has as many under way as it sends.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from slakeeper.client import Overloaded

Client = tuple[str, bytes]
"""Who sends: the host it sends from, and what it shows to be let in."""

# So long after its last request a client is still about. Longer would slow down a stream for the sake of somebody who
# sends once a minute, to whom some milliseconds are nothing.
ABOUT_S = 10.0

# A request that takes longer than this waits for something itself, most likely for a cell that is away; those behind
# it may be for another cell, so the next begins.
TURN_S = 0.1

# Bodies of one client that may wait; with more it is told to come back. Two of the largest there are.
MAX_WAITING_BYTES = 16 * 1024 * 1024


class _Side:
    """One client: how many of its requests are under way, and those that wait."""

    __slots__ = ("began_at_s", "heard_at_s", "is_watched", "under_way", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.heard_at_s = 0.0
        self.began_at_s = 0.0
        self.under_way = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.waiting_bytes = 0
        self.is_watched = False


def _call_later(delay_s: float, run: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, run)


class Turns:
    """The turns of all clients; belongs to an event loop.

    Args:
        now_s: a monotonic clock.
        later: has something called after so many seconds.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = _call_later,
    ) -> None:
        self._now_s = now_s
        self._later = later
        # Who was heard of longest ago comes first.
        self._sides: OrderedDict[Client, _Side] = OrderedDict()

    async def enter(self, client: Client, size: int) -> None:
        """Returns when a request has its turn, which :meth:`leave` ends.

        Args:
            client: whose it is.
            size: of its body [bytes].

        Raises:
            Overloaded: too much of the client waits already.
        """
        side = self._heard(client)
        if not side.waiting and self._may_go_on(side):
            self._begin(side)
            return
        if side.waiting and side.waiting_bytes + size > MAX_WAITING_BYTES:
            raise Overloaded(f"{len(side.waiting)} requests of this client wait already")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        side.waiting.append((size, turn))
        side.waiting_bytes += size
        self._watch(side)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                side.waiting.remove((size, turn))
                side.waiting_bytes -= size
            else:
                self.leave(client)
            raise

    def leave(self, client: Client) -> None:
        """A request is done with; those of its client that may go on do."""
        side = self._sides[client]
        side.under_way -= 1
        self._forget()
        while side.waiting and self._may_go_on(side):
            self._begin_next(side)

    def _heard(self, client: Client) -> _Side:
        self._forget()
        side = self._sides.get(client)
        if side is None:
            side = self._sides[client] = _Side()
        side.heard_at_s = self._now_s()
        self._sides.move_to_end(client)
        return side

    def _forget(self) -> None:
        """Drops who has not been heard of for a while and has nothing here."""
        since_s = self._now_s() - ABOUT_S
        while self._sides:
            client, side = next(iter(self._sides.items()))
            if side.heard_at_s >= since_s or side.under_way or side.waiting:
                return
            del self._sides[client]

    def _may_go_on(self, side: _Side) -> bool:
        return not side.under_way or len(self._sides) == 1

    def _begin(self, side: _Side) -> None:
        side.under_way += 1
        side.began_at_s = self._now_s()

    def _begin_next(self, side: _Side) -> None:
        size, turn = side.waiting.popleft()
        side.waiting_bytes -= size
        self._begin(side)
        turn.set_result(None)

    def _watch(self, side: _Side) -> None:
        """Sees to it that a turn that takes too long is not waited for."""
        if side.is_watched:
            return
        side.is_watched = True
        self._later(max(0.0, side.began_at_s + TURN_S - self._now_s()), lambda: self._look(side))

    def _look(self, side: _Side) -> None:
        side.is_watched = False
        if side.waiting and self._now_s() >= side.began_at_s + TURN_S:
            self._begin_next(side)
        if side.waiting:
            self._watch(side)
