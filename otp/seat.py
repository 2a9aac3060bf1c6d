"""The places of a tree of light actors: a node for each supervisor, a seat for each actor, and how they look."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Actor, ActorSpec
from slakeeper.otp.child_spec import Flags, Restart
from slakeeper.otp.partition import Partition


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor of the tree and what it starts, in order; durable children join from the partitions."""

    address: str
    flags: Flags
    children: tuple["SupervisorSpec | ActorSpec", ...] = ()


@dataclass(frozen=True)
class StartRef:
    """Who asked for which actor; None is a request from outside."""

    address: str
    asked_by: str | None


@dataclass
class Seat:
    """The place of an actor in the tree; it stays while the actor is restarted."""

    spec: ActorSpec
    node: "Node"
    partition: Partition | None
    actor: Actor | None = None
    incarnation: int = 0
    mailbox: deque[tuple[str, Any]] = field(default_factory=deque)
    queued: bool = False
    suspended: bool = False
    timers: dict[str, int] = field(default_factory=dict)
    handled: int = 0


@dataclass
class Node:
    """A supervisor of the tree, driven by the pure core."""

    spec: SupervisorSpec
    parent: "Node | None"
    incarnation: int
    state: core.SupervisorState
    events: deque[core.Event] = field(default_factory=deque)
    driving: bool = False
    ready: bool = False
    failure: str | None = None
    ended: str | None = None


def describe_seat(seat: Seat) -> dict[str, Any]:
    """An actor's state and counters, like OTP's ``sys:get_status``."""
    address = seat.spec.address
    return {
        "address": address,
        "kind": seat.spec.kind,
        "supervisor": seat.node.spec.address,
        "status": "suspended" if seat.suspended else core.child_status(seat.node.state, address),
        "restarts": core.child_restarts(seat.node.state, address),
        "incarnation": seat.incarnation,
        "mailbox": len(seat.mailbox),
        "messages_handled": seat.handled,
        "timers": dict(seat.timers),
        "state": None if seat.actor is None else seat.actor.dump(),
    }


def describe_node(
    node: Node, nodes: Mapping[str, Node], seats: Mapping[str, Seat], root: str
) -> dict[str, Any]:
    """A supervisor and everything below it.

    Args:
        nodes, seats: of the whole tree, by address.
        root: address of the tree's root; it stands before those of the supervisors below.

    Returns:
        Nested address, kind, type, strategy, restart, pid, status, restarts, children.
    """
    children: list[dict[str, Any]] = []
    for child_id in core.child_ids(node.state):
        child, seat = nodes.get(child_id), seats.get(child_id)
        if child is not None:
            children.append(describe_node(child, nodes, seats, root))
        elif seat is not None:
            children.append(
                {
                    "address": child_id,
                    "kind": seat.spec.kind,
                    "type": "worker",
                    "strategy": None,
                    "restart": seat.spec.restart.value,
                    "pid": None,
                    "status": core.child_status(node.state, child_id),
                    "restarts": core.child_restarts(node.state, child_id),
                    "children": [],
                }
            )
    name, parent = node.spec.address, node.parent
    return {
        "address": name if parent is None else f"{root}/{name}",
        "kind": "supervisor",
        "type": "supervisor",
        "strategy": node.spec.flags.strategy.value,
        "restart": Restart.PERMANENT.value,
        "pid": None,
        "status": "running" if node.ready and node.ended is None else "restarting",
        "restarts": 0 if parent is None else core.child_restarts(parent.state, name),
        "children": children,
    }
