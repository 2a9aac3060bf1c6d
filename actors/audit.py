"""AuditActor: a partition's audit chain, and how those who decide have their decisions put into it.

An entry is recorded by *entrusting* it: it is on the audit actor's record in the very commit that holds what was
decided, whatever state the audit actor is in. From there it is written into files, again and again until it is durable.
"""

import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slakeeper.actors.address import REPORTING, audit_address
from slakeeper.actors.audit_file import AuditFiles, Fork
from slakeeper.actors.environment import Environment
from slakeeper.actors.message import Tick
from slakeeper.otp.actor import Actor, Entrusted, Performed
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from slakeeper.otp.partition import Event, JournalError, Partition, Started
from slakeeper.sla.audit import SYSTEM, Fact, Head, Link, What, link, plain
from slakeeper.sla.duration import MINUTE_MS, SECOND_MS

RETRY_TIMER = "file"
FILE_KEY = "file"
LANE = "audit"

# Written at once, so that one write stays small; the rest follows.
BATCH = 500

FIRST_RETRY_MS = SECOND_MS
LONGEST_RETRY_MS = MINUTE_MS

# How long a host that ends waits for writes that are under way: a few syncs. One that hangs is not waited out.
_OTHERS_WRITE_MS = SECOND_MS
_ASK_AGAIN_MS = 10


@dataclass(frozen=True, slots=True)
class Filed:
    """Event: the entries up to this one are durable in the files."""

    seq: int


@dataclass(frozen=True, slots=True)
class AuditState:
    """What a snapshot keeps: the chain's end, how far it is in the files, and the entries that are not."""

    head_seq: int
    head_hash: str
    filed_seq: int
    unfiled: tuple[Link, ...] = ()

    @property
    def filed_hash(self) -> str:
        """Of the last entry that is durable in the files."""
        return self.unfiled[0].previous if self.unfiled else self.head_hash


class AuditActor(Actor):
    """One for each partition, whose name is its argument. Its events are the :class:`Fact` s that others entrust."""

    recovers_later = True  # what it has to write lies in the journal meanwhile

    def __init__(self, address: str, arg: str) -> None:
        super().__init__(address, arg)
        self._partition = arg
        self._head = Head()
        self._filed_seq = 0
        self._unfiled: deque[Link] = deque()
        # Of this incarnation alone: a write under way, and how many failed in a row.
        self._is_filing = False
        self._failures = 0

    def init(self, ctx: Context, fresh: bool) -> None:
        self._file(ctx)

    def handle_info(self, ctx: Context, message: Any) -> None:
        match message:
            case Entrusted():
                if not self._failures:
                    self._file(ctx)
            case Tick():
                self._file(ctx)
            case Performed(_, value, error):
                self._is_filing = False
                if error is not None:
                    self._failed(ctx, error)
                elif isinstance(value, Fork):
                    self._forked(ctx, value)
                else:
                    self._filed(ctx, int(value))
            case _:
                super().handle_info(ctx, message)

    def apply(self, event: Any) -> None:
        match event:
            case Fact():
                added = link(self._head, self._partition, event)
                self._unfiled.append(added)
                self._head = added.head
            case Filed(seq):
                self._filed_seq = max(self._filed_seq, seq)
                while self._unfiled and self._unfiled[0].seq <= seq:
                    self._unfiled.popleft()
            case _:
                super().apply(event)

    def dump(self) -> AuditState:
        return AuditState(self._head.seq, self._head.hash, self._filed_seq, tuple(self._unfiled))

    def load(self, state: AuditState) -> None:
        self._head, self._filed_seq = Head(state.head_seq, state.head_hash), state.filed_seq
        self._unfiled = deque(state.unfiled)

    # -- inside -----------------------------------------------------------------------------------------------

    def _file(self, ctx: Context, *, puts_aside: bool = False) -> None:
        environment: Environment = ctx.environment
        files, partition = environment.audit_files, self._partition
        if files is None or self._is_filing or not self._unfiled:
            return
        self._is_filing = True
        # All of them are handed over: a stop has written them whole, and what is in the files is to be known again.
        unfiled = tuple(self._unfiled)
        # One lane for all partitions of a cell: they are few, small writes, and wait for the same disk.
        ctx.perform(
            FILE_KEY,
            lambda: files.append(partition, unfiled, at_most=BATCH, puts_aside=puts_aside),
            lane=LANE,
        )

    def _filed(self, ctx: Context, seq: int) -> None:
        environment: Environment = ctx.environment
        environment.audit_failing.pop(self._partition, None)
        self._failures = 0
        if seq > self._filed_seq:
            ctx.emit(Filed(seq))
        self._file(ctx)

    def _forked(self, ctx: Context, fork: Fork) -> None:
        """The files are ahead of the chain: that is an entry first, and only then put aside."""
        logging.getLogger("slakeeper.audit").error(
            "the audit files of %s have %d entries from %d on that are not in the chain; they are put aside in %s",
            self._partition, fork.count, fork.seq, fork.file,
        )  # fmt: skip
        details = {"count": fork.count, "file": fork.file, "seq": fork.seq}
        ctx.emit(Fact(ctx.now_ms, What.CHAIN_FORKED.value, SYSTEM, subject=self._partition, details=details))
        self._file(ctx, puts_aside=True)

    def _failed(self, ctx: Context, error: BaseException) -> None:
        """Nothing is lost: the entries stay on the actor's record until they are in the files."""
        environment: Environment = ctx.environment
        environment.audit_failing[self._partition] = str(error)
        wait_ms = min(FIRST_RETRY_MS * 2 ** min(self._failures, 10), LONGEST_RETRY_MS)
        self._failures += 1
        logging.getLogger("slakeeper.audit").error(
            "%d audit entries of %s cannot be written and will be in %g s: %s",
            len(self._unfiled), self._partition, wait_ms / SECOND_MS, error,
        )  # fmt: skip
        ctx.set_timer(RETRY_TIMER, ctx.now_ms + wait_ms, Tick())


