"""The children of a supervisor by id: a value, yet cheap to change when there are many thousands."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Self, TypeVar

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
        spec: what it was made of; under simple_one_for_one the template, with an id made up for this child.
        order: its place among its siblings; lower starts first.
        phase: where it stands.
        incarnation: of the latest try to start it; 0 before the first.
        pid: the driver's, while it runs; else None.
        extra: arguments beyond the spec's, under simple_one_for_one.
        alias: its latest pid under simple_one_for_one, kept while it restarts, as nothing else names it; else None.
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
    extra: tuple[Any, ...] = ()
    alias: Hashable = None
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
    """Children by id and by alias. Every change gives a new table and leaves this one as it is.

    A change copies one bucket of many, so that starting n children costs far less than n * n / 2 copies.
    """

    buckets: tuple[dict[str, Child], ...] = ({},) * _BUCKETS
    aliases: tuple[dict[Hashable, str], ...] = ({},) * _BUCKETS
    count: int = 0

    def get(self, child_id: str) -> Child | None:
        """The child, or None."""
        return self.buckets[hash(child_id) % _BUCKETS].get(child_id)

    def aliased(self, alias: Hashable) -> Child | None:
        """The child that is known by this alias, or None."""
        child_id = self.aliases[hash(alias) % _BUCKETS].get(alias)
        return None if child_id is None else self.get(child_id)

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
        former = self.get(child_id)
        old = None if former is None else former.alias
        new = None if child is None else child.alias
        aliases = self.aliases
        if old != new:
            aliases = aliases if old is None else _changed(aliases, old, None)
            aliases = aliases if new is None else _changed(aliases, new, child_id)
        count = self.count + (child is not None) - (former is not None)
        return replace(self, buckets=_changed(self.buckets, child_id, child), aliases=aliases, count=count)


_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


def _changed(
    buckets: tuple[dict[_Key, _Value], ...], key: _Key, value: _Value | None
) -> tuple[dict[_Key, _Value], ...]:
    """The buckets with a key set, or without it for None."""
    index = hash(key) % _BUCKETS
    bucket = buckets[index].copy()
    if value is None:
        bucket.pop(key, None)
    else:
        bucket[key] = value
    return (*buckets[:index], bucket, *buckets[index + 1 :])
