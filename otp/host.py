"""The host of light actors: a supervision tree, mailboxes, timers and partitions on one thread.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Background
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Actor, ActorSpec, ActorStopped, Context, Performed, RequestError, StartRefused
from slakeeper.otp.child_spec import ChildSpec, ChildType, Restart
from slakeeper.otp.clock import Clock
from slakeeper.otp.codec import Codec
from slakeeper.otp.crash_report import KEPT_REPORTS, CrashReport, DeadLetter, shown
from slakeeper.otp.partition import Event, Op, Partition, Started, Stopped
from slakeeper.otp.seat import Node, Seat, StartRef, SupervisorSpec, describe_node, describe_seat
from slakeeper.otp.supervisor_state import Life
from slakeeper.otp.timer import Timers

# A turn that has run this many handlers commits and goes on in the next one, so that two actors that
# answer each other for ever cannot keep the cell from its sockets.
MAX_TURN_MESSAGES = 100_000

# Messages kept for an actor that is being restarted or is suspended; more than this is lost to dead letters.
MAX_STASH = 1_000

_CAST, _INFO = "cast", "info"
_ALREADY_STARTED = "already_started"


class Executor(Protocol):
    """Runs outside effects away from the host's thread."""

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Runs ``effect``, then calls ``done(value, error)`` on the host's thread."""


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
    ) -> None:
        self.now_ms = clock.now_ms()
        self.environment = environment
        self.partitions = dict(partitions)
        self.crash_reports: deque[CrashReport] = deque(maxlen=KEPT_REPORTS)
        self.dead_letters: deque[DeadLetter] = deque(maxlen=KEPT_REPORTS)
        self.counts: Counter[str] = Counter()
        self._tree = tree
        self._kinds = kinds
        self._clock = clock
        self._codec = codec
        self._executor = executor
        self._publish = publish
        self._commit_all = commit or _commit_in_turn
        self._seats: dict[str, Seat] = {}
        self._nodes: dict[str, Node] = {}
        self._root: Node | None = None
        self._runnable: deque[Seat] = deque()
        self.timers = Timers()
        self._last_token = 0
        self._touched: dict[str, Partition] = {}
        self._partition_names = {id(partition): name for name, partition in self.partitions.items()}
        self._released: list[Callable[[], None]] = []
        self._in_flight: set[tuple[str, str]] = set()
        self._refused: dict[str, str] = {}

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the tree: static children by the tree's data, durable ones by what the partitions hold.

        Raises:
            ActorStopped: a static child did not start; everything started before it was stopped again.
        """
        self.now_ms = self._clock.now_ms()
        refused = self._start_node(self._tree, None, 1)
        if refused is not None:
            raise ActorStopped(f"{self._tree.address} did not start: {refused}")
        self.drain()
        self.commit()

    def stop(self) -> None:
        """Stops the tree in reverse order and commits; durable actors stay recorded."""
        self.begin_turn()
        if self._root is not None and self._root.ended is None:
            self._drive(self._root, core.StopRequested("shutdown"))
        self.commit()

    @property
    def ended(self) -> str | None:
        """Why the root supervisor ended, or None while it runs."""
        return self._root.ended if self._root is not None else None

    # -- turns --------------------------------------------------------------------------------------------

    def begin_turn(self) -> None:
        """Reads the time for this turn and delivers what is due."""
        self.now_ms = self._clock.now_ms()
        self.timers.run_due(self.now_ms)

    def drain(self) -> None:
        """Runs handlers until every mailbox is empty, or this turn has done its share."""
        budget = MAX_TURN_MESSAGES
        runnable = self._runnable
        while runnable and budget:
            seat = runnable.popleft()
            seat.queued = False
            while seat.mailbox and seat.actor is not None and not seat.suspended and budget:
                budget -= 1
                how, message = seat.mailbox.popleft()
                self._handle(seat, how, message)
            if seat.mailbox and not budget:
                self._make_runnable(seat)

    def commit(self) -> None:
        """Makes the turn durable, then lets its replies, effects and publications go.

        Raises:
            JournalError: the turn could not be written; nothing of it left the host, and the host must end.
        """
        if self._touched:
            self._commit_all(tuple(self._touched.values()))
            self._touched.clear()
        released, self._released = self._released, []
        for release in released:
            release()

    def after_commit(self, release: Callable[[], None]) -> None:
        """Has ``release`` called once this turn is durable."""
        self._released.append(release)

    @property
    def has_work(self) -> bool:
        """Whether a turn would find a message to handle without anything new from outside."""
        return bool(self._runnable)

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
        dumps: dict[str, bytes] = {}
        for address, record in partition.records.items():
            seat = self._seats.get(address)
            if seat is not None and seat.actor is not None and (record.tail or record.base is None):
                dumps[address] = self._codec.encode(seat.actor.dump())
        return partition.snapshot(dumps, background)

    # -- messages from outside ------------------------------------------------------------------------------

    def cast(self, address: str, message: Any) -> None:
        """Puts a message into an actor's mailbox; handled by :meth:`drain`."""
        self._post(address, _CAST, message)

    def ask(self, address: str, request: Any) -> Any:
        """Delivers a request and runs everything that follows from it.

        Returns:
            The reply. It is durable only after :meth:`commit`.

        Raises:
            ActorStopped: nobody there, or it crashed on the request.
            RequestError: it refused, or is suspended.
        """
        self.drain()
        seat = self._seats.get(address)
        if seat is None or seat.actor is None:
            raise ActorStopped(f"no actor at {address}")
        if seat.suspended:
            raise RequestError("unavailable", f"{address} is suspended")
        effects: list[tuple[Any, ...]] = []
        ctx = Context(seat.actor, self.now_ms, self.environment, self._codec.encode, effects)
        try:
            reply = seat.actor.handle_call(ctx, request)
        except RequestError:
            if any(effect[0] == "event" for effect in effects):
                self._crash(seat, AssertionError("refused a request after recording an event"), request)
            raise
        except Exception as error:
            self._crash(seat, error, request)
            raise ActorStopped(f"{address} crashed: {type(error).__name__}: {error}") from error
        seat.handled += 1
        self._carry_out(seat, effects)
        self.drain()
        return reply

    def start_child(self, supervisor: str, spec: ActorSpec, partition: Partition | None = None) -> None:
        """Starts an actor under a supervisor of the tree.

        Raises:
            RequestError: ``conflict`` when one is there already, ``invalid`` when it refused to start.
        """
        self._refused.clear()
        self._start_child(supervisor, spec, partition, None)
        refused = self._refused.get(spec.address)
        if refused is not None:
            code = "conflict" if refused is _ALREADY_STARTED else "invalid"
            raise RequestError(code, f"{spec.address}: {refused}")
        self.drain()

    def terminate_child(self, address: str) -> None:
        """Stops an actor in order and forgets it; nobody there is no error."""
        seat = self._seats.get(address)
        if seat is not None:
            self._forget(seat)

    # -- people looking in ----------------------------------------------------------------------------------

    def addresses(self, kind: str | None = None) -> list[str]:
        """Addresses of all actors (of one kind), in the order they were started."""
        return [address for address, seat in self._seats.items() if kind is None or seat.spec.kind == kind]

    def exists(self, address: str) -> bool:
        """Whether an actor has that address, running or not."""
        return address in self._seats

    def is_running(self, address: str) -> bool:
        seat = self._seats.get(address)
        return seat is not None and seat.actor is not None

    def takes(self, address: str) -> bool:
        """Whether a message is handled in this turn: not while the actor is down, or suspended."""
        seat = self._seats.get(address)
        return seat is not None and seat.actor is not None and not seat.suspended

    def stats(self) -> dict[str, int]:
        """Number of actors and of messages that wait."""
        return {
            "actors": len(self._seats),
            "mailbox": sum(len(seat.mailbox) for seat in self._runnable),
        }

    def describe(self, address: str) -> dict[str, Any]:
        """An actor's state and counters, like OTP's ``sys:get_status``.

        Raises:
            RequestError: ``not_found``.
        """
        return describe_seat(self._seat(address))

    def suspend(self, address: str) -> None:
        """The actor handles nothing until :meth:`resume`; its messages wait."""
        self._seat(address).suspended = True

    def resume(self, address: str) -> None:
        """Ends a suspension; a quarantined actor is started again."""
        seat = self._seat(address)
        seat.suspended = False
        if core.child_status(seat.node.state, address) == "quarantined":
            self._drive(seat.node, core.ReleaseRequested(address, address))
        self._make_runnable(seat)

    def kill(self, address: str, reason: str = "killed") -> None:
        """Ends an actor without its terminate hook; its supervisor does what it does after a crash."""
        seat = self._seat(address)
        if seat.actor is None:
            raise RequestError("conflict", f"{address} is not running")
        self._exit(seat, reason)

    def tree(self) -> dict[str, Any]:
        """The tree as it stands: nested address, kind, type, strategy, restart, status, restarts, children."""
        if self._root is None:
            raise ActorStopped("the tree has not been started")
        return describe_node(self._root, self._nodes, self._seats, self._tree.address)

    # -- inside: tree -----------------------------------------------------------------------------------------

    def _start_node(self, spec: SupervisorSpec, parent: Node | None, incarnation: int) -> str | None:
        static = [
            ChildSpec(child.address, child, child.restart)
            if isinstance(child, ActorSpec)
            else ChildSpec(child.address, child, type=ChildType.SUPERVISOR)
            for child in spec.children
        ]
        durable: list[ChildSpec] = []
        for partition in self.partitions.values():
            for record in partition.records.values():
                if record.supervisor == spec.address:
                    restart = Restart(record.restart)
                    arg = self._codec.decode(record.arg)
                    actor_spec = ActorSpec(record.address, record.kind, arg, restart)
                    durable.append(ChildSpec(record.address, actor_spec, restart))
        state = core.initial_state(spec.flags, [*static, *durable])
        node = Node(spec, parent, incarnation, state)
        self._nodes[spec.address] = node
        if parent is None:
            self._root = node
        self._drive(node, core.Begin())
        return node.failure

    def _drive(self, node: Node, event: core.Event) -> None:
        """Gives an event to a supervisor and does what it decides; answers join its own queue."""
        node.events.append(event)
        if node.driving:
            return
        node.driving = True
        try:
            while node.events:
                node.state, actions = core.step(node.state, node.events.popleft(), self.now_ms)
                for action in actions:
                    self._act(node, action)
        finally:
            node.driving = False

    def _act(self, node: Node, action: core.Action) -> None:
        match action:
            case core.StartChild(spec, incarnation):
                if isinstance(spec.start, SupervisorSpec):
                    refused = self._start_node(spec.start, node, incarnation)
                else:
                    refused = self._start_actor(node, spec.start, incarnation)
                answer: core.Event = core.ChildStarted(spec.id, incarnation, spec.id)
                if refused is not None:
                    answer = core.ChildStartFailed(spec.id, incarnation, refused)
                node.events.append(answer)
            case core.StopChild(child_id, incarnation, reason, _):
                self._stop_child(node, child_id, incarnation, reason)
            case core.ScheduleRetry(child_id, incarnation, after_ms):
                retry = core.RetryDue(child_id, incarnation)
                self.timers.at(self.now_ms + after_ms, lambda: self._retry(node, retry))
            case core.Ready():
                node.ready = True
            case core.StartFailed(reason):
                node.failure = reason
                self._nodes.pop(node.spec.address, None)
            case core.Terminated(reason):
                node.ended = reason
                self._nodes.pop(node.spec.address, None)
                if node.parent is not None:
                    self._drive(node.parent, core.ChildExited(node.spec.address, node.incarnation, reason))
            case core.Report():
                self._report(node, action)
            case core.Reply(StartRef() as ref, core.Error() as refusal):
                self._refuse(ref, refusal.detail or refusal.reason.value)
            case core.Reply():
                pass  # the host asks for nothing else that can be refused

    def _retry(self, node: Node, retry: core.RetryDue) -> None:
        if self._nodes.get(node.spec.address) is node:
            self._drive(node, retry)

    def _stop_child(self, node: Node, child_id: str, incarnation: int, reason: str) -> None:
        child = self._nodes.get(child_id)
        if child is not None and child.parent is node:
            self._drive(child, core.StopRequested(reason))
            return
        seat = self._seats.get(child_id)
        if seat is not None and seat.actor is not None:
            self._end(seat, reason)
            if seat.spec.restart is Restart.TEMPORARY and node.state.life is Life.RUNNING:
                self._drop(seat)  # not for a stop of the whole tree, but for good
        node.events.append(core.ChildExited(child_id, incarnation, reason))

    def _start_child(
        self, supervisor: str, spec: ActorSpec, partition: Partition | None, asked_by: str | None
    ) -> None:
        """Asks a supervisor for a child; at once, or behind what the supervisor is doing already."""
        if spec.address in self._seats:
            self._refused[spec.address] = _ALREADY_STARTED
            return
        ref = StartRef(spec.address, asked_by)
        node = self._nodes.get(supervisor)
        if node is None:
            self._refuse(ref, f"no supervisor {supervisor}")
            return
        self._seats[spec.address] = Seat(spec, node, partition)
        self._drive(node, core.StartRequested(ref, ChildSpec(spec.address, spec, spec.restart)))

    def _refuse(self, ref: StartRef, reason: str) -> None:
        seat = self._seats.get(ref.address)
        if seat is not None and seat.actor is None:
            self._drop(seat)
        if ref.asked_by is None:
            self._refused[ref.address] = reason
        else:
            self._post(ref.asked_by, _INFO, StartRefused(ref.address, reason))

    def _start_actor(self, node: Node, spec: ActorSpec, incarnation: int) -> str | None:
        """Makes the actor, from its record if it has one, and runs init; returns why it did not start."""
        seat = self._seats.get(spec.address)
        if seat is None:
            seat = self._seats[spec.address] = Seat(spec, node, self._partition_of(spec.address))
        seat.node, seat.incarnation = node, incarnation
        partition = seat.partition
        try:
            actor = self._kinds[spec.kind](spec.address, spec.arg)
            record = partition.records.get(spec.address) if partition is not None else None
            if record is not None:
                if record.base is not None:
                    actor.load(self._codec.decode(record.base))
                for data in record.tail:
                    actor.apply(self._codec.decode(data))
            elif partition is not None and actor.durable:
                arg = self._codec.encode(spec.arg)
                self._record(
                    partition, Started(spec.address, node.spec.address, spec.kind, arg, spec.restart.value)
                )
            seat.actor = actor
            effects: list[tuple[Any, ...]] = []
            actor.init(
                Context(actor, self.now_ms, self.environment, self._codec.encode, effects), record is None
            )
        except Exception as error:  # noqa: BLE001  a kind's constructor and init are foreign code: its supervisor decides
            seat.actor = None
            reason = f"{type(error).__name__}: {error}"
            self._crash_report(seat, reason, "init", traceback.format_exc())
            return reason
        self._carry_out(seat, effects)
        self._make_runnable(seat)
        return None

    def _partition_of(self, address: str) -> Partition | None:
        return next((p for p in self.partitions.values() if address in p.records), None)

    def _record(self, partition: Partition, op: Op) -> None:
        partition.append((op,))
        self._touched[self._partition_names[id(partition)]] = partition

    # -- inside: the end of an actor --------------------------------------------------------------------------

    def _end(self, seat: Seat, reason: str) -> None:
        """Runs the terminate hook and empties the seat; its record stays."""
        actor = seat.actor
        if actor is None:
            return
        effects: list[tuple[Any, ...]] = []
        try:
            actor.terminate(
                Context(actor, self.now_ms, self.environment, self._codec.encode, effects), reason
            )
            self._carry_out(seat, [effect for effect in effects if effect[0] != "stop"])
        except Exception as error:  # noqa: BLE001  foreign code; the actor ends either way
            self._crash_report(
                seat, f"terminate: {type(error).__name__}: {error}", reason, traceback.format_exc()
            )
        seat.actor = None
        seat.timers.clear()

    def _exit(self, seat: Seat, reason: str) -> None:
        """An actor ended by itself or was killed: its supervisor decides what becomes of it."""
        seat.actor = None
        seat.timers.clear()
        self._drive(seat.node, core.ChildExited(seat.spec.address, seat.incarnation, reason))
        if self.is_running(seat.spec.address):  # its supervisor has started it again
            return
        if core.is_normal(reason) and seat.spec.restart is not Restart.PERMANENT:
            self._forget(seat)
        elif (
            core.get_childspec(seat.node.state, seat.spec.address) is None
        ):  # temporary: its spec went with it
            self._drop(seat)

    def _forget(self, seat: Seat) -> None:
        """Takes an actor out of the tree and out of the partition for good."""
        address = seat.spec.address
        self._drive(seat.node, core.TerminateRequested(address, address))
        self._drive(seat.node, core.DeleteRequested(address, address))
        self._drop(seat)

    def _drop(self, seat: Seat) -> None:
        address = seat.spec.address
        if self._seats.get(address) is not seat:
            return
        del self._seats[address]
        for _, message in seat.mailbox:
            self._dead_letter(address, message, "the actor has ended")
        if seat.partition is not None and address in seat.partition.records:
            self._record(seat.partition, Stopped(address))

    def _crash(self, seat: Seat, error: BaseException, message: Any) -> None:
        reason = f"{type(error).__name__}: {error}"
        text = "".join(traceback.format_exception(error))
        self._crash_report(seat, reason, shown(message), text)
        self._dead_letter(seat.spec.address, message, f"the actor crashed on it: {reason}")
        self._exit(seat, reason)

    def _crash_report(self, seat: Seat, reason: str, message: str, text: str) -> None:
        self.counts["crashes"] += 1
        report = CrashReport(self.now_ms, seat.spec.address, seat.spec.kind, reason, message, text)
        self.crash_reports.append(report)
        logging.getLogger("slakeeper.otp").error("%s crashed: %s\n%s", seat.spec.address, reason, text)
        payload = {"address": seat.spec.address, "reason": reason, "at_ms": self.now_ms}
        self.after_commit(lambda: self._publish("actor.crashed", payload))

    def _dead_letter(self, address: str, message: Any, why: str) -> None:
        self.counts["dead_letters"] += 1
        self.dead_letters.append(DeadLetter(self.now_ms, address, shown(message), why))

    def _report(self, node: Node, report: core.Report) -> None:
        level = logging.ERROR
        if report.kind is core.ReportKind.PROGRESS:
            level = logging.DEBUG if report.detail == "requested" else logging.INFO
        words = " ".join(filter(None, (report.kind.value, report.child_id, report.reason, report.detail)))
        logging.getLogger("slakeeper.otp").log(level, "%s: %s", node.spec.address, words)
        if report.kind is not core.ReportKind.QUARANTINED:
            return
        payload = {"address": report.child_id, "reason": report.reason, "at_ms": self.now_ms}
        self.after_commit(lambda: self._publish("actor.quarantined", payload))

    # -- inside: messages and effects -------------------------------------------------------------------------

    def _post(self, address: str, how: str, message: Any) -> None:
        seat = self._seats.get(address)
        if seat is None:
            self._dead_letter(address, message, "nobody there")
            return
        idle = seat.actor is None or seat.suspended
        if idle and core.child_status(seat.node.state, address) == "quarantined":
            self._dead_letter(address, message, "the actor is quarantined")
        elif idle and len(seat.mailbox) >= MAX_STASH:
            self._dead_letter(address, message, "too many messages wait for it")
        else:
            seat.mailbox.append((how, message))
            self._make_runnable(seat)

    def _make_runnable(self, seat: Seat) -> None:
        if not seat.queued and seat.mailbox:
            seat.queued = True
            self._runnable.append(seat)

    def _handle(self, seat: Seat, how: str, message: Any) -> None:
        actor = seat.actor
        if actor is None:
            raise ActorStopped(seat.spec.address)
        effects: list[tuple[Any, ...]] = []
        ctx = Context(actor, self.now_ms, self.environment, self._codec.encode, effects)
        try:
            if how is _CAST:
                actor.handle_cast(ctx, message)
            else:
                actor.handle_info(ctx, message)
        except Exception as error:  # noqa: BLE001  a handler is foreign code: its supervisor decides
            self._crash(seat, error, message)
            return
        seat.handled += 1
        self._carry_out(seat, effects)

    def _carry_out(self, seat: Seat, effects: Iterable[tuple[Any, ...]]) -> None:
        address, partition = seat.spec.address, seat.partition
        stop_reason: str | None = None
        for effect in effects:
            match effect:
                case ("event", data):
                    if partition is not None:
                        self._record(partition, Event(address, data))
                case ("cast", to, message):
                    self._post(to, _CAST, message)
                case ("timer", name, at_ms, message):
                    self._set_timer(seat, name, at_ms, message)
                case ("cancel", name):
                    seat.timers.pop(name, None)
                case ("start", supervisor, spec):
                    self._start_child(supervisor, spec, partition, address)
                case ("terminate", _, child):
                    self.terminate_child(child)
                case ("perform", key, run, lane):
                    self._perform(address, key, run, lane)
                case ("publish", topic, payload):
                    self._released.append(partial(self._publish, topic, payload))
                case ("stop", reason):
                    stop_reason = reason
        if stop_reason is not None and seat.actor is not None:
            self._end(seat, stop_reason)
            self._exit(seat, stop_reason)

    def _set_timer(self, seat: Seat, name: str, at_ms: int, message: Any) -> None:
        self._last_token += 1
        token = seat.timers[name] = self._last_token

        def fire() -> None:
            # Re-set, cancelled, or of an incarnation that is gone: the token is no longer the seat's.
            if seat.timers.get(name) == token:
                del seat.timers[name]
                self._post(seat.spec.address, _INFO, message)

        self.timers.at(at_ms, fire)

    def _perform(self, address: str, key: str, effect: Callable[[], Any], lane: str) -> None:
        if (address, key) in self._in_flight:
            return
        self._in_flight.add((address, key))

        def done(value: Any, error: BaseException | None) -> None:
            self._in_flight.discard((address, key))
            self._post(address, _INFO, Performed(key, value, error))

        self._released.append(lambda: self._executor.submit(lane, effect, done))

    # -- inside: looking ----------------------------------------------------------------------------------------

    def _seat(self, address: str) -> Seat:
        seat = self._seats.get(address)
        if seat is None:
            raise RequestError("not_found", f"no actor at {address}")
        return seat


def _commit_in_turn(partitions: Sequence[Partition]) -> None:
    for partition in partitions:
        partition.commit()
