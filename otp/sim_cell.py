"""A cell of a simulated system: a real host on a simulated disk, in a process that can end anywhere."""

import errno
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from slakeeper.otp.actor import ActorStopped, RequestError
from slakeeper.otp.crash_report import DeadLetter
from slakeeper.otp.effect import Executor
from slakeeper.otp.host import Host
from slakeeper.otp.line import ENDS_THE_HOST
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.otp.sim_actor import Doom, Reaper
from slakeeper.otp.sim_agenda import Agenda
from slakeeper.otp.sim_boot import Boot, Build, Handler
from slakeeper.otp.sim_fault import CellKilled, Moment, Point
from slakeeper.otp.sim_filesystem import CrashFileSystem, PowerLoss
from slakeeper.otp.sim_observer import Observer
from slakeeper.otp.sim_trace import Trace

# A turn begins this long after what woke the cell at most: what arrives meanwhile is taken in the same turn.
WAKE_MS = 3

# How far ahead of now an end is set: within so many file operations, handlers or releases.
MOST_STEPS_AHEAD = 12
MOST_HANDLERS_AHEAD = 6
MOST_EVENTS_AHEAD = 3

# Actors brought into a snapshot after one turn: so few that what happens meanwhile happens to some before, and to
# others after they were.
DUMPED_A_TURN = 2


