"""The host of light actors: mailboxes, handlers, timers and partitions on one thread, below one tree of supervisors.

Everything happens in *turns*. A turn takes what arrived from outside (requests, due timers, ended effects),
runs handlers until every mailbox is empty, and ends with :meth:`Host.commit`: one durable write for each
touched partition, and only then do replies, outside effects and publications leave. A handler's own wishes
are collected while it runs and carried out when it returned, so a crash in the middle leaves nothing behind.

The host reads no socket and starts no thread: :mod:`slakeeper.otp.loop` drives it in a process,
tests drive it by hand on a clock of their own.
"""

import logging
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as Background
from concurrent.futures import Future
from typing import Any

from slakeeper.otp import context as do
from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import (
    NO_REPLY,
    Actor,
    ActorLost,
    ActorSpec,
    ActorStopped,
    Overflow,
    RequestError,
    SupervisorSpec,
    child_spec,
)
from slakeeper.otp.administration import Administration
from slakeeper.otp.clock import Clock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Call, Context
from slakeeper.otp.crash_report import CrashReport, DeadLetter, FlightRecorder, shown, words_of
from slakeeper.otp.effect import TAKEN, Effects, Executor
from slakeeper.otp.inspection import Inspector
from slakeeper.otp.link import Binding
from slakeeper.otp.mailbox import (
    CALL,
    CAST,
    HANDED,
    INFO,
    SIGNAL,
    content,
    may_give_way,
    outlives_its_receiver,
)
from slakeeper.otp.partition import JournalError, Op, Partition
from slakeeper.otp.seat import Node, Seat
from slakeeper.otp.stage import Stage
from slakeeper.otp.timer import Timers
from slakeeper.otp.tree import Tree

# A turn that has run this many handlers commits and goes on in the next one, so that two actors that
# answer each other for ever cannot keep the cell from its sockets.
MAX_TURN_MESSAGES = 100_000

# Actors that recover later and are made in one turn: a millisecond's worth.
MAX_WOKEN = 20

# Messages kept for an actor that is being restarted or is suspended; more than this is lost to dead letters.
MAX_STASH = 1_000

# Events that are entrusted to one in quarantine stay on its record one by one until there are so many, which take 10 to
# 20 ms to be read.
MAX_TAIL_OF_ONE_DOWN = 1_000


class HalfDone(Exception):
    """Something is done in part and the rest cannot be: the host must end before its turn is durable."""


PROGRESS, QUARANTINED = core.ReportKind.PROGRESS, core.ReportKind.QUARANTINED


