"""The tree of a cell as data: which supervisor starts what, in what order, under what policy."""

from collections.abc import Iterable

from slakeeper.actors.address import (
    ALERTING,
    DEFINITION,
    ENFORCEMENT,
    MONITORING,
    REPORTING,
    neighbour_address,
)
from slakeeper.otp.actor import ActorSpec, SupervisorSpec
from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags, Quarantine, Strategy

# One contract or violation that keeps crashing must not stop the others: five restarts within a minute, each
# later than the one before, then it is set aside until an operator releases it.
DYNAMIC = Flags(
    Strategy.ONE_FOR_ONE,
    quarantine=Quarantine(intensity=5, period_s=60, backoff=Backoff(min_ms=100, max_ms=5_000)),
)

# The layers themselves hardly ever end; when one does more than this, the cell's state is suspect and the
# whole process starts again from disk.
LAYERS = Flags(Strategy.REST_FOR_ONE, intensity=3, period_s=60)


def cell_tree(name: str, sources: Iterable[str], neighbours: Iterable[str] = ()) -> SupervisorSpec:
    """The supervision tree of the cell ``name``.

    The order is that of the layers: what comes later builds on what comes before and is restarted with it.

    Args:
        sources: names of the polled sources; each gets a SourceActor here. Other cells have theirs of the same source,
            so the cell's name is part of the address.
        neighbours: names of the other cells.
    """
    polled = tuple(ActorSpec(f"source:{source}@{name}", "source", source) for source in sources)
    asked = tuple(
        ActorSpec(neighbour_address(neighbour, name), "neighbour", neighbour) for neighbour in neighbours
    )
    return SupervisorSpec(
        name,
        LAYERS,
        (
            SupervisorSpec(DEFINITION, DYNAMIC, asked),
            SupervisorSpec(MONITORING, DYNAMIC, polled),
            SupervisorSpec(ENFORCEMENT, DYNAMIC),
            SupervisorSpec(ALERTING, DYNAMIC),
            SupervisorSpec(REPORTING, DYNAMIC),
        ),
    )
