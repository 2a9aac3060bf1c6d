"""The children of a supervisor by id: a value, yet cheap to change when there are many thousands."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self

from slakeeper.otp.child_spec import ChildSpec
from slakeeper.otp.supervisor_event import Ref, Request

_BUCKETS = 128


class Phase(StrEnum):
    """Where a child stands."""

    WAITING = "waiting"
    """Its turn to start comes later in the sequence that goes on."""
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"
    """Ended by itself while a sequence goes on; what follows from it waits."""
    RESTARTING = "restarting"
    """Not running; a retry is scheduled."""
    STOPPING = "stopping"
    STOPPED = "stopped"
    QUARANTINED = "quarantined"


STATUS_OF = {
    Phase.WAITING: "restarting",
    Phase.STARTING: "restarting",
    Phase.RUNNING: "running",
    Phase.EXITED: "restarting",
    Phase.RESTARTING: "restarting",
    Phase.STOPPING: "running",
    Phase.STOPPED: "stopped",
    Phase.QUARANTINED: "quarantined",
}


@dataclass(frozen=True, slots=True)
class Starter:
    """Who asked for a start, and what the child becomes if it fails (None: its spec is dropped)."""

    ref: Ref
    fallback: Phase | None


@dataclass(frozen=True, slots=True)
class Child:
    """One child as its supervisor knows it.

    Args:
        spec: what it was made of.
        order: its place among its siblings; lower starts first.
        phase: where it stands.
        incarnation: of the latest try to start it; 0 before the first.
        pid: the driver's, while it runs; else None.
        restarts: how often the supervisor, not a request, has started it again, failed tries included.
        counted_s: restarts counted against it alone, newest first (only under quarantine).
        starter: who waits for its start, if a request did it.
        stoppers: who waits for its stop, in order.
        waiting: requests about it that come after its stop, in order.
    """

    spec: ChildSpec
    order: int
    phase: Phase = Phase.STOPPED
    incarnation: int = 0
    pid: Any = None
    restarts: int = 0
    counted_s: tuple[int, ...] = ()
    starter: Starter | None = None
    stoppers: tuple[Ref, ...] = ()
    waiting: tuple[Request, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether something of it may be running."""
        return self.phase in (Phase.STARTING, Phase.RUNNING, Phase.STOPPING)

    @property
    def status(self) -> str:
        """``running``, ``restarting``, ``quarantined`` or ``stopped``."""
        return STATUS_OF[self.phase]


@dataclass(frozen=True, slots=True)
class ChildTable:
    """Children by id. Every change gives a new table and leaves this one as it is.

    A change copies one bucket of many, so that starting n children costs far less than n * n / 2 copies.
    """

    buckets: tuple[dict[str, Child], ...] = ({},) * _BUCKETS
    count: int = 0

    def get(self, child_id: str) -> Child | None:
        """The child, or None."""
        return self.buckets[hash(child_id) % _BUCKETS].get(child_id)

    def put(self, child: Child) -> Self:
        """With this child, in place of the one with its id if there is one."""
        return self._with(child.spec.id, child)

    def drop(self, child_id: str) -> Self:
        """Without the child of this id."""
        return self._with(child_id, None)

    def ordered(self) -> list[Child]:
        """All children, the first to start first."""
        return sorted(self, key=lambda child: child.order)

    def __iter__(self) -> Iterator[Child]:
        """All children, in no order."""
        for bucket in self.buckets:
            yield from bucket.values()

    def __len__(self) -> int:
        return self.count

    def _with(self, child_id: str, child: Child | None) -> Self:
        index = hash(child_id) % _BUCKETS
        bucket = self.buckets[index].copy()
        if child is None:
            bucket.pop(child_id, None)
        else:
            bucket[child_id] = child
        count = self.count + len(bucket) - len(self.buckets[index])
        return replace(self, buckets=(*self.buckets[:index], bucket, *self.buckets[index + 1 :]), count=count)
