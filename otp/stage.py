"""Where actors come and go: an incarnation made from its record, put away while it is idle, woken, and ended."""

import logging
import sqlite3
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from slakeeper.otp import context as do
from slakeeper.otp.actor import IGNORE, Actor, ActorSpec
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.context import Context
from slakeeper.otp.crash_report import words_of
from slakeeper.otp.partition import JournalError, Partition, Started, Stopped
from slakeeper.otp.seat import Node, Seat
from slakeeper.otp.shelf import Shelf

if TYPE_CHECKING:
    from slakeeper.otp.host import Host


# By what is recorded. To ask the class takes longer, and every start does.
_RESTARTS = {each.value: each for each in Restart}


class Stage:
    """Owned by a host, and asked by its tree.

    Args:
        kinds: actor classes by the name used in ActorSpec.
    """

    def __init__(self, host: "Host", kinds: Mapping[str, type[Actor]]) -> None:
        self._host = host
        self._kinds = kinds
        self._incarnations = 0
        self._shelf = Shelf()

    # -- records ----------------------------------------------------------------------------------------------

    def durable_children(self, supervisor: str) -> Iterator[tuple[ActorSpec, Partition]]:
        """The recorded actors below a supervisor, in the order they were started; arguments stay in the records."""
        for partition in self._host.partitions.values():
            for record in partition.records.values():
                if record.supervisor == supervisor:
                    yield ActorSpec(record.address, record.kind, None, _RESTARTS[record.restart]), partition

    def place(self, spec: ActorSpec, node: Node) -> Seat:
        """A seat for an actor that has none yet, in the partition that has its record, or is to have it."""
        found = (each for each in self._host.partitions.values() if spec.address in each.records)
        return Seat(spec, node, next(found, self._host.home))

    def left(self, seat: Seat) -> None:
        """An actor has left for good: nobody takes what waits for it, and its record goes."""
        address, mailbox = seat.spec.address, seat.mailbox
        seat.mailbox = None
        for how, message in mailbox or ():
            self._host.dead_letter(address, how, message, "the actor has ended")
        if seat.partition is not None and address in seat.partition.records:
            self._host.record(seat.partition, Stopped(address))
        self._host.recorder.forget(address)

    # -- incarnations -----------------------------------------------------------------------------------------

    def start_actor(self, seat: Seat) -> str | None:
        """Makes the actor of a seat, from its record if it has one, and runs init.

        Returns:
            None, IGNORE, or why it did not start.
        """
        host, address = self._host, seat.spec.address
        self._incarnations += 1
        seat.incarnation = self._incarnations
        try:
            actor, ctx, fresh = self._make(seat)
            if actor.init(ctx, fresh) is IGNORE:
                self.empty(seat)
                return IGNORE
            if fresh and seat.partition is not None and actor.durable:
                # Only now: a first start that fails leaves nothing, and the next one is as fresh.
                self._record_start(seat, seat.partition)
            if seat.traced:
                host.recorder.trace(host.now_ms, address, "start", f"incarnation {seat.incarnation}")
            stays = (
                not actor.passivate_after_ms
                or fresh
                or any(what[0] == do.EVENT for what in ctx.effects or ())
            )
            if ctx.effects:
                host.effects.carry_out(seat, ctx)
        except JournalError:
            raise  # the partition's affair, and so the end of the host
        except (Exception, SystemExit) as error:  # noqa: BLE001  a kind is foreign code: its supervisor decides
            self.empty(seat)
            reason = words_of(error)
            host.binding.ended(seat, reason)
            host.crash_report(seat, reason, "init", traceback.format_exc())
            return reason
        if seat.mailbox:
            host.make_runnable(seat)
        if seat.actor is actor and not stays and not _is_busy(seat):
            # At once: a host that starts again may have more of them than fit into memory.
            self._put_away(seat, actor)
        elif actor.passivate_after_ms:
            self._watch_idleness(seat, actor.passivate_after_ms)
        return None

    def recovers_later(self, kind: str) -> bool:
        """Whether recorded actors of a kind can wait until the host has come up."""
        known = self._kinds.get(kind)
        return known is not None and known.recovers_later

    def lay_down(self, seat: Seat) -> None:
        """The actor of a seat, which is on record, sleeps as if it had been put away, and is woken in a later turn."""
        kind = self._kinds[seat.spec.kind]
        self._incarnations += 1
        seat.incarnation = self._incarnations
        seat.kind, seat.limit, seat.put_away = kind, kind.mailbox_limit, True
        self._host.wake_later(seat)

    def _record_start(self, seat: Seat, partition: Partition) -> None:
        spec = seat.spec
        arg = self._host.codec.encode(spec.arg)
        started = Started(spec.address, seat.node.spec.address, spec.kind, arg, spec.restart.value)
        self._host.record(partition, started)

    def end_actor(self, seat: Seat, reason: str) -> None:
        """Runs the terminate hook and empties the seat; its record stays."""
        host = self._host
        if seat.put_away:
            self.wake(seat)
        actor, ctx = seat.actor, seat.ctx
        if actor is None or ctx is None:
            return
        seat.actor = None  # whoever else wants its end by now has it
        try:
            actor.terminate(ctx, reason)
            # It is ending: it need not ask for that.
            own_end = (do.STOP, do.TERMINATE)
            ctx.effects = [
                effect
                for effect in ctx.effects or ()
                if effect[0] not in own_end or (effect[0] == do.TERMINATE and effect[2] != seat.spec.address)
            ]
            host.effects.carry_out(seat, ctx)
        except JournalError:
            raise  # the partition's affair, and so the end of the host
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code; the actor ends either way
            host.crash_report(seat, f"terminate: {words_of(error)}", reason, traceback.format_exc())
        self.empty(seat)
        host.binding.ended(seat, reason)

    def empty(self, seat: Seat) -> None:
        """Nothing of the incarnation is left."""
        timers = self._host.timers
        for timer in (seat.timers or {}).values():
            timers.cancel(timer)
        if seat.idle is not None:
            timers.cancel(seat.idle)
        if seat.put_away:
            self._forget_state(seat)
        seat.actor = seat.ctx = seat.timers = seat.idle = None

    def _make(self, seat: Seat) -> tuple[Actor, Context, bool]:
        """Puts an actor into the seat; the last of the result is whether it is a new one."""
        actor, fresh = self.restored(seat)
        kind = type(actor)
        ctx = Context(actor, self._host)
        seat.actor, seat.ctx = actor, ctx
        seat.kind, seat.limit = kind, kind.mailbox_limit
        return actor, ctx, fresh

    def restored(self, seat: Seat) -> tuple[Actor, bool]:
        """An actor as its record says, or as it was put on the shelf; and whether it is a new one."""
        spec, partition, codec = seat.spec, seat.partition, self._host.codec
        decode = codec.decode
        kind, record = (
            self._kinds[spec.kind],
            None if partition is None else partition.records.get(spec.address),
        )
        actor = kind(spec.address, spec.arg if record is None else decode(record.arg))
        if record is not None:
            if record.base is not None:
                actor.load(decode(record.base.read()))
            for event in codec.decode_each(record.tail):
                actor.apply(event)
            return actor, False
        kept = self._shelf.get(spec.address) if seat.put_away else None
        if kept is not None:
            actor.load(decode(kept))
        return actor, kept is None

    def copy_of(self, seat: Seat) -> Actor | None:
        """An actor that is put away, to be read; None if its record cannot be: once it is woken, that is a crash."""
        try:
            return self.restored(seat)[0]
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code; whoever looks has no part in it
            self._host.crash_report(seat, words_of(error), "look", traceback.format_exc())
            return None

    def condensed(self, seat: Seat) -> Actor | None:
        """One that is down (restarting, in quarantine) as its record says; None if that cannot be read."""
        with suppress(Exception, SystemExit):  # foreign code, and why it is down is known
            return self.restored(seat)[0]
        return None

    # -- idleness ---------------------------------------------------------------------------------------------

    def _watch_idleness(self, seat: Seat, after_ms: int) -> None:
        host, incarnation, handled = self._host, seat.incarnation, seat.handled

        def look() -> None:
            if seat.incarnation != incarnation or seat.actor is None:
                return
            if _is_busy(seat) or seat.handled != handled:
                self._watch_idleness(seat, after_ms)
            else:
                self._put_away(seat, seat.actor)

        seat.idle = host.timers.at(host.now_ms + after_ms, look)

    def _put_away(self, seat: Seat, actor: Actor) -> None:
        """Keeps its state alone; its supervisor, its timers and whoever sends to it notice nothing."""
        address, partition = seat.spec.address, seat.partition
        record = None if partition is None else partition.records.get(address)
        try:
            if record is None or partition is None:
                self._shelf.put(address, self._host.codec.encode(actor.dump()))
            elif record.tail or record.base is None:
                partition.rebase(address, self._host.codec.encode(actor.dump()))
        except sqlite3.Error as error:
            logging.getLogger("slakeeper.otp").warning("%s stays in memory: %s", address, error)
            self._watch_idleness(seat, seat.kind.passivate_after_ms)
            return
        except (Exception, SystemExit) as error:  # noqa: BLE001  dump is foreign code: its supervisor decides
            self._host.fail(seat, error, "dump")
            return
        seat.put_away = True
        seat.actor = seat.ctx = seat.idle = None
        self._host.recorder.counts["put_away"] += 1

    def wake(self, seat: Seat) -> None:
        """Makes a put-away actor run again, as after a restart, but without any."""
        host, timers = self._host, seat.timers
        host.counts["woken"] += 1
        seat.timers = None
        try:
            try:
                actor, ctx, _ = self._make(seat)
            finally:
                self._forget_state(seat)
            ignored = actor.init(ctx, False)
            seat.timers = timers
            if ctx.effects and ignored is not IGNORE:  # timers it sets again replace theirs
                host.effects.carry_out(seat, ctx)
        except JournalError:
            raise  # as above
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code: its supervisor decides
            seat.timers = timers
            host.fail(seat, error, "init")
            return
        if ignored is IGNORE:
            self.empty(seat)
            host.binding.ended(seat, "normal")
            host.tree.stand_down(seat)
        elif seat.actor is actor and actor.passivate_after_ms:
            self._watch_idleness(seat, seat.kind.passivate_after_ms)

    def _forget_state(self, seat: Seat) -> None:
        seat.put_away = False
        self._shelf.discard(seat.spec.address)


def _is_busy(seat: Seat) -> bool:
    """Whether it has something to do or to wait for, or is not to be touched."""
    waits = seat.mailbox or seat.in_flight or (seat.ties is not None and seat.ties.calls)
    return bool(waits) or seat.suspended
