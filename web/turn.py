"""Whose turn it is: while several clients send samples, the requests of each are taken one at a time.

Whoever sends as fast as it is answered, over many connections, fills every queue between a socket and the disk, and a
client with a sample now and then would wait behind all of it. So while others are about, a client has one request
under way; its next ones wait here, in their order, and cost nobody anything but their bodies' memory. A client that is
alone has as many under way as it sends.

Whoever may send only so many samples a second waits here as well, until its share has grown again: it is slowed down,
and nothing of it is lost.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

from slakeeper.client import Overloaded
from slakeeper.web.body import Client
from slakeeper.web.ingest import BYTES_A_SAMPLE

# So long after its last request a client is still about. Longer would slow down a stream for the sake of somebody who
# sends once a minute, to whom some milliseconds are nothing.
ABOUT_S = 10.0

# A request that takes longer than this waits for something itself, most likely for a cell that is away; those behind
# it may be for another cell, so the next begins.
TURN_S = 0.1

# So much of its share a client may have at once, when it has not sent for a while.
BURST_S = 1.0

# Bodies of one client that may wait; with more it is told to come back. Two of the largest there are.
MAX_WAITING_BYTES = 16 * 1024 * 1024

# A sender that has waited so long may have given up, and what it sends again in place of this would be paid for twice.
WAITS_AT_MOST_S = 10.0

# What is no batch, or an empty one, costs its client as much as a batch: somebody had to read it.
UNREAD_COSTS = 100


class _Side:
    """One client: its requests that are under way, those of them that are not read yet, and those that wait."""

    __slots__ = (
        "began_at_s", "client", "heard_at_s", "is_watched", "spent_until_s", "under_way", "unread", "waiting",
        "waiting_bytes",
    )  # fmt: skip

    def __init__(self, client: Client, spent_until_s: float) -> None:
        self.client = client
        self.spent_until_s = spent_until_s
        self.heard_at_s = 0.0
        self.began_at_s = 0.0
        self.under_way = 0
        self.unread = 0
        self.waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.waiting_bytes = 0
        self.is_watched = False


class Turn:
    """A request that may be read and taken.

    Attributes:
        was_slowed: whether its client had spent its share before.
    """

    __slots__ = ("_is_paid", "_side", "_size", "_turns", "was_slowed")

    def __init__(self, turns: "Turns", side: _Side, size: int, was_slowed: bool) -> None:
        self._turns = turns
        self._side = side
        self._size = size
        self._is_paid = False
        self.was_slowed = was_slowed

    def pay(self, samples: int) -> None:
        """It has been read, and is of so many samples, taken or not; its bytes may cost more than they do."""
        if not self._is_paid:
            self._is_paid = True
            self._turns.paid(self._side, max(samples or UNREAD_COSTS, self._size // BYTES_A_SAMPLE))

    def leave(self) -> None:
        """It is done with."""
        self.pay(0)
        self._turns.left(self._side)


def _call_later(delay_s: float, run: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, run)


class Turns:
    """The turns of all clients; belongs to an event loop.

    Args:
        now_s: a monotonic clock.
        later: has something called after so many seconds.
        rate: how many samples of a client are taken in a second; as many as it sends if None.
    """

    def __init__(
        self,
        now_s: Callable[[], float] = time.monotonic,
        later: Callable[[float, Callable[[], None]], None] = _call_later,
        rate: float | None = None,
    ) -> None:
        self._now_s = now_s
        self._later = later
        self._rate = rate
        # Who was heard of longest ago comes first.
        self._sides: OrderedDict[Client, _Side] = OrderedDict()
        # Of those that are not about any more: until when they have spent their share.
        self._debts: dict[Client, float] = {}

    async def enter(self, client: Client, size: int) -> Turn:
        """Returns when a request has its turn, which :meth:`Turn.leave` ends.

        Args:
            client: whose it is.
            size: of its body [bytes].

        Raises:
            Overloaded: too much of the client waits already, or this has waited for too long.
        """
        side = self._heard(client)
        if not side.waiting and self._may_go_on(side):
            self._begin(side)
            return Turn(self, side, size, was_slowed=False)
        was_slowed = self._rests_s(side) > 0
        if side.waiting and side.waiting_bytes + size > MAX_WAITING_BYTES:
            raise Overloaded(f"{len(side.waiting)} requests of this client wait already")
        try:
            async with asyncio.timeout(WAITS_AT_MOST_S):
                await self._wait(side, size)
        except TimeoutError:
            raise Overloaded(f"it has waited {WAITS_AT_MOST_S:g} s for its client's turn") from None
        return Turn(self, side, size, was_slowed)

    async def _wait(self, side: _Side, size: int) -> None:
        place = (size, asyncio.get_running_loop().create_future())
        side.waiting.append(place)
        side.waiting_bytes += size
        self._watch(side)
        try:
            await place[1]
        except asyncio.CancelledError:
            if place in side.waiting:
                side.waiting.remove(place)
                side.waiting_bytes -= size
            elif not place[1].cancelled():  # it had got its turn in the same moment
                Turn(self, side, size, was_slowed=False).leave()
            raise

    # -- of a turn --------------------------------------------------------------------------------------------

    def paid(self, side: _Side, samples: int) -> None:
        """A request has been read; the next may be."""
        side.unread -= 1
        if self._rate is not None:
            side.spent_until_s = max(side.spent_until_s, self._now_s() - BURST_S) + samples / self._rate
        self._go_on(side)

    def left(self, side: _Side) -> None:
        """A request is done with; those of its client that may go on do."""
        side.under_way -= 1
        self._forget()
        self._go_on(side)

    # -- who is about -----------------------------------------------------------------------------------------

    def _heard(self, client: Client) -> _Side:
        self._forget()
        side = self._sides.get(client)
        if side is None:
            side = self._sides[client] = _Side(client, self._debts.pop(client, 0.0))
        side.heard_at_s = self._now_s()
        self._sides.move_to_end(client)
        return side

    def _forget(self) -> None:
        """Drops who has not been heard of for a while and has nothing here, but for what it owes."""
        now_s = self._now_s()
        while self._sides:
            client, side = next(iter(self._sides.items()))
            if side.heard_at_s >= now_s - ABOUT_S or side.under_way or side.waiting:
                return
            del self._sides[client]
            if side.spent_until_s > now_s:
                self._debts = {each: until_s for each, until_s in self._debts.items() if until_s > now_s}
                self._debts[client] = side.spent_until_s

    # -- whose turn it is -------------------------------------------------------------------------------------

    def _may_go_on(self, side: _Side) -> bool:
        if self._rate is not None and (side.unread or self._rests_s(side) > 0):
            return False  # what the one before costs is not known yet, or more than there is
        return not side.under_way or len(self._sides) == 1

    def _rests_s(self, side: _Side) -> float:
        """How long it takes until a client has a share again."""
        return 0.0 if self._rate is None else side.spent_until_s - self._now_s()

    def _begin(self, side: _Side) -> None:
        side.under_way += 1
        side.unread += 1
        side.began_at_s = self._now_s()

    def _begin_next(self, side: _Side) -> None:
        while side.waiting:
            size, turn = side.waiting.popleft()
            side.waiting_bytes -= size
            if not turn.done():  # given up in this very moment
                self._begin(side)
                turn.set_result(None)
                return

    def _go_on(self, side: _Side) -> None:
        while side.waiting and self._may_go_on(side):
            self._begin_next(side)
        if side.waiting:
            self._watch(side)

    def _watch(self, side: _Side) -> None:
        """Sees to it that a client with a share goes on, and that a turn that takes long is not waited for."""
        if side.is_watched:
            return
        side.is_watched = True
        too_long_s = side.began_at_s + TURN_S - self._now_s() if side.under_way else 0.0
        self._later(max(0.0, too_long_s, self._rests_s(side)), lambda: self._look(side))

    def _look(self, side: _Side) -> None:
        side.is_watched = False
        takes_long = side.under_way and self._now_s() >= side.began_at_s + TURN_S
        if side.waiting and takes_long and self._rests_s(side) <= 0:
            self._begin_next(side)
        self._go_on(side)
