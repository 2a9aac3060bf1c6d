"""What can go wrong in a simulated system, how often, and where: values, and the exceptions that carry it out."""

from dataclasses import dataclass
from enum import StrEnum

SECOND_MS = 1_000
HOUR_MS = 3_600_000


class ActorKilled(Exception):
    """A handler was made to fail here; for its supervisor a crash like any other."""


class CellKilled(BaseException):
    """The process of a cell ends here. Not an Exception: nothing in the process catches it."""


class EffectLost(Exception):
    """Nobody knows whether an outside effect took place; the default of :class:`SimSystem`'s ``lost``."""


class Point(StrEnum):
    """Where in a cell's life its process can end."""

    IDLE = "idle"
    """Between two turns."""
    BEGUN = "begun"
    """The timers of a turn have fired, nothing is handled yet."""
    SERVED = "served"
    """A request has been handled, its turn is not durable."""
    HANDLER = "handler"
    """Before one of a turn's handlers."""
    DRAINED = "drained"
    """Every mailbox is empty, the commit has not begun."""
    DISK = "disk"
    """Within an operation of the file system: in a commit, a snapshot, a recovery."""
    COMMITTED = "committed"
    """The turn is durable, none of its replies and effects has left."""
    RELEASED = "released"
    """Some replies and effects of the turn have left, others not."""


class Moment(StrEnum):
    """When an actor is killed, seen from a message for it."""

    WAITING = "waiting"
    """The message lies in the mailbox and stays there."""
    BEFORE = "before"
    """The handler fails at once."""
    DURING = "during"
    """The handler fails at one of its events."""
    AFTER = "after"
    """The handler fails after everything it had to do."""
    STARTING = "starting"
    """It does not come up when it starts the next time, or for the first time."""


@dataclass(frozen=True, slots=True)
class Link:
    """How one kind of delivery behaves.

    Attributes:
        lost_ratio, late_ratio, twice_ratio: shares of deliveries in [0, 1] that never arrive, arrive up to
            ``late_ms`` later, or arrive once more (that one late).
        latency_ms: least and most time on the way of one that is not late [ms].
    """

    lost_ratio: float = 0.0
    late_ratio: float = 0.0
    twice_ratio: float = 0.0
    latency_ms: tuple[int, int] = (1, 20)
    late_ms: int = 60 * SECOND_MS


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything that goes wrong in a run; the default is nothing.

    Attributes:
        request, reply: between a client and a cell.
        result: what an outside effect returned, on its way back to the actor. A lost one comes as an error after
            ``effect_timeout_ms``, because an effect has to bound its own time.
        effect_lost_ratio: share of effects that are not carried out; the actor sees what it sees of a lost result.
        actor_killed_every_ms, cell_killed_every_ms, disk_failed_every_ms, clock_jump_every_ms: mean virtual time
            between two of these in each cell, for the clock in the whole system [ms]; None for never.
        quarantine_ratio: share of the actors that do not start which go on not starting, often enough to be set aside.
        power_loss_ratio: share of killed cells whose machine loses power too, with what was not synced.
        clock_jump_ms: least and most of a jump [ms].
        restart_ms: least and most time until a killed cell starts again [ms].
    """

    request: Link = Link()
    reply: Link = Link()
    result: Link = Link(latency_ms=(5, 500))
    effect_lost_ratio: float = 0.0
    effect_timeout_ms: int = 10 * SECOND_MS
    actor_killed_every_ms: int | None = None
    cell_killed_every_ms: int | None = None
    disk_failed_every_ms: int | None = None
    clock_jump_every_ms: int | None = None
    quarantine_ratio: float = 0.2
    power_loss_ratio: float = 0.5
    clock_jump_ms: tuple[int, int] = (1 * SECOND_MS, HOUR_MS)
    restart_ms: tuple[int, int] = (100, 5 * SECOND_MS)


NO_FAULTS = Faults()
