"""What a supervisor remembers between two events, and what can be read from it."""

from collections import deque
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from slakeeper.otp.child_spec import SIMPLE_ONE_FOR_ONE, SUPERVISOR, ChildSpec, ChildType, Flags, check_specs
from slakeeper.otp.child_table import RUNNING, Child, ChildTable
from slakeeper.otp.supervisor_event import Event


class Purpose(StrEnum):
    """Why children are stopped and started in order."""

    INIT = "init"
    REQUEST = "request"
    RESTART = "restart"
    INIT_FAILED = "init_failed"
    SHUTDOWN = "shutdown"


@dataclass(slots=True)
class Sequence:
    """An ordered stop, then an ordered start, one child at a time.

    Args:
        purpose: why.
        stops: ids in the order they are stopped.
        starts: ids in the order they are started.
        first_order: children from this place on are part of it.
        last_incarnation: the latest when it began; whoever has a later one was started by it.
        at: how many of stops, then starts, are done with.
    """

    purpose: Purpose
    stops: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    first_order: int = 0
    last_incarnation: int = 0
    at: int = 0

    def dooms(self, child: Child) -> bool:
        """Whether a running child is, or will be, stopped by this sequence."""
        return child.order >= self.first_order and child.incarnation <= self.last_incarnation


class Life(StrEnum):
    """Where the supervisor itself stands."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


OVER: Final = (Life.ENDING, Life.ENDED)
"""In these it takes no request any more."""


@dataclass(slots=True)
class SupervisorState:
    """All of a supervisor; made by ``initial_state``, changed in place by ``step`` alone.

    Args:
        flags: how it treats its children.
        children: by id.
        template: what all children are made of under simple_one_for_one; else None.
        life: where it stands itself.
        sequence: the ordered stop and start that goes on, if one does.
        deferred: events that wait for the end of the sequence, oldest first.
        restarts_s: restarts counted against the intensity, newest first.
        last_order: the highest place given to a child.
        last_incarnation: the latest number given to a start.
        reason: why it ends; "" before that.
        culprit: the initial child that did not start, if that is why.
    """

    flags: Flags
    children: ChildTable
    template: ChildSpec | None = None
    life: Life = Life.NEW
    sequence: Sequence | None = None
    deferred: deque[Event] = field(default_factory=deque)
    restarts_s: tuple[int, ...] = ()
    last_order: int = 0
    last_incarnation: int = 0
    reason: str = ""
    culprit: str = ""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One line of which_children; ``id`` is "" under simple_one_for_one, ``pid`` is None unless it runs."""

    id: str
    pid: Any
    type: ChildType
    status: str
    restarts: int


@dataclass(frozen=True, slots=True)
class ChildCount:
    """count_children: all specs (under simple_one_for_one the one template); running children; children by type."""

    specs: int
    active: int
    supervisors: int
    workers: int


def initial_state(
    flags: Flags, specs: Iterable[ChildSpec], there: Collection[str] = frozenset()
) -> SupervisorState:
    """A supervisor that has not begun.

    Args:
        flags: how it treats its children.
        specs: its initial children, in the order of their start; under simple_one_for_one the template alone.
        there: ids of those that run already and are not started, only looked after; the latest start of each has the
            number of its place, from 1.

    Raises:
        SpecError: see ``check_specs``.
    """
    specs = tuple(specs)
    check_specs(flags, specs)
    if flags.strategy is SIMPLE_ONE_FOR_ONE:
        return SupervisorState(flags, ChildTable(), specs[0])
    children = ChildTable()
    for order, spec in enumerate(specs, 1):
        child = Child(spec, order)
        if spec.id in there:
            child.phase, child.incarnation, child.pid = RUNNING, order, spec.id
        children.add(child)
    return SupervisorState(
        flags, children, last_order=len(specs), last_incarnation=len(specs) if there else 0
    )


def which_children(state: SupervisorState) -> list[ChildInfo]:
    """All children, the last one to start first, as OTP lists them."""
    return [_info(state, child) for child in reversed(state.children.ordered())]


def which_child(state: SupervisorState, name: Hashable) -> ChildInfo | None:
    """The line of which_children about one child, by id, or by pid under simple_one_for_one; None if there is none."""
    child = find_child(state.children, state.template, name)
    return None if child is None else _info(state, child)


def _info(state: SupervisorState, child: Child) -> ChildInfo:
    child_id = child.spec.id if state.template is None else ""
    return ChildInfo(child_id, child.pid, child.spec.type, child.status, child.restarts)


def find_child(children: ChildTable, template: ChildSpec | None, name: Hashable) -> Child | None:
    """A child by what requests call it: its id, or under simple_one_for_one its pid, while it restarts the last one."""
    if template is not None:
        return children.aliased(name)
    return children.get(name) if isinstance(name, str) else None


def count_children(state: SupervisorState) -> ChildCount:
    """How many children there are; one that is restarting is not active."""
    total = len(state.children)
    active = sum(child.status == "running" for child in state.children)
    supervisors = sum(child.spec.type is SUPERVISOR for child in state.children)
    return ChildCount(total if state.template is None else 1, active, supervisors, total - supervisors)


def child_ids(state: SupervisorState) -> list[str]:
    """The ids of all children, the first to start first; made up under simple_one_for_one."""
    return [child.spec.id for child in state.children.ordered()]


def get_childspec(state: SupervisorState, name: Hashable) -> ChildSpec | None:
    """The spec of a child by id, or by pid under simple_one_for_one (the template); None if there is no such child.

    The ``start`` of a temporary child that has been started is FORGOTTEN.
    """
    child = find_child(state.children, state.template, name)
    return None if child is None else state.template or child.spec


def child_status(state: SupervisorState, child_id: str) -> str:
    """``running``, ``restarting``, ``quarantined`` or ``stopped``; ``stopped`` too where there is no such child."""
    child = state.children.get(child_id)
    return "stopped" if child is None else child.status


def child_restarts(state: SupervisorState, child_id: str) -> int:
    """How often the supervisor has started a child again; 0 where there is no such child."""
    child = state.children.get(child_id)
    return 0 if child is None else child.restarts
