"""What both drivers of light actors can do: the host of a cell, and the core over children that follow a script."""

from collections.abc import Callable
from itertools import count
from typing import Any, ClassVar, Protocol

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import Actor, ActorSpec, ActorStopped, RequestError, SupervisorSpec
from slakeeper.otp.child_spec import ChildSpec, Flags
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.context import Context
from slakeeper.otp.host import Host
from tests.conformance.fake_children import UP, Family, Script, StartError, Supervisor, Tree, worker


class Light(Protocol):
    """A tree below a supervisor called ``top``; ids are unique in it.

    log: "start x" for each try to start a worker, "stop x" for each that is stopped in order.
    """

    @property
    def log(self) -> list[str]: ...

    @property
    def ended(self) -> str | None:
        """Why the top supervisor ended; None while it runs."""

    def start(self, flags: Flags, *children: ChildSpec) -> None:
        """Raises StartError with the reason of the child that did not start."""

    def stop(self) -> None: ...

    def start_child(self, spec: ChildSpec, under: str = "top") -> str:
        """``ok``, or why not."""

    def terminate_child(self, child_id: str) -> None: ...

    def exit(self, child_id: str, reason: str) -> None:
        """A worker ends by itself."""

    def later(self, by_ms: int = 0) -> None:
        """Time passes; what is due takes place."""

    def pids(self, under: str = "top") -> dict[str, int]:
        """The running children, the first to start first; a child that was started again has another pid."""


class OnCore:
    """The pure core over children that follow a script."""

    def __init__(self) -> None:
        self.family = Family()
        self.log = self.family.log

    @property
    def ended(self) -> str | None:
        return self.family.supervisors["top"].ended

    def start(self, flags: Flags, *children: ChildSpec) -> None:
        self.family.start(flags, *children)

    def stop(self) -> None:
        self.family.supervisors["top"].stop()

    def start_child(self, spec: ChildSpec, under: str = "top") -> str:
        result = self.family.supervisors[under].start_child(spec)
        return "ok" if isinstance(result, core.Ok) else f"{result.reason.value} {result.detail}".strip()

    def terminate_child(self, child_id: str) -> None:
        supervisor = self._above(child_id)
        supervisor.terminate_child(child_id)
        supervisor.delete_child(child_id)

    def exit(self, child_id: str, reason: str) -> None:
        self._above(child_id).exit(child_id, reason)

    def later(self, by_ms: int = 0) -> None:
        self.family.later(by_ms)

    def pids(self, under: str = "top") -> dict[str, int]:
        found = core.which_children(self.family.supervisors[under].state)
        return {info.id: info.pid for info in reversed(found) if info.status == "running"}

    def _above(self, child_id: str) -> Supervisor:
        return next(
            one
            for one in self.family.supervisors.values()
            if core.get_childspec(one.state, child_id) is not None
        )


class Puppet(Actor):
    """Starts as its script says; the test does the rest."""

    durable: ClassVar[bool] = False

    def init(self, ctx: Context, fresh: bool) -> None:
        ctx.environment.born(self.address)

    def terminate(self, ctx: Context, reason: str) -> None:
        ctx.environment.log.append(f"stop {self.address}")


class _NoExecutor:
    def submit(
        self, lane: str, effect: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        raise AssertionError("puppets have no outside effects")


class OnHost:
    """The host of a cell, without partitions."""

    def __init__(self) -> None:
        self.clock = ManualClock(1_000_000)
        self.log: list[str] = []
        self.scripts: dict[str, Script] = {}
        self.born_as: dict[str, int] = {}
        self._births = count(1)

    @property
    def ended(self) -> str | None:
        return self.host.ended

    def born(self, child_id: str) -> None:
        """An actor's init."""
        self.log.append(f"start {child_id}")
        outcome = next(self.scripts[child_id].starts, UP)
        if outcome != UP:
            raise RuntimeError(outcome)
        self.born_as[child_id] = next(self._births)

    def start(self, flags: Flags, *children: ChildSpec) -> None:
        tree = SupervisorSpec("top", flags, tuple(map(self._translated, children)))
        self.host = Host(tree, {"puppet": Puppet}, self.clock, Codec([]), {}, _NoExecutor(), self)
        try:
            self.host.start()
        except ActorStopped as error:
            raise StartError(str(error)) from error

    def stop(self) -> None:
        self.host.stop()

    def start_child(self, spec: ChildSpec, under: str = "top") -> str:
        actor = self._translated(spec)
        assert isinstance(actor, ActorSpec), "the host takes supervisors at its start only"
        try:
            self.host.start_child(under, actor)
        except RequestError as error:
            return str(error)
        return "ok"

    def terminate_child(self, child_id: str) -> None:
        self.host.terminate_child(child_id)

    def exit(self, child_id: str, reason: str) -> None:
        self.host.inspector.kill(child_id, reason)

    def later(self, by_ms: int = 0) -> None:
        end_ms = self.clock.now_ms() + by_ms
        while (due_ms := self.host.next_deadline_ms()) is not None and due_ms <= end_ms:
            self.clock.advance(max(0, due_ms - self.clock.now_ms()))
            self._turn()
        self.clock.advance(end_ms - self.clock.now_ms())
        self._turn()

    def pids(self, under: str = "top") -> dict[str, int]:
        found = self._node(self.host.tree.describe(), under)
        return {
            _name(child): child["restarts"]
            if child["type"] == "supervisor"
            else self.born_as[child["address"]]
            for child in found["children"]
            if child["status"] == "running"
        }

    def _turn(self) -> None:
        self.host.begin_turn()
        self.host.drain()
        self.host.commit()

    def _node(self, node: dict[str, Any], name: str) -> dict[str, Any]:
        nodes = [node]
        while _name(nodes[0]) != name:
            nodes = [*nodes[1:], *nodes[0]["children"]]
        return nodes[0]

    def _translated(self, spec: ChildSpec) -> "ActorSpec | SupervisorSpec":
        if isinstance(spec.start, Tree):
            return SupervisorSpec(
                spec.id, spec.start.flags, tuple(map(self._translated, spec.start.children))
            )
        assert spec == worker(spec.id, script=spec.start, restart=spec.restart), (
            "the host knows no more of a spec"
        )
        self.scripts[spec.id] = spec.start
        return ActorSpec(spec.id, "puppet", None, spec.restart)


def _name(node: dict[str, Any]) -> str:
    return str(node["address"]).rpartition("/")[2]
