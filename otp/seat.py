"""The places of a tree of light actors: a node for each supervisor, a seat for each actor, and how they look."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Actor, ActorSpec, SupervisorSpec
from slakeeper.otp.child_spec import Restart
from slakeeper.otp.context import Call, Context
from slakeeper.otp.mailbox import Mailbox
from slakeeper.otp.partition import Partition
from slakeeper.otp.timer import Timer


class Seat:
    """The place of an actor in the tree; it stays while the actor is restarted, or put away.

    Attributes:
        spec, node, partition: which actor, under whom, recorded where (None: nowhere).
        asked: whether its start was asked for and has not been tried yet.
        kind: its class, once it has been started.
        actor, ctx: the incarnation that runs, None while there is none.
        incarnation: a number that no other incarnation of this host has; what is for one alone carries it.
        start_number: what its supervisor knows its latest start by.
        mailbox: what waits, as (how, message); None until something has waited.
        queued: whether it stands in the host's queue.
        suspended: whether an operator told it to handle nothing.
        put_away: whether its state is on disk only, in its record or on the shelf; the next message brings it back.
        limit: how many messages may wait; 0 is no limit.
        traced: whether its messages are recorded for somebody who watches.
        timers: those that are set, by name.
        idle: what looks whether it is idle.
        handled, sent: messages so far.
        in_flight: keys of the outside effects under way.
        ties: monitors, links, names and unanswered calls; None while it has none.
    """

    __slots__ = (
        "actor", "asked", "ctx", "handled", "idle", "in_flight", "incarnation", "kind", "limit", "mailbox", "node",
        "partition", "put_away", "queued", "sent", "spec", "start_number", "suspended", "ties", "timers", "traced",
    )  # fmt: skip

    def __init__(self, spec: ActorSpec, node: "Node", partition: Partition | None) -> None:
        self.spec = spec
        self.node = node
        self.partition = partition
        self.asked = False
        self.kind: type[Actor] = Actor
        self.actor: Actor | None = None
        self.ctx: Context | None = None
        self.incarnation = 0
        self.start_number = 0
        self.mailbox: Mailbox | None = None
        self.queued = False
        self.suspended = False
        self.put_away = False
        self.limit = 0
        self.traced = False
        self.timers: dict[str, Timer] | None = None
        self.idle: Timer | None = None
        self.handled = 0
        self.sent = 0
        self.in_flight: set[str] | None = None
        self.ties: Ties | None = None

    @property
    def is_live(self) -> bool:
        """Whether there is somebody to take a message: running, or put away."""
        return self.actor is not None or self.put_away


@dataclass(slots=True)
class Ties:
    """What binds one incarnation to others; gone with it. Dicts for their order.

    Attributes:
        watchers: addresses that are told of its end.
        watching: addresses whose end it is told.
        links: addresses whose end it shares.
        names: what it is registered as.
        calls: requests it has taken and not answered yet.
    """

    watchers: dict[str, None] = field(default_factory=dict)
    watching: dict[str, None] = field(default_factory=dict)
    links: dict[str, None] = field(default_factory=dict)
    names: dict[str, None] = field(default_factory=dict)
    calls: dict[Call, None] = field(default_factory=dict)


@dataclass
class Node:
    """One start of a supervisor of the tree, driven by the pure core."""

    spec: SupervisorSpec
    parent: "Node | None"
    incarnation: int
    state: core.SupervisorState
    events: deque[core.Event] = field(default_factory=deque)
    driving: bool = False
    ready: bool = False
    failure: str | None = None
    ended: str | None = None


def describe_supervisor(node: Node) -> dict[str, Any]:
    """A supervisor's flags and counters."""
    flags, count = node.spec.flags, core.count_children(node.state)
    return {
        "address": node.spec.address,
        "kind": "supervisor",
        "supervisor": None if node.parent is None else node.parent.spec.address,
        "status": "running" if node.ready and node.ended is None else "restarting",
        "restarts": 0 if node.parent is None else core.child_restarts(node.parent.state, node.spec.address),
        "strategy": flags.strategy.value,
        "intensity": flags.intensity,
        "period_s": flags.period_s,
        "quarantine": None
        if flags.quarantine is None
        else {"intensity": flags.quarantine.intensity, "period_s": flags.quarantine.period_s},
        "auto_shutdown": flags.auto_shutdown.value,
        "children": {
            "specs": count.specs,
            "active": count.active,
            "supervisors": count.supervisors,
            "workers": count.workers,
        },
        "children_restarted": sum(
            core.child_restarts(node.state, each) for each in core.child_ids(node.state)
        ),
    }


def describe_seat(seat: Seat, state: Any) -> dict[str, Any]:
    """An actor's counters beside its ``state``, like OTP's ``sys:get_status`` and ``sys:statistics``."""
    address, ties = seat.spec.address, seat.ties or Ties()
    return {
        "address": address,
        "kind": seat.spec.kind,
        "supervisor": seat.node.spec.address,
        "status": "suspended" if seat.suspended else core.child_status(seat.node.state, address),
        "passive": seat.put_away,
        "restarts": core.child_restarts(seat.node.state, address),
        "incarnation": seat.incarnation,
        "mailbox": len(seat.mailbox or ()),
        "messages_handled": seat.handled,
        "messages_sent": seat.sent,
        "effects_in_flight": len(seat.in_flight or ()),
        "timers": sorted(seat.timers or ()),
        "names": list(ties.names),
        "links": list(ties.links),
        "monitors": list(ties.watching),
        "traced": seat.traced,
        "state": state,
    }


def describe_node(
    node: Node, nodes: Mapping[str, Node], seats: Mapping[str, Seat], root: str
) -> dict[str, Any]:
    """A supervisor and everything below it.

    Args:
        nodes, seats: of the whole tree, by address.
        root: address of the tree's root; it stands before those of the supervisors below.

    Returns:
        Nested address, kind, type, strategy, restart, pid, status, restarts, children; of an actor also suspended.
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
                    "suspended": seat.suspended,
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
