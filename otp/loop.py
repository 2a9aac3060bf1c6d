"""The thread that drives a host: requests from a Unix socket or from this process, timers, ended effects.

One turn of the loop: wait for whatever comes first, take all of it, let the host run, commit, reply. The
thread never waits for anything else; what blocks runs on the executor's threads.
"""

import contextlib
import logging
import math
import selectors
import socket
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slakeeper.otp.actor import ActorLost, ActorStopped, RequestError
from slakeeper.otp.clock import Clock
from slakeeper.otp.context import DEFAULT_CALL_MS
from slakeeper.otp.frame import FrameError, FrameReader, pack_frame
from slakeeper.otp.host import Host
from slakeeper.otp.partition import JournalError, NoRoom, Partition
from slakeeper.otp.room import Room
from slakeeper.otp.snapshot_schedule import SnapshotSchedule

# The loop wakes at least this often, so that its age tells a living loop from a stuck one.
IDLE_WAKE_S = 0.5

# What one read takes from a connection: large enough for a batch, small enough to keep turns short.
READ_BYTES = 256 * 1024

# Unsent bytes a peer may leave with us before it counts as gone: a subscriber that does not read must not
# fill the cell's memory.
MAX_UNSENT_BYTES = 64 * 1024 * 1024

# Threads for each lane of outside effects: one may hang to its timeout while another still gets through.
LANE_THREADS = 2

# More partitions than this are committed in several goes; a cell of two has four of the eight.
MAX_COMMIT_THREADS = 7

# While actors sleep: when so many were made for those who wait, the turn ends. Some tens of milliseconds' worth: with
# fewer, the first would hear sooner, and the last wait for more commits.
MAX_WOKEN_FOR_LINE = 200

# How long one turn works for a snapshot: as long as a turn under load, so that its batches wait twice as long at most.
SNAPSHOT_SLICE_S = 0.005

NO_ROOM = "no_room"
"""The ``reason`` of an ``unavailable`` because of a full disk."""

Handler = Callable[[Host, Any], Any]

# Serves all requests of a kind that came in one turn, given their payloads: a result or a refusal for each.
GroupHandler = Callable[[Host, Sequence[Any]], Sequence[Any]]

Reply = Callable[[bool, Any], None]


class ThreadExecutor:
    """A host's threads: a few for each lane of outside effects, whose ends are posted back to the loop; and commits."""

    def __init__(self) -> None:
        self.post: Callable[[Callable[[], None]], object] = lambda run: run()
        self._lanes: dict[str, ThreadPoolExecutor] = {}
        self._commits: ThreadPoolExecutor | None = None
        self._closed = False

    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        if self._closed:
            return
        pool = self._lanes.get(lane)
        if pool is None:
            pool = self._lanes[lane] = ThreadPoolExecutor(LANE_THREADS, thread_name_prefix=f"io-{lane}")

        def run() -> None:
            value: Any = None
            failure: BaseException | None = None
            try:
                value = effect()
            except BaseException as error:  # noqa: BLE001  carried to the actor that asked, which decides
                failure = error
            self.post(lambda: done(value, failure))

        pool.submit(run)

    def commit(self, partitions: Sequence[Partition]) -> None:
        """Commits partitions at the same time, so that their waits for the disk do not add up; not empty.

        Syncs that run beside each other share one write of the file system's own journal: four partitions take
        little longer than one.

        Raises:
            JournalError: one is not durable; by then none is being written any more.
        """
        first, *others = partitions
        if not others:
            first.commit()
            return
        if self._commits is None:
            self._commits = ThreadPoolExecutor(MAX_COMMIT_THREADS, thread_name_prefix="commit")
        commits = [self._commits.submit(partition.commit) for partition in others]
        try:
            first.commit()
        finally:
            wait(commits)
        for commit in commits:
            commit.result()

    def close(self) -> None:
        """Starts nothing more; what runs is left to end by its own timeout."""
        self._closed = True
        if self._commits is not None:
            self._commits.shutdown()
        for pool in self._lanes.values():
            pool.shutdown(wait=False, cancel_futures=True)


class _Connection:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.reader = FrameReader()
        self.unsent = bytearray()
        self.subscribed = False
        self.closed = False