def begin_chains(partitions: Mapping[str, Partition], codec: Codec, now_ms: int) -> None:
    """Gives each partition that has none its audit actor, durable on return; before the host starts.

    On the partition's record and not by a supervisor's start: whoever starts before it may have something to entrust.
    """
    for name, partition in partitions.items():
        address = audit_address(name)
        if address not in partition.records:
            begun = Fact(now_ms, What.CHAIN_BEGUN.value, SYSTEM, subject=name)
            started = Started(address, REPORTING, "audit", codec.encode(name), Restart.PERMANENT.value)
            partition.append((started, Event(address, codec.encode(begun))))
            partition.commit()


def file_the_rest(host: Host) -> None:
    """Writes what a host that has stopped still had to write, so that the files are complete while nothing runs.

    And records that it was written: what is not known to be in the files is no edit when it is otherwise, and the next
    start writes it over. When that cannot be recorded, it does.
    """
    environment: Environment = host.environment
    until_s = time.monotonic() + _OTHERS_WRITE_MS / 1000
    for name, partition in host.partitions.items():
        chain = recorded_chain(partition, name, host.codec)
        if chain.unfiled and environment.audit_files is not None:
            try:
                _append_soon(environment.audit_files, name, chain.unfiled, until_s)
                partition.append_event(audit_address(name), host.codec.encode(Filed(chain.unfiled[-1].seq)))
                partition.commit()
            except (OSError, JournalError) as error:
                logging.getLogger("slakeeper.audit").error(
                    "%d audit entries of %s are written at the next start: %s",
                    len(chain.unfiled),
                    name,
                    error,
                )


def _append_soon(files: AuditFiles, partition: str, links: Sequence[Link], until_s: float) -> None:
    """Appends when a write that the actor had begun is over, for its thread outlives it.

    Raises:
        OSError: as :meth:`AuditFiles.append`; BlockingIOError: that write is not over by ``until_s``.
    """
    while True:
        try:
            files.append(partition, links)
            return
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise
        time.sleep(_ASK_AGAIN_MS / 1000)


def recorded_chain(partition: Partition, name: str, codec: Codec) -> AuditState:
    """A partition's chain as it is recorded, whatever its actor is doing.

    Raises:
        LookupError: it has none.
    """
    record = partition.records.get(audit_address(name))
    if record is None:
        raise LookupError(f"{partition.directory}: there is no audit chain in this partition yet")
    chain = AuditActor(record.address, name)
    if record.base is not None:
        chain.load(codec.decode(record.base.read()))
    for data in record.tail:
        chain.apply(codec.decode(data))
    return chain.dump()


def note(
    ctx: Context, what: What, *, sla_id: str = "", subject: str = "", who: str | None = None, **details: Any
) -> None:
    """Puts what the running handler decides into the chain of its partition; next to the event it belongs to.

    Args:
        who: the operator; None or empty for slakeeper itself.
        details: see :func:`slakeeper.sla.audit.plain`.
    """
    environment: Environment = ctx.environment
    fact = _fact(ctx.now_ms, environment, what, sla_id, subject, who, details)
    ctx.entrust(audit_address(ctx.partition or ""), fact)


def note_act(
    host: Host, partition: str, what: What, *, sla_id: str = "", subject: str, who: str, **details: Any
) -> None:
    """The same for an operator's act that no actor decides about, from a request's handler."""
    fact = _fact(host.now_ms, host.environment, what, sla_id, subject, who, details)
    host.entrust(partition, audit_address(partition), fact)


def _fact(
    now_ms: int,
    environment: Environment,
    what: What,
    sla_id: str,
    subject: str,
    who: str | None,
    details: dict[str, Any],
) -> Fact:
    via = environment.via if who else ""
    return Fact(now_ms, what.value, who or SYSTEM, via, sla_id, subject, plain(details))
