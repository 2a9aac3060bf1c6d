"""What handlers asked for, done once they have returned: messages, events, timers, children, outside effects."""

import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from slakeeper.otp import context as do
from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Entrusted, Performed, StartRefused
from slakeeper.otp.context import Context, Effect
from slakeeper.otp.crash_report import shown, words_of
from slakeeper.otp.mailbox import CAST, CONTINUE, INFO, SIGNAL
from slakeeper.otp.partition import Partition
from slakeeper.otp.seat import Seat

if TYPE_CHECKING:
    from slakeeper.otp.host import Host

TAKEN = (core.Refusal.ALREADY_STARTED, core.Refusal.ALREADY_PRESENT)
"""Refusals of a start that say that such a child is there."""

ENTRUSTED = Entrusted()


class Executor(Protocol):
    """Runs outside effects away from the host's thread."""

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Runs ``effect``, then calls ``done(value, error)`` on the host's thread."""


class Effects:
    """Owned by a host.

    Args:
        executor: runs outside effects.
        publish: called with (topic, payload) once the turn is durable.
    """

    def __init__(
        self, host: "Host", executor: Executor, publish: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._host = host
        self._executor = executor
        self._publish = publish

    def carry_out(self, seat: Seat, ctx: Context) -> None:
        """Does what a handler asked for, now that it has returned."""
        effects, ctx.effects = ctx.effects or (), None
        end: Effect | None = None
        first: tuple[Any, ...] = ()
        for effect in effects:
            what = effect[0]
            if what == do.CAST:
                seat.sent += 1
                if seat.traced:
                    self._host.recorder.trace(
                        self._host.now_ms, seat.spec.address, "out", f"{effect[1]}: {shown(effect[2])}"
                    )
                self._host.post(effect[1], CAST, effect[2])
            elif what == do.EVENT:
                if seat.partition is not None and seat.kind.durable:
                    self._host.record_event(seat.partition, seat.spec.address, effect[1])
            elif what == do.TIMER:
                self._set_timer(seat, *effect[1:])
            elif what == do.PUBLISH:
                self._host.after_commit(partial(self._publish, *effect[1:]))
            elif what == do.CONTINUE:
                first = (*first, (CONTINUE, (seat.incarnation, effect[1])))
            elif what == do.STOP or (what == do.TERMINATE and effect[2] == seat.spec.address):
                end = effect  # last of all, wherever it was said
            else:
                self._carry_out_rarer(seat, effect)
                if seat.ctx is not ctx:
                    return  # what it asked for has ended it
        if first:
            if seat.mailbox is None:
                seat.mailbox = deque()
            seat.mailbox.extendleft(reversed(first))
            self._host.make_runnable(seat)
        if end is not None and seat.actor is not None:
            self._end_as_asked(seat, end)

    def _end_as_asked(self, seat: Seat, end: Effect) -> None:
        if end[0] == do.TERMINATE:
            self._host.tree.forget(seat)
        else:
            self._host.stage.end_actor(seat, end[1])
            self._host.exit(seat, end[1])

    def _carry_out_rarer(self, seat: Seat, effect: Effect) -> None:
        match effect:
            case (do.PERFORM, key, run, lane):
                self._perform(seat, key, run, lane)
            case (do.CANCEL, name):
                if seat.timers is not None and (timer := seat.timers.pop(name, None)) is not None:
                    self._host.timers.cancel(timer)
            case (do.START, supervisor, child):
                self._host.tree.start_child(
                    supervisor, child, seat.partition, self._teller(seat.spec.address, child.id)
                )
            case (do.TERMINATE, _, child):
                self._host.terminate_child(child)
            case (do.CALL, to, request, tag, timeout_ms):
                seat.sent += 1
                if seat.traced:
                    self._host.recorder.trace(
                        self._host.now_ms, seat.spec.address, "out", f"{to}: {shown(request)}"
                    )
                self._host.call(to, request, self._host.binding.replier(seat, tag), timeout_ms)
            case (do.REPLY, call, value):
                call.settle(value)
            case (do.ENTRUST, to, data, event):
                if seat.partition is None:
                    raise LookupError(f"{seat.spec.address} is recorded nowhere")
                self.entrust(seat.partition, to, data, event)
            case _:
                self._host.binding.carry_out(seat, effect)

    def entrust(self, partition: Partition, address: str, data: bytes, event: Any) -> None:
        """Records an event of an actor that did not emit it, and gives it to the actor if it runs.

        Args:
            data: the event, encoded.

        Raises:
            ValueError: the partition has no such actor.
        """
        host = self._host
        seat = host.tree.seats.get(address)
        host.record_event(partition, address, data)
        if seat is None or not seat.is_live:
            return  # whoever starts it will find it on its record
        try:
            if seat.actor is not None:  # one that is put away is woken from its record
                seat.actor.apply(event)
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code, and not of whoever entrusts
            reason = words_of(error)
            host.crash_report(seat, reason, shown(event), traceback.format_exc())
            host.end_soon(seat, reason)
            return
        # A suspended one must not drown in these: one says it all.
        if not (seat.mailbox and seat.mailbox[-1] == (SIGNAL, (seat.incarnation, ENTRUSTED))):
            host.signal(seat, ENTRUSTED)

    def _teller(self, asked_by: str, address: str) -> Callable[[core.Ok | core.Error], None]:
        """Tells the actor that asked for a start when it is refused; one that is there already is none."""

        def answered(result: core.Ok | core.Error) -> None:
            if isinstance(result, core.Error) and result.reason not in TAKEN:
                self._host.post(asked_by, INFO, StartRefused(address, result.detail or result.reason.value))

        return answered

    def _set_timer(self, seat: Seat, name: str, at_ms: int, message: Any) -> None:
        if seat.timers is None:
            seat.timers = {}
        elif (former := seat.timers.get(name)) is not None:
            self._host.timers.cancel(former)

        def fire() -> None:
            if seat.timers is not None:
                seat.timers.pop(name, None)
            self._host.post(seat.spec.address, INFO, message)

        seat.timers[name] = self._host.timers.at(at_ms, fire)

    def awaits(self, address: str, key: str) -> bool:
        """See :meth:`Context.awaits`."""
        seat = self._host.tree.seats.get(address)
        if seat is None:
            return False
        ended = (each for how, each in seat.mailbox or () if how == INFO and isinstance(each, Performed))
        return key in (seat.in_flight or ()) or any(each.key == key for each in ended)

    def _perform(self, seat: Seat, key: str, effect: Callable[[], Any], lane: str) -> None:
        if seat.in_flight is None:
            seat.in_flight = set()
        in_flight, address = seat.in_flight, seat.spec.address
        if key in in_flight:
            return
        in_flight.add(key)

        def done(value: Any, error: BaseException | None) -> None:
            in_flight.discard(key)
            if self._host.tree.seats.get(address) is seat:
                self._host.post(address, INFO, Performed(key, value, error))

        self._host.after_commit(lambda: self._executor.submit(lane, effect, done))
