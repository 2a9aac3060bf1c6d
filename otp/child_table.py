"""The children of a supervisor, by id; changed in place, by the supervisor's step alone."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from slakeeper.otp.child_spec import ChildSpec
from slakeeper.otp.supervisor_event import Ref, Request


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


# Every start reads these two, and off the class that takes Python four times as long.
STARTING: Final = Phase.STARTING
RUNNING: Final = Phase.RUNNING

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


@dataclass(slots=True)
class Child:
    """One child as its supervisor knows it.

    Args:
        spec: what it was made of; under simple_one_for_one the template, with an id made up for this child.
        order: its place among its siblings; lower starts first.
        extra: arguments beyond the spec's, under simple_one_for_one; None when there were some, and they are forgotten.
        phase: where it stands.
        incarnation: of the latest try to start it; 0 before the first.
        pid: the driver's, while it runs; else None.
        alias: its latest pid under simple_one_for_one, kept while it restarts, as nothing else names it; else None.
        restarts: how often the supervisor, not a request, has started it again, failed tries included.
        counted_s: restarts counted against it alone, newest first (only under quarantine).
        starter: the request that waits for its start, if one did it.
        fallback: what it becomes if that start fails; None: its spec is dropped.
        stoppers: who waits for its stop, in order.
        waiting: requests about it that come after its stop, in order.
    """

    spec: ChildSpec
    order: int
    extra: tuple[Any, ...] | None = ()
    phase: Phase = Phase.STOPPED
    incarnation: int = 0
    pid: Any = None
    alias: Hashable = None
    restarts: int = 0
    counted_s: tuple[int, ...] = ()
    starter: Request | None = None
    fallback: Phase | None = None
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


class ChildTable:
    """Children by id, and by alias where they have one."""

    __slots__ = ("_aliases", "_by_id")

    def __init__(self) -> None:
        self._by_id: dict[str, Child] = {}
        self._aliases: dict[Hashable, Child] = {}

    def get(self, child_id: str) -> Child | None:
        """The child, or None."""
        return self._by_id.get(child_id)

    def aliased(self, alias: Hashable) -> Child | None:
        """The child that is known by this alias, or None."""
        return self._aliases.get(alias)

    def aliases(self) -> Iterable[Hashable]:
        """What children are known by beside their ids."""
        return self._aliases.keys()

    def add(self, child: Child) -> None:
        """Takes a child in; nobody has its id."""
        self._by_id[child.spec.id] = child

    def drop(self, child: Child) -> None:
        """Forgets a child."""
        del self._by_id[child.spec.id]
        if child.alias is not None:
            self._aliases.pop(child.alias, None)

    def name(self, child: Child, alias: Hashable) -> None:
        """Has a child known by ``alias``, and no longer by the one it had."""
        if child.alias is not None:
            self._aliases.pop(child.alias, None)
        child.alias = alias
        if alias is not None:
            self._aliases[alias] = child

    def ordered(self) -> list[Child]:
        """All children, the first to start first."""
        return sorted(self, key=lambda child: child.order)

    def __iter__(self) -> Iterator[Child]:
        """All children, in the order they were taken in."""
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ChildTable) and self._by_id == other._by_id

    __hash__ = None  # type: ignore[assignment]
