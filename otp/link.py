"""What binds actors to each other beyond messages: monitors, links and registered names, as Erlang has them."""

from collections.abc import Callable
from typing import Any, Final

from slakeeper.otp import context as do
from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import ActorStopped, Down, LinkedExit, Replied
from slakeeper.otp.context import Call, Effect
from slakeeper.otp.seat import Seat, Ties

NO_PROCESS: Final = "noproc"
"""The reason of whoever was not there; OTP's word."""


class Binding:
    """Owned by a host.

    Args:
        seats: of the host, by address.
        signal: delivers to the present incarnation of a seat.
        end: ends the present incarnation of a seat before it handles anything else.

    Attributes:
        names: address by registered name.
    """

    def __init__(
        self,
        seats: dict[str, Seat],
        signal: Callable[[Seat, Any], None],
        end: Callable[[Seat, str], None],
    ) -> None:
        self.names: dict[str, str] = {}
        self._seats = seats
        self._signal = signal
        self._end = end

    def find(self, address: str) -> Seat | None:
        """The seat at an address, or of whoever is registered by that name."""
        seat = self._seats.get(address)
        if seat is None and (named := self.names.get(address)) is not None:
            seat = self._seats.get(named)
        return seat

    def ties(self, seat: Seat) -> Ties:
        """The ties of a seat's present incarnation."""
        if seat.ties is None:
            seat.ties = Ties()
        return seat.ties

    def owes(self, seat: Seat, call: Call) -> None:
        """Keeps a request that its handler has not answered yet, until it is settled."""
        ties = self.ties(seat)
        ties.calls[call] = None
        call.on_settled.append(lambda: ties.calls.pop(call, None))

    def replier(self, seat: Seat, tag: Any) -> Callable[[Any, Exception | None], None]:
        """Brings the end of a call back to the incarnation that made it; to nobody when that is gone."""
        incarnation = seat.incarnation

        def done(value: Any, error: Exception | None) -> None:
            if seat.is_live and seat.incarnation == incarnation:
                self._signal(seat, Replied(tag, value, error))

        return done

    def carry_out(self, seat: Seat, effect: Effect) -> None:
        """Does what a handler asked for.

        Raises:
            ValueError: there is no such effect.
        """
        what, other = effect
        if what == do.MONITOR:
            self._monitor(seat, other)
        elif what == do.DEMONITOR:
            self._demonitor(seat, other)
        elif what == do.LINK:
            self._link(seat, other)
        elif what == do.UNLINK:
            self._unlink(seat, other)
        elif what == do.REGISTER:
            self._register(seat, other)
        elif what == do.UNREGISTER:
            if self.names.get(other) == seat.spec.address:
                del self.names[other]
                self.ties(seat).names.pop(other, None)
        else:
            raise ValueError(f"no effect {what}")

    def ended(self, seat: Seat, reason: str) -> None:
        """An incarnation is over: those bound to it are told, and it is bound to nobody any more."""
        ties, seat.ties = seat.ties, None
        if ties is None:
            return
        address = seat.spec.address
        for call in list(ties.calls):
            call.settle(None, ActorStopped(f"{address} ended before it answered: {reason}"))
        for name in ties.names:
            self.names.pop(name, None)
        for watched in ties.watching:
            if (other := self._seats.get(watched)) is not None and other.ties is not None:
                other.ties.watchers.pop(address, None)
        for watcher in ties.watchers:
            if (other := self._seats.get(watcher)) is not None and other.ties is not None:
                other.ties.watching.pop(address, None)
                self._signal(other, Down(address, reason))
        for linked in ties.links:
            if (other := self._seats.get(linked)) is not None and other.ties is not None:
                other.ties.links.pop(address, None)
                self._tell_linked(other, address, reason)

    def _tell_linked(self, other: Seat, address: str, reason: str) -> None:
        if other.kind.trap_exits:
            self._signal(other, LinkedExit(address, reason))
        elif not core.is_normal(reason):
            self._end(other, f"linked {address} ended: {reason}")

    def _monitor(self, seat: Seat, wanted: str) -> None:
        other = self.find(wanted)
        if other is None or not other.is_live:
            self._signal(seat, Down(wanted, NO_PROCESS))
            return
        self.ties(other).watchers[seat.spec.address] = None
        self.ties(seat).watching[other.spec.address] = None

    def _demonitor(self, seat: Seat, wanted: str) -> None:
        other = self.find(wanted)
        if other is not None and other.ties is not None and seat.ties is not None:
            seat.ties.watching.pop(other.spec.address, None)
            other.ties.watchers.pop(seat.spec.address, None)

    def _link(self, seat: Seat, wanted: str) -> None:
        other = self.find(wanted)
        if other is None or not other.is_live:
            self._tell_linked(seat, wanted, NO_PROCESS)
            return
        self.ties(other).links[seat.spec.address] = None
        self.ties(seat).links[other.spec.address] = None

    def _unlink(self, seat: Seat, wanted: str) -> None:
        other = self.find(wanted)
        if other is not None and other.ties is not None and seat.ties is not None:
            seat.ties.links.pop(other.spec.address, None)
            other.ties.links.pop(seat.spec.address, None)

    def _register(self, seat: Seat, name: str) -> None:
        owner = self.names.get(name, name if name in self._seats else seat.spec.address)
        if owner != seat.spec.address:
            self._end(seat, f"the name {name!r} is taken by {owner}")
            return
        self.names[name] = seat.spec.address
        self.ties(seat).names[name] = None