class _Snapshot:
    """A snapshot that is being made, until only its file is left to be written, and how long it has held up the turns.

    Attributes:
        dumps: an actor of the partition at each step.
        is_dumped: all of them are, and the rest is the background's.
    """

    def __init__(self, partition: Partition, dumps: Iterator[None]) -> None:
        self.partition = partition
        self.dumps = dumps
        self.is_dumped = False
        self._longest_s = 0.0

    def held_up(self, for_s: float) -> None:
        """Nothing else was done for so long."""
        self._longest_s = max(self._longest_s, for_s)

    def count(self, counts: Counter[str]) -> None:
        """It holds nothing up any more: its file is written beside the turns."""
        counts["snapshots"] += 1
        counts["snapshots_over_50_ms"] += self._longest_s > 0.05
        counts["snapshot_longest_ms"] = max(counts["snapshot_longest_ms"], math.ceil(self._longest_s * 1000))


class Loop:
    """Drives one host on a thread of its own.

    Args:
        name: shown in the thread's name and in logs.
        build: makes the host on the loop's thread (recovery is its work), given the function that publishes.
        handlers: request kinds; a handler returns plain values or raises :class:`RequestError`.
        executor: the executor the host was given.
        clock: for snapshots' times.
        socket_path: where to listen; None serves this process only.
        snapshot_interval_ms: how often each partition is snapshotted.
        crashed: told why, from the loop's thread, when the loop cannot go on.
        room: on the disk of the partitions. None looks at nothing.
        stopped: called with the host when it has stopped in order and all is durable, before its last snapshots.
        deferrable: request kinds that are refused while there is little room; whoever asks has to come back.
        groups: kinds of which those that come one after the other in a turn are served together; each of the answers
            is plain values or a :class:`RequestError`.
        begins_again: whether a journal that finds no room makes the loop wait for some and build its host anew; else it
            ends, and whoever supervises its process starts another.
    """

    def __init__(
        self,
        name: str,
        build: Callable[[Callable[[str, dict[str, Any]], None]], Host],
        handlers: Mapping[str, Handler],
        executor: ThreadExecutor,
        clock: Clock,
        socket_path: Path | None,
        snapshot_interval_ms: int,
        crashed: Callable[[str], None],
        room: Room | None = None,
        deferrable: frozenset[str] = frozenset(),
        groups: Mapping[str, GroupHandler] = MappingProxyType({}),
        stopped: Callable[[Host], None] = lambda host: None,
        begins_again: bool = False,
    ) -> None:
        self.name = name
        self.host: Host | None = None
        self.stats: Mapping[str, int] = {"actors": 0, "mailbox": 0}
        self._build = build
        self._handlers = handlers
        self._groups = groups
        self._line: deque[tuple[str, Any, Reply]] = deque()
        self._executor = executor
        self._clock = clock
        self._socket_path = socket_path
        self._snapshot_interval_ms = snapshot_interval_ms
        self._crashed = crashed
        self._room = room
        self._deferrable = deferrable
        self._stopped = stopped
        self._begins_again = begins_again
        self._snapshot: _Snapshot | None = None
        self._low: str | None = None
        self._waits_for: str | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._owed: dict[Future[Any], Exception] = {}
        self._ending = threading.Lock()
        self._ended = False
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        self._connections: set[_Connection] = set()
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = socket.socketpair()
        self._wake_read.setblocking(False)
        self._wake_write.setblocking(False)
        self._stopping = False
        self._writer = self._new_writer()
        self._started: Future[None] = Future()
        self._last_turn_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"loop-{name}", daemon=True)
        executor.post = self.post

    # -- from any thread ------------------------------------------------------------------------------------

    def start(self, timeout_s: float = 30.0) -> None:
        """Starts the thread and waits until the tree is up and the socket listens.

        With a full disk it returns as well: every request is refused until there is room for the tree to start.

        Raises:
            Exception: whatever kept it from starting.
        """
        self._thread.start()
        self._started.result(timeout_s)

    def stop(self, timeout_s: float) -> bool:
        """Stops the tree, writes snapshots, ends the thread; returns whether that was done in time."""

        def stop() -> None:
            self._stopping = True

        self.post(stop)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def post(self, run: Callable[[], None]) -> bool:
        """Has ``run`` called on the loop's thread within a turn; returns False when the loop has ended."""
        with self._ending:
            if self._ended:
                return False
            self._posted.append(run)
        with contextlib.suppress(OSError):  # full means it will wake anyway; closed means it is ending
            self._wake_write.send(b"w")
        return True

    def request(self, kind: str, payload: Any) -> "Future[Any]":
        """A request from within this process; the future ends when the turn is durable, or the loop has ended."""
        future: Future[Any] = Future()
        lost = RequestError("unavailable", f"{self.name} has ended")

        def reply(ok: bool, result: Any) -> None:
            self._answer(future, result if ok else None, None if ok else _refusal(result))

        self._owed[future] = lost
        if not self.post(lambda: self._serve(kind, payload, reply)):
            self._answer(future, None, lost)
        return future

    def cast(self, address: str, message: Any) -> None:
        """Sends a message to an actor; from any thread. Nobody there makes it a dead letter."""
        self.post(lambda: self._with_host(lambda host: host.cast(address, message)))

    def call(self, address: str, request: Any, timeout_ms: int = DEFAULT_CALL_MS) -> "Future[Any]":
        """Asks an actor; from any thread. The future ends exactly once, a reply only when the turn is durable.

        It fails with RequestError (refused), ActorStopped (nobody there, or it ended on the request), or ActorLost
        (no answer within ``timeout_ms``, or this loop ended first).
        """
        future: Future[Any] = Future()
        lost = ActorLost(f"{self.name} ended before {address} answered")

        def done(value: Any, error: Exception | None) -> None:
            host = self.host
            if host is None:
                self._answer(future, None, lost)
            else:
                host.after_commit(lambda: self._answer(future, value, error))

        def ask(host: Host) -> None:
            try:
                host.call(address, request, done, timeout_ms)
            except Exception as error:  # noqa: BLE001  what was given makes no sense: the caller's own affair
                self._answer(future, None, error)

        self._owed[future] = lost
        if not self.post(lambda: self._with_host(ask)):
            self._answer(future, None, lost)
        return future

    def _answer(self, future: "Future[Any]", value: Any, error: Exception | None) -> None:
        if self._owed.pop(future, None) is None or not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(value)
        else:
            future.set_exception(error)

    def _with_host(self, run: Callable[[Host], None]) -> None:
        if self.host is not None:
            self._serve_all(self.host)
            run(self.host)

    def listen(self, listener: Callable[[str, dict[str, Any]], None]) -> None:
        """Has ``listener("event", {"topic": …, …})`` called, on the loop's thread, for every publication."""
        self._listeners.append(listener)

    def age_ms(self) -> int:
        """Time since the last turn [ms]; much over half a second means the loop is stuck."""
        return int((time.monotonic() - self._last_turn_s) * 1000)

    # -- the thread -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._selector.register(self._wake_read, selectors.EVENT_READ, None)
            host = self.host = self._host()
            if self._waits_for is None:
                self._open_doors()
        except BaseException as error:  # noqa: BLE001  handed to whoever called start
            self._close()
            if self._started.done():
                self._crashed(f"{type(error).__name__}: {error}")
            else:
                self._started.set_exception(error)
            return
        self._waits_for = None
        try:
            while host is not None and not self._lives(host):
                self._forget(host)
                host = self.host = self._host()
                self._waits_for = None
        except (
            BaseException
        ) as error:  # the journal failed, or a bug: the process ends and starts again from disk
            logging.getLogger("slakeeper.otp").exception("the loop of %s ended", self.name)
            self._crashed(f"{type(error).__name__}: {error}")
        finally:
            self._close()

    def _lives(self, host: Host) -> bool:
        """Takes turns until it is told to stop; False when there was no room, and another host is to be built."""
        try:
            self._turns(host)
        except NoRoom as error:
            if not self._begins_again:
                raise
            logging.getLogger("slakeeper.otp").error("%s begins again from the disk: %s", self.name, error)
            return False
        return True

    def _forget(self, host: Host) -> None:
        """Drops a host as the end of its process would: nothing of its last turn has left it, nor is on the disk."""
        self.host = None
        self._waits_for = f"{self.name} waits for room on the disk"
        self._writer.shutdown()
        self._writer = self._new_writer()
        for partition in host.partitions.values():
            partition.close()
        for connection in list(self._connections):
            self._drop(connection)
        self._line.clear()
        self._low = None
        # What came meanwhile is refused by itself; a moment later, so that no disk is worn out by beginning again.
        self._turn_without_host()
        for future, lost in list(self._owed.items()):
            self._answer(future, None, lost)

    def _new_writer(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix=f"snapshot-{self.name}")

    def _host(self) -> Host | None:
        """The host, once the disk has room for what it will write; None when told to stop before."""
        is_said = False
        while not self._stopping:
            if self._room is None or self._room.suffices:
                try:
                    return self._build(self._published)
                except NoRoom as error:
                    lacking = str(error)
            else:
                lacking = str(self._room)
            if not is_said:
                is_said = True
                logging.getLogger("slakeeper.otp").error(
                    "%s waits for room on the disk: %s", self.name, lacking
                )
                self._open_doors()
            self._waits_for = f"{self.name} waits for room on the disk: {lacking}"
            self._turn_without_host()
        return None

    def _open_doors(self) -> None:
        if self._started.done():
            return
        if self._socket_path is not None:
            self._listen(self._socket_path)
        self._started.set_result(None)

    def _turn_without_host(self) -> None:
        ready = self._selector.select(IDLE_WAKE_S)
        self._last_turn_s = time.monotonic()
        for key, mask in ready:
            self._ready(key, mask)
        for _ in range(len(self._posted)):
            self._posted.popleft()()

    def _look_at_the_room(self, room: Room) -> None:
        """Says once when there is little room, and once when there is enough again."""
        log = logging.getLogger("slakeeper.otp")
        if room.is_low:
            if self._low is None:
                log.error(
                    "%s: the disk is nearly full, %s: refused until there is room: %s",
                    self.name,
                    room,
                    ", ".join(sorted(self._deferrable)),
                )
            self._low = f"the disk is nearly full: {room}"
        elif self._low is not None:
            self._low = None
            log.warning("%s: there is room on the disk again", self.name)

    def _turns(self, host: Host) -> None:
        partitions, now_ms = tuple(host.partitions.values()), self._clock.now_ms()
        schedule = SnapshotSchedule(partitions, self._snapshot_interval_ms, now_ms)
        while not self._stopping:
            ready = self._selector.select(self._wait_s(host))
            self._last_turn_s = time.monotonic()
            if self._room is not None:
                self._look_at_the_room(self._room)
            # Whoever waits comes before those that nobody has asked for.
            host.begin_turn(wakes=not self._line)
            for key, mask in ready:
                self._ready(key, mask)
            for _ in range(len(self._posted)):  # what these post comes with the next turn
                self._posted.popleft()()
            self._serve_share(host)
            host.drain()
            host.commit()
            self.stats = host.stats()
            if host.ended is not None:
                raise ActorStopped(f"the tree ended: {host.ended}")
            self._snapshot_some(host, schedule)
        self._writer.shutdown()
        for partition in host.partitions.values():
            try:
                host.snapshot(partition)  # while the actors are there to say what their events amount to
            except JournalError as error:
                # Nothing is lost: what the snapshot would hold is in the journal.
                logging.getLogger("slakeeper.otp").error("%s: %s", self.name, error)
        host.stop()
        self._stopped(host)
        for partition in host.partitions.values():
            partition.close()

    def _snapshot_some(self, host: Host, schedule: SnapshotSchedule) -> None:
        """Begins the snapshot that is due, or goes on with the one that is begun; not for longer than a slice."""
        began_s = time.perf_counter()
        snapshot = self._snapshot
        if snapshot is None:
            if self._line:  # whoever waits for actors to be made need not wait for a snapshot as well
                return
            due = schedule.next_due(host.now_ms)
            # Half-written it would take the journal's room; and everything is in the journal.
            if due is None or not (self._room is None or self._room.holds(due.snapshot_bytes)):
                return
            if due.seq == due.snapshot_seq:
                return
            snapshot = self._snapshot = _Snapshot(due, host.dump(due))
        if not snapshot.is_dumped:
            for _ in snapshot.dumps:
                if time.perf_counter() - began_s >= SNAPSHOT_SLICE_S:
                    snapshot.held_up(time.perf_counter() - began_s)
                    return
            snapshot.is_dumped = True
            self._watch(snapshot.partition.snapshot({}, self._writer))
            snapshot.held_up(time.perf_counter() - began_s)
        if not snapshot.partition.rotating:
            self._snapshot = None
            snapshot.held_up(snapshot.partition.waited_s)
            snapshot.count(host.counts)

    def _watch(self, writing: "Future[None]") -> None:
        """Logs a snapshot that could not be written; nothing is lost, its events stay in the journal."""

        def report(done: "Future[None]") -> None:
            error = done.exception()
            if error is not None:
                logging.getLogger("slakeeper.otp").error("%s: %s", self.name, error)

        writing.add_done_callback(report)

    def _wait_s(self, host: Host) -> float:
        dumps = self._snapshot is not None and not self._snapshot.is_dumped
        if host.has_work or self._posted or self._line or dumps:
            return 0.0
        deadline_ms = host.next_deadline_ms()
        if deadline_ms is None:
            return IDLE_WAKE_S
        return min(IDLE_WAKE_S, max(0.0, (deadline_ms - self._clock.now_ms()) / 1000))

    def _serve(self, kind: str, payload: Any, reply: Reply) -> None:
        host = self.host
        if host is None:
            waits = RequestError("unavailable", self._waits_for or "the cell is starting")
            if self._waits_for is not None:
                waits.details["reason"] = NO_ROOM
            reply(False, waits.to_wire())
            return
        if self._low is not None and kind in self._deferrable:
            reply(False, RequestError("unavailable", self._low, reason=NO_ROOM).to_wire())
            return
        self._line.append((kind, payload, reply))

    def _serve_share(self, host: Host) -> None:
        """Serves those who wait, in their order; while actors sleep, until so many were made that the turn has to end.

        So the first need not wait until all have been made that the last are for.
        """
        woken, at_most = host.counts["woken"], 1
        enough = woken + MAX_WOKEN_FOR_LINE
        while self._line and host.has_sleepers and not self._stopping:
            if woken >= enough:
                return
            self._serve_next(host, at_most)
            # As long as each wakes somebody, one at a time.
            before, woken = woken, host.counts["woken"]
            at_most = 1 if woken > before else sys.maxsize
        self._serve_all(host)

    def _serve_all(self, host: Host) -> None:
        while self._line:
            self._serve_next(host)

    def _serve_next(self, host: Host, at_most: int = sys.maxsize) -> None:
        """Serves the first in the line, of a kind that is served together with those of its kind behind it."""
        kind, payload, reply = self._line.popleft()
        if kind not in self._groups:
            self._serve_alone(host, kind, payload, reply)
            return
        group = [(payload, reply)]
        while len(group) < at_most and self._line and self._line[0][0] == kind:
            group.append(self._line.popleft()[1:])
        self._serve_together(host, kind, group)

    def _serve_alone(self, host: Host, kind: str, payload: Any, reply: Reply) -> None:
        handler = self._handlers.get(kind)
        try:
            if handler is None:
                raise RequestError("invalid", f"unknown request {kind!r}")
            result, ok = handler(host, payload), True
        except RequestError as error:
            result, ok = error.to_wire(), False
        except ActorStopped as error:
            result, ok = RequestError("internal", str(error)).to_wire(), False
        except Exception as error:
            logging.getLogger("slakeeper.otp").exception("request %s failed", kind)
            result, ok = RequestError("internal", f"{type(error).__name__}: {error}").to_wire(), False
        host.after_commit(lambda: reply(ok, result))

    def _serve_together(self, host: Host, kind: str, group: Sequence[tuple[Any, Reply]]) -> None:
        try:
            answers = self._groups[kind](host, [payload for payload, _ in group])
        except Exception as error:
            logging.getLogger("slakeeper.otp").exception("requests %s failed", kind)
            answers = [RequestError("internal", f"{type(error).__name__}: {error}")] * len(group)
        for (_, reply), answer in zip(group, answers, strict=True):
            refused = isinstance(answer, RequestError)
            host.after_commit(partial(reply, not refused, answer.to_wire() if refused else answer))

    def _published(self, topic: str, payload: dict[str, Any]) -> None:
        for listener in self._listeners:
            try:
                listener("event", {"topic": topic, **payload})
            except (Exception, SystemExit):  # one that fails must not keep the news from the others
                logging.getLogger("slakeeper.otp").exception("%s: a listener failed on %s", self.name, topic)
        subscribers = [connection for connection in self._connections if connection.subscribed]
        if subscribers:
            frame = pack_frame([0, "event", {"topic": topic, **payload}])
            for connection in subscribers:
                self._send(connection, frame)

    # -- sockets ------------------------------------------------------------------------------------------------

    def _listen(self, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(128)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ, "listener")

    def _ready(self, key: selectors.SelectorKey, mask: int) -> None:
        if key.data is None:
            with contextlib.suppress(BlockingIOError):
                while len(self._wake_read.recv(READ_BYTES)) == READ_BYTES:
                    pass
        elif key.data == "listener":
            with contextlib.suppress(OSError):
                accepted, _ = key.fileobj.accept()  # type: ignore[union-attr]
                accepted.setblocking(False)
                connection = _Connection(accepted)
                self._connections.add(connection)
                self._selector.register(accepted, selectors.EVENT_READ, connection)
        else:
            if mask & selectors.EVENT_WRITE:
                self._flush(key.data)
            if mask & selectors.EVENT_READ:
                self._read(key.data)

    def _read(self, connection: _Connection) -> None:
        if connection.closed:
            return
        try:
            data = connection.socket.recv(READ_BYTES)
            if not data:
                self._drop(connection)
                return
            for message in connection.reader.feed(data):
                self._take(connection, message)
        except BlockingIOError:
            return
        except (OSError, FrameError) as error:
            logging.getLogger("slakeeper.otp").warning("%s: connection dropped: %s", self.name, error)
            self._drop(connection)

    def _take(self, connection: _Connection, message: Any) -> None:
        if not (
            isinstance(message, list) and len(message) == 3 and isinstance(message[0], int) and message[0] > 0
        ):
            raise FrameError("a request must be [id, kind, payload]")
        request_id, kind, payload = message

        def reply(ok: bool, result: Any) -> None:
            try:
                frame = pack_frame([request_id, ok, result])
            except (TypeError, ValueError, OverflowError, FrameError) as error:
                # No answer at all would leave the peer waiting.
                refusal = RequestError("internal", f"the answer to {kind!r} cannot be sent: {error}")
                frame = pack_frame([request_id, False, refusal.to_wire()])
            self._send(connection, frame)

        if kind == "subscribe":
            connection.subscribed = True
            reply(True, {})
        else:
            self._serve(kind, payload, reply)

    def _send(self, connection: _Connection, frame: bytes) -> None:
        if connection.closed:
            return
        was_empty = not connection.unsent
        connection.unsent += frame
        if len(connection.unsent) > MAX_UNSENT_BYTES:
            logging.getLogger("slakeeper.otp").warning(
                "%s: a peer does not read; connection dropped", self.name
            )
            self._drop(connection)
        elif was_empty:
            self._flush(connection)

    def _flush(self, connection: _Connection) -> None:
        if connection.closed:
            return
        try:
            while connection.unsent:
                sent = connection.socket.send(connection.unsent)
                del connection.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(connection)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
        self._selector.modify(connection.socket, events, connection)

    def _drop(self, connection: _Connection) -> None:
        if not connection.closed:
            connection.closed = True
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._connections.discard(connection)

    def _close(self) -> None:
        for connection in list(self._connections):
            self._flush(connection)
            self._drop(connection)
        for key in list(self._selector.get_map().values()):
            if key.data == "listener":
                key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._executor.close()
        self._wake_read.close()
        self._wake_write.close()
        host, self.host = self.host, None
        if host is not None:
            for partition in host.partitions.values():
                partition.close()  # for whoever starts again within this process
        with self._ending:
            self._ended = True
        while self._posted:  # requests that came too late are refused, not left waiting
            self._posted.popleft()()
        for future, lost in list(self._owed.items()):
            self._answer(future, None, lost)


def _refusal(result: Mapping[str, Any]) -> RequestError:
    details = {key: value for key, value in result.items() if key not in ("code", "message")}
    return RequestError(result["code"], result["message"], **details)
