"""The thread that drives a host: requests from a Unix socket or from this process, timers, ended effects.

One turn of the loop: wait for whatever comes first, take all of it, let the host run, commit, reply. The
thread never waits for anything else; what blocks runs on the executor's threads.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import MappingProxyType
from typing import Any

from slakeeper.otp.actor import ActorLost, ActorStopped, RequestError
from slakeeper.otp.clock import Clock
from slakeeper.otp.connection import Connections, Reply
from slakeeper.otp.context import DEFAULT_CALL_MS
from slakeeper.otp.executor import ThreadExecutor
from slakeeper.otp.host import Host
from slakeeper.otp.line import ENDS_THE_HOST, GroupHandler, Handler, Line
from slakeeper.otp.partition import JournalError, NoRoom
from slakeeper.otp.room import Room
from slakeeper.otp.snapshot_work import SnapshotWork

# The loop wakes at least this often, so that its age tells a living loop from a stuck one.
IDLE_WAKE_S = 0.5

SEE_OUT_S = 2.0
"""How long a stop waits for outside effects that are under way [s]: many times what one takes. Services stop one after
the other, and one that hangs is not waited out."""

_LOOK_S = 0.01

NO_ROOM = "no_room"
"""The ``reason`` of an ``unavailable`` because of a full disk."""


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
        is_light: whether a request, by kind and payload, wakes a few actors at most: first served while actors sleep.
        recovered: called once, on the loop's thread: when no actor sleeps any more that recovers later, or when the
            recovery has to wait for room on the disk.
        begins_again: whether a journal that finds no room makes the loop wait for some and build its host anew; else it
            ends, and whoever supervises its process starts another.
        sees_out: whether a stop waits for what is under way in a lane, or in line there, so that its end is recorded.
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
        is_light: Callable[[str, Any], bool] = lambda kind, payload: False,
        stopped: Callable[[Host], None] = lambda host: None,
        recovered: Callable[[], None] = lambda: None,
        begins_again: bool = False,
        sees_out: Callable[[str], bool] = lambda lane: False,
    ) -> None:
        self.name = name
        self.host: Host | None = None
        self.stats: Mapping[str, int] = {"actors": 0, "mailbox": 0}
        self._build = build
        self._line = Line(handlers, groups, is_light)
        self._executor = executor
        self._clock = clock
        self._socket_path = socket_path
        self._snapshot_interval_ms = snapshot_interval_ms
        self._crashed = crashed
        self._room = room
        self._deferrable = deferrable
        self._stopped = stopped
        self._recovered = recovered
        self._is_recovering = True
        self._begins_again = begins_again
        self._sees_out = sees_out
        self._see_out_s = 0.0
        self._low: str | None = None
        self._waits_for: str | None = None
        self._posted: deque[Callable[[], None]] = deque()
        self._owed: dict[Future[Any], Exception] = {}
        self._ending = threading.Lock()
        self._ended = False
        self._listeners: list[Callable[[str, dict[str, Any]], None]] = []
        self._connections = Connections(name, self._serve)
        self._stopping = False
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
            self._see_out_s = min(SEE_OUT_S, timeout_s / 2)

        self.post(stop)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def post(self, run: Callable[[], None]) -> bool:
        """Has ``run`` called on the loop's thread within a turn; returns False when the loop has ended."""
        with self._ending:
            if self._ended:
                return False
            self._posted.append(run)
        self._connections.wake()
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
            except ENDS_THE_HOST:
                raise
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
            self._line.serve_all(self.host)
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
        for partition in host.partitions.values():
            partition.close()
        self._connections.drop_all()
        self._line.clear()
        self._low = None
        # What came meanwhile is refused by itself; a moment later, so that no disk is worn out by beginning again.
        self._turn_without_host()
        for future, lost in list(self._owed.items()):
            self._answer(future, None, lost)

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
                self._end_recovery()
            self._waits_for = f"{self.name} waits for room on the disk: {lacking}"
            self._turn_without_host()
        return None

    def _end_recovery(self) -> None:
        if self._is_recovering:
            self._is_recovering = False
            self._recovered()

    def _open_doors(self) -> None:
        if self._started.done():
            return
        if self._socket_path is not None:
            self._connections.listen(self._socket_path)
        self._started.set_result(None)

    def _turn_without_host(self) -> None:
        ready = self._connections.wait(IDLE_WAKE_S)
        self._last_turn_s = time.monotonic()
        self._connections.take(ready)
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
        snapshots = SnapshotWork(
            self.name, host, self._snapshot_interval_ms, self._clock.now_ms(), self._room
        )
        try:
            while not self._stopping:
                self._turn(host, snapshots)
        finally:
            snapshots.close()
        self._see_out(host)
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

    def _see_out(self, host: Host) -> None:
        """Takes the ends of outside effects, and does what follows from them; no timer fires, nobody is served."""
        until_s = time.monotonic() + self._see_out_s
        while self._executor.is_busy(self._sees_out) and time.monotonic() < until_s:
            if not self._posted:
                time.sleep(_LOOK_S)
            self._last_turn_s = time.monotonic()
            host.now_ms = self._clock.now_ms()
            for _ in range(len(self._posted)):
                self._posted.popleft()()
            host.drain()
            host.commit()

    def _turn(self, host: Host, snapshots: SnapshotWork) -> None:
        ready = self._connections.wait(self._wait_s(host, snapshots))
        self._last_turn_s = time.monotonic()
        if self._room is not None:
            self._look_at_the_room(self._room)
        # Whoever waits comes before those that nobody has asked for.
        host.begin_turn(wakes=not self._line)
        self._connections.take(ready)
        for _ in range(len(self._posted)):  # what these post comes with the next turn
            self._posted.popleft()()
        if self._stopping:
            self._line.serve_all(host)
        else:
            self._line.serve_share(host)
        host.drain()
        host.commit()
        self.stats = host.stats()
        if host.ended is not None:
            raise ActorStopped(f"the tree ended: {host.ended}")
        if self._is_recovering and not host.has_sleepers:
            self._end_recovery()
        # Whoever waits for actors to be made need not wait for a snapshot as well.
        snapshots.go_on(may_begin=not self._line)

    def _wait_s(self, host: Host, snapshots: SnapshotWork) -> float:
        if host.has_work or self._posted or self._line or snapshots.is_pressing:
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
        self._line.append(kind, payload, reply)

    def _published(self, topic: str, payload: dict[str, Any]) -> None:
        for listener in self._listeners:
            try:
                listener("event", {"topic": topic, **payload})
            except (Exception, SystemExit):  # one that fails must not keep the news from the others
                logging.getLogger("slakeeper.otp").exception("%s: a listener failed on %s", self.name, topic)
        self._connections.publish(topic, payload)

    def _close(self) -> None:
        self._connections.close()
        self._executor.close()
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
