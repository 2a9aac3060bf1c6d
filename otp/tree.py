"""The tree of a host: its supervisors, each driven by the pure core, and the seats of its actors.

What an actor is, the tree does not know: it asks the stage to start and to end one, and tells it who has left for good.

One rule says when a seat goes: when the supervisor it is under has no child of that name any more
(:meth:`Tree._settle`), or is gone itself and nobody will start the child again with it (:meth:`Tree._gone`).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import IGNORE, ActorSpec, ActorStopped, RequestError, SupervisorSpec, child_spec
from slakeeper.otp.child_spec import SIMPLE_ONE_FOR_ONE, ChildSpec, Restart, SpecError
from slakeeper.otp.codec import CodecError
from slakeeper.otp.partition import Partition
from slakeeper.otp.seat import Node, Seat, describe_node
from slakeeper.otp.supervisor_state import Life

if TYPE_CHECKING:
    from slakeeper.otp.host import Host
    from slakeeper.otp.stage import Stage

Answered = Callable[[core.Ok | core.Error], None]

Ref = tuple[Seat | None, Answered]
"""Who is told what came of a request, and the seat made for a start that is asked for; None where nobody is told."""

ALREADY_STARTED = core.Refusal.ALREADY_STARTED.value

# After these there is a child, or the refusal is told to whoever asked.
ASKED_OR_STARTED = (core.ChildStarted, core.StartRequested)


class Tree:
    """Owns nodes and seats; all of it on the host's thread.

    Args:
        spec: the root supervisor.
        host: is told what is to be logged.
        stage: starts and ends the actors.
    """

    def __init__(self, spec: SupervisorSpec, host: "Host", stage: "Stage") -> None:
        self.spec = spec
        self.seats: dict[str, Seat] = {}
        self.nodes: dict[str, Node] = {}
        self.root: Node | None = None
        self._host = host
        self._stage = stage
        self._acts: dict[type[core.Action], Callable[[Node, Any], None]] = {
            core.StartChild: self._start,
            core.StopChild: self._stop,
            core.ScheduleRetry: self._schedule_retry,
            core.Reply: self._reply,
            core.Report: host.report,
            core.Ready: self._ready,
            core.StartFailed: self._start_failed,
            core.Terminated: self._terminated,
        }

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

    def node(self, supervisor: str) -> Node:
        """The supervisor at an address.

        Raises:
            RequestError: ``not_found``.
        """
        node = self.nodes.get(supervisor)
        if node is None:
            raise RequestError("not_found", f"no supervisor {supervisor}")
        return node

    # -- children ---------------------------------------------------------------------------------------------

    def start_child(
        self, supervisor: str, child: ChildSpec, partition: Partition | None, answered: Answered
    ) -> None:
        """Asks a supervisor for an actor, recorded in ``partition``; at once, or behind what is going on there.

        Args:
            answered: called with what came of it, before this returns if the supervisor is not in the middle of
                something.
        """
        address = child.id
        node = self.nodes.get(supervisor)
        if node is None:
            answered(core.Error(core.Refusal.NOT_FOUND, detail=f"no supervisor {supervisor}"))
        elif address in self.seats:
            answered(core.Error(core.Refusal.ALREADY_STARTED, address))
        else:
            # Messages wait for it from now on.
            seat = self.seats[address] = Seat(child.start, node, partition)
            seat.asked = True
            self.drive(node, core.StartRequested((seat, answered), child))

    def request(self, supervisor: str, make: Callable[[core.Ref], core.Request]) -> core.Ok | core.Error:
        """Asks a supervisor something.

        Args:
            make: the request with a given ref.

        Raises:
            RequestError: ``not_found`` when there is no such supervisor; ``unavailable`` when it is in the middle of
                something, which between handlers it never is.
        """
        results: list[core.Ok | core.Error] = []
        self.drive(self.node(supervisor), make((None, results.append)))
        if not results:
            raise RequestError("unavailable", f"{supervisor} has not answered yet")
        return results[0]

    def exited(self, seat: Seat, reason: str) -> None:
        """An actor ended by itself or was killed: its supervisor decides what becomes of it."""
        address, node = seat.spec.address, seat.node
        child = node.state.children.get(address)
        self.drive(node, core.ChildExited(address, seat.start_number, reason))
        if child is not None and core.is_normal(reason) and child.spec.restart is not Restart.PERMANENT:
            self.forget(seat)  # a light actor that is done is done for good

    def stand_down(self, seat: Seat) -> None:
        """An actor runs no more, by its own choice; its spec, and what is recorded of it, stay."""
        self.drive(seat.node, core.TerminateRequested(None, seat.spec.address))

    def forget(self, seat: Seat) -> None:
        """Stops an actor and takes it out of the tree for good."""
        self.stand_down(seat)
        self.drive(seat.node, core.DeleteRequested(None, seat.spec.address))

    # -- supervisors ------------------------------------------------------------------------------------------

    def drive(self, node: Node, event: core.Event) -> None:
        """Gives an event to a supervisor and does what it decides; what is asked meanwhile joins its own queue."""
        events = node.events
        events.append(event)
        if node.driving:
            return
        node.driving = True
        try:
            while events:
                event = events.popleft()
                node.state, actions = core.step(node.state, event, self._host.now_ms)
                for action in actions:
                    self._acts[type(action)](node, action)
                if type(event) not in ASKED_OR_STARTED:
                    self._settle(node, event)
        finally:
            node.driving = False

    # -- what a supervisor wants done -------------------------------------------------------------------------

    def _start(self, node: Node, action: core.StartChild) -> None:
        what, child_id, number = action.spec.start, action.spec.id, action.incarnation
        of_template = node.state.template is not None
        if isinstance(what, ActorSpec):
            if of_template:
                arg = action.extra[0] if action.extra else what.arg
                what = ActorSpec(child_id, what.kind, arg, what.restart)
            refused = self._start_seat(node, what, number)
        else:
            refused = self._start_node(replace(what, address=child_id) if of_template else what, node, number)
        if refused is None:
            node.events.append(core.ChildStarted(child_id, number, child_id))
        elif refused is IGNORE:
            node.events.append(core.ChildIgnored(child_id, number))
        else:
            node.events.append(core.ChildStartFailed(child_id, number, refused))

    def _stop(self, node: Node, action: core.StopChild) -> None:
        child_id, reason = action.child_id, action.reason
        below = self.nodes.get(child_id)
        if below is not None and below.parent is node:
            self.drive(below, core.StopRequested(reason))
            return
        seat = self.seats.get(child_id)
        if seat is not None and seat.node is node and seat.is_live:
            self._stage.end_actor(seat, reason)
        node.events.append(core.ChildExited(child_id, action.incarnation, reason))

    def _schedule_retry(self, node: Node, action: core.ScheduleRetry) -> None:
        retry = core.RetryDue(action.child_id, action.incarnation)

        def due() -> None:
            if self.nodes.get(node.spec.address) is node:
                self.drive(node, retry)

        self._host.timers.at(self._host.now_ms + action.after_ms, due)

    def _reply(self, node: Node, action: core.Reply) -> None:
        ref: Any = action.ref  # a Ref, or None
        if ref is not None:
            seat, answered = ref
            if seat is not None and seat.asked:  # refused before it was tried
                self._drop(seat)
            answered(action.result)

    def _ready(self, node: Node, action: core.Ready) -> None:
        node.ready = True

    def _start_failed(self, node: Node, action: core.StartFailed) -> None:
        node.failure = action.reason
        self._gone(node)

    def _terminated(self, node: Node, action: core.Terminated) -> None:
        node.ended = action.reason
        self._gone(node)
        if node.parent is not None:
            self.drive(node.parent, core.ChildExited(node.spec.address, node.incarnation, action.reason))

    def _start_node(self, spec: SupervisorSpec, parent: Node | None, number: int) -> str | None:
        """Starts a supervisor and its children; returns why it did not start."""
        if spec.address in self.nodes:
            return ALREADY_STARTED
        try:
            children = static_children(spec)
            recorded = {} if spec.flags.strategy is SIMPLE_ONE_FOR_ONE else self._recorded(spec, children)
            children += [child_spec(actor) for actor, _ in recorded.values()]
            # Who sleeps as if it had been put away is there: to start thousands of them one by one takes long.
            asleep = {
                address: partition
                for address, (actor, partition) in recorded.items()
                if address not in self.seats and self._stage.recovers_later(actor.kind)
            }
            state = core.initial_state(spec.flags, children, asleep.keys())
        except (SpecError, CodecError) as error:
            return f"{type(error).__name__}: {error}"
        node = Node(spec, parent, number, state)
        self.nodes[spec.address] = node
        if parent is None:
            self.root = node
        for place, child in enumerate(children, 1):
            if child.id in asleep:
                seat = self.seats[child.id] = Seat(child.start, node, asleep[child.id])
                seat.start_number = place
                self._stage.lay_down(seat)
        self.drive(node, core.Begin())
        return node.failure

    def _recorded(
        self, spec: SupervisorSpec, named: Sequence[ChildSpec]
    ) -> dict[str, tuple[ActorSpec, Partition]]:
        """By address those that are recorded under a supervisor, and where, without those it names itself."""
        names = {child.id for child in named}
        recorded = self._stage.durable_children(spec.address)
        return {actor.address: (actor, kept) for actor, kept in recorded if actor.address not in names}

    def _start_seat(self, node: Node, spec: ActorSpec, number: int) -> str | None:
        address = spec.address
        seat = self.seats.get(address)
        if seat is None:
            of_template = node.state.template is not None
            seat = Seat(spec, node, None) if of_template else self._stage.place(spec, node)
            self.seats[address] = seat
        elif (not seat.asked and seat.is_live) or (seat.node is not node and self._knows(seat.node, address)):
            return ALREADY_STARTED
        seat.asked = False
        seat.spec, seat.node, seat.start_number = spec, node, number
        return self._stage.start_actor(seat)

    def _knows(self, node: Node, child_id: str) -> bool:
        """Whether a supervisor that is still there has such a child."""
        return self.nodes.get(node.spec.address) is node and node.state.children.get(child_id) is not None

    # -- seats that nobody needs any more ---------------------------------------------------------------------

    def _settle(self, node: Node, event: core.Event) -> None:
        """After an event about a child: is there still such a child?"""
        if node.state.life not in (Life.STARTING, Life.RUNNING):
            return  # it is ending, and with a stop of the whole tree what is recorded stays: see _gone
        child_id = _child_of(event)
        if child_id is None or node.state.children.get(child_id) is not None:
            return
        seat = self.seats.get(child_id)
        if seat is None:
            self._drop_below(child_id, node)
        elif seat.node is node and not seat.asked:
            self._drop(seat)

    def _drop_below(self, supervisor: str, parent: Node) -> None:
        """A supervisor has been deleted: its children will not come again either."""
        for seat in list(self.seats.values()):
            above: Node | None = seat.node
            while above is not None:
                if above.spec.address == supervisor and above.parent is parent:
                    self._drop(seat)
                    break
                above = above.parent

    def _gone(self, node: Node) -> None:
        """A supervisor has ended: what nobody would start again with it is gone, too."""
        self.nodes.pop(node.spec.address, None)
        if node.parent is not None and self._knows(node.parent, node.spec.address):
            named = {child.address for child in node.spec.children}
            left = [
                seat for seat in self.seats.values() if seat.node is node and seat.spec.address not in named
            ]
        else:
            left = [seat for seat in self.seats.values() if not seat.is_live and _is_below(seat.node, node)]
        for seat in left:
            if seat.partition is None or seat.spec.address not in seat.partition.records:
                self._drop(seat)

    def _drop(self, seat: Seat) -> None:
        if self.seats.get(seat.spec.address) is seat:
            del self.seats[seat.spec.address]
            self._stage.left(seat)


def _child_of(event: core.Event) -> str | None:
    """The id of the child an event is about, if it is about one."""
    child_id = getattr(event, "child_id", None)
    return child_id if isinstance(child_id, str) else None


def static_children(spec: SupervisorSpec) -> list[ChildSpec]:
    """The children a supervisor names, as the core knows them.

    Raises:
        SpecError: one of them cannot be a child.
    """
    children = [child_spec(child) for child in spec.children]
    if spec.flags.strategy is SIMPLE_ONE_FOR_ONE:
        # Addresses are made of the template's name, and there is one of each in the whole tree.
        return [child.named(f"{spec.address}/{child.id}") for child in children]
    return children


def _is_below(node: Node | None, ancestor: Node) -> bool:
    while node is not None and node is not ancestor:
        node = node.parent
    return node is ancestor
