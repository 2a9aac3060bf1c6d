"""The tree of a host: its supervisors, each driven by the pure core, and the seats of its actors.

What an actor is, the tree does not know: it asks the stage to start and to end one, and tells it who has left for good.
"""

from collections.abc import Callable, Hashable
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import IGNORE, ActorSpec, ActorStopped, RequestError
from slakeeper.otp.child_spec import ChildSpec, ChildType, Restart
from slakeeper.otp.partition import Partition
from slakeeper.otp.seat import Node, Seat, StartRef, SupervisorSpec, describe_node
from slakeeper.otp.supervisor_state import Life

if TYPE_CHECKING:
    from slakeeper.otp.host import Host
    from slakeeper.otp.stage import Stage

ALREADY_STARTED = "already_started"


class Tree:
    """Owns nodes and seats; all of it on the host's thread.

    Args:
        spec: the root supervisor.
        host: is told what was refused and reported.
        stage: starts and ends the actors.
    """

    def __init__(self, spec: SupervisorSpec, host: "Host", stage: "Stage") -> None:
        self.spec = spec
        self.seats: dict[str, Seat] = {}
        self.nodes: dict[str, Node] = {}
        self.root: Node | None = None
        self._host = host
        self._stage = stage
        self._refs = count()
        self._asked: dict[Hashable, core.Ok | core.Error | None] = {}

    def start(self) -> None:
        """Starts the root supervisor and so everything.

        Raises:
            ActorStopped: a static child did not start; everything started before it was stopped again.
        """
        refused = self._start_node(self.spec, None, 1)
        if refused is not None:
            raise ActorStopped(f"{self.spec.address} did not start: {refused}")

    def stop(self) -> None:
        """Stops everything in reverse order."""
        if self.root is not None and self.root.ended is None:
            self.drive(self.root, core.StopRequested("shutdown"))

    def describe(self) -> dict[str, Any]:
        """The tree as it stands: nested address, kind, type, strategy, restart, status, restarts, children."""
        if self.root is None:
            raise ActorStopped("the tree has not been started")
        return describe_node(self.root, self.nodes, self.seats, self.spec.address)

    # -- children ---------------------------------------------------------------------------------------------

    def start_child(
        self, supervisor: str, spec: ActorSpec, partition: Partition | None, asked_by: str | None
    ) -> str | None:
        """Asks a supervisor for a child; at once, or behind what the supervisor is doing already.

        Returns:
            ALREADY_STARTED if the address is taken. Any other refusal goes to :meth:`Host.refuse`.
        """
        address = spec.address
        if address in self.seats:
            return ALREADY_STARTED
        ref = (address, asked_by)
        node = self.nodes.get(supervisor)
        if node is None:
            self._host.refuse(ref, f"no supervisor {supervisor}")
            return None
        self.seats[address] = Seat(spec, node, partition)
        self.drive(node, core.StartRequested(ref, child_spec(spec)))
        return None

    def request(
        self, supervisor: str, child_id: str, make: Callable[[core.Ref], core.Request]
    ) -> core.Ok | core.Error:
        """Asks a supervisor something that is about one child; the child's seat follows its spec.

        Args:
            make: the request with a given ref.

        Raises:
            RequestError: ``not_found`` when there is no such supervisor; ``unavailable`` when it is in the middle of
                something, which between handlers it never is.
        """
        node = self.node(supervisor)
        ref = next(self._refs)
        self._asked[ref] = None
        self.drive(node, make(ref))
        result = self._asked.pop(ref)
        if result is None:
            raise RequestError("unavailable", f"{supervisor} has not answered yet")
        seat = self.seats.get(child_id)
        if seat is not None and seat.node is node and core.get_childspec(node.state, child_id) is None:
            self.drop(seat)
        return result

    def node(self, supervisor: str) -> Node:
        """The supervisor at an address.

        Raises:
            RequestError: ``not_found``.
        """
        node = self.nodes.get(supervisor)
        if node is None:
            raise RequestError("not_found", f"no supervisor {supervisor}")
        return node

    def exited(self, seat: Seat, reason: str) -> None:
        """An actor ended by itself or was killed: its supervisor decides what becomes of it."""
        address, node = seat.spec.address, seat.node
        self.drive(node, core.ChildExited(address, seat.incarnation, reason))
        if seat.actor is not None:  # its supervisor has started it again
            return
        if core.is_normal(reason) and seat.spec.restart is not Restart.PERMANENT:
            self.forget(seat)
        elif core.get_childspec(node.state, address) is None:  # temporary: its spec went with it
            self.drop(seat)

    def forget(self, seat: Seat) -> None:
        """Takes an actor out of the tree for good."""
        address = seat.spec.address
        self.drive(seat.node, core.TerminateRequested(address, address))
        self.drive(seat.node, core.DeleteRequested(address, address))
        self.drop(seat)

    def drop(self, seat: Seat) -> None:
        """Takes a seat away that no supervisor knows any more."""
        if self.seats.get(seat.spec.address) is seat:
            del self.seats[seat.spec.address]
            self._stage.left(seat)

    # -- supervisors ------------------------------------------------------------------------------------------

    def drive(self, node: Node, event: core.Event) -> None:
        """Gives an event to a supervisor and does what it decides; answers join its own queue."""
        node.events.append(event)
        if node.driving:
            return
        node.driving = True
        try:
            while node.events:
                node.state, actions = core.step(node.state, node.events.popleft(), self._host.now_ms)
                for action in actions:
                    self._act(node, action)
        finally:
            node.driving = False

    def _start_node(self, spec: SupervisorSpec, parent: Node | None, incarnation: int) -> str | None:
        static = [child_spec(child) for child in spec.children]
        named = {child.address for child in spec.children}
        durable = [
            ChildSpec(actor.address, actor, actor.restart)
            for actor in self._stage.durable_children(spec.address)
            if actor.address not in named
        ]
        node = Node(spec, parent, incarnation, core.initial_state(spec.flags, [*static, *durable]))
        self.nodes[spec.address] = node
        if parent is None:
            self.root = node
        self.drive(node, core.Begin())
        return node.failure

    def _act(self, node: Node, action: core.Action) -> None:
        match action:
            case core.StartChild(spec, incarnation, extra):
                node.events.append(self._start(node, spec, incarnation, extra))
            case core.Report():
                self._host.report(node, action)
            case core.Reply((str(address), (None | str()) as asked_by), core.Error() as refusal):
                self._refused((address, asked_by), refusal.detail or refusal.reason.value)
            case core.Reply(ref, result):
                if ref in self._asked:
                    self._asked[ref] = result
            case core.StopChild(child_id, incarnation, reason, _):
                self._stop(node, child_id, incarnation, reason)
            case core.ScheduleRetry(child_id, incarnation, after_ms):
                retry = core.RetryDue(child_id, incarnation)
                self._host.timers.at(self._host.now_ms + after_ms, lambda: self._retry(node, retry))
            case core.Ready():
                node.ready = True
            case core.StartFailed(reason):
                node.failure = reason
                self._gone(node)
            case core.Terminated(reason):
                node.ended = reason
                self._gone(node)
                if node.parent is not None:
                    self.drive(node.parent, core.ChildExited(node.spec.address, node.incarnation, reason))

    def _start(self, node: Node, spec: ChildSpec, incarnation: int, extra: tuple[Any, ...]) -> core.Event:
        what = spec.start
        if isinstance(what, SupervisorSpec):
            if what.address != spec.id:  # made of a template, under an address made up for it
                what = replace(what, address=spec.id)
            refused = self._start_node(what, node, incarnation)
        else:
            seat = self.seats.get(spec.id)
            if seat is None:
                if node.state.template is not None:  # made of the template, under an address made up for it
                    what = ActorSpec(spec.id, what.kind, extra[0] if extra else what.arg, what.restart)
                seat = self.seats[spec.id] = self._stage.place(what, node)
            seat.node, seat.incarnation = node, incarnation
            refused = self._stage.start_actor(seat)
        if refused is None:
            return core.ChildStarted(spec.id, incarnation, spec.id)
        if refused is IGNORE:
            return core.ChildIgnored(spec.id, incarnation)
        return core.ChildStartFailed(spec.id, incarnation, refused)

    def _refused(self, ref: StartRef, reason: str) -> None:
        seat = self.seats.get(ref[0])
        if seat is not None and not seat.is_live:
            self.drop(seat)
        self._host.refuse(ref, reason)

    def _retry(self, node: Node, retry: core.RetryDue) -> None:
        if self.nodes.get(node.spec.address) is node:
            self.drive(node, retry)

    def _stop(self, node: Node, child_id: str, incarnation: int, reason: str) -> None:
        child = self.nodes.get(child_id)
        if child is not None and child.parent is node:
            self.drive(child, core.StopRequested(reason))
            return
        seat = self.seats.get(child_id)
        if seat is not None and seat.is_live:
            self._stage.end_actor(seat, reason)
            if seat.spec.restart is Restart.TEMPORARY and node.state.life is Life.RUNNING:
                self.drop(seat)  # not for a stop of the whole tree, but for good
        node.events.append(core.ChildExited(child_id, incarnation, reason))

    def _gone(self, node: Node) -> None:
        """A supervisor has ended: what nobody would start again with it is gone, too."""
        self.nodes.pop(node.spec.address, None)
        comes_again = {child.address for child in node.spec.children}
        for child_id in core.child_ids(node.state):
            seat = self.seats.get(child_id)
            if (
                seat is not None
                and seat.node is node
                and seat.partition is None
                and child_id not in comes_again
            ):
                self.drop(seat)


def child_spec(child: ActorSpec | SupervisorSpec) -> ChildSpec:
    """An actor or a supervisor as the core knows it."""
    if isinstance(child, ActorSpec):
        return ChildSpec(child.address, child, child.restart, significant=child.significant)
    kind = ChildType.SUPERVISOR
    return ChildSpec(child.address, child, child.restart, type=kind, significant=child.significant)