class Host:
    """Runs one tree of light actors.

    Args:
        tree: the root supervisor; its address is the host's name.
        kinds: actor classes by the name used in :class:`ActorSpec`.
        clock: where the time is read, once a turn.
        codec: how events and states become bytes.
        partitions: opened partitions by name; they hold the durable actors.
        executor: runs outside effects.
        environment: handed to every actor's context.
        publish: called with (topic, payload) after the turn is durable.
        commit: makes the partitions that a turn touched durable, all or with a JournalError; one after the other
            by default.
        home: where durable actors are recorded that the tree itself names; nowhere by default.
    """

    def __init__(
        self,
        tree: SupervisorSpec,
        kinds: Mapping[str, type[Actor]],
        clock: Clock,
        codec: Codec,
        partitions: Mapping[str, Partition],
        executor: Executor,
        environment: Any = None,
        publish: Callable[[str, dict[str, Any]], None] = lambda topic, payload: None,
        commit: Callable[[Sequence[Partition]], None] | None = None,
        home: Partition | None = None,
    ) -> None:
        self.now_ms = clock.now_ms()
        self.environment = environment
        self.codec = codec
        self.partitions = dict(partitions)
        self.home = home
        self.timers = Timers()
        self.recorder = FlightRecorder()
        self._clock = clock
        self._publish = publish
        self._commit_all = commit or _commit_in_turn
        self.effects = Effects(self, executor, publish)
        self.stage = Stage(self, kinds)
        self.tree = Tree(tree, self, self.stage)
        self._seats = self.tree.seats
        self.inspector = Inspector(self)
        self.supervisors = Administration(self)
        self.binding = Binding(self._seats, self.signal, self.end_soon)
        self._runnable: deque[Seat] = deque()
        self._exits: deque[tuple[Seat, int, str]] = deque()
        self._asleep: deque[Seat] = deque()
        self._touched: dict[Partition, None] = {}
        self._partition_names = {id(partition): name for name, partition in self.partitions.items()}
        self._released: list[Callable[[], None]] = []
        # Got here and not at import: a process's logging is set up after it was forked.
        self._logger = logging.getLogger("slakeeper.otp")

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the tree: static children by the tree's data, durable ones by what the partitions hold.

        Raises:
            ActorStopped: a static child did not start; everything started before it was stopped again.
        """
        self.now_ms = self._clock.now_ms()
        self.tree.start()
        self.drain()
        self.commit()

    def stop(self) -> None:
        """Stops the tree in reverse order and commits; durable actors stay recorded.

        Who sleeps is not woken for it: what it would say in its start nobody would hear any more, and would not be said
        again, for its record would have it.
        """
        self.begin_turn(wakes=False)
        for seat in self._asleep:
            if seat.put_away:
                self.stage.empty(seat)
        self._asleep.clear()
        self.tree.stop()
        self.commit()

    @property
    def ended(self) -> str | None:
        """Why the root supervisor ended, or None while it runs."""
        return self.tree.root.ended if self.tree.root is not None else None

    # -- turns --------------------------------------------------------------------------------------------

    def begin_turn(self, wakes: bool = True) -> None:
        """Reads the time for this turn, delivers what is due, and ``wakes`` some of those that recover later."""
        self.now_ms = self._clock.now_ms()
        self.timers.run_due(self.now_ms)
        if not wakes:
            return
        for _ in range(min(MAX_WOKEN, len(self._asleep))):
            seat = self._asleep.popleft()
            if seat.put_away:
                self.stage.wake(seat)

    def drain(self) -> None:
        """Runs handlers until every mailbox is empty, or this turn has done its share."""
        budget = MAX_TURN_MESSAGES
        runnable, exits = self._runnable, self._exits
        while (runnable or exits) and budget:
            if exits:
                self._end_now(*exits.popleft())
                continue
            seat = runnable.popleft()
            seat.queued = False
            if seat.put_away and seat.mailbox and not seat.suspended:
                self.stage.wake(seat)
            mailbox = seat.mailbox
            while mailbox and seat.actor is not None and not seat.suspended and budget and not exits:
                budget -= 1
                how, message = mailbox.popleft()
                self._handle(seat, how, message)
            if seat.mailbox and (exits or not budget):
                self.make_runnable(seat)

    def commit(self) -> None:
        """Makes the turn durable, then lets its replies, effects and publications go.

        Raises:
            JournalError: the turn could not be written; nothing of it left the host, and the host must end.
        """
        if self._touched:
            self._commit_all(tuple(self._touched))
            self._touched.clear()
        released, self._released = self._released, []
        for release in released:
            try:
                release()
            except Exception:
                # The turn is durable; what one subscriber cannot take must not cost the others their answers.
                self.recorder.counts["release_failed"] += 1
                self._logger.exception("a reply, effect or publication was not released")

    def after_commit(self, release: Callable[[], None]) -> None:
        """Has ``release`` called once this turn is durable."""
        self._released.append(release)

    @property
    def has_work(self) -> bool:
        """Whether a turn would find something to do without anything new from outside."""
        return bool(self._runnable or self._exits or self._asleep)

    @property
    def has_sleepers(self) -> bool:
        """Whether there may be actors that recover later and have not been made."""
        return bool(self._asleep)

    def next_deadline_ms(self) -> int | None:
        """Unix ms of the earliest timer, or None."""
        return self.timers.next_ms()

    def snapshot(self, partition: Partition, background: Background | None = None) -> "Future[None] | None":
        """Writes a snapshot of a partition in which something happened since the last one; between turns only.

        Args:
            background: writes the file; inline if None.

        Returns:
            Done when it is durable; None when there was nothing to write, or one is being written still.
        """
        if partition.snapshotting or partition.seq == partition.snapshot_seq:
            return None
        for _ in self.dump(partition):
            pass
        return partition.snapshot({}, background)

    def dump(self, partition: Partition) -> Iterator[None]:
        """Gives the records of a partition new bases for its next snapshot, one at each step; between turns only.

        Turns may pass between two steps: what happens to an actor after its own is in its tail, and goes into the
        snapshot beside the base. So the snapshot says what is at its one position, however long this took.
        """
        for address in tuple(partition.records):
            record, seat = partition.records.get(address), self._seats.get(address)
            if record is None or seat is None or not (record.tail or record.base is None):
                continue
            actor = seat.actor
            if actor is None:  # of one that is put away its record says it all
                if seat.put_away or len(record.tail) < MAX_TAIL_OF_ONE_DOWN:
                    continue
                actor = self.stage.condensed(seat)
                if actor is None:
                    continue
            try:
                state = self.codec.encode(actor.dump())
            except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code; its events stay as they are
                self.crash_report(seat, words_of(error), "dump", traceback.format_exc())
            else:
                partition.rebase(address, state)
            yield

    # -- from outside -------------------------------------------------------------------------------------

    def cast(self, address: str, message: Any) -> None:
        """Puts a message into an actor's mailbox, by address or registered name; handled by :meth:`drain`."""
        self.post(address, CAST, message)

    def hand(self, address: str, message: Any) -> bool:
        """Has an actor handle a message at once, behind what waits for it already; not within a handler.

        Returns:
            Whether it has; not when it crashed on it, which leaves nothing of it behind, nor when it is down or
            suspended. Then the message is the caller's still, and no dead letter that somebody might deliver as well.
        """
        seat = self._seats.get(address)
        if seat is None or seat.actor is None or seat.mailbox or self._exits:
            seat = self._awake(address)
        if seat is None or seat.actor is None or seat.suspended:
            return False
        return self._handle(seat, HANDED, message)

    def call(
        self,
        address: str,
        request: Any,
        done: Callable[[Any, Exception | None], None],
        timeout_ms: int = do.DEFAULT_CALL_MS,
    ) -> None:
        """Puts a request into an actor's mailbox; ``done`` is called exactly once, with the reply or an error.

        The error is a RequestError (refused), ActorStopped (nobody there, or it ended on the request) or ActorLost
        (no answer within ``timeout_ms``).
        """
        call = Call(request, done)
        timers = self.timers

        def give_up() -> None:
            call.settle(None, ActorLost(f"{address} did not answer within {timeout_ms} ms"))

        timer = timers.at(self.now_ms + timeout_ms, give_up)
        call.on_settled.append(lambda: timers.cancel(timer))
        self.post(address, CALL, call)

    def ask(self, address: str, request: Any) -> Any:
        """Delivers a request ahead of the mailbox and runs everything that follows from it.

        Returns:
            The reply. It is durable only after :meth:`commit`.

        Raises:
            ActorStopped: nobody there, or it crashed on the request.
            RequestError: it refused, is suspended, or answers only later (then use :meth:`call`).
        """
        seat = self._awake(address)
        if seat is None or seat.actor is None:
            raise ActorStopped(f"no actor at {address}")
        if seat.suspended:
            raise RequestError("unavailable", f"{address} is suspended", reason="down")
        answer: list[Any] = []
        call = Call(request, lambda value, error: answer.append((value, error)))
        self._handle(seat, CALL, call)
        self.drain()
        if not answer:
            call.settle(None)  # nobody waits any more
            raise RequestError("unavailable", f"{address} answers later")
        value, error = answer[0]
        if error is not None:
            raise error
        return value

    def _awake(self, address: str) -> Seat | None:
        """The seat at an address or of a registered name, once all that waits is handled; who is put away is woken."""
        self.drain()
        seat = self.find(address)
        if seat is not None and seat.put_away and not seat.suspended:
            self.stage.wake(seat)
        return seat

    def start_child(self, supervisor: str, spec: ActorSpec, partition: Partition | None = None) -> None:
        """Starts an actor under a supervisor of the tree, recorded in ``partition``.

        Raises:
            RequestError: ``conflict`` when one is there already, ``invalid`` when it refused to start.
            SpecError: it cannot be a child at all.
        """
        results: list[core.Ok | core.Error] = []
        self.tree.start_child(supervisor, child_spec(spec), partition, results.append)
        if results and not isinstance(refusal := results[0], core.Ok):
            code = "conflict" if refusal.reason in TAKEN else "invalid"
            raise RequestError(code, f"{spec.address}: {refusal.detail or refusal.reason.value}")
        self.drain()

    def entrust(self, partition: str, address: str, event: Any) -> None:
        """Records an event of a durable actor, durable with all else of this turn; see :meth:`Context.entrust`.

        Raises:
            LookupError: nothing is recorded for that address in the partition.
        """
        kept = self.partitions[partition]
        if address not in kept.records:
            raise LookupError(f"nothing is recorded for {address} in {partition}")
        self.effects.entrust(kept, address, self.codec.encode(event), event)

    def terminate_child(self, address: str) -> None:
        """Stops an actor in order and forgets it; nobody there is no error."""
        seat = self._seats.get(address)
        if seat is not None:
            self.tree.forget(seat)

    # -- people looking in ----------------------------------------------------------------------------------

    @property
    def crash_reports(self) -> deque[CrashReport]:
        """The last ones, the newest at the end."""
        return self.recorder.crash_reports

    @property
    def dead_letters(self) -> deque[DeadLetter]:
        """The last ones, the newest at the end."""
        return self.recorder.dead_letters

    @property
    def counts(self) -> Counter[str]:
        """Crashes and dead letters since the start."""
        return self.recorder.counts

    def partition_of(self, address: str) -> str | None:
        """The name of the partition that keeps an actor; None when it is recorded nowhere, or not there."""
        seat = self._seats.get(address)
        return None if seat is None else self._partition_names.get(id(seat.partition))

    def addresses(self, kind: str | None = None) -> list[str]:
        """Addresses of all actors (of one kind), in the order they were started."""
        return [address for address, seat in self._seats.items() if kind is None or seat.spec.kind == kind]

    def exists(self, address: str) -> bool:
        """Whether an actor has that address, running or not."""
        return address in self._seats

    def whereis(self, name: str) -> str | None:
        """The address of whoever is registered by that name."""
        return self.binding.names.get(name)

    def is_running(self, address: str) -> bool:
        """Whether it runs, or is put away for idleness."""
        seat = self._seats.get(address)
        return seat is not None and seat.is_live

    def takes(self, address: str) -> bool:
        """Whether a message is handled in this turn: not while the actor is down, or suspended.

        One that sleeps is made to see whether it can be.
        """
        seat = self._seats.get(address)
        if seat is None or seat.suspended:
            return False
        if seat.put_away:
            self.stage.wake(seat)
        return seat.actor is not None or seat.put_away  # as `is_live`: asked for every monitor in every turn

    def asleep(self, address: str) -> Actor | None:
        """A copy of an actor that is put away, as its record says; None if none is at that address, or can be read."""
        seat = self._seats.get(address)
        return self.stage.copy_of(seat) if seat is not None and seat.put_away else None

    def stats(self) -> dict[str, int]:
        """Number of actors and of messages that wait."""
        return {
            "actors": len(self._seats),
            "mailbox": sum(len(seat.mailbox or ()) for seat in self._runnable),
        }

    # -- inside: ends -----------------------------------------------------------------------------------------

    def exit(self, seat: Seat, reason: str) -> None:
        """An actor ended by itself, was killed, or crashed; its supervisor decides what becomes of it."""
        if seat.traced:
            self.recorder.trace(self.now_ms, seat.spec.address, "exit", reason)
        self.stage.empty(seat)
        self.binding.ended(seat, reason)
        self.tree.exited(seat, reason)

    def end_soon(self, seat: Seat, reason: str) -> None:
        """Ends the present incarnation before it handles anything else: an exit signal."""
        self._exits.append((seat, seat.incarnation, reason))

    def _end_now(self, seat: Seat, incarnation: int, reason: str) -> None:
        if seat.incarnation == incarnation and seat.is_live:
            self.exit(seat, reason)

    def fail(self, seat: Seat, error: BaseException, doing: str) -> None:
        """An actor raised, and not on a message."""
        reason = words_of(error)
        self.crash_report(seat, reason, doing, "".join(traceback.format_exception(error)))
        self.exit(seat, reason)

    def crash(self, seat: Seat, error: BaseException, how: int, message: Any) -> None:
        """An actor raised on a message."""
        reason = words_of(error)
        text = "".join(traceback.format_exception(error))
        self.crash_report(seat, reason, shown(content(how, message)), text)
        self.dead_letter(seat.spec.address, how, message, f"the actor crashed on it: {reason}")
        self.exit(seat, reason)

    def crash_report(self, seat: Seat, reason: str, message: str, text: str) -> None:
        """Keeps, logs and publishes why an actor ended."""
        address = seat.spec.address
        self.recorder.crash(self.now_ms, address, seat.spec.kind, reason, message, text)
        self._logger.error("%s crashed: %s\n%s", address, reason, text)
        payload = {"address": address, "reason": reason, "at_ms": self.now_ms}
        self.after_commit(lambda: self._publish("actor.crashed", payload))

    def dead_letter(self, address: str, how: int, message: Any, why: str) -> None:
        """Keeps a message nobody took; whoever waits for an answer to it is told."""
        if how == CALL:
            message.settle(None, ActorStopped(f"{address}: {why}"))
        if outlives_its_receiver(how):
            self.recorder.dead_letter(self.now_ms, address, how, content(how, message), why)

    def report(self, node: Node, report: core.Report) -> None:
        """Logs a supervisor's report."""
        kind = report.kind
        if kind is PROGRESS:
            level = logging.DEBUG if report.detail == "requested" else logging.INFO
        else:
            level = logging.ERROR
        if self._logger.isEnabledFor(level):
            words = " ".join(filter(None, (kind.value, report.child_id, report.reason, report.detail)))
            self._logger.log(level, "%s: %s", node.spec.address, words)
        if kind is QUARANTINED:
            payload = {"address": report.child_id, "reason": report.reason, "at_ms": self.now_ms}
            self.after_commit(lambda: self._publish("actor.quarantined", payload))

    # -- inside: messages and effects -------------------------------------------------------------------------

    def wake_later(self, seat: Seat) -> None:
        """Has an actor made in one of the next turns, unless a message brings it earlier."""
        self._asleep.append(seat)

    def find(self, address: str) -> Seat | None:
        """The seat at an address, or of whoever is registered by that name."""
        return self.binding.find(address)

    def post(self, address: str, how: int, message: Any) -> None:
        """Puts a message into the mailbox at an address or of a registered name; with nobody there, a dead letter."""
        seat = self._seats.get(address)
        if seat is None:
            seat = self.find(address)
        if seat is None:
            self.dead_letter(address, how, message, "nobody there")
            return
        if (seat.actor is None or seat.limit or seat.suspended) and not self._admits(seat, how, message):
            return
        mailbox = seat.mailbox
        if mailbox is None:
            mailbox = seat.mailbox = deque()
        mailbox.append((how, message))
        if not seat.queued:
            seat.queued = True
            self._runnable.append(seat)

    def _admits(self, seat: Seat, how: int, message: Any) -> bool:
        """Whether there is room for a message; what has to give way becomes a dead letter."""
        address, mailbox = seat.spec.address, seat.mailbox or ()
        if not seat.is_live and not seat.asked:
            status = core.child_status(seat.node.state, address)
            if status in ("quarantined", "stopped"):
                self.dead_letter(address, how, message, f"the actor is {status}")
                return False
        if (not seat.is_live or seat.suspended) and len(mailbox) >= MAX_STASH:
            self.dead_letter(address, how, message, "too many messages wait for it")
            return False
        if not seat.limit or not may_give_way(how):
            return True
        waiting = [index for index, (each, _) in enumerate(mailbox) if may_give_way(each)]
        if len(waiting) < seat.limit:
            return True
        if seat.kind.overflow is Overflow.NEWEST:
            self.dead_letter(address, how, message, "its mailbox is full")
            return False
        oldest = mailbox[waiting[0]]
        del seat.mailbox[waiting[0]]  # type: ignore[union-attr]  # it has something, so it is there
        self.dead_letter(address, *oldest, "its mailbox is full")
        return True

    def make_runnable(self, seat: Seat) -> None:
        """Puts a seat into the queue if it has something to handle."""
        if not seat.queued and seat.mailbox:
            seat.queued = True
            self._runnable.append(seat)

    def signal(self, seat: Seat, news: Any) -> None:
        """Tells the present incarnation alone; in its order among what else was sent to it."""
        if seat.mailbox is None:
            seat.mailbox = deque()
        seat.mailbox.append((SIGNAL, (seat.incarnation, news)))
        self.make_runnable(seat)

    def _handle(self, seat: Seat, how: int, message: Any) -> bool:
        """Runs a handler, and says whether it returned."""
        actor, ctx = seat.actor, seat.ctx
        if actor is None or ctx is None:
            raise ActorStopped(seat.spec.address)
        seat.handled += 1
        self.recorder.recent.append((seat.spec.address, message))
        if seat.traced:
            self.recorder.trace(self.now_ms, seat.spec.address, "in", shown(content(how, message)))
        returned = False
        try:
            if how in (HANDED, CAST):
                actor.handle_cast(ctx, message)
            elif how == INFO:
                actor.handle_info(ctx, message)
            elif how == CALL:
                self._answer(seat, actor, ctx, message)
            else:
                self._handle_signal(seat, actor, ctx, how, message)
            returned = True
            if ctx.effects:
                self.effects.carry_out(seat, ctx)
        except JournalError:
            raise  # the partition's affair, and so the end of this host
        except (Exception, SystemExit) as error:  # noqa: BLE001  a handler is foreign code: its supervisor decides
            self._raised(seat, ctx, error, how, message)
        return returned

    def _raised(self, seat: Seat, ctx: Context, error: BaseException, how: int, message: Any) -> None:
        if seat.ctx is ctx:
            self.crash(seat, error, how, message)
        else:  # it has ended by what it had asked for, and somebody else may sit there by now
            self.crash_report(seat, words_of(error), shown(content(how, message)), traceback.format_exc())

    def _answer(self, seat: Seat, actor: Actor, ctx: Context, call: Call) -> None:
        """Runs handle_call; what it raises beside a refusal is a crash."""
        if not call.is_open:
            return  # the caller has given up
        ctx.caller = call
        try:
            reply = actor.handle_call(ctx, call.request)
        except RequestError as refusal:
            if any(effect[0] in (do.EVENT, do.ENTRUST) for effect in ctx.effects or ()):
                raise AssertionError("refused a request after recording an event") from refusal
            ctx.effects = None
            call.settle(None, refusal)
            return
        finally:
            ctx.caller = None
        if reply is NO_REPLY:
            self.binding.owes(seat, call)
        self.effects.carry_out(seat, ctx)
        if reply is not NO_REPLY:
            call.settle(reply)

    def _handle_signal(self, seat: Seat, actor: Actor, ctx: Context, how: int, message: Any) -> None:
        incarnation, news = message
        if incarnation != seat.incarnation:
            return
        if how == SIGNAL:
            actor.handle_info(ctx, news)
        else:
            actor.handle_continue(ctx, news)

    def require_record(self, asker: str, address: str) -> None:
        """Sees that an actor has a record in the partition of ``asker``.

        Raises:
            LookupError: it has none there.
        """
        seat = self._seats.get(asker)
        partition = None if seat is None else seat.partition
        if partition is None or address not in partition.records:
            raise LookupError(f"nothing is recorded for {address} in the partition of {asker}")

    def record(self, partition: Partition, op: Op) -> None:
        """Adds to what this turn makes durable."""
        partition.append((op,))
        self._touched[partition] = None

    def record_event(self, partition: Partition, address: str, data: bytes) -> None:
        """Adds an event to what this turn makes durable."""
        partition.append_event(address, data)
        self._touched[partition] = None


def _commit_in_turn(partitions: Sequence[Partition]) -> None:
    for partition in partitions:
        partition.commit()