class SimCell:
    """One simulated process with one disk.

    Attributes:
        host: None while it is down.
        life: counts its starts from 1.
        dead_letters: all of its lives, with the life each is from.
        deaths: how often it ended, by the reason.
        watch: is told of each point that it comes to, and may end it there by raising :class:`CellKilled`.
    """

    def __init__(
        self,
        name: str,
        build: Build,
        agenda: Agenda,
        trace: Trace,
        random: Random,
        observer: Observer,
        executor: Callable[["SimCell"], Executor],
        restart_ms: tuple[int, int],
        snapshot_interval_ms: int,
    ) -> None:
        self.name = name
        self.host: Host | None = None
        self.life = 0
        self.fs = CrashFileSystem()
        self.dead_letters: list[tuple[int, DeadLetter]] = []
        self.deaths: dict[str, int] = {}
        self.watch: Callable[[Point], None] | None = None
        self._build = build
        self._agenda = agenda
        self._trace = trace
        self._random = random
        self._observer = observer
        self._executor = executor
        self._restart_ms = restart_ms
        self._snapshot_interval_ms = snapshot_interval_ms
        self._snapshot_at_ms = 0
        self._snapshots: Iterator[None] | None = None
        self._reaper = Reaper(self.point, self._actor_killed)
        self._handlers: Mapping[str, Handler] = {}
        self._inbox: deque[Callable[[Host], None]] = deque()
        self._turn_at_ms: int | None = None
        self._fuse: tuple[Point, int] | None = None
        self._loses_power = False
        self._disk_may_fail = False
        self._waiting_kills: list[str | None] = []
        self._letters_seen = 0

    # -- life -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begins a life: recovers from the disk and starts the tree; ends at once where a fault says so."""
        self.life += 1
        self._letters_seen = 0
        self._inbox.clear()
        self._snapshots = None
        self._turn_at_ms = None
        self.fs.before_step = self._disk_step
        boot = Boot(
            self.name, self._agenda, self.fs, self._executor(self), self._published, self._commit, self._reaper.mortal,
        )  # fmt: skip
        try:
            host, self._handlers = self._build(boot)
        except (CellKilled, PowerLoss) as end:
            self._end(f"starting, {_words(end)}")
            return
        except JournalError as error:
            if not self._disk_may_fail:
                raise
            self._end(f"starting, {error}")
            return
        except ActorStopped as error:
            # As its supervisor would, it tries again; if it never gets up, the checks at the end see that.
            self._end(f"starting, {error}")
            return
        self.host = host
        self._snapshot_at_ms = self._agenda.now_ms() + self._snapshot_interval_ms
        self._trace.line(self._agenda.now_ms(), self.name, f"started, life {self.life},", self._seqs(host))
        self._observer.cell_started(self)
        self._go_on(host)

    def take(self, work: Callable[[Host], None]) -> None:
        """Something has come from outside: it is done in the next turn. Lost when the cell is down."""
        if self.host is not None:
            self._inbox.append(work)
            self._wake(self._agenda.now_ms() + self._random.randint(0, WAKE_MS))

    def serve(self, kind: str, payload: Any, reply: Callable[[bool, Any], None]) -> None:
        """A request has arrived; ``reply`` is called once the turn is durable, as the cell's loop does it."""
        self.take(lambda host: self._serve(host, kind, payload, reply))

    # -- faults -----------------------------------------------------------------------------------------------

    def doom_cell(self, point: Point, *, loses_power: bool) -> None:
        """Has the process end at a point that comes soon."""
        if self.host is None and point is not Point.DISK:
            return
        self._loses_power = loses_power
        if point is Point.IDLE:
            self._end(f"killed, {point.value}")
        elif point is Point.DISK and loses_power:
            self.fs.crash_at = self.fs.steps + self._random.randrange(MOST_STEPS_AHEAD)
        else:
            self._fuse = (point, self._random.randint(1, MOST_STEPS_AHEAD if point is Point.DISK else 3))

    def died(self, end: BaseException) -> None:
        """The process, or the machine, has ended while an effect was being carried out."""
        self._end(_words(end))

    def restart(self) -> None:
        """Kills the process now, between two turns; it starts again by itself."""
        if self.host is not None:
            self._end("restart")

    def doom_actor(self, moment: Moment, starts: int = 1) -> None:
        """Has an actor of a kind that is there fail in one of its next handlers, or while a message waits for it.

        Args:
            starts: for ``Moment.STARTING`` how many starts fail.
        """
        if self.host is None:
            return
        if moment is Moment.WAITING:
            self._waiting_kills.append(None)
            return
        kinds = [kind for kind in self._reaper.kinds if self.host.addresses(kind)]
        if not kinds:
            return
        kind = self._random.choice(kinds)
        if moment is Moment.STARTING:
            self._reaper.dooms.extend(Doom(kind, moment) for _ in range(starts))
            self._waiting_kills.append(kind)
            return
        handlers = self._random.randint(1, MOST_HANDLERS_AHEAD)
        events = self._random.randrange(MOST_EVENTS_AHEAD)
        self._reaper.dooms.append(Doom(kind, moment, handlers, events))

    def doom(self, doom: Doom) -> None:
        """Has one handler fail that is known beforehand."""
        self._reaper.dooms.append(doom)

    def doom_disk(self) -> None:
        """Has a file operation that comes soon fail; what was to be written is then gone from the disk."""
        self._disk_may_fail = True
        self.fs.fail_at[self.fs.steps + self._random.randrange(MOST_STEPS_AHEAD)] = errno.EIO

    def heal(self) -> None:
        """Nothing that was to go wrong does."""
        self._fuse = None
        self._loses_power = False
        self._waiting_kills.clear()
        self._reaper.dooms.clear()
        self.fs.crash_at = None
        self.fs.fail_at.clear()

    def point(self, point: Point) -> None:
        """The process is at this point; ends it here when it is to.

        Raises:
            CellKilled: it ends.
        """
        if self.watch is not None:
            self.watch(point)
        if self._fuse is None or self._fuse[0] is not point:
            return
        left = self._fuse[1] - 1
        self._fuse = (point, left) if left else None
        if not left:
            raise CellKilled(point.value)

    # -- turns --------------------------------------------------------------------------------------------------

    def _wake(self, at_ms: int) -> None:
        if self._turn_at_ms is None or at_ms < self._turn_at_ms:
            self._turn_at_ms = at_ms
            life = self.life
            self._agenda.at(at_ms, lambda: self._turn(at_ms, life))

    def _turn(self, at_ms: int, life: int) -> None:
        host = self.host
        if host is None or life != self.life or at_ms != self._turn_at_ms:
            return  # woken earlier, or another life
        self._turn_at_ms = None
        taken = len(self._inbox)
        try:
            host.begin_turn()
            self.point(Point.BEGUN)
            while self._inbox:
                self._inbox.popleft()(host)
            while self._waiting_kills:
                self._kill_one(host, self._waiting_kills.pop())
            host.drain()
            self.point(Point.DRAINED)
            host.commit()
            self._collect_letters(host)
            self._snapshot_some(host)
        except (CellKilled, PowerLoss) as end:
            self._end(_words(end))
            return
        except ENDS_THE_HOST as error:
            self._end(str(error))
            return
        if host.ended is not None:
            self._end(f"the tree ended: {host.ended}")
            return
        self._trace.line(host.now_ms, self.name, "turn", f"taken={taken}", self._seqs(host))
        self._observer.turn_ended(self)
        self._go_on(host)

    def _go_on(self, host: Host) -> None:
        now_ms, deadline_ms = self._agenda.now_ms(), host.next_deadline_ms()
        if host.has_work or self._inbox:
            self._wake(now_ms)
        elif deadline_ms is not None:
            self._wake(max(deadline_ms, now_ms))

    def _serve(self, host: Host, kind: str, payload: Any, reply: Callable[[bool, Any], None]) -> None:
        handler = self._handlers.get(kind)
        try:
            if handler is None:
                raise RequestError("invalid", f"unknown request {kind!r}")
            result, ok = handler(host, payload), True
        except RequestError as error:
            result, ok = error.to_wire(), False
        except ActorStopped as error:
            result, ok = RequestError("internal", str(error)).to_wire(), False

        def release() -> None:
            self.point(Point.RELEASED)
            reply(ok, result)

        host.after_commit(release)
        self.point(Point.SERVED)

    def _commit(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            partition.commit()
        self.point(Point.COMMITTED)

    def _published(self, topic: str, payload: dict[str, Any]) -> None:
        self.point(Point.RELEASED)
        self._trace.line(self._agenda.now_ms(), self.name, "published", topic)
        self._observer.published(self, topic, payload)

    def _snapshot_some(self, host: Host) -> None:
        """As the cell's loop: a part of it after each turn."""
        if self._snapshots is None:
            if host.now_ms < self._snapshot_at_ms:
                return
            self._snapshot_at_ms = host.now_ms + self._snapshot_interval_ms
            self._snapshots = self._dumps(host)
        for _ in range(DUMPED_A_TURN):
            if next(self._snapshots, self) is self:
                self._snapshots = None
                return

    def _dumps(self, host: Host) -> Iterator[None]:
        """Makes a snapshot of each partition, an actor at each step."""
        for partition in host.partitions.values():
            if partition.seq == partition.snapshot_seq:
                continue
            yield from host.dump(partition)
            try:
                partition.snapshot({})
            except JournalError as error:
                self._trace.line(host.now_ms, self.name, "no snapshot:", str(error))
                # Without room everything goes on. A partition that has failed ends the cell: at its next use in a
                # real one, here at once.
                if _seq(partition) is None:
                    raise

    # -- the end ------------------------------------------------------------------------------------------------

    def _end(self, why: str) -> None:
        now_ms = self._agenda.now_ms()
        loses_power = self._loses_power or not self.fs.is_on
        self._trace.line(now_ms, self.name, "ended:", why, "and the machine's power" if loses_power else "")
        if self.host is not None:
            self._collect_letters(self.host)
        self.host = None
        self._inbox.clear()
        self.heal()
        self._disk_may_fail = False
        if loses_power:
            self.fs = self.fs.after_power_loss(self._random)
        else:
            self.fs.after_kill()
        self.deaths[why.partition(":")[0]] = self.deaths.get(why.partition(":")[0], 0) + 1
        self._observer.cell_ended(self, why)
        self._agenda.after(self._random.randint(*self._restart_ms), self.start)

    def _disk_step(self, step: int) -> None:
        self.point(Point.DISK)

    def _kill_one(self, host: Host, kind: str | None) -> None:
        running = [address for address in host.addresses(kind) if host.is_running(address)]
        if running:
            address = self._random.choice(running)
            self._actor_killed(address, Moment.WAITING, None)
            host.inspector.kill(address)

    def _actor_killed(self, address: str, moment: Moment, message: Any) -> None:
        what = type(message).__name__ if message is not None else ""
        self._trace.line(self._agenda.now_ms(), self.name, f"killed {address} {moment.value} {what}".rstrip())
        self._observer.actor_killed(self, address, moment, message)

    def _collect_letters(self, host: Host) -> None:
        count = host.counts["dead_letters"]
        new = count - self._letters_seen
        self._letters_seen = count
        for letter in list(host.dead_letters)[-new:] if new else ():
            self.dead_letters.append((self.life, letter))
            self._trace.line(
                self._agenda.now_ms(), self.name, f"dead letter to {letter.address}:", letter.why
            )

    def _seqs(self, host: Host) -> str:
        """How far each partition is, for the trace."""
        if not self._trace.is_on:
            return ""
        seqs = {name: _seq(partition) for name, partition in host.partitions.items()}
        return " ".join(f"{name}@{'failed' if seq is None else seq}" for name, seq in seqs.items())


def _seq(partition: Partition) -> int | None:
    """How far a partition is; None when it has failed."""
    try:
        return partition.seq
    except JournalError:
        return None


def _words(end: BaseException) -> str:
    return f"killed, {end}" if isinstance(end, CellKilled) else "killed, disk"
